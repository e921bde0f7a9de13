package produce

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBreathWaitsUntilTheBacklogIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreath()
		var left atomic.Int32
		left.Store(3)
		over := make(chan struct{})
		start := time.Now()
		go func() {
			b.until(func() bool { return left.Load() > 0 })
			close(over)
		}()
		for range 3 {
			synctest.Wait()
			select {
			case <-over:
				t.Fatalf("it ended with %d to go", left.Load())
			default:
			}
			left.Add(-1)
			b.answered()
		}
		<-over
		if took := time.Since(start); took != 0 {
			t.Errorf("it waited %v after the last answer, want no time", took)
		}
		if n := b.waiting.Load(); n != 0 {
			t.Errorf("%d wait, want none", n)
		}
	})
}

func TestBreathEndsWithoutAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreath()
		for range 2 { // the second one with the first one's timer
			start := time.Now()
			b.until(func() bool { return true })
			if took := time.Since(start); took != breathMost {
				t.Errorf("it took %v, want %v", took, breathMost)
			}
		}
		b.answered() // nobody waits: nothing is kept for the next one
		b.until(func() bool { return false })
		if len(b.answers) != 0 {
			t.Error("an answer was kept for somebody who did not wait for it")
		}
	})
}
