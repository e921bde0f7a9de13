package state

import (
	"encoding/binary"
	"math/bits"
)

// multilinear hashes ids for states that end with the process: the words of an
// id, each times a key of its own, summed up modulo the prime 2^127-1. Ids that
// somebody chose who does not know the keys, which no answer to a claim tells,
// are given the same hash by one choice of a key in 2^123, whatever the other
// keys are. That is proven, and takes two fifths of the time of SipHash. Longer ids
// are SipHash's.
//
// What follows the sum permutes it. Ids that count up are a progression, which
// need not spread over the lines of an index.
type multilinear struct {
	keys [multilinearWords + 1]Key // of the words, and of the length
	mix  Key
}

const (
	// multilinearWords is how many words of 8 bytes an id may have.
	multilinearWords = 12
	// multilinearTop has the bits of the upper half of a key: the sum of 13
	// products of 64 and 123 bits has 191.
	multilinearTop = 1<<59 - 1
)

// newMultilinear draws the keys of a scope out of that of its SipHash.
func newMultilinear(root Key) *multilinear {
	m := &multilinear{mix: draw(root, 0)}
	for i := range m.keys {
		m.keys[i] = draw(root, uint64(i+1))
		m.keys[i][1] &= multilinearTop
	}
	m.mix[0] |= 1
	m.mix[1] |= 1
	return m
}

func draw(root Key, number uint64) Key {
	return Key(root.hash(binary.LittleEndian.AppendUint64(nil, number)))
}

// hash returns false for an id that is too long.
func (m *multilinear) hash(b []byte, id *ID) bool {
	if len(b) > multilinearWords*8 {
		return false
	}
	var s0, s1, s2 uint64
	keys := m.keys[:]
	length := uint64(len(b))
	for len(b) >= 8 {
		s0, s1, s2 = addProduct(s0, s1, s2, binary.LittleEndian.Uint64(b), &keys[0])
		b, keys = b[8:], keys[1:]
	}
	if len(b) > 0 {
		var rest uint64
		for i := len(b) - 1; i >= 0; i-- {
			rest = rest<<8 | uint64(b[i])
		}
		s0, s1, s2 = addProduct(s0, s1, s2, rest, &keys[0])
	}
	s0, s1, s2 = addProduct(s0, s1, s2, length, &m.keys[multilinearWords])
	lo, hi := reduce(s0, s1, s2)
	// Two rounds of Feistel's, which lose nothing.
	lo ^= fold(hi, m.mix[0])
	hi ^= fold(lo, m.mix[1])
	id[0], id[1] = lo, hi
	return true
}

// addProduct returns s + word * key.
func addProduct(s0, s1, s2, word uint64, key *Key) (uint64, uint64, uint64) {
	h0, l0 := bits.Mul64(word, key[0])
	h1, l1 := bits.Mul64(word, key[1])
	var c uint64
	s0, c = bits.Add64(s0, l0, 0)
	s1, c = bits.Add64(s1, l1, c)
	s2, _ = bits.Add64(s2, h1, c)
	s1, c = bits.Add64(s1, h0, 0)
	return s0, s1, s2 + c
}

// reduce returns the remainder of s, which has 191 bits.
func reduce(s0, s1, s2 uint64) (lo, hi uint64) {
	const top = 1<<63 - 1
	// 2^127 is 1: what stands above it is added below.
	lo, c := bits.Add64(s0, s1>>63|s2<<1, 0)
	hi = s1&top + c
	lo, c = bits.Add64(lo, hi>>63, 0)
	hi = hi&top + c
	if lo == 1<<64-1 && hi == top {
		return 0, 0
	}
	return lo, hi
}

// fold returns both halves of a product in one.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
