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
// when ids are spread unevenly. Without a window it doubles.
//
// An id that goes because it is the oldest is not taken out: its slot tells that it
// has gone, and its place is given away when the line is full. To look for the line
// of an id that nobody asks for would cost as much as a claim. The places of a full
// line are given away in turn, so that the first one that is looked at is nearly
// always the one.
type index struct {
	lines []line
	used  uint32 // ids that have not gone
	room  uint32 // as many ids are what the lines are made for
	want  uint32 // lines that the window needs
}

// line keeps its places together, the first ones are used.
type line struct {
	tags   [2 * linePlaces]byte
	slots  [linePlaces]uint32
	used   uint8
	oldest uint8  // most likely, when all are used
	behind uint16 // that belong here and stand behind, and have not gone
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
// that have not, also ones that are not used. first tells the lowest one's place.
func (l *line) matches(tag uint16) uint64 {
	pattern := uint64(tag) * eachTag
	a := binary.LittleEndian.Uint64(l.tags[0:]) ^ pattern
	b := binary.LittleEndian.Uint64(l.tags[8:]) ^ pattern
	c := uint64(binary.LittleEndian.Uint32(l.tags[16:])) ^ pattern
	// The highest bit of each word of 16 bits that is zero, and sometimes of one
	// above it.
	a, b, c = (a-eachTag)&^a, (b-eachTag)&^b, (c-eachTag)&^c
	return a>>15&eachTag | b>>14&(eachTag<<1) | c>>13&(eachTag<<2&(1<<32-1))
}

// first returns the place of the lowest bit of matches.
func first(places uint64) int {
	bit := bits.TrailingZeros64(places)
	return bit&15<<2 | bit>>4
}

func (l *line) tag(k int) uint16 { return binary.LittleEndian.Uint16(l.tags[2*k:]) }

// set puts a slot into place k.
func (l *line) set(k int, tag uint16, slot uint32) {
	binary.LittleEndian.PutUint16(l.tags[2*k:], tag)
	l.slots[k] = slot
}

// insert adds the slot of an id and returns its place, which may change.
func (x *index) insert(id *ID, slot uint32, all *ids) (place uint8) {
	if x.used >= x.room {
		x.grow(all)
	}
	x.used++
	return x.put(id, slot, all)
}

// roomOf returns how many ids so many lines are made for. Lines that the window
// needs hold more, as they are not filled evenly.
func (x *index) roomOf(lines int) uint32 {
	if lines >= int(x.want) {
		return uint32(lines * linePlaces * 3 / 4)
	}
	return uint32((11*lines + 1) / 2) // see linesFor
}

// elsewhere is the place of an id that stands behind the line that it belongs to.
const elsewhere = 255

func (x *index) put(id *ID, slot uint32, all *ids) (place uint8) {
	i := x.home(id)
	l := &x.lines[i]
	k := l.free(all)
	for k < 0 {
		l.behind++
		i = x.next(i)
		l = &x.lines[i]
		place = elsewhere
		k = l.free(all)
	}
	if place != elsewhere {
		place = uint8(k)
	} else if slot&pending == 0 {
		all.window.displace(slot)
	}
	l.set(k, tag(id), slot)
	return place
}

// free returns a place that is to be set, -1 where all are taken: one that was never
// used, or that of an id that has gone. Those that stood behind their line were taken
// out when they went.
func (l *line) free(all *ids) int {
	if used := int(l.used); used < linePlaces {
		l.used++
		return used
	}
	if all.window == nil {
		return -1
	}
	k := int(l.oldest)
	for range linePlaces {
		next := k + 1
		if next == linePlaces {
			next = 0
		}
		if slot := l.slots[k]; !all.live(slot) {
			l.oldest = uint8(next)
			return k
		}
		k = next
	}
	return -1
}

func (x *index) grow(all *ids) {
	old, want := x.lines, int(x.want)
	n := 2 * len(old)
	switch {
	case n == 0:
		n = 1
	case want > 0 && len(old) >= want:
		n = len(old) + len(old)/8 + 1
	case want > 0 && n > want:
		n = want
	}
	if n == want && all.window != nil {
		x.lines = all.window.pages.lines(n)
	} else {
		x.lines = make([]line, n)
	}
	x.room = x.roomOf(n)
	// The ids are far apart: those of many lines are read at once.
	var found [growStep * linePlaces]ID
	var slots [growStep * linePlaces]uint32
	for len(old) > 0 {
		step, count := old[:min(growStep, len(old))], 0
		for i := range step {
			for _, slot := range step[i].slots[:step[i].used] {
				if all.live(slot) {
					found[count], slots[count] = *all.idOf(slot), slot
					count++
				}
			}
		}
		for i, slot := range slots[:count] {
			place := x.put(&found[i], slot, all)
			if slot&pending != 0 {
				all.flight.claims[slot&^pending].place = place
			}
		}
		old = old[len(step):]
	}
}

const growStep = 8 // lines

// find returns the slot of an id, or 0.
func (x *index) find(id *ID, all *ids) uint32 {
	if x.used == 0 {
		return 0
	}
	i := x.home(id)
	for range x.lines { // each may have some behind it
		l := &x.lines[i]
		for places := l.matches(tag(id)); places != 0; places &= places - 1 {
			if slot := l.slots[first(places)]; slot != 0 && all.live(slot) && *all.idOf(slot) == *id {
				return slot
			}
		}
		if l.behind == 0 {
			break
		}
		i = x.next(i)
	}
	return 0
}

// add is find and insert in one, for an id that is not there. It returns false,
// and a slot that the id may have, or 0, where that is not sure at a glance, or
// where there is no room.
func (x *index) add(id *ID, slot uint32, all *ids) (place uint8, likely uint32, ok bool) {
	if x.used >= x.room {
		return 0, 0, false
	}
	l := &x.lines[x.home(id)]
	tag := tag(id)
	for places := l.matches(tag); places != 0; places &= places - 1 {
		k := first(places)
		// What has gone, or only looks alike, may be purged by another claim of the
		// lot: it would be no sign for the second claim of the id.
		if met := l.slots[k]; met != 0 && l.tag(k) == tag && all.live(met) {
			return 0, met, false
		}
	}
	if l.behind != 0 {
		return 0, 0, false
	}
	k := l.free(all)
	if k < 0 {
		return 0, 0, false
	}
	l.set(k, tag, slot)
	x.used++
	return uint8(k), 0, true
}

// remove takes a slot out.
func (x *index) remove(id *ID, slot uint32) {
	i := x.home(id)
	for range x.lines {
		l := &x.lines[i]
		if k := l.place(id, slot); k >= 0 {
			l.drop(k)
			x.used--
			return
		}
		l.behind--
		i = x.next(i)
	}
	panic("state: index does not hold what is removed from it")
}

// move puts another slot of an id's in the place of one, which most likely is the
// place where that was put.
func (x *index) move(id *ID, from, to uint32, place uint8) {
	i := x.home(id)
	if l := &x.lines[i]; place < linePlaces && l.slots[place] == from {
		l.slots[place] = to
		return
	}
	for range x.lines {
		l := &x.lines[i]
		if k := l.place(id, from); k >= 0 {
			l.slots[k] = to
			return
		}
		i = x.next(i)
	}
	panic("state: index does not hold what is moved in it")
}

// place returns where a slot of an id's is in the line, -1 for nowhere.
func (l *line) place(id *ID, slot uint32) int {
	for places := l.matches(tag(id)); places != 0; places &= places - 1 {
		if k := first(places); l.slots[k] == slot {
			return k
		}
	}
	return -1
}

// drop empties place k and moves the last one there.
func (l *line) drop(k int) {
	l.used--
	last := int(l.used)
	l.set(k, l.tag(last), l.slots[last])
	l.set(last, 0, 0)
}
