package state

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestIndexModel compares an index with a map, with so few hashes that lines are
// full and stand in each other's way. Ids are remembered, or those of records in
// flight, which are confirmed or released.
func TestIndexModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, f := newMemory(Key{}, 1<<20, 0), newFlight()
		m.ids.flight = &f
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
				id := fresh(t)
				m.add(&id)
				has[m.newest] = id
			},
			"claim": func(t *rapid.T) {
				id := fresh(t)
				c := f.nextClaim()
				place, _, ok := x.add(&id, c|pending)
				if !ok {
					place = x.insert(&id, c|pending, &m.ids)
				}
				f.claim(c, f.enter(Ref(number)), &id, place, 0, 0)
				has[c|pending] = id
			},
			"confirm": func(t *rapid.T) {
				slot := one(t, pending)
				id := has[slot]
				to, _ := m.append(&id)
				x.move(&id, slot, to, f.claims[slot&^pending].place)
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
				e := m.at(slot)
				x.remove(&e.id, slot)
				delete(has, slot)
			},
			"": func(t *rapid.T) {
				for slot, id := range has {
					if got := m.ids.find(&id); got != slot {
						t.Fatalf("%v is in slot %x, got %x", id, slot, got)
					}
					if _, _, ok := x.add(&id, slot); ok {
						t.Fatalf("%v is there and was added", id)
					}
				}
				used, behind := 0, 0
				for i := range x.lines {
					used += int(x.lines[i].used)
					behind += int(x.lines[i].behind)
				}
				if used != len(has) || int(x.used) != used {
					t.Fatalf("%d pairs in lines that count %d, an index that counts %d", len(has), used, x.used)
				}
				if len(has) == 0 && behind != 0 {
					t.Fatalf("%d stand behind in an empty index", behind)
				}
			},
		})
	})
}
