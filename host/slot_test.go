package host

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

func inTime() time.Time { return time.Now().Add(time.Minute) }

func mustAcquire(t *testing.T, s *slots) *slot {
	t.Helper()
	sl, err := s.acquire(context.Background(), inTime())
	if err != nil {
		t.Fatal(err)
	}
	return sl
}

func TestSlotsAreUniqueAndFound(t *testing.T) {
	s := newSlots(3000)
	seen := map[state.Ref]bool{}
	for range 3000 {
		sl := mustAcquire(t, s)
		if seen[sl.ref] {
			t.Fatalf("ref %x was given out twice", sl.ref)
		}
		seen[sl.ref] = true
		if s.at(sl.ref) != sl {
			t.Fatalf("ref %x does not lead back to its slot", sl.ref)
		}
	}
	if _, err := s.acquire(context.Background(), time.Now()); !errors.Is(err, klamm.ErrBufferFull) || !errors.Is(err, klamm.ErrTimeout) {
		t.Fatalf("a 3001st slot: error %v, want ErrBufferFull, which is an ErrTimeout", err)
	}
	for ref := range seen {
		s.release([]state.Ref{ref})
		again := mustAcquire(t, s)
		if again.ref == ref {
			t.Fatalf("ref %x was used for two records", ref)
		}
		break
	}
}

// No ref comes twice in a transaction: it has as many records as there are refs, at
// the most.
func TestRefsOfATransaction(t *testing.T) {
	s := newSlots(2)
	s.begin()
	first := mustAcquire(t, s)
	s.release([]state.Ref{first.ref})
	ref := first.ref
	s.serial += serialMask - lotMax - 2 // so many records came and went
	last := mustAcquire(t, s)
	if last.ref == ref || s.serial-s.since != serialMask-lotMax {
		t.Fatalf("ref %x, serial %d", last.ref, s.serial)
	}
	var l lot
	if s.fill(&l); len(l.refs) > 0 {
		t.Error("a lane gets slots for more records")
	}
	if _, err := s.acquire(context.Background(), inTime()); !errors.Is(err, klamm.ErrTransactionState) {
		t.Errorf("one more record: error %v", err)
	}
	s.begin()
	if next := mustAcquire(t, s); s.at(next.ref) != next {
		t.Error("a ref of the next transaction does not lead to its slot")
	}
	// Whoever waits for a slot while the transaction fills up hears of it too.
	ended := make(chan error, 1)
	go func() {
		_, err := s.acquire(context.Background(), inTime())
		ended <- err
	}()
	awaitWaiting(t, s, 1)
	s.mu.Lock()
	s.serial = s.since + serialMask - lotMax
	s.mu.Unlock()
	s.release([]state.Ref{last.ref})
	if err := <-ended; !errors.Is(err, klamm.ErrTransactionState) {
		t.Errorf("who waited: error %v", err)
	}
}

func TestSlotsWakeInOrder(t *testing.T) {
	s := newSlots(1)
	held := mustAcquire(t, s)
	const waiters = 5
	got := make(chan int, waiters)
	for i := range waiters {
		go func() {
			sl, err := s.acquire(context.Background(), inTime())
			if err != nil {
				t.Error(err)
				return
			}
			got <- i
			s.release([]state.Ref{sl.ref})
		}()
		awaitWaiting(t, s, i+1)
	}
	s.release([]state.Ref{held.ref})
	for want := range waiters {
		if i := <-got; i != want {
			t.Fatalf("waiter %d got a slot, want waiter %d", i, want)
		}
	}
}

func awaitWaiting(t *testing.T, s *slots, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Microsecond) {
		s.mu.Lock()
		waiting := len(s.waiting)
		s.mu.Unlock()
		if waiting >= n {
			return
		}
	}
	t.Fatalf("%d waiters never came", n)
}

func TestSlotsAbandonedWaitLosesNoSlot(t *testing.T) {
	s := newSlots(1)
	held := mustAcquire(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() { _, err := s.acquire(ctx, inTime()); failed <- err }()
	awaitWaiting(t, s, 1)
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	s.release([]state.Ref{held.ref})
	mustAcquire(t, s)
}

func TestSlotsCloseWakesAll(t *testing.T) {
	s := newSlots(1)
	mustAcquire(t, s)
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			if _, err := s.acquire(context.Background(), inTime()); !errors.Is(err, klamm.ErrClosed) {
				t.Errorf("error %v, want ErrClosed", err)
			}
		})
		awaitWaiting(t, s, i+1)
	}
	s.close()
	all.Wait()
	if _, err := s.acquire(context.Background(), inTime()); !errors.Is(err, klamm.ErrClosed) {
		t.Fatalf("after close: error %v, want ErrClosed", err)
	}
}

func TestFlushGroups(t *testing.T) {
	s := newSlots(10)
	a, b := mustAcquire(t, s), mustAcquire(t, s)
	first := s.cut()
	c := mustAcquire(t, s)
	second := s.cut()
	ended := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	s.forget(c.group, 1)
	if ended(second) {
		t.Fatal("the second flush ended before records of the first")
	}
	s.forget(a.group, 1)
	if ended(first) {
		t.Fatal("the first flush ended with a record in flight")
	}
	s.forget(b.group, 1)
	if !ended(first) || !ended(second) {
		t.Fatal("a flush did not end although all its records did")
	}
	if !ended(s.cut()) {
		t.Fatal("a flush of nothing does not end")
	}
}

func TestLotsCountAsTakenUntilGivenBack(t *testing.T) {
	s := newSlots(4096)
	var l lot
	s.fill(&l)
	if len(l.refs) != 4 {
		t.Fatalf("a lot of %d slots out of 4096, want 4", len(l.refs))
	}
	a := s.from(&l)
	if s.at(a.ref) != a || a.group != l.group {
		t.Fatalf("slot %+v does not come from the lot", a)
	}
	done := s.cut()
	s.giveBack(&l)
	select {
	case <-done:
		t.Fatal("the flush ended with a record in flight")
	default:
	}
	s.forget(a.group, 1)
	select {
	case <-done:
	default:
		t.Fatal("slots that no record came into hold the flush up")
	}
	seen := map[state.Ref]bool{a.ref: true}
	for range 4095 { // all but that of a
		sl := mustAcquire(t, s)
		if seen[sl.ref] {
			t.Fatalf("ref %x was given out twice", sl.ref)
		}
		seen[sl.ref] = true
	}
}

func TestLotsLeaveSlotsToThoseWhoWait(t *testing.T) {
	s := newSlots(1)
	held := mustAcquire(t, s)
	got := make(chan *slot)
	go func() {
		sl, err := s.acquire(context.Background(), inTime())
		if err != nil {
			t.Error(err)
		}
		got <- sl
	}()
	awaitWaiting(t, s, 1)
	s.release([]state.Ref{held.ref})
	var l lot
	s.fill(&l)
	if len(l.refs) != 0 {
		t.Fatal("a lot took the slot of somebody who waited for it")
	}
	s.abandon(<-got)
	s.fill(&l)
	if len(l.refs) != 1 {
		t.Fatal("an abandoned slot is lost")
	}
	s.giveBack(&l)
	s.close()
	s.fill(&l)
	if len(l.refs) != 0 {
		t.Fatal("a closed producer gives out slots")
	}
}

func TestSlotIsACacheLine(t *testing.T) {
	if size := unsafe.Sizeof(slot{}); size > 64 {
		t.Errorf("a slot has %d bytes, want at most 64", size)
	}
}

func TestHandoffKeepsAllInOrder(t *testing.T) {
	h := newHandoff[int]()
	const n = 10000
	go func() {
		for i := range n {
			h.put(i)
		}
		h.close()
	}()
	next := 0
	for {
		items, ok := h.take()
		if !ok {
			break
		}
		for _, i := range items {
			if i != next {
				t.Fatalf("got %d, want %d", i, next)
			}
			next++
		}
	}
	if next != n {
		t.Fatalf("got %d items, want %d", next, n)
	}
}
