package produce

import (
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// BreatheBytes is how much may be appended between two calls of Breathe.
	BreatheBytes = 192 << 10
	// backlog is how many bytes, in flight or waiting, are enough for senders
	// to go on without us.
	backlog = 512 << 10
	// breathMost is how long a call of Breathe takes at most.
	breathMost = time.Millisecond
)

// breath is where calls of Breathe wait for answers.
type breath struct {
	waiting atomic.Int32
	answers chan struct{} // holds one
	timers  sync.Pool
}

func newBreath() breath { return breath{answers: make(chan struct{}, 1)} }

// Breathe lets senders and the readers of answers run. Who appends without a
// pause calls it after each BreatheBytes or so: where Go has one processor only, a
// goroutine that never waits gives it up every 10 ms, and answers are not looked
// at until nothing else can run. Meanwhile megabytes pile up that are in no
// cache any more when they are sent. With more processors it does nothing.
func (p *Pipeline) Breathe() {
	if goruntime.GOMAXPROCS(0) > 1 {
		return
	}
	if p.piled() {
		// Gosched would find somebody who can run, us, and not look at the network.
		// Nobody sends less for our wait: there is more to send than goes.
		p.breath.until(p.piled)
	}
	// What answers have set going, senders and the stages of completion, stands
	// behind whoever was woken last.
	goruntime.Gosched()
}

// piled reports whether there is more to send than goes.
func (p *Pipeline) piled() bool {
	return p.full.Load() > 0 && p.mem.total-p.mem.free.Load() >= backlog
}

// until waits for answers while piled says so, and for breathMost at most.
func (b *breath) until(piled func() bool) {
	t, ok := b.timers.Get().(*time.Timer)
	if ok {
		t.Reset(breathMost)
	} else {
		t = time.NewTimer(breathMost)
	}
	b.waiting.Add(1)
	for late := false; !late && piled(); {
		select {
		case <-b.answers:
		case <-t.C:
			late = true
		}
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
