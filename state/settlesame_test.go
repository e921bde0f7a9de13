package state_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// TestSettleSameIsSettle settles the same records in two ledgers, in one with
// SettleSame and in the other one by one: both resolve, remember and forget
// alike, whatever the outcome, with waiters, and beyond the size of a lot.
func TestSettleSameIsSettle(t *testing.T) {
	cfg := state.StoreConfig{MaxEntries: 700}
	one, oneSpace := open(t, cfg, state.SpaceOptions{HoldUnknown: true})
	all, allSpace := open(t, cfg, state.SpaceOptions{HoldUnknown: true})
	oneOther, allOther := space(t, one, "ids", "other", state.SpaceOptions{}), space(t, all, "ids", "other", state.SpaceOptions{})
	rng := rand.New(rand.NewPCG(3, 4))
	ref, waited := state.Ref(0), 0
	for batch := range 60 {
		now := int64(1000 + batch)
		refs, offsets := []state.Ref{}, []int64{}
		for range rng.IntN(600) {
			ref++
			refs, offsets = append(refs, ref), append(offsets, int64(ref))
			id, ttl := fmt.Append(nil, rng.IntN(3000)), []time.Duration{0, 2 * time.Millisecond, time.Minute}[rng.IntN(3)]
			claims := [][2]*state.Space{{oneSpace, allSpace}, {oneOther, allOther}}[rng.IntN(2):]
			for _, s := range claims {
				want, got := s[0].Claim(ref, "t", id, ttl, now), s[1].Claim(ref, "t", id, ttl, now)
				if want.Code != got.Code || want.Fresh != got.Fresh || want.At != got.At {
					t.Fatalf("batch %d: claim of %s: got %+v, want %+v", batch, id, got, want)
				}
				if want.Wait == nil {
					continue
				}
				waited++
				w, settled := want.Wait.Commit(ref, "dedup")
				g, settledToo := got.Wait.Commit(ref, "dedup")
				if settled != settledToo || w != g {
					t.Fatalf("batch %d: commit: got %+v, want %+v", batch, g, w)
				}
				refs, offsets = refs[:len(refs)-1], offsets[:len(offsets)-1]
				break
			}
		}
		fate := state.Settlement{Outcome: klamm.Written, At: state.Position{Topic: "t", Partition: int32(batch), Offset: -5}, NowMS: now}
		switch rng.IntN(4) {
		case 0:
			fate.Outcome, fate.Err = klamm.Failed, klamm.ErrTimeout
		case 1:
			fate.Outcome, fate.Unknown = klamm.Failed, true
		}
		var want []state.Resolution
		for i, r := range refs {
			s := fate
			s.At.Offset = offsets[i]
			want = append(want, one.Settle(r, s)...)
		}
		// A record that is settled already is none of the second call's.
		got := all.SettleSame(append(slices.Clone(refs), refs...), append(slices.Clone(offsets), offsets...), fate, nil)
		same := cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) })
		if d := cmp.Diff(want, got, same); d != "" {
			t.Fatalf("batch %d: resolutions (-want +got):\n%s", batch, d)
		}
		if d := cmp.Diff(one.Stats(), all.Stats()); d != "" {
			t.Fatalf("batch %d: figures (-want +got):\n%s", batch, d)
		}
	}
	s := all.Stats()[0]
	if waited < 100 || s.Evictions < 100 || s.Expired < 100 || s.UnknownHeld < 100 {
		t.Errorf("%d waited, %d evicted, %d expired, %d held: want more of each", waited, s.Evictions, s.Expired, s.UnknownHeld)
	}
}
