package produce

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klamm-io/klamm/internal/config"
)

// TestConnectionsMaxIdle: a connection that carries nothing is closed after
// connections_max_idle_ms and not before, and the next record finds another.
func TestConnectionsMaxIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		n.maxIdle = 9 * time.Minute
		var closedAfter []time.Duration
		n.serve = func(c *fakeConn) {
			last := time.Now()
			honest(0, func(*fakeRequest) { last = time.Now() })(c)
			closedAfter = append(closedAfter, time.Since(last))
		}
		h := newHistory()
		p, err := newPipeline(testConfig(linger(0)), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		for ref, pause := range []time.Duration{8 * time.Minute, 8 * time.Minute, 20 * time.Minute, 9*time.Minute + time.Second, 0} {
			if err := h.send(p, uint64(ref), 0, 8); err != nil {
				t.Fatal(err)
			}
			h.wait()
			time.Sleep(pause)
			synctest.Wait()
		}
		if len(closedAfter) != 2 {
			t.Fatalf("connections were closed %v after their last use, want two of them", closedAfter)
		}
		for _, d := range closedAfter {
			if d != n.maxIdle {
				t.Errorf("closed %s after the last use, want %s", d, n.maxIdle)
			}
		}
		if st := p.Stats(); st.ConnectionsFailed != 0 || st.ConnectionsOpened != 3 {
			t.Errorf("%d connections opened, %d failed; want 3 and 0", st.ConnectionsOpened, st.ConnectionsFailed)
		}
		end(t, p)
		n.stop()
	})
}

// TestReconnectBackoff: dials to a broker that cannot be reached come with
// doubling pauses, and no more than reconnect_backoff_max_ms apart.
func TestReconnectBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		n.dialErr[1] = errors.New("nothing listens there")
		h := newHistory()
		p, err := newPipeline(testConfig(linger(0)), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.send(p, 0, 0, 8); err != nil {
			t.Fatal(err)
		}
		time.Sleep(750 * time.Millisecond) // 50, 100, 200, 400 ms, +-20 %
		if got := n.dialed(); got < 4 || got > 5 {
			t.Errorf("%d dials in 750ms, want 4 or 5", got)
		}
		time.Sleep(time.Minute)
		before := n.dialed()
		time.Sleep(10 * time.Second)
		if got := n.dialed() - before; got < 9 || got > 13 {
			t.Errorf("%d dials in 10s, want about 10", got)
		}
		n.mu.Lock()
		delete(n.dialErr, 1)
		n.serve = honest(0, nil)
		n.mu.Unlock()
		h.wait()
		end(t, p)
		n.stop()
	})
}

// TestStalled: a broker that takes nothing of what is due for it is stalled
// after partitioner_availability_timeout_ms, one without anything due never,
// and one that takes something again is not any more.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 2)
		n.leaders[1] = 2
		n.dialErr[2] = errors.New("nothing listens there")
		n.serve = honest(0, nil)
		h := newHistory()
		p, err := newPipeline(testConfig(linger(0), func(c *config.Producer) {
			c.PartitionerAvailability = config.Duration(3 * time.Second)
		}), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		expect := func(when string, one, two bool) {
			t.Helper()
			synctest.Wait()
			if p.Stalled(1) != one || p.Stalled(2) != two || p.Stalled(3) {
				t.Errorf("%s: stalled: %t, %t, %t; want %t, %t, false", when, p.Stalled(1), p.Stalled(2), p.Stalled(3), one, two)
			}
		}
		for ref := range uint64(2) {
			if err := h.send(p, ref, int32(ref), 8); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		expect("before the time", false, false)
		time.Sleep(2 * time.Second)
		expect("after the time", false, true)
		n.mu.Lock()
		delete(n.dialErr, 2)
		n.mu.Unlock()
		h.wait()
		expect("reached again", false, false)
		time.Sleep(time.Hour)
		expect("nothing to send", false, false)
		end(t, p)
		n.stop()
	})
}

// TestBatchSizeZero: every record has a batch of its own, in order.
func TestBatchSizeZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		batches := 0
		n.serve = honest(0, func(r *fakeRequest) { batches += len(r.batches) })
		h := newHistory()
		p, err := newPipeline(testConfig(batchSize(0), linger(time.Second)), n, h.complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		for ref := range uint64(20) {
			if err := h.send(p, ref, 0, 8); err != nil {
				t.Fatal(err)
			}
		}
		h.wait()
		end(t, p)
		if acked, _, _ := h.check(t, n.refs()); acked != 20 || batches != 20 {
			t.Errorf("%d records acknowledged in %d batches, want 20 in 20", acked, batches)
		}
		n.stop()
	})
}
