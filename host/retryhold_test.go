package host

import (
	"sync"
	"testing"
	"time"
)

// holdOf is a partition that holds nothing yet, of which n records are read.
func holdOf(n int) (*retryHold, []*delivery) {
	pr := newProgress()
	pr.c = &consumption{}
	h := &retryHold{pr: pr, policy: retryPolicy{most: 3, backoff: time.Hour, ceil: time.Hour}}
	pr.retry = h
	p := newParcel(n)
	rest := make([]retrial, n)
	all := make([]*delivery, n)
	for i := range all {
		all[i] = &p.deliveries[i]
		all[i].begin(pr, int64(i))
		all[i].again = &rest[i]
	}
	return h, all
}

// A record that waited for one of another pipeline is held while a try of its own
// partition ends. Whichever is first, nothing passes it from then on.
func TestWhatIsBoundWhileATryEndsIsPassedByNothing(t *testing.T) {
	h, all := holdOf(2)
	done := make(chan struct{})
	var ends sync.WaitGroup
	ends.Go(func() { // tries end all the time
		for {
			select {
			case <-done:
				return
			default:
				h.tried()
			}
		}
	})
	defer func() { close(done); ends.Wait(); h.close() }()
	for round := range 20_000 {
		h.mu.Lock()
		h.held, h.on = nil, false // as take leaves it
		if h.free == nil {
			h.free = make(chan struct{})
		}
		h.mu.Unlock()
		sl := &slot{special: true, rest: &more{delivery: all[0]}}
		if !sl.bind() {
			t.Fatal("nobody holds it")
		}
		if h.count() != 1 || h.freed() == nil || !h.holds(all[1], passing) {
			t.Fatalf("round %d: what comes after a record that is held passes it", round)
		}
	}
}

// A partition that goes while its next try waits for its turn lets nothing pass:
// what comes after the records that were left would be written before them.
func TestATryAfterThePartitionWentLetsNothingPass(t *testing.T) {
	h, all := holdOf(2)
	first, second := all[0], all[1]
	if !h.holds(first, failing) {
		t.Fatal("the first failure is not held")
	}
	h.keep(retryRecord{d: first})
	h.close()
	if held := h.take(); len(held) != 0 {
		t.Fatalf("%d records are left", len(held))
	}
	if !h.holds(second, passing) {
		t.Error("a record passes the one before it, which the next owner reads again")
	}
}
