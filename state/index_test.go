package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// fault tells what is wrong with an index that has the slots of these ids.
func (x *index) fault(has map[uint32]ID) string {
	if int(x.used) != len(has) {
		return fmt.Sprintf("an index of %d ids counts %d", len(has), x.used)
	}
	behind, found := make([]uint16, len(x.lines)), 0
	for i := range x.lines {
		l := &x.lines[i]
		for _, slot := range l.slots[:l.used] {
			id, ok := has[slot]
			if !ok {
				continue // it has gone
			}
			found++
			for h := x.home(&id); h != i; h = x.next(h) {
				behind[h]++
			}
		}
	}
	if found != len(has) {
		return fmt.Sprintf("%d of %d ids stand in an index", found, len(has))
	}
	for i := range x.lines {
		if x.lines[i].behind != behind[i] {
			return fmt.Sprintf("line %d counts %d behind it, there are %d", i, x.lines[i].behind, behind[i])
		}
	}
	return ""
}

// TestIndexModel compares an index with a map, with so few hashes that lines are
// full and stand in each other's way. Ids are remembered, or those of records in
// flight, which are confirmed or released.
func TestIndexModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, f := newMemory(Key{}, 1<<20, 0), newFlight()
		m.ids.flight = &f
		b := m.Bucket("p").(*memoryBucket)
		origin := b.origin("t")
		x := &m.ids.parts[0]
		x.want = uint32(rapid.IntRange(1, 6).Draw(t, "lines"))
		hash := rapid.SampledFrom([]uint64{0, 1, 1 << 29, 1 << 30, 1 << 31, 3 << 30, 1<<32 - 1, 1<<48 | 1, 1<<63 | 1})
		number := uint64(0)
		has := map[uint32]ID{}
		fresh := func(t *rapid.T) ID {
			number++
			id := ID{hash.Draw(t, "hash"), number}
			if slot := m.ids.find(&id); slot != 0 {
				t.Fatalf("%v is not there, got slot %d", id, slot)
			}
			return id
		}
		one := func(t *rapid.T, which uint32) uint32 {
			slots := []uint32{0}[:0]
			for slot := range has {
				if slot&pending == which {
					slots = append(slots, slot)
				}
			}
			if len(slots) == 0 {
				t.Skip("nothing there")
			}
			slices.Sort(slots)
			return rapid.SampledFrom(slots).Draw(t, "slot")
		}
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				for range rapid.IntRange(1, 8).Draw(t, "ids") {
					id := fresh(t)
					m.add(&id).origin = origin
					has[before(m.head)] = id
				}
			},
			"claim": func(t *rapid.T) {
				for range rapid.IntRange(1, 8).Draw(t, "ids") {
					id := fresh(t)
					c := f.nextClaim()
					place, _, ok := x.add(&id, c|pending, &m.ids)
					if !ok {
						place = x.insert(&id, c|pending, &m.ids)
					}
					f.claim(c, f.enter(Ref(number)), &id, place, 0, 0)
					has[c|pending] = id
				}
			},
			"confirm": func(t *rapid.T) {
				slot := one(t, pending)
				id := has[slot]
				to, e := m.append(&id)
				e.origin = origin
				x.move(&id, slot, to, f.claims[slot&^pending].place)
				if f.claims[slot&^pending].place == elsewhere {
					m.displace(to)
				}
				f.release(slot &^ pending)
				delete(has, slot)
				has[to] = id
			},
			"release": func(t *rapid.T) {
				slot := one(t, pending)
				id := has[slot]
				x.remove(&id, slot)
				f.release(slot &^ pending)
				delete(has, slot)
			},
			"remove": func(t *rapid.T) {
				slot := one(t, 0)
				m.remove(slot)
				delete(has, slot)
			},
			"oldest goes": func(t *rapid.T) {
				if m.empty() {
					t.Skip("nothing there")
				}
				slot := m.tail
				if _, ok := has[slot]; !ok {
					t.Fatalf("the oldest slot, %x, is nobody's", slot)
				}
				m.remove(slot)
				delete(has, slot)
			},
			"": func(t *rapid.T) {
				for slot, id := range has {
					if got := m.ids.find(&id); got != slot {
						t.Fatalf("%v is in slot %x, got %x", id, slot, got)
					}
					if _, _, ok := x.add(&id, slot, &m.ids); ok {
						t.Fatalf("%v is there and was added", id)
					}
				}
				if fault := x.fault(has); fault != "" {
					t.Fatal(fault)
				}
			},
		})
	})
}

// An index without a window, which needs no certain size, moves its ids as often as
// one that doubles does.
func TestIndexInFlightDoubles(t *testing.T) {
	const n = 1 << 12
	f := newFlight()
	f.claims = make([]claim, n)
	x := &ids{flight: &f}
	part, moved := &x.parts[0], 0
	for i := range f.claims {
		f.claims[i].id = ID{uint64(i) << 20, uint64(i)}
		before := len(part.lines)
		f.claims[i].place = part.insert(&f.claims[i].id, pending|uint32(i), x)
		if len(part.lines) != before {
			moved += i
		}
	}
	if moved > 2*n {
		t.Errorf("%d ids were moved for %d that came", moved, n)
	}
}

// BenchmarkIndexInFlight is the index of a state whose ids are kept elsewhere, while
// more and more records are in flight.
func BenchmarkIndexInFlight(b *testing.B) {
	const n = 1 << 18
	rng := rand.New(rand.NewPCG(1, 2))
	f := newFlight()
	f.claims = make([]claim, n)
	for i := range f.claims {
		f.claims[i].id = ID{rng.Uint64(), rng.Uint64()}
	}
	b.ReportAllocs()
	for b.Loop() {
		x := &ids{flight: &f}
		for i := range f.claims {
			id := &f.claims[i].id
			f.claims[i].place = x.part(id).insert(id, pending|uint32(i), x)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/id")
}
