package state

import (
	"fmt"
	"testing"

	"github.com/klamm-io/klamm"
)

// failing is a window that cannot answer for an id that it has.
type failing struct{ *memory }

type failingBucket struct{ *memoryBucket }

func (f failing) Bucket(plugin string) Bucket {
	return failingBucket{f.memory.Bucket(plugin).(*memoryBucket)}
}

func (b failingBucket) Find(id ID, _ int64) (at Position, ok bool, err error) {
	if b.m.find(&id) != 0 {
		err = ErrUnavailable
	}
	return at, false, err
}

// TestRefusedInTheMiddle: what stands behind a claim that is refused has no claim,
// though it was new, and keeps one that it had before.
func TestRefusedInTheMiddle(t *testing.T) {
	l := NewLedger(Options{})
	if err := l.OpenBackend("ids", failing{newMemory(NewKey(), 100, 0)}, StoreConfig{}); err != nil {
		t.Fatal(err)
	}
	s, err := l.Space("ids", "dedup", SpaceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Claim(100, "t", []byte("known"), 0, 1)
	l.Settle(100, Settlement{Outcome: klamm.Written, NowMS: 1})
	s.Claim(7, "t", []byte("7"), 0, 1)
	asked := make([]Asked, 300)
	for i := range asked {
		asked[i] = Asked{Owner: Ref(i), Topic: "t", ID: fmt.Append(nil, i), Code: New, Fresh: true}
	}
	asked[5].ID = []byte("known")
	asked[9].ID = asked[2].ID // pending when it is asked for
	if met := s.ClaimAll(asked, 0, nil); len(met) != 0 {
		t.Errorf("met %+v", met)
	}
	for i := range asked {
		q := &asked[i]
		if want := i < 5; (q.Code == New) != want || q.Fresh != want || !want && q.Code != Refused {
			t.Errorf("claim %d: got code %d, fresh %v", i, q.Code, q.Fresh)
		}
		if i == 5 || i == 9 {
			continue
		}
		o := Ref(0)
		if c := s.ids.claimed(&q.key); c != 0 {
			o = l.flight.owners[l.flight.claims[c].owner].ref + 1
		}
		if want := Ref(i + 1); i < 5 || i == 7 {
			if o != want {
				t.Errorf("id %d: record %d has it", i, int(o)-1)
			}
		} else if o != 0 {
			t.Errorf("id %d: record %d still has it", i, int(o)-1)
		}
	}
	if got := l.Stats()[0]; got.Pending != 6 || got.Claims != 1+1+5+1 {
		t.Errorf("got %+v, want 6 pending of 8 claims", got)
	}
}
