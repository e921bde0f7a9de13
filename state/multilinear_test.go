package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func number(k [2]uint64) *big.Int {
	n := new(big.Int).SetUint64(k[1])
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(k[0]))
}

// unmix undoes the permutation.
func (m *multilinear) unmix(id ID) ID {
	id[1] ^= fold(id[0], m.mix[1])
	id[0] ^= fold(id[1], m.mix[0])
	return id
}

// TestMultilinear holds the hash to its definition.
func TestMultilinear(t *testing.T) {
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 127), big.NewInt(1))
	rapid.Check(t, func(t *rapid.T) {
		m := newMultilinear(Key{rapid.Uint64().Draw(t, "key"), 2})
		for i := range m.keys { // the largest ones, where carries are
			if rapid.Bool().Draw(t, "large") {
				m.keys[i] = Key{1<<64 - 1 - uint64(i), multilinearTop}
			}
		}
		b := bytes.Repeat([]byte{255}, rapid.IntRange(0, 8*multilinearWords).Draw(t, "length"))
		for i := range b {
			if rapid.Bool().Draw(t, "any") {
				b[i] = rapid.Byte().Draw(t, "byte")
			}
		}
		want := new(big.Int).Mul(big.NewInt(int64(len(b))), number(m.keys[multilinearWords]))
		for i := 0; i < len(b); i += 8 {
			var word [8]byte
			copy(word[:], b[i:])
			n := new(big.Int).SetUint64(binary.LittleEndian.Uint64(word[:]))
			want.Add(want, n.Mul(n, number(m.keys[i/8])))
		}
		var id ID
		if !m.hash(b, &id) {
			t.Fatal("too long")
		}
		if got := number(m.unmix(id)); got.Cmp(want.Mod(want, prime)) != 0 {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}

func TestMultilinearReduces(t *testing.T) {
	const all, top = 1<<64 - 1, 1<<63 - 1
	for _, row := range []struct{ s, want [3]uint64 }{
		{[3]uint64{all, top, 0}, [3]uint64{}},
		{[3]uint64{0, 1 << 63, 0}, [3]uint64{1}},
		{[3]uint64{all, all, 0}, [3]uint64{1}},
		{[3]uint64{all - 1, all, 0}, [3]uint64{}},
		{[3]uint64{0, 0, 1<<63 - 1}, [3]uint64{all - 1}},
	} {
		lo, hi := reduce(row.s[0], row.s[1], row.s[2])
		if lo != row.want[0] || hi != row.want[1] {
			t.Errorf("%x: got %x, %x, want %x", row.s, lo, hi, row.want)
		}
	}
}

// TestMultilinearTellsApart: what differs in its length alone, or in zeros at
// its end, and what is too long.
func TestMultilinearTellsApart(t *testing.T) {
	sc := &scope{key: Key{3, 4}, brief: newMultilinear(Key{3, 4})}
	seen := map[ID]int{}
	for n := range 8*multilinearWords + 20 {
		id := sc.hash(make([]byte, n))
		if before, ok := seen[id]; ok {
			t.Errorf("%d and %d zeros have the same hash", before, n)
		}
		seen[id] = n
	}
}

// TestMultilinearSpreads fills an index with ids as people have them, and looks
// how many stand behind the line that they belong to: as few as by chance, which
// is one in sixty.
func TestMultilinearSpreads(t *testing.T) {
	const n = 100_000
	rng := rand.New(rand.NewPCG(5, 6))
	for name, id := range map[string]func(i int) []byte{
		"chance":  func(int) []byte { return binary.LittleEndian.AppendUint64(nil, rng.Uint64()) },
		"counter": func(i int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(i)) },
		"big end": func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) },
		"decimal": func(i int) []byte { return fmt.Append(nil, i) },
		"between": func(i int) []byte { return fmt.Appendf(nil, "order-%012d-eu-west", i) },
		"steps":   func(i int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(i)<<20) },
		"pairs":   func(i int) []byte { return fmt.Appendf(nil, "%08d:%08d", i%300, i/300) },
	} {
		t.Run(name, func(t *testing.T) {
			for key := range uint64(4) {
				h, m := newMultilinear(Key{key, 9}), newMemory(Key{}, n, 0)
				for i := range n {
					var got ID
					h.hash(id(i), &got)
					m.add(&got)
				}
				behind := 0
				for i := range m.ids.parts {
					for j := range m.ids.parts[i].lines {
						behind += int(m.ids.parts[i].lines[j].behind)
					}
				}
				if behind > n/30 {
					t.Errorf("key %d: %d of %d stand behind", key, behind, n)
				}
			}
		})
	}
}
