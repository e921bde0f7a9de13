package state_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// TestClaimAllIsClaim gives two ledgers the same batches, one with ClaimAll and
// one claim by claim: they answer alike, whatever is pending or confirmed.
func TestClaimAllIsClaim(t *testing.T) {
	cfg := state.StoreConfig{MaxEntries: 64, ScopeTopic: true}
	one, oneSpace := open(t, cfg, state.SpaceOptions{})
	all, allSpace := open(t, cfg, state.SpaceOptions{})
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[int32]int{}
	for batch := range 300 {
		now := int64(1000 + batch)
		asked := make([]state.Asked, rng.IntN(20+300*(batch%30/29)))
		for i := range asked {
			asked[i] = state.Asked{
				Owner: state.Ref(1 + rng.IntN(30)), Topic: fmt.Sprint("t", rng.IntN(2)),
				ID: fmt.Append(nil, rng.IntN(60)), NowMS: now,
			}
		}
		got := answers(asked, allSpace.ClaimAll(asked, time.Second, nil))
		for i, q := range asked {
			want := oneSpace.Claim(q.Owner, q.Topic, q.ID, time.Second, q.NowMS)
			if a := got[i]; a.Code != want.Code || a.Fresh != want.Fresh || a.At != want.At || (a.Wait == nil) != (want.Wait == nil) {
				t.Fatalf("batch %d, claim %d: got %+v, want %+v", batch, i, a, want)
			}
			seen[want.Code]++
			for _, w := range []*state.Wait{got[i].Wait, want.Wait} {
				if w != nil {
					w.Cancel()
				}
			}
		}
		fate := state.Settlement{Outcome: klamm.Written, At: state.Position{Topic: "t", Offset: now}, NowMS: now}
		if rng.IntN(3) == 0 {
			fate = state.Settlement{Outcome: klamm.Failed, Err: klamm.ErrTimeout, NowMS: now}
		}
		ref := state.Ref(1 + rng.IntN(30))
		one.Settle(ref, fate)
		all.Settle(ref, fate)
	}
	for _, code := range []int32{state.New, state.Confirmed, state.Pending} {
		if seen[code] < 20 {
			t.Errorf("answer %d came %d times only", code, seen[code])
		}
	}
}

// TestClaimAllIsClaimOfGone is TestClaimAllIsClaim where most ids have been
// confirmed before and have gone since, and stand in the index all the same.
func TestClaimAllIsClaimOfGone(t *testing.T) {
	cfg := state.StoreConfig{MaxEntries: 64}
	one, oneSpace := open(t, cfg, state.SpaceOptions{})
	all, allSpace := open(t, cfg, state.SpaceOptions{})
	rng := rand.New(rand.NewPCG(3, 4))
	pending := 0
	for batch := range 400 {
		now := int64(1000 + batch)
		asked := make([]state.Asked, 250)
		for i := range asked {
			asked[i] = state.Asked{Owner: state.Ref(1 + i), ID: fmt.Append(nil, rng.IntN(5000)), NowMS: now}
		}
		got := answers(asked, allSpace.ClaimAll(asked, time.Second, nil))
		fate := state.Settlement{Outcome: klamm.Written, At: state.Position{Topic: "t", Offset: now}, NowMS: now}
		for i, q := range asked {
			want := oneSpace.Claim(q.Owner, q.Topic, q.ID, time.Second, q.NowMS)
			if a := got[i]; a.Code != want.Code || a.Fresh != want.Fresh || a.At != want.At {
				t.Fatalf("batch %d, claim %d: got %+v, want %+v", batch, i, a, want)
			}
			if want.Wait != nil {
				pending++
				want.Wait.Cancel()
				got[i].Wait.Cancel()
			}
		}
		for _, q := range asked {
			one.Settle(q.Owner, fate)
			all.Settle(q.Owner, fate)
		}
	}
	if pending < 100 {
		t.Errorf("%d claims met one of the same batch, want more", pending)
	}
}

// answers puts what ClaimAll wrote and returned together.
func answers(asked []state.Asked, met []state.Met) []state.Answer {
	out := make([]state.Answer, len(asked))
	for i, a := range asked {
		out[i] = state.Answer{Code: a.Code, Fresh: a.Fresh}
	}
	for _, m := range met {
		out[m.Index].At, out[m.Index].Wait = m.At, m.Wait
	}
	return out
}

// Behind a refusal all are refused.
func TestClaimAllRefused(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	asked := make([]state.Asked, 300)
	for i := range asked {
		asked[i] = state.Asked{Owner: state.Ref(i + 1), ID: fmt.Append(nil, i), Code: state.New, Fresh: true}
	}
	if met := s.ClaimAll(asked, 0, nil); len(met) != 0 {
		t.Errorf("got %+v, want nothing met", met)
	}
	for i, a := range asked {
		if a.Code != state.Refused || a.Fresh {
			t.Fatalf("claim %d: got %+v, want a refusal", i, a)
		}
	}
}
