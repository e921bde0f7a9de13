package saramaplugin

import "sync"

// queue is an unbounded hand-over between two goroutines: put never waits, take
// gets all there is. What bounds it is the number of messages in flight.
type queue[T any] struct {
	mu     sync.Mutex
	items  []T
	spare  []T
	closed bool
	wake   chan struct{}
}

func newQueue[T any]() *queue[T] { return &queue[T]{wake: make(chan struct{}, 1)} }

func (q *queue[T]) put(item T) {
	q.mu.Lock()
	q.items = append(q.items, item)
	q.mu.Unlock()
	signal(q.wake)
}

// take waits for items. The slice is the caller's until its next take. It
// returns false when the queue is closed and empty.
func (q *queue[T]) take() ([]T, bool) {
	for {
		q.mu.Lock()
		if len(q.items) > 0 {
			got := q.items
			clear(q.spare)
			q.items, q.spare = q.spare[:0], got
			q.mu.Unlock()
			return got, true
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil, false
		}
		<-q.wake
	}
}

func (q *queue[T]) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	signal(q.wake)
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// flight counts messages from their acceptance until the user has their result.
// One goroutine, the feeder, acquires and waits.
type flight struct {
	mu    sync.Mutex
	n     int
	limit int
	wake  chan struct{} // after each release
}

func newFlight(limit int) *flight { return &flight{limit: limit, wake: make(chan struct{}, 1)} }

// try counts one more, unless that is too many.
func (f *flight) try() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n >= f.limit {
		return false
	}
	f.n++
	return true
}

// acquire waits for room, or for the closing, after which all is let in.
func (f *flight) acquire(closing <-chan struct{}) {
	for !f.try() {
		select {
		case <-f.wake:
		case <-closing:
			f.force()
			return
		}
	}
}

func (f *flight) force() {
	f.mu.Lock()
	f.n++
	f.mu.Unlock()
}

func (f *flight) release() {
	f.mu.Lock()
	f.n--
	f.mu.Unlock()
	signal(f.wake)
}

func (f *flight) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n == 0
}
