package produce

import (
	"sync"
	"sync/atomic"
	"time"
)

// breath is where calls of Breathe wait for an answer.
type breath struct {
	waiting atomic.Int32
	answers chan struct{} // holds one
	timers  sync.Pool
}

func newBreath() breath { return breath{answers: make(chan struct{}, 1)} }

// wait returns after the next answer, or after breathMost. It may return early,
// for an answer that came when the last one who waited had just gone.
func (b *breath) wait() {
	t, ok := b.timers.Get().(*time.Timer)
	if ok {
		t.Reset(breathMost)
	} else {
		t = time.NewTimer(breathMost)
	}
	b.waiting.Add(1)
	select {
	case <-b.answers:
	case <-t.C:
	}
	b.waiting.Add(-1)
	t.Stop()
	b.timers.Put(t)
}

// answered wakes somebody who waits.
func (b *breath) answered() {
	if b.waiting.Load() == 0 {
		return
	}
	select {
	case b.answers <- struct{}{}:
	default:
	}
}
