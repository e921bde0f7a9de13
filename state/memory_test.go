package state

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// known is an id of the list that a window is compared with.
type known struct {
	id        ID
	offset    int64
	expiresMS int64
}

// windowTest does the same with a window and with a list.
type windowTest struct {
	*testing.T
	m    *memory
	b    *memoryBucket
	list []known // the oldest first
	now  int64
	next uint64
	ids  *rand.Rand // few bits of an id tell its line: those of a progression would spread too well
}

func (w *windowTest) goes(i int) { w.list = slices.Delete(w.list, i, i+1) }

func (w *windowTest) trim() {
	for range expirePerAdd {
		if len(w.list) > 0 && over(w.list[0].expiresMS, w.now) {
			w.goes(0)
		}
	}
	for len(w.list) > w.m.max {
		w.goes(0)
	}
}

func (w *windowTest) remember(ttl int64) {
	w.next++
	k := known{ID{w.ids.Uint64(), w.ids.Uint64()}, int64(w.next), deadline(w.now, ttl)}
	if err := w.b.Remember(k.id, Position{Topic: "t", Offset: k.offset}, k.expiresMS, w.now); err != nil {
		w.Fatal(err)
	}
	w.list = append(w.list, k)
	w.trim()
}

func (w *windowTest) find(i int) {
	k := w.list[i]
	at, ok, err := w.b.Find(k.id, w.now)
	if err != nil || ok == over(k.expiresMS, w.now) || ok && at.Offset != k.offset {
		w.Fatalf("id %d: got %v, %v, %v", k.offset, at, ok, err)
	}
	if !ok {
		w.goes(i)
	}
}

func (w *windowTest) compare() {
	w.Helper()
	step := w.m.walk()
	defer step.end()
	for i, k := range w.list {
		e := step.step()
		if e == nil || e.id != k.id || e.offset != k.offset {
			w.Fatalf("id %d of %d: got %+v, want %+v", i, len(w.list), e, k)
		}
		if slot := w.m.find(&k.id); slot == 0 || w.m.at(slot) != e {
			w.Fatalf("id %d: not found where it is", i)
		}
	}
	if fault := w.m.faults(); fault != "" {
		w.Fatal(fault)
	}
	if e := step.step(); e != nil || w.m.count != len(w.list) || w.b.usage.Entries != len(w.list) {
		w.Fatalf("%d entries, usage %+v, %+v behind the last one, want %d", w.m.count, w.b.usage, e, len(w.list))
	}
}

// TestWindowWithHoles lets ids go out of the middle, by age and by count, while
// the numbers of entries come to their end and begin again, and holds the order,
// what is found, and the memory that it takes, to those of a list.
func TestWindowWithHoles(t *testing.T) {
	const size = 2000
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		w := &windowTest{T: t, m: newMemory(Key{}, size, 0), now: 1, ids: rand.New(rand.NewPCG(seed, 1))}
		w.b = w.m.Bucket("p").(*memoryBucket)
		w.m.head = slotMask - 30_000 + uint32(seed)
		w.m.tail = w.m.head
		packed := 0
		for turn := range 120_000 {
			holey := turn/20_000%2 == 1
			switch was := w.m.pack.on; {
			case !holey && rng.IntN(3) == 0, len(w.list) < size/2, rng.IntN(2) == 0:
				w.remember([]int64{0, 0, 5, 3000}[rng.IntN(4)])
			case rng.IntN(4) == 0:
				w.find(rng.IntN(len(w.list)))
			default:
				i := rng.IntN(len(w.list))
				if !w.m.Forget("p", w.list[i].id) {
					t.Fatalf("id %d is not there", w.list[i].offset)
				}
				w.goes(i)
				if was && !w.m.pack.on {
					packed++
				}
			}
			w.now += int64(rng.IntN(2))
			if turn%997 == 0 || turn > 119_990 {
				w.compare()
			}
			if most := (size+size/4+packHoles)/chunkEntries + 4; w.m.made > most {
				t.Fatalf("turn %d: %d chunks, want %d at most, with %d holes", turn, w.m.made, most, w.m.holes)
			}
		}
		if w.m.head > 1<<30 || packed < 3 || w.b.usage.Evictions < 1000 || w.b.usage.Expired < 1000 {
			t.Errorf("seed %d: head %d, packed %d times, %+v: want more of each", seed, w.m.head, packed, w.b.usage)
		}
	}
}

// TestWalkWhileHolesClose: a walk meets each id that stays once, though others go
// and memory would be packed.
func TestWalkWhileHolesClose(t *testing.T) {
	const size = 4000
	w := &windowTest{T: t, m: newMemory(Key{}, size, 0), now: 1, ids: rand.New(rand.NewPCG(3, 1))}
	w.b = w.m.Bucket("p").(*memoryBucket)
	for range size {
		w.remember(0)
	}
	rng := rand.New(rand.NewPCG(8, 9))
	walk, met := w.m.walk(), map[ID]int{}
	for e := walk.step(); e != nil; e = walk.step() {
		met[e.id]++
		for range min(2, 600-len(met)) { // at first those that would be next go
			w.m.Forget("p", w.list[0].id)
			w.goes(0)
		}
		if len(w.list) > 500 {
			i := rng.IntN(len(w.list))
			w.m.Forget("p", w.list[i].id)
			w.goes(i)
		}
		if len(met)%3 == 0 {
			w.remember(0)
		}
	}
	walk.end()
	for _, k := range w.list {
		if met[k.id] != 1 {
			t.Fatalf("id %d was met %d times", k.offset, met[k.id])
		}
	}
	w.compare()
	holes := w.m.holes
	for range 1000 {
		w.remember(0)
		i := len(w.list) / 2
		w.m.Forget("p", w.list[i].id)
		w.goes(i)
	}
	if w.compare(); holes <= w.m.max/4+packHoles || w.m.holes > w.m.max/4+packHoles {
		t.Errorf("%d holes after the walk, then %d", holes, w.m.holes)
	}
}
