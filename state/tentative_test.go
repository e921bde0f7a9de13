package state_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// transactional opens a ledger where the hundreds of a ref are its transaction, 0
// for none.
func transactional(t *testing.T) (*state.Ledger, *state.Space) {
	t.Helper()
	l := state.NewLedger(state.Options{Transaction: func(r state.Ref) uint64 { return uint64(r) / 100 }})
	if err := l.Open("ids", state.StoreConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, space(t, l, "ids", "dedup", state.SpaceOptions{})
}

func claims(t *testing.T, s *state.Space, ref state.Ref, want int32) state.Answer {
	t.Helper()
	a := s.Claim(ref, "t", []byte("id"), 0, 1)
	if a.Code != want {
		t.Fatalf("record %d claims: got %d, want %d", ref, a.Code, want)
	}
	return a
}

var wroteIt = state.Settlement{Outcome: klamm.Written, At: state.Position{Topic: "t", Partition: 1, Offset: 7}, NowMS: 1}

// Who waits within the transaction has its completion when the owner is written;
// the claim stays pending until the transaction ends.
func TestTentativeWithinTheTransaction(t *testing.T) {
	for _, committed := range []bool{true, false} {
		l, s := transactional(t)
		claims(t, s, 101, state.New)
		early := claims(t, s, 102, state.Pending)
		if _, settled := early.Wait.Commit(102, "dedup"); settled {
			t.Fatal("a duplicate is settled before the record that it duplicates")
		}
		out := l.Tentative(101, wroteIt, nil)
		if len(out) != 1 || out[0].Waiter != 102 || out[0].Outcome != klamm.Dropped || out[0].At != wroteIt.At {
			t.Fatalf("tentative: %+v", out)
		}
		late := claims(t, s, 103, state.Pending)
		if r, settled := late.Wait.Commit(103, "dedup"); !settled || r.Outcome != klamm.Dropped || r.At != wroteIt.At {
			t.Fatalf("a later duplicate: %+v, settled %v", r, settled)
		}
		end, then := wroteIt, state.Confirmed
		if !committed {
			end, then = state.Settlement{Outcome: klamm.Failed, Err: klamm.ErrTransactionAborted}, state.New
		}
		if out := l.Settle(101, end); len(out) > 0 {
			t.Errorf("the end completes %+v once more", out)
		}
		claims(t, s, 201, then)
	}
}

// No transaction waits for another, nor for a record outside of any. A record
// outside waits for a transaction, and follows its end.
func TestTentativeAcrossTransactions(t *testing.T) {
	tests := []struct {
		name          string
		owner, waiter state.Ref
		refused       bool
	}{
		{"another transaction", 101, 201, true},
		{"a record outside of transactions owns it", 1, 201, true},
		{"a record outside of transactions waits", 101, 2, false},
	}
	for _, tt := range tests {
		for _, tentative := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				l, s := transactional(t)
				claims(t, s, tt.owner, state.New)
				if tentative {
					l.Tentative(tt.owner, wroteIt, nil)
				}
				r, settled := claims(t, s, tt.waiter, state.Pending).Wait.Commit(tt.waiter, "dedup")
				if settled != tt.refused || settled && !errors.Is(r.Err, klamm.ErrDuplicatePending) {
					t.Fatalf("got %+v, settled %v", r, settled)
				}
				out := l.Settle(tt.owner, wroteIt)
				if n := len(out); tt.refused != (n == 0) {
					t.Errorf("the end completes %+v", out)
				}
				if !tt.refused && (out[0].Waiter != tt.waiter || out[0].Outcome != klamm.Dropped) {
					t.Errorf("the end completes %+v", out)
				}
				claims(t, s, 301, state.Confirmed)
			})
		}
	}
}

// TentativeSame does for many records of one batch, beyond the size of a lot, what
// Tentative does for each.
func TestTentativeSameIsTentative(t *testing.T) {
	const n = 600
	one, oneSpace := transactional(t)
	all, allSpace := transactional(t)
	refs, offsets := []state.Ref{}, []int64{}
	for i := range n {
		owner, early := state.Ref(100*(1+i/40)+i%40), state.Ref(100*(1+i/40)+40+i%40)
		for _, s := range []*state.Space{oneSpace, allSpace} {
			if a := s.Claim(owner, "t", fmt.Append(nil, i), 0, 1); a.Code != state.New {
				t.Fatalf("record %d: %+v", owner, a)
			}
			if i%3 == 0 { // of the same transaction
				if _, settled := s.Claim(early, "t", fmt.Append(nil, i), 0, 1).Wait.Commit(early, "dedup"); settled {
					t.Fatalf("record %d is settled before the one that it duplicates", early)
				}
			}
		}
		refs, offsets = append(refs, owner), append(offsets, int64(1000+i))
	}
	fate := wroteIt
	got := all.TentativeSame(refs, offsets, fate, nil)
	var want []state.Resolution
	for i, ref := range refs {
		fate.At.Offset = offsets[i]
		want = one.Tentative(ref, fate, want)
	}
	if len(want) != n/3 {
		t.Fatalf("%d waiters are complete, want %d", len(want), n/3)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("TentativeSame does other than Tentative (-want +got):\n%s", diff)
	}
	for i := range n { // and who comes later
		late := state.Ref(100*(1+i/40) + 80 + i%20)
		w, _ := oneSpace.Claim(late, "t", fmt.Append(nil, i), 0, 1).Wait.Commit(late, "dedup")
		g, settled := allSpace.Claim(late, "t", fmt.Append(nil, i), 0, 1).Wait.Commit(late, "dedup")
		if !settled || w != g || g.At.Offset != offsets[i] {
			t.Fatalf("a later duplicate of record %d: %+v, settled %v, want %+v", i, g, settled, w)
		}
	}
}
