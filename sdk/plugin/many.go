package plugin

import (
	"math/bits"

	"github.com/klamm-io/klamm/sdk/abi"
)

// What many records have in common is done here for all of a batch, in loops
// without calls: a call of a function costs more in a module of Go's than most
// of what it does for a record.

// NoKey stands for the hash of a key that is null. No hash is as large.
const NoKey = uint32(1) << 31

// KeyHashes returns Murmur2 of the keys of all records, NoKey for those without.
// Ask for the field Key. The slice is valid until the next KeyHashes.
func (b *Batch) KeyHashes() []uint32 {
	const m, r = 0x5bd1e995, 24
	mem, out := b.b, b.hashes[:b.count]
	for i := range out {
		at := b.starts[i]
		w := u64(mem, at+abi.RecKeyOff)
		at += uint32(w)
		n := uint32(w >> 32)
		if int32(n) < 0 {
			out[i] = NoKey
			continue
		}
		// This is Murmur2.
		h := uint32(0x9747b28c) ^ n
		for end := at + n&^7; at < end; at += 8 {
			w := u64(mem, at)
			k1, k2 := uint32(w)*m, uint32(w>>32)*m
			h = (h*m^(k1^k1>>r)*m)*m ^ (k2^k2>>r)*m
		}
		if n&7 != 0 {
			if n&4 != 0 {
				k := u32(mem, at) * m
				h = h*m ^ (k^k>>r)*m
				at += 4
			}
			if n &= 3; n != 0 {
				for j, c := range view(mem, at, int32(n)) {
					h ^= uint32(c) << (8 * j)
				}
				h *= m
			}
		}
		h = (h ^ h>>13) * m
		out[i] = (h ^ h>>15) & 0x7fffffff
	}
	return out
}

// RouteAll is Route for each record, to the partition of its index; a negative
// one leaves its record as it is. There must be Len of them.
func (b *Batch) RouteAll(partitions []int32) {
	if len(partitions) != b.count {
		panic(errOutside)
	}
	for i, p := range partitions {
		if p >= 0 {
			b.At(i).Route(uint32(p))
		}
	}
}

// OneTopic returns the topic of all records, if they have the same one. A
// partitioner's always have.
func (b *Batch) OneTopic() (t Topic, ok bool) {
	return Topic{b.b, b.topicsOff}, b.topics == 1
}

// Absent returns the first record from i on that is not in the set, or BatchMax:
//
//	for i := fresh.Absent(0); i < b.Len(); i = fresh.Absent(i + 1) {
func (s Bits) Absent(i int) int {
	for ; i < abi.BatchMax; i = i&^63 + 64 {
		if rest := ^s.words[i/64] >> (i % 64); rest != 0 {
			return i + bits.TrailingZeros64(rest)
		}
	}
	return abi.BatchMax
}
