package state

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klamm-io/klamm"
)

// failing is a window that cannot answer for an id that it has.
type failing struct{ *memory }

type failingBucket struct{ *memoryBucket }

func (f failing) Bucket(plugin string) Bucket {
	return failingBucket{f.memory.Bucket(plugin).(*memoryBucket)}
}

func (failingBucket) findAt(uint32, int64) (Position, bool, error) {
	return Position{}, false, ErrUnavailable
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

// faults looks whether the index of a window has the ids of the window and of the
// claims, each once, and knows which stand behind their line.
func (m *memory) faults() string {
	has := map[*index]map[uint32]ID{}
	add := func(slot uint32, id ID) {
		part := m.ids.part(&id)
		if has[part] == nil {
			has[part] = map[uint32]ID{}
		}
		has[part][slot] = id
	}
	for slot := m.tail; slot != m.head; slot = after(slot) {
		if e := m.at(slot); e.origin != noOrigin {
			add(slot, e.id)
		}
	}
	if f := m.ids.flight; f != nil {
		for o := range f.owners {
			for c := f.owners[o].claims; c != 0; c = f.claims[c].next {
				add(c|pending, f.claims[c].id)
			}
		}
	}
	for i := range m.ids.parts {
		if fault := m.ids.parts[i].fault(has[&m.ids.parts[i]]); fault != "" {
			return fmt.Sprintf("part %d: %s", i, fault)
		}
	}
	return ""
}

// TestIndexOfRecordsInFlight claims and settles in lots, with duplicates, thousands
// in flight, more at some times than at others, and looks into the index.
func TestIndexOfRecordsInFlight(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 2))
		l, m := NewLedger(Options{}), newMemory(Key{seed, 1}, 3000, 0)
		if err := l.OpenBackend("ids", m, StoreConfig{}); err != nil {
			t.Fatal(err)
		}
		s, err := l.Space("ids", "dedup", SpaceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var flown []Ref
		next := uint64(0)
		for turn := range 400 {
			asked := make([]Asked, rng.IntN(300))
			for i := range asked {
				next++
				id := next
				if rng.IntN(5) == 0 {
					id = next - min(next-1, rng.Uint64N(6000))
				}
				asked[i] = Asked{Owner: Ref(next), Topic: "t", ID: fmt.Append(nil, id), NowMS: int64(turn)}
			}
			for _, met := range s.ClaimAll(asked, 0, nil) {
				if met.Wait != nil {
					met.Wait.Cancel()
				}
			}
			for i := range asked {
				if asked[i].Fresh {
					flown = append(flown, asked[i].Owner)
				}
			}
			for most := []int{0, 300, 4000}[turn/20%3]; len(flown) > most; {
				n := min(len(flown), 1+rng.IntN(300))
				fate := Settlement{Outcome: klamm.Written, At: Position{Topic: "t"}, NowMS: int64(turn)}
				if rng.IntN(6) == 0 {
					fate.Outcome, fate.Err = klamm.Failed, klamm.ErrTimeout
				}
				l.SettleSame(flown[:n], make([]int64, n), fate, nil)
				flown = flown[n:]
			}
			if fault := m.faults(); fault != "" {
				t.Fatalf("seed %d, turn %d: %s", seed, turn, fault)
			}
		}
		if got := l.Stats()[0]; got.Evictions < 10_000 || got.Hits < 1000 {
			t.Errorf("seed %d: %+v: want more evictions and hits", seed, got)
		}
	}
}
