package state

import (
	"encoding/binary"
	"math/bits"
)

// index finds the slot of an id. It is made of cache lines of ten places each,
// and an id is in the line that it belongs to, or in one of those behind it
// while that is full; a line counts how many stand behind it for want of room.
// So nearly every question reads one line, whatever the answer, and many
// questions can be asked at once. Places keep 16 bits of the id, so that hardly
// ever a wrong slot is looked into.
//
// It doubles until it has what the window needs, and then grows by an eighth
// when ids are spread unevenly.
type index struct {
	lines []line
	used  int
	want  int // lines that the window needs
}

// line keeps its places together, the first ones are used.
type line struct {
	tags   [2 * linePlaces]byte
	slots  [linePlaces]uint32
	used   uint16
	behind uint16 // that belong here and stand behind
}

const linePlaces = 10

// linesFor returns how many lines n ids need: of 40 lines one has some behind it
// then.
func linesFor(n int) int { return n*2/11 + 1 }

// home returns the line that an id belongs to.
func (x *index) home(id *ID) int {
	hi, _ := bits.Mul64(id[0]<<32, uint64(len(x.lines)))
	return int(hi)
}

// tag returns the bits of an id that its place keeps, which are not those of
// its home.
func tag(id *ID) uint16 { return uint16(id[0] >> 48) }

// next returns the line behind i.
func (x *index) next(i int) int {
	if i++; i == len(x.lines) {
		return 0
	}
	return i
}

// eachTag has the lowest bit of each of four tags.
const eachTag = 0x0001_0001_0001_0001

// matches returns a bit for each place that has the tag, and perhaps for some
// that have not.
func (l *line) matches(tag uint16) uint {
	pattern := uint64(tag) * eachTag
	a := equal(binary.LittleEndian.Uint64(l.tags[0:]) ^ pattern)
	b := equal(binary.LittleEndian.Uint64(l.tags[8:]) ^ pattern)
	c := equal(uint64(binary.LittleEndian.Uint32(l.tags[16:])) ^ pattern)
	return a | b<<4 | c&3<<8
}

// equal returns a bit for each of four words of 16 bits that is zero.
func equal(x uint64) uint {
	x = (x - eachTag) &^ x >> 15 & eachTag
	return uint(x * (1<<48 | 1<<33 | 1<<18 | 1<<3) >> 48 & 0xf)
}

func (l *line) tag(k int) uint16 { return binary.LittleEndian.Uint16(l.tags[2*k:]) }

// set puts a slot into place k.
func (l *line) set(k int, tag uint16, slot uint32) {
	binary.LittleEndian.PutUint16(l.tags[2*k:], tag)
	l.slots[k] = slot
}

// insert adds the slot of an id.
func (x *index) insert(id *ID, slot uint32, m *memory) {
	if x.full() {
		x.grow(m)
	}
	x.used++
	x.put(id, slot)
}

// full reports whether there are as many ids as lines are made for. Lines that
// the window needs hold more, as they are not filled evenly.
func (x *index) full() bool {
	if len(x.lines) < x.want {
		return linesFor(x.used) > len(x.lines)
	}
	return x.used >= len(x.lines)*linePlaces*3/4
}

func (x *index) put(id *ID, slot uint32) {
	i := x.home(id)
	l := &x.lines[i]
	for l.used == linePlaces {
		l.behind++
		i = x.next(i)
		l = &x.lines[i]
	}
	l.set(int(l.used), tag(id), slot)
	l.used++
}

func (x *index) grow(m *memory) {
	old := x.lines
	n := 2 * len(old)
	switch {
	case n == 0:
		n = 1
	case len(old) >= x.want:
		n = len(old) + len(old)/8 + 1
	case n > x.want:
		n = x.want
	}
	if n == x.want {
		x.lines = m.pages.lines(n)
	} else {
		x.lines = make([]line, n)
	}
	// The ids are far apart: those of many lines are read at once.
	var ids [growStep * linePlaces]ID
	for len(old) > 0 {
		step, count := old[:min(growStep, len(old))], 0
		for i := range step {
			for _, slot := range step[i].slots[:step[i].used] {
				ids[count] = m.at(slot).id
				count++
			}
		}
		count = 0
		for i := range step {
			for _, slot := range step[i].slots[:step[i].used] {
				x.put(&ids[count], slot)
				count++
			}
		}
		old = old[len(step):]
	}
}

const growStep = 8 // lines

// find returns the slot of an id, or 0.
func (x *index) find(id *ID, m *memory) uint32 {
	if x.used == 0 {
		return 0
	}
	i := x.home(id)
	for range x.lines { // each may have some behind it
		l := &x.lines[i]
		for places := l.matches(tag(id)); places != 0; places &= places - 1 {
			if k := bits.TrailingZeros(places); m.at(l.slots[k]).id == *id {
				return l.slots[k]
			}
		}
		if l.behind == 0 {
			break
		}
		i = x.next(i)
	}
	return 0
}

// likely reports whether an id may be there, and in which slot most likely, 0
// where its line does not tell. It has no branches, which nobody could foretell:
// whoever looks into the slots of many ids then waits for all of them at once.
func (x *index) likely(id *ID) (slot uint32, ok bool) {
	l := &x.lines[x.home(id)]
	places := l.matches(tag(id))
	slot = l.slots[bits.TrailingZeros(places|1<<(linePlaces-1))]
	if places == 0 {
		slot = 0
	}
	return slot, places|uint(l.behind) != 0
}

// remove takes a slot out.
func (x *index) remove(id *ID, slot uint32) {
	i := x.home(id)
	for range x.lines {
		l := &x.lines[i]
		for places := l.matches(tag(id)); places != 0; places &= places - 1 {
			if k := bits.TrailingZeros(places); l.slots[k] == slot {
				l.drop(k)
				x.used--
				return
			}
		}
		l.behind--
		i = x.next(i)
	}
	panic("state: index does not hold what is removed from it")
}

// drop empties place k and moves the last one there.
func (l *line) drop(k int) {
	l.used--
	last := int(l.used)
	l.set(k, l.tag(last), l.slots[last])
	l.set(last, 0, 0)
}
