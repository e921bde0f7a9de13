package produce

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
)

// memory is the byte limit buffer_memory. It hands out numbers of bytes, not
// buffers. Those that wait are served first come first served, so a large
// record is not starved by small ones.
type memory struct {
	total int64
	free  atomic.Int64 // below zero while overdrawn
	// waiting is raised before a waiter looks at free for the last time, and a
	// Release looks at it after raising free, so one of the two sees the other.
	waiting atomic.Int32
	// onWait is called when somebody has to wait: every batch becomes ready.
	onWait func()

	mu     sync.Mutex
	queue  []*waiter // FIFO
	closed error

	waited    atomic.Int64 // nanoseconds
	exhausted atomic.Int64
}

type waiter struct {
	n     int64
	ready chan error // holds one; nil when the bytes are the waiter's
}

func newMemory(total int64, onWait func()) *memory {
	m := &memory{total: total, onWait: onWait}
	m.free.Store(total)
	return m
}

func (m *memory) reserve(ctx context.Context, n int, deadline time.Time) error {
	if int64(n) > m.total {
		return fmt.Errorf("%w: %d bytes, buffer_memory is %d", klamm.ErrRecordTooLarge, n, m.total)
	}
	if m.try(int64(n)) {
		return nil
	}
	return m.wait(ctx, int64(n), deadline)
}

// try takes n bytes if they are there and nobody waits for any.
func (m *memory) try(n int64) bool { return m.waiting.Load() == 0 && m.take(n) }

// take takes n bytes if they are there.
func (m *memory) take(n int64) bool {
	for {
		free := m.free.Load()
		if free < n {
			return false
		}
		if m.free.CompareAndSwap(free, free-n) {
			return true
		}
	}
}

func (m *memory) wait(ctx context.Context, n int64, deadline time.Time) error {
	w := &waiter{n: n, ready: make(chan error, 1)}
	if err := m.enqueue(w); err != nil {
		return err
	}
	start := time.Now()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	m.onWait()
	var err error
	select {
	case err = <-w.ready:
		m.waited.Add(int64(time.Since(start)))
		return err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		m.exhausted.Add(1)
		err = fmt.Errorf("%w: no %d bytes of buffer_memory (%d) became free in %s", klamm.ErrBufferFull, n, m.total, time.Since(start).Round(time.Millisecond))
	}
	m.waited.Add(int64(time.Since(start)))
	m.leave(w)
	return err
}

// enqueue puts w at the end of the queue. It may be served at once.
func (m *memory) enqueue(w *waiter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed != nil {
		return m.closed
	}
	m.queue = append(m.queue, w)
	m.waiting.Add(1)
	m.serve()
	return nil
}

// leave takes w out of the queue; what it was given in the meantime goes back.
func (m *memory) leave(w *waiter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, q := range m.queue {
		if q == w {
			m.queue = append(m.queue[:i], m.queue[i+1:]...)
			m.waiting.Add(-1)
			m.serve() // a smaller one may have stood behind it
			return
		}
	}
	if err := <-w.ready; err == nil {
		m.free.Add(w.n)
		m.serve()
	}
}

// serve hands bytes to those who wait, in order. m.mu is held.
func (m *memory) serve() {
	for len(m.queue) > 0 && m.take(m.queue[0].n) {
		m.queue[0].ready <- nil
		m.queue[0] = nil
		m.queue = m.queue[1:]
		m.waiting.Add(-1)
	}
}

// overdraw takes n bytes that may not be there.
func (m *memory) overdraw(n int) { m.free.Add(-int64(n)) }

func (m *memory) release(n int) {
	if free := m.free.Add(int64(n)); free > m.total {
		panic(fmt.Sprintf("produce: buffer memory released that was not reserved: %d bytes free of %d", free, m.total))
	}
	if m.waiting.Load() == 0 {
		return
	}
	m.mu.Lock()
	m.serve()
	m.mu.Unlock()
}

// close fails those who wait and those who come later. Releases go on.
func (m *memory) close(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed != nil {
		return
	}
	m.closed = err
	for _, w := range m.queue {
		w.ready <- err
	}
	m.queue = nil
	// Whoever comes now must go through enqueue, which refuses.
	m.waiting.Store(1)
}
