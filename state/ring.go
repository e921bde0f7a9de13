package state

// ring keeps entries in the order in which they came. The number of an entry
// counts up, so that it tells its age: what stands behind the oldest one has gone,
// and whoever still knows its number sees that without looking for it. An entry that
// goes out of the middle leaves a hole.
type ring struct {
	pages pages
	// chunks has the chunk of each block of numbers that is in use, at the lowest
	// bits of the block. Their count is a power of two.
	chunks     []*chunk
	spare      []*chunk
	made       int    // chunks
	room       uint32 // entries that the newest chunk has room for
	head, tail uint32 // the number of the next entry, and that of the oldest one
	holes      int
}

// chunk is room for the entries of a block of numbers.
type chunk struct {
	entries [chunkEntries]entry
	// displaced has a bit for each id that stands behind the line it belongs to. It
	// goes with the index, not with the entries.
	displaced [chunkEntries / 32]uint32
}

const (
	chunkEntries = 1024
	slotMask     = pending - 1 // numbers count around; 0 is never used
)

// at returns the entry of a slot that is live.
func (r *ring) at(slot uint32) *entry {
	return &r.chunk(slot).entries[slot%chunkEntries]
}

func (r *ring) chunk(slot uint32) *chunk {
	return r.chunks[slot/chunkEntries&uint32(len(r.chunks)-1)]
}

// live reports whether a slot is not older than the oldest entry. It may be a hole.
func (r *ring) live(slot uint32) bool {
	return (slot-r.tail)&slotMask < (r.head-r.tail)&slotMask
}

// after and before return the slots next to one.
func after(slot uint32) uint32 {
	if slot == slotMask {
		return 1
	}
	return slot + 1
}

func before(slot uint32) uint32 {
	if slot == 1 {
		return slotMask
	}
	return slot - 1
}

func (r *ring) empty() bool { return r.head == r.tail }

// push returns the next slot and its entry, which is to be filled.
func (r *ring) push() (slot uint32, e *entry) {
	if r.room == 0 {
		r.open()
	}
	slot = r.head
	e = r.at(slot)
	r.head = after(slot)
	r.room--
	return slot, e
}

// open gives the block of the next slot a chunk.
func (r *ring) open() {
	const blocks = slotMask / chunkEntries
	first, block := r.tail/chunkEntries, r.head/chunkEntries
	if used := int((block - first) & blocks); used == len(r.chunks) {
		old := r.chunks
		r.chunks = make([]*chunk, max(1, 2*len(old)))
		for i := range uint32(used) {
			b := (first + i) & blocks
			r.chunks[b&uint32(len(r.chunks)-1)] = old[b&uint32(len(old)-1)]
		}
	}
	var c *chunk
	if last := len(r.spare) - 1; last >= 0 {
		c, r.spare = r.spare[last], r.spare[:last]
		c.displaced = [chunkEntries / 32]uint32{}
	} else {
		c = r.pages.chunk(r.made)
		r.made++
	}
	r.chunks[block&uint32(len(r.chunks)-1)] = c
	r.room = chunkEntries - r.head%chunkEntries
}

// bury makes a hole of an entry.
func (r *ring) bury(e *entry) {
	e.origin = noOrigin
	e.id[0] = ^e.id[0] // so that nobody finds the id here
	r.holes++
}

// noOrigin is the origin of a hole.
const noOrigin = 1<<32 - 1

// pop takes the oldest entry out, and the holes behind it.
func (r *ring) pop() {
	r.step()
	for !r.empty() && r.at(r.tail).origin == noOrigin {
		r.holes--
		r.step()
	}
}

func (r *ring) step() {
	if r.tail%chunkEntries == chunkEntries-1 {
		at := &r.chunks[r.tail/chunkEntries&uint32(len(r.chunks)-1)]
		r.spare, *at = append(r.spare, *at), nil
	}
	r.tail = after(r.tail)
}

// displace notes that an id stands behind the line that it belongs to.
func (r *ring) displace(slot uint32) {
	i := slot % chunkEntries
	r.chunk(slot).displaced[i/32] |= 1 << (i % 32)
}

func (r *ring) displaced(slot uint32) bool {
	i := slot % chunkEntries
	return r.chunk(slot).displaced[i/32]>>(i%32)&1 != 0
}
