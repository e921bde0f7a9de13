package runtime

import (
	"sync"
	"sync/atomic"
	"time"
)

// breaker stops the calls of a plugin that keeps failing. All seats share it.
type breaker struct {
	cfg Breaker
	now func() time.Time

	tripped atomic.Bool // not closed: take the lock to learn more
	mu      sync.Mutex
	faults  []time.Time // within the window, oldest first
	until   time.Time   // open until then
	probing bool        // one call is let through
}

func newBreaker(cfg Breaker) *breaker {
	if cfg.Window == 0 {
		cfg.Window = 10 * time.Second
	}
	if cfg.Cooldown == 0 {
		cfg.Cooldown = 10 * time.Second
	}
	return &breaker{cfg: cfg, now: time.Now}
}

// allow reports whether a call may be made now. After a true answer done must
// follow.
func (b *breaker) allow() bool {
	if !b.tripped.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.tripped.Load():
		return true
	case b.probing || b.now().Before(b.until):
		return false
	}
	b.probing = true
	return true
}

// done records how a call ended. counts is false for repeated calls about the
// same fault.
func (b *breaker) done(fault, counts bool) {
	if !fault && !b.tripped.Load() || b.cfg.Failures <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.probing && fault:
		b.open()
	case b.probing:
		b.close()
	case fault && counts && !b.tripped.Load():
		b.count()
	}
}

func (b *breaker) count() {
	now := b.now()
	old := 0
	for old < len(b.faults) && now.Sub(b.faults[old]) > b.cfg.Window {
		old++
	}
	b.faults = append(b.faults[old:], now)
	if len(b.faults) >= b.cfg.Failures {
		b.open()
	}
}

func (b *breaker) open() {
	b.until, b.probing, b.faults = b.now().Add(b.cfg.Cooldown), false, nil
	b.tripped.Store(true)
}

func (b *breaker) close() {
	b.probing, b.faults = false, nil
	b.tripped.Store(false)
}

// reset closes the breaker, for a new generation.
func (b *breaker) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.close()
}
