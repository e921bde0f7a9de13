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
		asked := make([]state.Asked, rng.IntN(20))
		for i := range asked {
			asked[i] = state.Asked{
				Owner: state.Ref(1 + rng.IntN(30)), Topic: fmt.Sprint("t", rng.IntN(2)),
				ID: fmt.Append(nil, rng.IntN(60)), NowMS: now,
			}
		}
		got := allSpace.ClaimAll(asked, time.Second, nil)
		if len(got) != len(asked) {
			t.Fatalf("batch %d: %d answers to %d claims", batch, len(got), len(asked))
		}
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

// A refusal is the last answer.
func TestClaimAllRefused(t *testing.T) {
	l, s := open(t, state.StoreConfig{}, state.SpaceOptions{})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := s.ClaimAll([]state.Asked{{Owner: 1, ID: []byte("a")}, {Owner: 2, ID: []byte("b")}}, 0, nil)
	if len(got) != 1 || got[0].Code != state.Refused {
		t.Errorf("got %+v, want one refusal", got)
	}
}
