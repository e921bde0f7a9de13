package state

// NewMemory returns a Backend that remembers for as long as the process lives:
// at most maxEntries ids, at most maxBytes of values.
func NewMemory(maxEntries int, maxBytes int64) Backend {
	return newMemory(NewKey(), maxEntries, maxBytes)
}

func newMemory(key Key, maxEntries int, maxBytes int64) *memory {
	m := &memory{key: key, max: maxEntries, values: values{max: maxBytes}}
	m.pages.of, m.ids.window = m, m
	for i := range m.ids.parts {
		m.ids.parts[i].want = uint32(linesFor((maxEntries + 1) / len(m.ids.parts)))
	}
	return m
}

// memory keeps confirmed ids in the order of their confirmation. An id costs an
// entry of 48 bytes and 10 bytes of index where the window is full; entries hold
// no pointers.
type memory struct {
	key     Key
	max     int
	buckets map[string]*memoryBucket

	ids    ids
	pages  pages
	chunks []*[chunkEntries]entry
	slots  uint32 // handed out so far; slot 0 is never used
	// Freed slots are a chain by next, and those that were freed first are taken
	// first: ids that follow each other stand side by side then, time and again.
	free, lastFree uint32
	oldest         uint32
	newest         uint32
	count          int
	origins        []origin
	walks          []*walk        // that are under way; nearly always none
	gone           func(ID)       // told of each id that goes by age or count; or nil
	old            [lotMax]uint32 // of trimLot
	read           uint32         // kept so that the compiler keeps the readings

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

// find returns the slot of an id that was confirmed, or 0.
func (m *memory) find(id *ID) uint32 {
	slot := m.ids.find(id)
	if slot&pending != 0 {
		return 0
	}
	return slot
}

// take returns a slot that is free.
func (m *memory) take() uint32 {
	slot := m.free
	if slot == 0 {
		if m.slots++; int(m.slots/chunkEntries) == len(m.chunks) {
			m.chunks = append(m.chunks, m.pages.chunk(len(m.chunks)))
		}
		return m.slots
	}
	if m.free = m.at(slot).next; m.free == 0 {
		m.lastFree = 0
	}
	return slot
}

// giveBack frees a slot.
func (m *memory) giveBack(slot uint32) {
	m.at(slot).next = 0
	if m.lastFree != 0 {
		m.at(m.lastFree).next = slot
	} else {
		m.free = slot
	}
	m.lastFree = slot
}

// add makes an entry for id as the newest.
func (m *memory) add(id *ID) *entry {
	slot, e := m.append(id)
	m.ids.part(&e.id).insert(&e.id, slot, &m.ids)
	return e
}

// append is add for an id that the index has, or is to have.
func (m *memory) append(id *ID) (uint32, *entry) {
	slot := m.take()
	e := m.at(slot)
	e.id, e.prev, e.next = *id, m.newest, 0
	if m.newest != 0 {
		m.at(m.newest).next = slot
	} else {
		m.oldest = slot
	}
	m.newest = slot
	m.count++
	return slot, e
}

func (m *memory) remove(slot uint32) {
	if len(m.walks) > 0 {
		m.passOver(slot)
	}
	e := m.at(slot)
	m.ids.part(&e.id).remove(&e.id, slot)
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
	m.giveBack(slot)
	m.count--
}

// expirePerAdd bounds how many expired ids one new id removes. Two shrink a
// table that is full of them; more would let one record with a timestamp in the
// far future empty the window.
const expirePerAdd = 2

// trim lets the oldest ids go: those that have expired and those over the limit.
func (m *memory) trim(nowMS int64) { m.trimTo(m.max, nowMS) }

func (m *memory) trimTo(limit int, nowMS int64) {
	for range expirePerAdd {
		if m.oldest == 0 || !over(m.at(m.oldest).expiresMS, nowMS) {
			break
		}
		m.expire(m.oldest)
	}
	for m.count > limit {
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
	_ holder = (*memoryBucket)(nil)
)

// warm implements holder.
func (m *memory) warm(slots []uint32) {
	read := uint32(0)
	for _, slot := range slots {
		if slot != 0 && slot&pending == 0 {
			e := m.at(slot)
			read += uint32(e.id[0]) + e.next // both ends: it may be on two lines
		}
	}
	m.read = read
}

// trimLot lets go what trim would have let go after each of the last n ids.
func (m *memory) trimLot(n int, nowMS int64) {
	if len(m.walks) == 0 && m.gone == nil && m.evict(nowMS) {
		return
	}
	for ; n > 0; n-- {
		m.trimTo(m.max+n-1, nowMS)
	}
}

// evictAhead is how many entries ahead are read of the one that is let go.
const evictAhead = 16

// evict lets go the ids that are too many, unless there are many, or one is met
// whose time has come. The lines of all are read ahead.
func (m *memory) evict(nowMS int64) bool {
	n, next, read := m.count-m.max, m.oldest, uint32(0)
	if n > lotMax {
		return false
	}
	for i := range max(n, 0) {
		e := m.at(next)
		if over(e.expiresMS, nowMS) {
			return false
		}
		m.old[i] = next
		read += m.ids.look(&e.id)
		// Those that follow mostly stand behind: it need not be waited for each
		// that it tells where the next one is.
		if ahead := next + evictAhead; ahead < m.slots {
			read += m.at(ahead).next
		}
		next = e.next
	}
	m.read = read
	if next != 0 && over(m.at(next).expiresMS, nowMS) {
		return false
	}
	if n <= 0 {
		return true
	}
	origin, bucket := uint32(0), m.origins[0].bucket
	for _, slot := range m.old[:n] {
		e := m.at(slot)
		m.ids.part(&e.id).remove(&e.id, slot)
		if e.origin != origin {
			origin, bucket = e.origin, m.origins[e.origin].bucket
		}
		bucket.usage.Evictions++
		bucket.usage.Entries--
		m.giveBack(slot)
	}
	m.count -= n
	if m.oldest = next; next != 0 {
		m.at(next).prev = 0
	} else {
		m.newest = 0
	}
	return true
}

func (b *memoryBucket) index() *ids { return &b.m.ids }

func (b *memoryBucket) refusal() error { return nil }

func (b *memoryBucket) warm(slots []uint32) { b.m.warm(slots) }

func (b *memoryBucket) confirm(f *flight, topic string, nowMS int64, all []confirmation) {
	m, origin := b.m, b.origin(topic)
	for i := range all {
		n := &all[i]
		c := &f.claims[n.claim]
		slot, e := m.append(&c.id)
		e.expiresMS, e.partition, e.offset, e.origin = n.expiresMS, n.partition, n.offset, origin
		m.ids.part(&c.id).move(&c.id, n.claim|pending, slot, c.place)
	}
	b.usage.Entries += len(all)
	m.trimLot(len(all), nowMS)
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
