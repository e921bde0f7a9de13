package runtime

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadlineOfACall(t *testing.T) {
	const limit = 100 * time.Millisecond
	for _, tc := range []struct {
		name string
		cpu  time.Duration // that the process gets in limit
		want time.Duration // when the call is ended
	}{
		{"a guest that spins", limit, limit},
		{"a third of the processor", limit / 3, limit},
		{"a process that starves", limit / 10, 2 * limit},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				processCPU = func() time.Duration { return time.Since(begun) * tc.cpu / limit }
				defer func() { processCPU = usedCPU }()
				c := newCallContext(context.Background(), nil)
				c.start(limit)
				if c.Err() != nil {
					t.Errorf("done before it began: %v", c.Err())
				}
				<-c.Done()
				if took := time.Since(begun); took != tc.want || c.Err() != context.DeadlineExceeded {
					t.Errorf("ended after %s with %v, want %s", took, c.Err(), tc.want)
				}
				if passed, _ := c.stop(); !passed {
					t.Error("the deadline has not passed")
				}
			})
		})
	}
}

func TestCallThatEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCallContext(context.Background(), nil)
		for _, took := range []time.Duration{0, 30, 60, 99} {
			c.start(100 * time.Millisecond)
			time.Sleep(took * time.Millisecond)
			synctest.Wait()
			if passed, renew := c.stop(); passed || renew {
				t.Errorf("after %d ms: passed %v, renew %v", took, passed, renew)
			}
			time.Sleep(time.Second)
			if c.Err() != nil {
				t.Fatalf("after %d ms the context is done", took)
			}
		}
	})
}

// The timer runs out while the call ends: (1) the timer fires, (2) stop ends the
// call, (3) fire runs. It must not touch the next call.
func TestTimerThatFiresAsTheCallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := new(instance)
		in.ctx = newCallContext(context.Background(), in)
		first := in.ctx
		first.start(100 * time.Millisecond)
		first.timer.Stop() // as if it had run out
		if in.endCall() {
			t.Error("passed")
		}
		if in.ctx == first {
			t.Error("the context is used again although fire may come")
		}
		first.fire()
		if first.Err() != nil || first.timer.Stop() {
			t.Error("a late timer went on")
		}
	})
}
