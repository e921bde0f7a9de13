package produce

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
)

// topic is what the pipeline keeps of a topic. It is never dropped, and neither
// are its partitions' sequences, when metadata loses sight of it for a while.
type topic struct {
	name  string
	index int // orders a request's partitions by topic
	parts atomic.Pointer[[]*partition]
	// ratio is the compression ratio to expect, as float bits.
	ratio atomic.Uint64
	id    [16]byte // guarded by Pipeline.topicsMu
}

// ratioFactor widens the estimate, since a batch that turns out too large costs
// a split and one too small costs little.
const ratioFactor = 1.05

// observeRatio takes in how well a batch compressed. The estimate falls slowly
// and rises fast, as in Kafka's CompressionRatioEstimator.
func (t *topic) observeRatio(seen float64) {
	old := math.Float64frombits(t.ratio.Load())
	next := old
	if seen > old {
		next = max(old+0.05, seen)
	} else if seen < old {
		next = max(old-0.005, seen)
	}
	t.ratio.Store(math.Float64bits(next))
}

// partition is one partition's batches and sequence numbers.
type partition struct {
	pipeline *Pipeline
	topic    *topic
	id       int32

	mu sync.Mutex
	// queue holds the batches that wait for a request. Retries stand in front,
	// in the order of inflight; only the last may be open.
	queue deque
	// sequences is guarded too; it holds the batches that have been taken.
	sequences
	// onWire is how many batches are in requests of wireAt, those included
	// whose outcome has been decided since.
	onWire int
	wireAt *sender
	// txnIn is the transaction of the last record, txnAdded the last one that the
	// partition was added to.
	txnIn, txnAdded uint32
	// lastRaw is the size of the last batch that closed, a guess at the next.
	lastRaw     int
	queuedBytes int64 // of the batches in queue
	appended    int64 // records

	// owner sends for the leader; nil while there is no leader.
	owner       *sender
	leaderEpoch int32
	// active: it is listed with its owner (or with the leaderless), as listing
	// number listing. Entries of earlier numbers are void.
	active  bool
	listing uint32
}

// listed is a partition on a list, with the number that it was listed under.
type listed struct {
	part    *partition
	listing uint32
}

// Partition is a partition that records are appended to. It stays valid as long
// as its pipeline.
type Partition partition

// Partition finds a partition for Append, once for many records.
func (p *Pipeline) Partition(topic string, id int32) (*Partition, error) {
	t, err := p.partition(topic, id)
	return (*Partition)(t), err
}

// Append is Pipeline.Append for a record of this partition, whatever its Topic
// and Partition say.
func (t *Partition) Append(r *Record) error { return (*partition)(t).append(r) }

// AppendEach appends the records of a chain, which begins with number first of rs
// and goes on by Next, under one lock. It returns -1, or the number of a record
// that was not taken, with the reason: those before it were, those behind it were
// not looked at.
func (t *Partition) AppendEach(rs []Encoded, first int32) (refused int32, err error) {
	t.mu.Lock()
	refused = first
	if err = t.pipeline.refusal(); err == nil {
		refused, err = (*partition)(t).appendChain(rs, first)
	}
	t.mu.Unlock()
	return refused, err
}

// appendChain is AppendEach with mu held.
func (t *partition) appendChain(rs []Encoded, first int32) (refused int32, err error) {
	for i := first; i >= 0; {
		if i = t.fill(rs, i); i < 0 {
			break
		}
		e := &rs[i]
		body, isNew, err := t.room(e.TimestampMS, e.Txn, e.Ref, int(e.Reserved), len(e.Body))
		if err != nil {
			return i, err
		}
		copy(body, e.Body)
		e.NewBatch = isNew
		i = e.Next
	}
	return -1, nil
}

// fill adds the records of a chain to the open batch as long as that is all there
// is to do, and returns the first that takes more, -1 if none does. It does what
// room does for most records, and repeats batch.add for that: to call it costs 1 ns
// of the 40 that a record takes here (BenchmarkAppendEach). t.mu is held.
func (t *partition) fill(rs []Encoded, i int32) int32 {
	b, p := t.queue.last(), t.pipeline
	if b == nil || !b.open || !t.active || p.txn != nil {
		return i
	}
	h, before := &b.header, b.raw
	for i >= 0 {
		e := &rs[i]
		delta := e.TimestampMS - h.baseTimestamp
		size := headSize(delta, h.count) + len(e.Body)
		full := size + varintSize(int64(size))
		at := len(b.buf.b)
		if at+full > cap(b.buf.b) || batchOverhead+full > p.set.maxRequest || !t.hasRoom(b, full) || t.full(b) {
			break
		}
		b.buf.b = b.buf.b[:at+full]
		r := b.buf.b[at:]
		n := putHead(r, size, delta, h.count)
		copy(r[n:], e.Body)
		b.raw += full
		h.count++
		h.maxTimestamp = max(h.maxTimestamp, e.TimestampMS)
		b.refs = append(b.refs, e.Ref)
		b.reserved += int(e.Reserved)
		e.NewBatch = false
		t.appended++
		i = e.Next
	}
	t.queuedBytes += int64(b.raw - before)
	if b.raw > before && t.full(b) {
		t.announce(b, false)
	}
	return i
}

// partition returns the partition to append to.
func (p *Pipeline) partition(name string, id int32) (*partition, error) {
	if t := (*p.topics.Load())[name]; t != nil {
		if parts := *t.parts.Load(); uint32(id) < uint32(len(parts)) {
			return parts[id], nil
		}
	}
	return p.addPartitions(name, id)
}

// addPartitions makes the topic known, or its partitions that metadata shows
// by now.
func (p *Pipeline) addPartitions(name string, id int32) (*partition, error) {
	p.topicsMu.Lock()
	defer p.topicsMu.Unlock()
	count, topicID := p.net.partitions(name)
	if count == 0 {
		return nil, fmt.Errorf("topic %q: %w", name, klamm.ErrUnknownTopic)
	}
	if id < 0 || int(id) >= count {
		return nil, fmt.Errorf("topic %q has %d partitions, no partition %d: %w", name, count, id, klamm.ErrInvalidPartition)
	}
	t := (*p.topics.Load())[name]
	if t == nil {
		t = p.addTopic(name, topicID)
	}
	parts := append([]*partition(nil), *t.parts.Load()...)
	for i := len(parts); i < count; i++ {
		parts = append(parts, &partition{pipeline: p, topic: t, id: int32(i), leaderEpoch: -1})
	}
	t.parts.Store(&parts)
	return parts[id], nil
}

// addTopic is called with topicsMu held.
func (p *Pipeline) addTopic(name string, id [16]byte) *topic {
	old := *p.topics.Load()
	t := &topic{name: name, index: len(old), id: id}
	t.parts.Store(&[]*partition{})
	t.ratio.Store(math.Float64bits(1))
	next := make(map[string]*topic, len(old)+1)
	for k, v := range old {
		next[k] = v
	}
	next[name] = t
	p.topics.Store(&next)
	return t
}

// each calls f with every partition there is.
func (p *Pipeline) each(f func(*partition)) {
	for _, t := range *p.topics.Load() {
		for _, part := range *t.parts.Load() {
			f(part)
		}
	}
}

// append adds r to the open batch, or to a new one if it has no room.
func (t *partition) append(r *Record) error {
	t.mu.Lock()
	err := t.pipeline.refusal()
	if err == nil {
		var body []byte
		body, r.NewBatch, err = t.room(r.TimestampMS, r.Txn, r.Ref, r.Reserved, bodySize(r.Key, r.Value, r.Headers))
		if err == nil {
			putBody(body, r.Key, r.Value, r.Headers)
			prefetchLines(&body[len(body)-1]) // for the next
		}
	}
	t.mu.Unlock()
	return err
}

// room adds a record to the open batch, or to a new one if it has no room, and
// returns the place for its body, to be written before mu is let go. isNew says
// that the batch is new.
//
// Close and a fatal error, the pipeline's refusal, were looked at under the same
// lock, so that whoever goes through all partitions after either finds every
// batch.
func (t *partition) room(timestampMS int64, txn uint32, ref uint64, reserved, body int) (place []byte, isNew bool, err error) {
	p := t.pipeline
	if p.txn != nil {
		if err := p.txn.admit(txn); err != nil {
			return nil, false, err
		}
	}
	b := t.queue.last()
	isNew = true
	var size, full int
	if b != nil && b.open {
		size = headSize(timestampMS-b.header.baseTimestamp, b.header.count) + body
		full = size + varintSize(int64(size))
		isNew = !t.hasRoom(b, full)
	}
	if isNew {
		size = headSize(0, 0) + body
		full = size + varintSize(int64(size))
	}
	if batchOverhead+full > p.set.maxRequest {
		return nil, false, fmt.Errorf("topic %q partition %d: %w: %d bytes, max_request_size is %d", t.topic.name, t.id, klamm.ErrRecordTooLarge, batchOverhead+full, p.set.maxRequest)
	}
	if isNew {
		if b != nil && b.open {
			t.close(b)
		}
		b = p.newBatch(t, timestampMS, full)
		b.queued = true
		t.queue.pushBack(b)
	}
	b.grow(&p.pool, full)
	place = b.add(timestampMS, ref, reserved, size, full)
	t.appended++
	if p.txn != nil && t.txnIn != txn {
		p.txn.appended(t, txn)
	}
	t.queuedBytes += int64(full)
	if isNew || !t.active || t.full(b) {
		t.announce(b, isNew)
	}
	return place, isNew, nil
}

// queued returns the bytes that wait for a request.
func (t *partition) queued() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queuedBytes
}

// hasRoom reports whether a record that takes full bytes still fits the open
// batch, by the size that the batch is expected to have on the wire.
func (t *partition) hasRoom(b *batch, full int) bool {
	set := &t.pipeline.set
	if set.codec == codecNone {
		return batchOverhead+b.raw+full <= set.batchSize
	}
	if batchOverhead+b.raw+full > set.maxRequest {
		return false
	}
	return t.estimate(b)+full <= set.batchSize
}

// estimate returns the size that b is expected to have on the wire.
func (t *partition) estimate(b *batch) int {
	if t.pipeline.set.codec == codecNone || b.packed {
		return b.size()
	}
	return batchOverhead + int(float64(b.raw)*math.Float64frombits(t.topic.ratio.Load())*ratioFactor)
}

// full reports whether b waits for nothing more.
func (t *partition) full(b *batch) bool { return !b.open || t.estimate(b) >= t.pipeline.set.batchSize }

// close ends b's taking of records.
func (t *partition) close(b *batch) {
	b.open = false
	t.lastRaw = min(b.raw, t.pipeline.set.batchSize)
}

// announce tells the owner what it must know of the open batch b.
func (t *partition) announce(b *batch, isNew bool) {
	if !t.active {
		t.activate()
	}
	if t.owner == nil {
		return // whoever finds the leader lists it anew
	}
	switch {
	case t.queue.len() > 1 && isNew, t.full(b):
		t.owner.notify(0)
	case isNew:
		t.owner.notify(b.created + t.pipeline.set.linger)
	}
}

// activate lists the partition with whoever sends for it. t.mu is held.
func (t *partition) activate() {
	t.active = true
	if t.owner == nil {
		t.locate()
	}
	t.list()
}

// list puts the partition on its owner's list under a new number, which voids
// its other entries.
func (t *partition) list() {
	t.listing++
	e := listed{t, t.listing}
	if t.owner != nil {
		t.owner.add(e)
	} else {
		t.pipeline.keeper.add(e)
	}
}

// locate looks up the leader. It reports whether the owner changed. t.mu is
// held; the caller lists the partition anew.
func (t *partition) locate() bool {
	broker, epoch := t.pipeline.net.leader(t.topic.name, t.id)
	t.leaderEpoch = max(t.leaderEpoch, epoch)
	var owner *sender
	if broker >= 0 {
		owner = t.pipeline.sender(broker)
	}
	changed := owner != t.owner
	if changed {
		t.knownAt = unknown
	}
	t.owner = owner
	return changed
}

// relocate follows a change of the leader.
func (t *partition) relocate() {
	t.mu.Lock()
	defer t.mu.Unlock()
	epoch := t.leaderEpoch
	changed := t.locate()
	if changed && t.active {
		t.list()
	}
	if t.owner != nil && (changed || epoch != t.leaderEpoch) {
		t.owner.kick() // a backoff may have ended with the new epoch
	}
}

// readiness is what a sender can do for a partition.
type readiness uint8

const (
	void    readiness = iota // not for this sender, or nothing there
	blocked                  // until something happens that wakes the sender
	waiting                  // for its retry backoff
	filling                  // its open batch waits for linger, but may go along
	ready                    // full, or a retry
	due                      // linger is over, or everything must go
)

// look tells what sender s can do for the partition now, and when to look
// again. It moves the partition to a new producer epoch if that is what its
// batches wait for. t.mu is held.
func (t *partition) look(s *sender, now time.Duration) (readiness, time.Duration) {
	p := t.pipeline
	if t.onWire > 0 && (t.wireAt != s || p.set.mutes()) {
		return blocked, never
	}
	if t.restart {
		ok := t.beginAgain()
		s.ended = append(s.ended, t.ended...)
		t.ended = t.ended[:0]
		if !ok || t.queue.len() == 0 {
			return blocked, never
		}
	}
	b := t.queue.at(0)
	if p.set.idempotent && !t.mayGo(b, now) {
		return blocked, never
	}
	if b.taken {
		// KIP-951: a new leader owes nothing for the old one's refusal.
		if now < b.retryAt && t.leaderEpoch <= b.attemptEpoch {
			return waiting, b.retryAt
		}
		return ready, now
	}
	switch {
	case p.urgent():
		return due, now
	case t.queue.len() > 1, t.full(b):
		return ready, now
	case now-b.created >= p.set.linger:
		return due, now
	}
	return filling, b.created + p.set.linger
}

// take takes the batch in front for a request of s. t.mu is held, and look has
// just allowed it.
func (t *partition) take(s *sender, now time.Duration) *batch {
	b := t.queue.remove(0)
	if b.open {
		t.close(b)
	}
	t.queuedBytes -= int64(b.raw)
	b.queued = false
	b.wire = true
	if t.pipeline.set.idempotent && b.stamp == nil {
		t.stampNext(b)
	}
	if !b.taken {
		b.taken = true
		t.inflight = append(t.inflight, b)
		t.pipeline.count.took(now - b.created)
	}
	b.attempts++
	b.attemptEpoch = t.leaderEpoch
	t.onWire++
	t.wireAt = s
	if t.pipeline.txn != nil {
		t.pipeline.txn.taken()
	}
	return b
}

// requeue puts a batch that was taken back, in front of those that were taken
// after it. t.mu is held.
func (t *partition) requeue(b *batch) {
	at := 0
	for _, x := range t.inflight {
		if x == b {
			break
		}
		if x.queued {
			at++
		}
	}
	b.queued = true
	t.queue.insert(at, b)
	t.queuedBytes += int64(b.raw)
	if !t.active {
		t.activate()
	}
}

// unqueue takes a batch out of the queue. t.mu is held.
func (t *partition) unqueue(b *batch) {
	for i := range t.queue.len() {
		if t.queue.at(i) == b {
			t.queue.remove(i)
			break
		}
	}
	b.queued = false
	b.open = false
	t.queuedBytes -= int64(b.raw)
}
