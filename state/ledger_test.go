package state_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

var okAt = state.Settlement{Outcome: klamm.Written, At: written, NowMS: 1}

func TestClaimTwiceIsNewNotFresh(t *testing.T) {
	_, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	claimFresh(t, s, owner, "x")
	if a := s.Claim(owner, "orders", []byte("x"), time.Minute, 1); a.Code != state.New || a.Fresh {
		t.Errorf("second claim of the same record: got %+v, want New and not Fresh", a)
	}
}

func TestConfirmedTellsPosition(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	claimFresh(t, s, owner, "x")
	l.Settle(owner, okAt)
	diff(t, state.Answer{Code: state.Confirmed, At: written}, s.Claim(duplicate, "orders", []byte("x"), 0, 1))
}

func TestScopes(t *testing.T) {
	for _, test := range []struct {
		name    string
		byTopic bool
		topic   string
		plugin  string
		state   string
		want    int32
	}{
		{"same topic", true, "orders", "dedup", "ids", state.Confirmed},
		{"other topic, scope topic", true, "bills", "dedup", "ids", state.New},
		{"other topic, scope state", false, "bills", "dedup", "ids", state.Confirmed},
		{"other plugin", false, "orders", "dedup2", "ids", state.New},
		{"other state", false, "orders", "dedup", "more", state.New},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, s := open(t, state.StoreConfig{ScopeTopic: test.byTopic}, state.SpaceOptions{})
			if err := l.Open("more", state.StoreConfig{ScopeTopic: test.byTopic}); err != nil {
				t.Fatal(err)
			}
			claimFresh(t, s, owner, "x")
			l.Settle(owner, okAt)
			other := space(t, l, test.state, test.plugin, state.SpaceOptions{})
			if got := other.Claim(duplicate, test.topic, []byte("x"), 0, 1).Code; got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestWindowByAge(t *testing.T) {
	for _, test := range []struct {
		name    string
		ttl     time.Duration
		settled int64
		claimed int64
		want    int32
	}{
		{"inside", 10 * time.Millisecond, 1000, 1009, state.Confirmed},
		{"at its end", 10 * time.Millisecond, 1000, 1010, state.New},
		{"the claim's own clock does not count", 10 * time.Millisecond, 5000, 5009, state.Confirmed},
		{"no ttl", 0, 1000, 1 << 60, state.Confirmed},
		{"part of a millisecond", time.Microsecond, 1000, 1000, state.Confirmed},
		{"longer than time", 1<<63 - 1, 1<<63 - 10, 1<<63 - 2, state.Confirmed},
		{"an older record's clock", 10 * time.Millisecond, 1000, 10, state.Confirmed},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
			s.Claim(owner, "orders", []byte("x"), test.ttl, 1)
			l.Settle(owner, state.Settlement{Outcome: klamm.Written, At: written, NowMS: test.settled})
			if got := s.Claim(later, "orders", []byte("x"), test.ttl, test.claimed).Code; got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestPendingNeverExpiresNorGoes(t *testing.T) {
	l, s := open(t, state.StoreConfig{MaxEntries: 1}, state.SpaceOptions{})
	s.Claim(owner, "orders", []byte("x"), time.Millisecond, 1)
	for i := range 10 {
		ref := later + state.Ref(i)
		claimFresh(t, s, ref, string(rune('a'+i)))
		l.Settle(ref, okAt)
	}
	if a := s.Claim(duplicate, "orders", []byte("x"), 0, 1<<50); a.Code != state.Pending {
		t.Errorf("got %+v, want a pending one", a)
	}
	if got := l.Stats()[0]; got.Entries != 1 || got.Evictions != 9 || got.Pending != 1 {
		t.Errorf("got %+v, want 1 entry, 9 evictions, 1 pending", got)
	}
}

func TestWindowByCountDropsOldestConfirmation(t *testing.T) {
	l, s := open(t, state.StoreConfig{MaxEntries: 2}, state.SpaceOptions{})
	for i, id := range []string{"a", "b", "c"} {
		claimFresh(t, s, state.Ref(i+1), id)
	}
	for _, ref := range []state.Ref{2, 3, 1} { // b is confirmed first
		l.Settle(ref, okAt)
	}
	for id, want := range map[string]int32{"a": state.Confirmed, "b": state.New, "c": state.Confirmed} {
		if got := s.Claim(9, "orders", []byte(id), 0, 1).Code; got != want {
			t.Errorf("%s: got %d, want %d", id, got, want)
		}
	}
}

func TestFarFutureRecordKeepsWindow(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	for i := range 100 {
		s.Claim(state.Ref(i+1), "orders", []byte{byte(i)}, time.Second, 1)
		l.Settle(state.Ref(i+1), okAt)
	}
	claimFresh(t, s, 101, "future")
	l.Settle(101, state.Settlement{Outcome: klamm.Written, NowMS: 1 << 50})
	if got := l.Stats()[0].Entries; got < 99 {
		t.Errorf("one record left %d of 101 ids, want at least 99", got)
	}
}

// Each new id takes two expired ones along, so that a window full of them
// shrinks.
func TestExpiredGo(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	at := func(ref state.Ref, nowMS int64) {
		s.Claim(ref, "orders", []byte{byte(ref)}, time.Second, nowMS)
		l.Settle(ref, state.Settlement{Outcome: klamm.Written, NowMS: nowMS})
	}
	for ref := range state.Ref(10) {
		at(ref+1, 1)
	}
	for ref := range state.Ref(4) {
		at(ref+11, 5000)
	}
	if got := l.Stats()[0]; got.Entries != 6 || got.Expired != 8 || got.Evictions != 0 {
		t.Errorf("got %+v, want 6 entries, 8 expired", got)
	}
}

func TestUndo(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	claimFresh(t, s, owner, "x")
	s.Undo(duplicate, "orders", []byte("x")) // not its own
	claimPending(t, s, duplicate, "x").Cancel()
	s.Undo(owner, "orders", []byte("x"))
	s.Undo(owner, "orders", []byte("x"))
	s.Undo(owner, "orders", []byte("never claimed"))
	claimFresh(t, s, duplicate, "x")
	if got := l.Stats()[0].Pending; got != 1 {
		t.Errorf("got %d pending, want 1", got)
	}
}

// A record that met an id which is undone later keeps waiting on its owner.
func TestUndoKeepsWaiters(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	claimFresh(t, s, owner, "x")
	commitWaiting(t, claimPending(t, s, duplicate, "x"), duplicate)
	s.Undo(owner, "orders", []byte("x"))
	got := l.Settle(owner, state.Settlement{Outcome: klamm.Failed, Err: errBroker})
	diff(t, []state.Resolution{{Waiter: duplicate, Outcome: klamm.Failed, Err: errBroker}}, got)
}

// TestNobodyWaitsOnAWaiter: 3 waits on 2 and 4 is about to, then 2 becomes a
// waiter of 1.
func TestNobodyWaitsOnAWaiter(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	claimFresh(t, s, 1, "x")
	claimFresh(t, s, 2, "y")
	commitWaiting(t, claimPending(t, s, 3, "y"), 3)
	tentative := claimPending(t, s, 4, "y")
	commitWaiting(t, claimPending(t, s, 2, "x"), 2)
	claimFresh(t, s, 5, "y") // 2 has given it up
	commitWaiting(t, tentative, 4)

	if got := l.Settle(2, okAt); got != nil {
		t.Errorf("a waiter's settlement resolved %+v", got)
	}
	dropped := func(ref state.Ref) state.Resolution {
		return state.Resolution{Waiter: ref, Outcome: klamm.Dropped, Plugin: "dedup", Reason: state.ReasonDuplicate, At: written}
	}
	diff(t, []state.Resolution{dropped(3), dropped(2), dropped(4)}, l.Settle(1, okAt))
}

// TestOppositeOrder: chain one claims p then q, chain two q then p, and each
// has a record with both ids in flight. One must be written, one dropped.
func TestOppositeOrder(t *testing.T) {
	for _, test := range []struct {
		name   string
		settle state.Settlement
		want   state.Resolution
	}{
		{"written", okAt, state.Resolution{Outcome: klamm.Dropped, Plugin: "dedup", Reason: state.ReasonDuplicate, At: written}},
		{"failed", state.Settlement{Outcome: klamm.Failed, Err: errBroker}, state.Resolution{Outcome: klamm.Failed, Err: errBroker}},
		{"completed as crossed", state.Settlement{Outcome: klamm.Failed, Err: state.ErrCrossed}, state.Resolution{Outcome: klamm.Failed, Err: state.ErrCrossed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, p := open(t, state.StoreConfig{}, state.SpaceOptions{})
			q := space(t, l, "ids", "dedup2", state.SpaceOptions{})
			claimFresh(t, p, 1, "x")
			claimFresh(t, q, 2, "x")
			one, two := claimPending(t, q, 1, "x"), claimPending(t, p, 2, "x")
			commitWaiting(t, one, 1)
			r, settled := two.Commit(2, "dedup")
			diff(t, state.Resolution{Waiter: 2, Outcome: klamm.Failed, Plugin: "dedup", Err: state.ErrCrossed}, r)
			if !settled {
				t.Error("2 waits, though 1 waits on it")
			}
			if a := p.Claim(2, "orders", []byte("x"), 0, 1); a.Code != state.New || a.Fresh {
				t.Errorf("2 does not hold the id that it goes on with: %+v", a)
			}
			test.want.Waiter = 1
			diff(t, []state.Resolution{test.want}, l.Settle(2, test.settle))
		})
	}
}

// TestVoidWaitAsksAgain: as TestOppositeOrder, but the id that 1 gave up has a
// new owner, or is written, when 2 commits.
func TestVoidWaitAsksAgain(t *testing.T) {
	setup := func(t *testing.T) (*state.Ledger, *state.Wait) {
		l, p := open(t, state.StoreConfig{}, state.SpaceOptions{})
		q := space(t, l, "ids", "dedup2", state.SpaceOptions{})
		claimFresh(t, p, 1, "x")
		claimFresh(t, q, 2, "x")
		one, two := claimPending(t, q, 1, "x"), claimPending(t, p, 2, "x")
		commitWaiting(t, one, 1)
		claimFresh(t, p, 3, "x")
		return l, two
	}
	dropped := func(ref state.Ref) state.Resolution {
		return state.Resolution{Waiter: ref, Outcome: klamm.Dropped, Plugin: "dedup", Reason: state.ReasonDuplicate, At: written}
	}
	t.Run("owned by another", func(t *testing.T) {
		l, two := setup(t)
		commitWaiting(t, two, 2)
		diff(t, []state.Resolution{dropped(1), dropped(2)}, l.Settle(3, okAt))
	})
	t.Run("written", func(t *testing.T) {
		l, two := setup(t)
		l.Settle(3, okAt)
		r, settled := two.Commit(2, "dedup")
		diff(t, dropped(2), r)
		if !settled {
			t.Error("2 waits, though 3 is written")
		}
		diff(t, []state.Resolution{dropped(1)}, l.Settle(2, state.Settlement{Outcome: klamm.Dropped}))
	})
	t.Run("cancelled", func(t *testing.T) {
		l, two := setup(t)
		two.Cancel()
		diff(t, []state.Resolution{dropped(1)}, l.Settle(2, okAt))
	})
}

// A record that commits to a settled owner passes that outcome on to those
// that waited on itself, whatever it is settled with.
func TestWaitersShareASettledFate(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	claimFresh(t, s, 1, "x")
	claimFresh(t, s, 2, "y")
	commitWaiting(t, claimPending(t, s, 3, "y"), 3)
	tentative := claimPending(t, s, 4, "y")
	w := claimPending(t, s, 2, "x")
	l.Settle(1, okAt)
	r, settled := w.Commit(2, "dedup")
	if !settled || r.At != written {
		t.Fatalf("got %+v, %v", r, settled)
	}
	dropped := state.Resolution{Waiter: 4, Outcome: klamm.Dropped, Plugin: "dedup", Reason: state.ReasonDuplicate, At: written}
	got, settled := tentative.Commit(4, "dedup")
	diff(t, dropped, got)
	if !settled {
		t.Error("4 is not settled")
	}
	dropped.Waiter = 3
	diff(t, []state.Resolution{dropped}, l.Settle(2, state.Settlement{Outcome: r.Outcome, Plugin: r.Plugin, Reason: r.Reason}))
	if got := l.Stats()[0]; got.Waiters != 0 || got.Pending != 0 {
		t.Errorf("left over: %+v", got)
	}
}

func TestMisusePanics(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(l *state.Ledger, w *state.Wait)
	}{
		{"commit twice", func(_ *state.Ledger, w *state.Wait) { w.Commit(duplicate, "p"); w.Commit(duplicate, "p") }},
		{"commit after cancel", func(_ *state.Ledger, w *state.Wait) { w.Cancel(); w.Commit(duplicate, "p") }},
		{"commit for another", func(_ *state.Ledger, w *state.Wait) { w.Commit(later, "p") }},
		{"settle without outcome", func(l *state.Ledger, _ *state.Wait) { l.Settle(owner, state.Settlement{}) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
			claimFresh(t, s, owner, "x")
			w := claimPending(t, s, duplicate, "x")
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			test.do(l, w)
		})
	}
}

func TestOpenErrors(t *testing.T) {
	l, _ := open(t, state.StoreConfig{}, state.SpaceOptions{})
	_, unopened := l.Space("nowhere", "dedup", state.SpaceOptions{})
	for _, test := range []struct {
		name, want string
		err        error
	}{
		{"twice", `state "ids": it is open already`, l.Open("ids", state.StoreConfig{})},
		{"backend", `unknown backend "redis"`, l.Open("new", state.StoreConfig{Backend: "redis"})},
		{"negative", "neither may be negative", l.Open("new", state.StoreConfig{MaxEntries: -1})},
		{"not open", `state "nowhere" is not open`, unopened},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", test.err, test.want)
			}
		})
	}
}

func TestSameSpaceTwice(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	if space(t, l, "ids", "dedup", state.SpaceOptions{}) != s {
		t.Error("the same pair is another space")
	}
}

func TestClosed(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	claimFresh(t, s, owner, "x")
	commitWaiting(t, claimPending(t, s, duplicate, "x"), duplicate)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if a := s.Claim(later, "orders", []byte("y"), 0, 1); a.Code != state.Refused {
		t.Errorf("claim: got %+v, want it refused", a)
	}
	if _, ok := s.Get([]byte("k"), 1); ok {
		t.Error("get: got a value")
	}
	_, spaceErr := l.Space("ids", "dedup", state.SpaceOptions{})
	for name, err := range map[string]error{
		"put": s.Put([]byte("k"), nil, 0, 1), "open": l.Open("new", state.StoreConfig{}), "space": spaceErr,
	} {
		if !errors.Is(err, klamm.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
	if got := l.Settle(owner, okAt); len(got) != 1 || got[0].Waiter != duplicate {
		t.Errorf("settle after close: got %+v, want the waiter's completion", got)
	}
}

func TestNowNeverGoesBack(t *testing.T) {
	now := time.UnixMilli(5000)
	l := state.NewLedger(state.Options{Now: func() time.Time { return now }})
	for _, step := range []struct{ at, want int64 }{{5000, 5000}, {4000, 5000}, {5001, 5001}} {
		now = time.UnixMilli(step.at)
		if got := l.NowMS(); got != step.want {
			t.Errorf("at %d: got %d, want %d", step.at, got, step.want)
		}
	}
}

// A settlement without a clock uses the ledger's.
func TestSettleUsesOwnClock(t *testing.T) {
	l := state.NewLedger(state.Options{Now: func() time.Time { return time.UnixMilli(5000) }})
	if err := l.Open("ids", state.StoreConfig{}); err != nil {
		t.Fatal(err)
	}
	s := space(t, l, "ids", "dedup", state.SpaceOptions{})
	s.Claim(owner, "orders", []byte("x"), 10*time.Millisecond, 1)
	l.Settle(owner, state.Settlement{Outcome: klamm.Written})
	if got := s.Claim(later, "orders", []byte("x"), 0, 5009).Code; got != state.Confirmed {
		t.Errorf("inside: got %d", got)
	}
	if got := s.Claim(later, "orders", []byte("x"), 0, 5010).Code; got != state.New {
		t.Errorf("after: got %d", got)
	}
}

func TestManyInFlight(t *testing.T) {
	const n = 5000
	l, s := open(t, state.StoreConfig{MaxEntries: n}, state.SpaceOptions{})
	id := func(i int) []byte { return []byte{byte(i), byte(i >> 8)} }
	for i := range n {
		s.Claim(state.Ref(i*64), "orders", id(i), 0, 1) // all on one head
	}
	for i := range n {
		if a := s.Claim(state.Ref(i*64), "orders", id(i), 0, 1); a.Code != state.New || a.Fresh {
			t.Fatalf("%d: lost its claim: %+v", i, a)
		}
	}
	for i := n - 1; i >= 0; i-- {
		l.Settle(state.Ref(i*64), okAt)
	}
	for i := range n {
		if a := s.Claim(1, "orders", id(i), 0, 1); a.Code != state.Confirmed {
			t.Fatalf("%d: not confirmed: %+v", i, a)
		}
	}
}

func TestMemoryPerID(t *testing.T) {
	for _, n := range []int{100_000, 1_000_000} {
		if got := bytesPerID(t, n); got > 64 {
			t.Errorf("%d ids: got %.1f bytes for each, want at most 64", n, got)
		} else {
			t.Logf("%d ids: %.1f bytes for each", n, got)
		}
	}
}
