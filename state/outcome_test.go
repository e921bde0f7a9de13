package state_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

var (
	errBroker  = errors.New("message too large")
	errUnknown = fmt.Errorf("orders/3: %w after 2m", klamm.ErrOutcomeUnknown)
	written    = state.Position{Topic: "orders", Partition: 3, Offset: 42}
	replaced   = state.Position{Topic: "dead", Partition: 0, Offset: 7}
)

// outcomes is the table of the package's documentation.
var outcomes = []struct {
	name   string
	hold   bool
	settle state.Settlement
	claim  int32 // what a later record is told that claims the id
	waiter state.Resolution
	counts state.SpaceStats
}{
	{
		name:   "acknowledged",
		settle: state.Settlement{Outcome: klamm.Written, At: written},
		claim:  state.Confirmed,
		waiter: state.Resolution{Outcome: klamm.Dropped, Plugin: "dedup", Reason: state.ReasonDuplicate, At: written},
		counts: state.SpaceStats{Entries: 1},
	},
	{
		name:   "dropped by another plugin",
		settle: state.Settlement{Outcome: klamm.Dropped, Plugin: "filter", Reason: "filtered"},
		claim:  state.New,
		waiter: state.Resolution{Outcome: klamm.Dropped, Plugin: "filter", Reason: "filtered"},
	},
	{
		name:   "dead-lettered",
		settle: state.Settlement{Outcome: klamm.DeadLettered, At: replaced, Plugin: "schema", Reason: "invalid"},
		claim:  state.New,
		waiter: state.Resolution{Outcome: klamm.Dropped, Plugin: "dedup", Reason: state.ReasonDuplicateDeadLettered, At: replaced},
	},
	{
		name:   "failed for certain",
		settle: state.Settlement{Outcome: klamm.Failed, Err: errBroker},
		claim:  state.New,
		waiter: state.Resolution{Outcome: klamm.Failed, Err: errBroker},
	},
	{
		name:   "failed by a plugin",
		settle: state.Settlement{Outcome: klamm.Failed, Plugin: "schema", Reason: "invalid", Err: errBroker},
		claim:  state.New,
		waiter: state.Resolution{Outcome: klamm.Failed, Plugin: "schema", Reason: "invalid", Err: errBroker},
	},
	{
		name:   "unknown, released",
		settle: state.Settlement{Outcome: klamm.Failed, Unknown: true, Err: errUnknown},
		claim:  state.New,
		waiter: state.Resolution{Outcome: klamm.Failed, Err: errUnknown},
		counts: state.SpaceStats{UnknownReleased: 1},
	},
	{
		name:   "unknown, told by the error alone",
		settle: state.Settlement{Outcome: klamm.Failed, Err: errUnknown},
		claim:  state.New,
		waiter: state.Resolution{Outcome: klamm.Failed, Err: errUnknown},
		counts: state.SpaceStats{UnknownReleased: 1},
	},
	{
		name:   "unknown, without an error",
		settle: state.Settlement{Outcome: klamm.Failed, Unknown: true},
		claim:  state.New,
		waiter: state.Resolution{Outcome: klamm.Failed, Err: klamm.ErrOutcomeUnknown},
		counts: state.SpaceStats{UnknownReleased: 1},
	},
	{
		name:   "unknown, held",
		hold:   true,
		settle: state.Settlement{Outcome: klamm.Failed, Unknown: true, Err: errUnknown},
		claim:  state.Confirmed,
		waiter: state.Resolution{Outcome: klamm.Failed, Err: errUnknown},
		counts: state.SpaceStats{UnknownHeld: 1, Entries: 1},
	},
}

const (
	owner state.Ref = iota + 1
	duplicate
	later
)

func TestOutcomeCommittedBefore(t *testing.T) {
	for _, test := range outcomes {
		t.Run(test.name, func(t *testing.T) {
			l, s := open(t, state.StoreConfig{}, state.SpaceOptions{HoldUnknown: test.hold})
			claimFresh(t, s, owner, "x")
			w := claimPending(t, s, duplicate, "x")
			if r, settled := w.Commit(duplicate, "dedup"); settled {
				t.Fatalf("settled before the owner was: %+v", r)
			}
			if got := l.Stats()[0].Waiters; got != 1 {
				t.Errorf("got %d waiters, want 1", got)
			}
			want := test.waiter
			want.Waiter = duplicate
			diff(t, []state.Resolution{want}, l.Settle(owner, test.settle))
			checkAfter(t, l, s, test.claim, test.counts)
		})
	}
}

func TestOutcomeCommittedAfter(t *testing.T) {
	for _, test := range outcomes {
		t.Run(test.name, func(t *testing.T) {
			l, s := open(t, state.StoreConfig{}, state.SpaceOptions{HoldUnknown: test.hold})
			claimFresh(t, s, owner, "x")
			w := claimPending(t, s, duplicate, "x")
			if got := l.Settle(owner, test.settle); got != nil {
				t.Fatalf("resolved who had not committed: %+v", got)
			}
			r, settled := w.Commit(duplicate, "dedup")
			if !settled {
				t.Fatal("not settled although the owner is")
			}
			want := test.waiter
			want.Waiter = duplicate
			diff(t, want, r)
			checkAfter(t, l, s, test.claim, test.counts)
		})
	}
}

func TestOutcomeCancelled(t *testing.T) {
	for _, test := range outcomes {
		t.Run(test.name, func(t *testing.T) {
			l, s := open(t, state.StoreConfig{}, state.SpaceOptions{HoldUnknown: test.hold})
			claimFresh(t, s, owner, "x")
			before, after := claimPending(t, s, duplicate, "x"), claimPending(t, s, later, "x")
			before.Cancel()
			if got := l.Settle(owner, test.settle); got != nil {
				t.Fatalf("resolved who had cancelled: %+v", got)
			}
			after.Cancel()
			checkAfter(t, l, s, test.claim, test.counts)
		})
	}
}

// checkAfter checks what is left once the owner has its outcome.
func checkAfter(t *testing.T, l *state.Ledger, s *state.Space, code int32, want state.SpaceStats) {
	t.Helper()
	want.State, want.Plugin = "ids", "dedup"
	diff(t, want, l.Stats()[0], cmpopts.IgnoreFields(state.SpaceStats{}, "Claims", "Hits", "PendingHits"))
	if got := s.Claim(later+1, "orders", []byte("x"), time.Minute, 1).Code; got != code {
		t.Errorf("later claim: got %d, want %d", got, code)
	}
}

func claimFresh(t *testing.T, s *state.Space, ref state.Ref, id string) {
	t.Helper()
	if a := s.Claim(ref, "orders", []byte(id), time.Minute, 1); a.Code != state.New || !a.Fresh {
		t.Fatalf("claim %q for %d: got %+v, want a fresh one", id, ref, a)
	}
}

func claimPending(t *testing.T, s *state.Space, ref state.Ref, id string) *state.Wait {
	t.Helper()
	a := s.Claim(ref, "orders", []byte(id), time.Minute, 1)
	if a.Code != state.Pending || a.Wait == nil {
		t.Fatalf("claim %q for %d: got %+v, want a pending one", id, ref, a)
	}
	return a.Wait
}

func commitWaiting(t *testing.T, w *state.Wait, ref state.Ref) {
	t.Helper()
	if r, settled := w.Commit(ref, "dedup"); settled {
		t.Fatalf("commit of %d: settled: %+v", ref, r)
	}
}

func diff(t *testing.T, want, got any, opts ...cmp.Option) {
	t.Helper()
	sameErr := cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) && errors.Is(b, a) })
	if d := cmp.Diff(want, got, append(opts, sameErr)...); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
}
