package state

import "math/bits"

// index finds the slot of a hash: an open-addressing table with linear probing
// whose places keep 32 bits of the hash, so that growing and deleting never
// touch what the slots hold. It grows by a quarter, which bounds its memory at
// 8/0.6 bytes a slot; above three quarters full, probing gets long.
type index struct {
	places []place
	used   int
}

type place struct {
	tag  uint32
	slot uint32 // 0: empty
}

const indexStart = 8

func (x *index) home(tag uint32) int {
	hi, _ := bits.Mul64(uint64(tag)<<32, uint64(len(x.places)))
	return int(hi)
}

// next returns the place after i.
func (x *index) next(i int) int {
	if i++; i == len(x.places) {
		return 0
	}
	return i
}

func (x *index) insert(tag, slot uint32) {
	if x.used >= len(x.places)/4*3 {
		x.grow()
	}
	x.used++
	x.put(tag, slot)
}

func (x *index) put(tag, slot uint32) {
	i := x.home(tag)
	for x.places[i].slot != 0 {
		i = x.next(i)
	}
	x.places[i] = place{tag, slot}
}

func (x *index) grow() {
	old := x.places
	x.places = make([]place, max(indexStart, len(old)+len(old)/4))
	for _, p := range old {
		if p.slot != 0 {
			x.put(p.tag, p.slot)
		}
	}
}

// remove takes the pair out and closes the gap: whatever stands behind it and
// would be found later than an empty place moves up.
func (x *index) remove(tag, slot uint32) {
	i := x.home(tag)
	for x.places[i].slot != slot {
		if x.places[i].slot == 0 {
			panic("state: index does not hold what is removed from it")
		}
		i = x.next(i)
	}
	x.used--
	for j := x.next(i); x.places[j].slot != 0; j = x.next(j) {
		if x.distance(x.home(x.places[j].tag), j) >= x.distance(i, j) {
			x.places[i] = x.places[j]
			i = j
		}
	}
	x.places[i] = place{}
}

// distance is how many steps lead from place a to place b.
func (x *index) distance(a, b int) int {
	if b < a {
		b += len(x.places)
	}
	return b - a
}
