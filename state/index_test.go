package state

import (
	"testing"

	"pgregory.net/rapid"
)

// TestIndexModel compares an index with a map, with so few hashes that lines are
// full and stand in each other's way.
func TestIndexModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory(Key{}, 1<<20, 0)
		x := &m.parts[0]
		x.want = rapid.IntRange(1, 6).Draw(t, "lines")
		hash := rapid.SampledFrom([]uint64{0, 1, 1 << 29, 1 << 30, 1 << 31, 3 << 30, 1<<32 - 1})
		number := uint64(0)
		has := map[uint32]ID{}
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				number++
				id := ID{hash.Draw(t, "hash"), number}
				if slot := m.find(&id); slot != 0 {
					t.Fatalf("%v is not there, got slot %d", id, slot)
				}
				m.add(&id)
				has[m.newest] = id
			},
			"remove": func(t *rapid.T) {
				slots := []uint32{0}[:0]
				for slot := uint32(1); slot <= m.slots; slot++ {
					if _, ok := has[slot]; ok {
						slots = append(slots, slot)
					}
				}
				if len(slots) == 0 {
					t.Skip("nothing there")
				}
				slot := rapid.SampledFrom(slots).Draw(t, "slot")
				e := m.at(slot)
				x.remove(&e.id, slot)
				delete(has, slot)
			},
			"": func(t *rapid.T) {
				for slot, id := range has {
					if got := m.find(&id); got != slot {
						t.Fatalf("%v is in slot %d, got %d", id, slot, got)
					}
				}
				used, behind := 0, 0
				for i := range x.lines {
					used += int(x.lines[i].used)
					behind += int(x.lines[i].behind)
				}
				if used != len(has) || x.used != used {
					t.Fatalf("%d pairs in lines that count %d, an index that counts %d", len(has), used, x.used)
				}
				if len(has) == 0 && behind != 0 {
					t.Fatalf("%d stand behind in an empty index", behind)
				}
			},
		})
	})
}
