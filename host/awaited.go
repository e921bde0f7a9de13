package host

import (
	"context"
	"sync"

	"github.com/klamm-io/klamm"
)

// awaited is the results that a Send or SendBatch waits for.
type awaited struct {
	mu      sync.Mutex
	results []klamm.Result
	left    int  // that are not there yet
	gone    bool // nobody waits any more
	all     chan struct{}
	one     [1]klamm.Result // results of a Send
}

func newAwaited(n int) *awaited {
	w := &awaited{left: n, all: make(chan struct{})}
	switch n {
	case 0:
		close(w.all)
	case 1:
		w.results = w.one[:]
	default:
		w.results = make([]klamm.Result, n)
	}
	return w
}

// set gives result i, once.
func (w *awaited) set(i int, r klamm.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone {
		w.results[i] = r
	}
	if w.left--; w.left == 0 {
		close(w.all)
	}
}

// wait returns all results. When ctx ends first, those that are missing are in
// flight.
func (w *awaited) wait(ctx context.Context) []klamm.Result {
	select {
	case <-w.all:
	case <-ctx.Done():
		w.mu.Lock()
		w.gone = true
		w.mu.Unlock()
	}
	return w.results
}
