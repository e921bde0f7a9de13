package state

import "unsafe"

// NewMemory returns a Backend that remembers for as long as the process lives:
// at most maxEntries ids, at most maxBytes of values.
func NewMemory(maxEntries int, maxBytes int64) Backend {
	return newMemory(NewKey(), maxEntries, maxBytes)
}

func newMemory(key Key, maxEntries int, maxBytes int64) *memory {
	m := &memory{key: key, max: maxEntries, values: values{max: maxBytes}}
	m.head, m.tail = 1, 1
	m.pages.of, m.ids.window = m, m
	for i := range m.ids.parts {
		m.ids.parts[i].want = uint32(linesFor((maxEntries + 1) / len(m.ids.parts)))
	}
	return m
}

// memory keeps confirmed ids in the order of their confirmation. An id costs an
// entry of 40 bytes and 12 bytes of index where the window is full; entries hold
// no pointers. What has gone keeps its place in the index until that is needed.
type memory struct {
	key     Key
	max     int
	buckets map[string]*memoryBucket

	ring
	ids     ids
	pack    pack
	count   int
	origins []origin
	walks   []*walk  // that are under way; nearly always none
	gone    func(ID) // told of each id that goes by age or count; or nil

	values values
}

// entry is one confirmed id.
type entry struct {
	id        ID
	expiresMS int64
	offset    int64
	partition int32
	origin    uint32
}

// entryEnd is where the last word of an entry is; a claim has one there, too.
const entryEnd = unsafe.Offsetof(entry{}.origin)

// origin is what many entries share: whose they are, and their topic.
type origin struct {
	bucket *memoryBucket
	topic  string
}

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

// find returns the slot of an id that was confirmed, or 0.
func (m *memory) find(id *ID) uint32 {
	slot := m.ids.find(id)
	if slot&pending != 0 {
		return 0
	}
	return slot
}

// add makes an entry for id as the newest.
func (m *memory) add(id *ID) *entry {
	slot, e := m.append(id)
	m.ids.part(id).insert(id, slot, &m.ids)
	return e
}

// append is add for an id that the index has.
func (m *memory) append(id *ID) (uint32, *entry) {
	slot, e := m.push()
	e.id = *id
	m.count++
	return slot, e
}

func (m *memory) remove(slot uint32) {
	e := m.at(slot)
	m.origins[e.origin].bucket.usage.Entries--
	m.count--
	part := m.ids.part(&e.id)
	switch {
	case slot != m.tail:
		part.remove(&e.id, slot)
		m.bury(e)
		m.packSome()
		return
	case m.displaced(slot): // the line that it belongs to counts it
		part.remove(&e.id, slot)
	default:
		part.used--
	}
	m.pop()
}

// expirePerAdd bounds how many expired ids one new id removes. Two shrink a
// table that is full of them; more would let one record with a timestamp in the
// far future empty the window.
const expirePerAdd = 2

// trim lets the oldest ids go, as if it were called for each of the n newest when
// that was added: those that have expired and those over the limit.
func (m *memory) trim(n int, nowMS int64) {
	for later := n - 1; later >= 0; later-- {
		for range expirePerAdd {
			if m.count == later || !over(m.at(m.tail).expiresMS, nowMS) {
				break
			}
			m.expire(m.tail)
		}
		for m.count-later > m.max {
			m.origins[m.at(m.tail).origin].bucket.usage.Evictions++
			m.goes(m.tail)
		}
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
	_ holder = (*memoryBucket)(nil)
)

func (b *memoryBucket) index() *ids { return &b.m.ids }

func (b *memoryBucket) refusal() error { return nil }

func (b *memoryBucket) confirm(f *flight, topic string, nowMS int64, all []confirmation) {
	m, origin := b.m, b.origin(topic)
	for i := range all {
		n := &all[i]
		c := &f.claims[n.claim]
		slot, e := m.append(&c.id)
		e.expiresMS, e.partition, e.offset, e.origin = n.expiresMS, n.partition, n.offset, origin
		m.ids.part(&c.id).move(&c.id, n.claim|pending, slot, c.place)
		if c.place == elsewhere {
			m.displace(slot)
		}
	}
	b.usage.Entries += len(all)
	m.trim(len(all), nowMS)
}

func (b *memoryBucket) Find(id ID, nowMS int64) (Position, bool, error) {
	slot := b.m.find(&id)
	if slot == 0 {
		return Position{}, false, nil
	}
	return b.findAt(slot, nowMS)
}

// findAt implements holder.
func (b *memoryBucket) findAt(slot uint32, nowMS int64) (Position, bool, error) {
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
	b.m.trim(1, nowMS)
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
