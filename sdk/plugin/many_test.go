package plugin

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klamm-io/klamm/sdk/abi"
)

// TestKeyHashesAreMurmur2 hashes keys of all lengths, and null.
func TestKeyHashesAreMurmur2(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		keys := make([]string, rng.IntN(abi.BatchMax+1))
		for i := range keys {
			key := make([]byte, rng.IntN(40))
			for k := range key {
				key[k] = byte(rng.Uint32())
			}
			keys[i] = string(key)
		}
		block := testBlock(0, keys...)
		b := openBatch(t, block)
		null := map[int]bool{}
		for i := range keys {
			if null[i] = rng.IntN(5) == 0; null[i] {
				putU32(block, b.starts[i]+abi.RecKeyLen, 1<<32-1)
			}
		}
		for i, got := range b.KeyHashes() {
			want := Murmur2([]byte(keys[i]))
			if null[i] {
				want = NoKey
			}
			if got != want {
				t.Fatalf("key %q, null %v: got %x, want %x", keys[i], null[i], got, want)
			}
		}
	}
}

// TestRouteAllIsRoute gives two batches the same verdicts, then the same
// partitions, one after the other and all at once.
func TestRouteAllIsRoute(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for round := range 300 {
		keys := make([]string, rng.IntN(20))
		room := rng.IntN(200)
		one, all := openBatch(t, testBlock(room, keys...)), openBatch(t, testBlock(room, keys...))
		partitions := make([]int32, len(keys))
		for i := range keys {
			partitions[i] = rng.Int32N(6) - 1
			before := rng.IntN(6)
			for _, b := range []*Batch{one, all} {
				switch r := b.At(i); before {
				case 0:
					r.Drop(Filtered)
				case 1:
					r.SetKey([]byte("k"))
				case 2:
					r.Route(3)
				case 3:
					r.FailFor(Invalid, "no")
				}
			}
		}
		for i, p := range partitions {
			if p >= 0 {
				one.At(i).Route(uint32(p))
			}
		}
		all.RouteAll(partitions)
		one.finish()
		all.finish()
		if one.full != all.full || one.modUsed != all.modUsed || !slices.Equal(one.b, all.b) {
			t.Fatalf("round %d, partitions %v: the batches differ", round, partitions)
		}
	}
}

func TestRouteAllWantsOneForEachRecord(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two partitions for three records were taken")
		}
	}()
	openBatch(t, testBlock(0, "a", "b", "c")).RouteAll(make([]int32, 2))
}

func TestAbsent(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for range 200 {
		var words [abi.BatchMax / 64]uint64
		for i := range words {
			words[i] = rng.Uint64() | rng.Uint64() | rng.Uint64()
			if rng.IntN(3) == 0 {
				words[i] = ^uint64(0)
			}
		}
		s := Bits{&words}
		var want, got []int
		for i := range abi.BatchMax {
			if !s.Has(i) {
				want = append(want, i)
			}
		}
		for i := s.Absent(0); i < abi.BatchMax; i = s.Absent(i + 1) {
			got = append(got, i)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}
