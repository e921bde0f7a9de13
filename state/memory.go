package state

import (
	"crypto/rand"
	"encoding/binary"
)

// NewMemory returns a Backend that remembers for as long as the process lives:
// at most maxEntries ids, at most maxBytes of values.
func NewMemory(maxEntries int, maxBytes int64) Backend {
	return newMemory(randomKey(), maxEntries, maxBytes)
}

func newMemory(key Key, maxEntries int, maxBytes int64) *memory {
	m := &memory{key: key, max: maxEntries, values: values{max: maxBytes}}
	m.pages.of = m
	for i := range m.parts {
		m.parts[i].want = linesFor((maxEntries + 1) / len(m.parts))
	}
	return m
}

func randomKey() Key {
	var key [16]byte
	rand.Read(key[:]) // never returns an error
	return Key{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])}
}

// memory keeps confirmed ids in the order of their confirmation. An id costs an
// entry of 48 bytes and 10 bytes of index where the window is full; entries hold
// no pointers.
type memory struct {
	key     Key
	max     int
	buckets map[string]*memoryBucket

	// The index is cut in 256, so that growing it never holds the mutex for
	// longer than one part takes.
	parts   [256]index
	pages   pages
	chunks  []*[chunkEntries]entry
	slots   uint32 // handed out so far; slot 0 is never used
	free    uint32 // chain of freed slots, by next
	oldest  uint32
	newest  uint32
	count   int
	origins []origin
	walks   []*walk        // that are under way; nearly always none
	gone    func(ID)       // told of each id that goes by age or count; or nil
	few     [lotMax]uint32 // of warmFind
	old     [lotMax]ID     // of warmRemember
	read    uint32         // kept so that the compiler keeps the readings of warmer

	values values
}

// entry is one confirmed id.
type entry struct {
	id         ID
	expiresMS  int64
	offset     int64
	partition  int32
	origin     uint32
	prev, next uint32 // towards the oldest and the newest
}

// origin is what many entries share: whose they are, and their topic.
type origin struct {
	bucket *memoryBucket
	topic  string
}

const chunkEntries = 1024

func (m *memory) Key() Key { return m.key }

func (m *memory) Bucket(plugin string) Bucket {
	b := m.buckets[plugin]
	if b == nil {
		b = &memoryBucket{m: m, plugin: plugin, origins: make(map[string]uint32), values: make(map[string]*value)}
		if m.buckets == nil {
			m.buckets = make(map[string]*memoryBucket)
		}
		m.buckets[plugin] = b
	}
	return b
}

func (m *memory) Close() error { return nil }

func (m *memory) at(slot uint32) *entry {
	return &m.chunks[slot/chunkEntries][slot%chunkEntries]
}

func (m *memory) part(id *ID) *index { return &m.parts[id[1]>>56] }

// find returns the slot of id, or 0.
func (m *memory) find(id *ID) uint32 { return m.part(id).find(id, m) }

// add makes an entry for id as the newest.
func (m *memory) add(id *ID) *entry {
	slot := m.free
	if slot != 0 {
		m.free = m.at(slot).next
	} else {
		if m.slots++; int(m.slots/chunkEntries) == len(m.chunks) {
			m.chunks = append(m.chunks, m.pages.chunk(len(m.chunks)))
		}
		slot = m.slots
	}
	e := m.at(slot)
	e.id, e.prev, e.next = *id, m.newest, 0
	if m.newest != 0 {
		m.at(m.newest).next = slot
	} else {
		m.oldest = slot
	}
	m.newest = slot
	m.count++
	m.part(&e.id).insert(&e.id, slot, m)
	return e
}

func (m *memory) remove(slot uint32) {
	if len(m.walks) > 0 {
		m.passOver(slot)
	}
	e := m.at(slot)
	m.part(&e.id).remove(&e.id, slot)
	if e.prev != 0 {
		m.at(e.prev).next = e.next
	} else {
		m.oldest = e.next
	}
	if e.next != 0 {
		m.at(e.next).prev = e.prev
	} else {
		m.newest = e.prev
	}
	m.origins[e.origin].bucket.usage.Entries--
	*e = entry{next: m.free}
	m.free = slot
	m.count--
}

// expirePerAdd bounds how many expired ids one new id removes. Two shrink a
// table that is full of them; more would let one record with a timestamp in the
// far future empty the window.
const expirePerAdd = 2

// trim lets the oldest ids go: those that have expired and those over the limit.
func (m *memory) trim(nowMS int64) {
	for range expirePerAdd {
		if m.oldest == 0 || !over(m.at(m.oldest).expiresMS, nowMS) {
			break
		}
		m.expire(m.oldest)
	}
	for m.count > m.max {
		m.origins[m.at(m.oldest).origin].bucket.usage.Evictions++
		m.goes(m.oldest)
	}
}

func (m *memory) expire(slot uint32) {
	m.origins[m.at(slot).origin].bucket.usage.Expired++
	m.goes(slot)
}

// goes is remove for an id whose time or turn has come.
func (m *memory) goes(slot uint32) {
	id := m.at(slot).id
	m.remove(slot)
	if m.gone != nil {
		m.gone(id)
	}
}

type memoryBucket struct {
	m          *memory
	plugin     string
	origins    map[string]uint32 // topic to index in m.origins
	lastTopic  string
	lastOrigin uint32
	values     map[string]*value
	usage      Usage
}

var (
	_ Bucket = (*memoryBucket)(nil)
	_ warmer = (*memoryBucket)(nil)
)

// look reads the line where an id would be found.
func (m *memory) look(id *ID) uint32 {
	x := m.part(id)
	if x.used == 0 {
		return 0
	}
	return uint32(x.lines[x.home(id)].used)
}

// warmFind implements warmer.
func (b *memoryBucket) warmFind(ids []ID, known []bool) {
	m := b.m
	if m.count == 0 {
		clear(known)
		return
	}
	m.lookAll(ids)
	// The few entries that there are to be read are gathered first: so many can
	// be under way only as one loop has that does nothing else.
	n := 0
	for i := range ids {
		x := m.part(&ids[i])
		if x.used == 0 {
			known[i] = false
			continue
		}
		var slot uint32
		slot, known[i] = x.likely(&ids[i])
		m.few[n] = slot
		if slot != 0 {
			n++
		}
	}
	read := uint32(0)
	for _, slot := range m.few[:n] {
		e := m.at(slot)
		read += uint32(e.id[0]) + e.next // both ends: it may be on two lines
	}
	m.read = read
}

// lookAll reads the lines where ids would be found.
func (m *memory) lookAll(ids []ID) {
	var read uint32
	for i := range ids {
		read += m.look(&ids[i])
	}
	m.read = read
}

// warmRemember implements warmer. It reads also what the ids will push out.
func (b *memoryBucket) warmRemember(ids []ID) {
	m := b.m
	m.lookAll(ids)
	n := 0
	for slot := m.oldest; slot != 0 && n < m.count+len(ids)-m.max && n < lotMax; n++ {
		e := m.at(slot)
		m.old[n] = e.id
		slot = e.next
	}
	m.lookAll(m.old[:n])
}

func (b *memoryBucket) Find(id ID, nowMS int64) (Position, bool, error) {
	slot := b.m.find(&id)
	if slot == 0 {
		return Position{}, false, nil
	}
	e := b.m.at(slot)
	if over(e.expiresMS, nowMS) {
		b.m.expire(slot)
		return Position{}, false, nil
	}
	at := Position{Topic: b.m.origins[e.origin].topic, Partition: e.partition, Offset: e.offset}
	return at, true, nil
}

func (b *memoryBucket) Remember(id ID, at Position, expiresMS, nowMS int64) error {
	e := b.m.add(&id)
	e.expiresMS, e.partition, e.offset = expiresMS, at.Partition, at.Offset
	e.origin = b.origin(at.Topic)
	b.usage.Entries++
	b.m.trim(nowMS)
	return nil
}

func (b *memoryBucket) origin(topic string) uint32 {
	if topic == b.lastTopic && len(b.origins) > 0 {
		return b.lastOrigin
	}
	o, ok := b.origins[topic]
	if !ok {
		o = uint32(len(b.m.origins))
		b.m.origins = append(b.m.origins, origin{bucket: b, topic: topic})
		b.origins[topic] = o
	}
	b.lastTopic, b.lastOrigin = topic, o
	return o
}

func (b *memoryBucket) Usage() Usage { return b.usage }
