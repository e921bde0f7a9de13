package host

import (
	"sync"
)

// handoff is an unbounded queue between two stages: put never waits, take gets
// all there is. What bounds it is the number of slots.
type handoff[T any] struct {
	mu     sync.Mutex
	items  []T
	spare  []T
	wake   chan struct{}
	closed bool
}

func newHandoff[T any]() handoff[T] { return handoff[T]{wake: make(chan struct{}, 1)} }

func (h *handoff[T]) put(items ...T) {
	h.mu.Lock()
	h.items = append(h.items, items...)
	h.mu.Unlock()
	h.signal()
}

func (h *handoff[T]) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// take waits for items. The slice is the caller's until its next take.
func (h *handoff[T]) take() ([]T, bool) {
	for {
		h.mu.Lock()
		if len(h.items) > 0 {
			got := h.items
			clear(h.spare)
			h.items, h.spare = h.spare[:0], got
			h.mu.Unlock()
			return got, true
		}
		closed := h.closed
		h.mu.Unlock()
		if closed {
			return nil, false
		}
		<-h.wake
	}
}

// close ends the taker once it has taken everything.
func (h *handoff[T]) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.signal()
}
