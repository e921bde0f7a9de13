package host

import (
	"context"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/produce"
	"github.com/klamm-io/klamm/interceptor"
)

const (
	blockRecords = 256
	blockBytes   = 256 << 10
)

// block is what Sends stage until it is judged: the records' bytes, copied in the
// form in which a batch has them, and their places in the chain's batch.
type block struct {
	batch   interceptor.Batch
	slots   []*slot
	bodies  [][]byte // see produce.PutBody
	arena   []byte
	headers []klamm.Header
	bytes   int // reserved by the records
}

func newBlock() *block {
	return &block{
		arena: make([]byte, 0, blockBytes), slots: make([]*slot, 0, blockRecords), bodies: make([][]byte, 0, blockRecords),
	}
}

func (b *block) full() bool { return len(b.slots) >= blockRecords || b.bytes >= blockBytes }

// room reports whether a record that reserves n bytes still goes in; an empty
// block takes any.
func (b *block) room(n int) bool { return len(b.slots) == 0 || b.bytes+n <= blockBytes }

// add copies a record's bytes, so that the caller's are free at once. Header
// keys are strings and need no copy.
func (b *block) add(sl *slot, rec *klamm.Record) {
	it := b.batch.Next()
	it.Ref = uint64(sl.ref)
	cp := &it.Record
	cp.Topic, cp.Target = rec.Topic, rec.Target
	cp.Partition, cp.Offset, cp.LeaderEpoch = rec.Partition, rec.Offset, rec.LeaderEpoch
	cp.Timestamp = timeOfMS(sl.timestamp)
	body, keyAt, valueAt := b.copy(rec, int(sl.reserved))
	cp.Key, cp.Value = view(body, keyAt, rec.Key), view(body, valueAt, rec.Value)
	cp.Headers = nil
	if len(rec.Headers) > 0 {
		cp.Headers = b.headersOf(body, rec.Headers)
	}
	b.slots = append(b.slots, sl)
	b.bodies = append(b.bodies, body)
}

// copy encodes a record's body into the arena. What does not fit, which is the
// first record of a block, gets memory of its own.
func (b *block) copy(rec *klamm.Record, most int) (body []byte, keyAt, valueAt int) {
	b.bytes += most
	start := len(b.arena)
	if start+most > cap(b.arena) {
		body = make([]byte, most)
	} else {
		body = b.arena[start : start+most]
	}
	keyAt, valueAt, size := produce.PutBody(body, rec.Key, rec.Value, rec.Headers)
	if start+most <= cap(b.arena) {
		b.arena = b.arena[:start+size]
	}
	return body[:size:size], keyAt, valueAt
}

// view returns the copy of src that is in body. nil stays nil.
func view(body []byte, at int, src []byte) []byte {
	if src == nil {
		return nil
	}
	return body[at : at+len(src) : at+len(src)]
}

// headersOf returns headers whose values are those in body, at its end.
func (b *block) headersOf(body []byte, hs []klamm.Header) []klamm.Header {
	start := len(b.headers)
	b.headers = append(b.headers, hs...)
	copies := b.headers[start:len(b.headers):len(b.headers)]
	end := len(body)
	for i := len(copies) - 1; i >= 0; i-- {
		h := &copies[i]
		size := produce.HeaderSize(h)
		h.Value = view(body, end-len(h.Value), h.Value)
		end -= size
	}
	return copies
}

func (b *block) reset() {
	b.batch.Reset()
	b.slots, b.bodies = b.slots[:0], b.bodies[:0]
	b.arena = b.arena[:0]
	if len(b.headers) > 0 {
		clear(b.headers)
		b.headers = b.headers[:0]
	}
	b.bytes = 0
}

// lane owns one instance of each of its chain's plugins. Records are staged in
// one block while another is judged, one judgement at a time and in the order
// of staging, so that the order of Send is kept.
type lane struct {
	p      *Producer
	chain  *chainRun
	index  int
	link   *interceptor.Lane
	placer *placer
	wants  ackWants
	// direct: no plugin judges the records, so that each goes to the accumulator
	// at once.
	direct bool

	mu      sync.Mutex
	turn    sync.Cond
	current *block
	spare   *block // nil while it is being judged
	judging bool
	lot     lot         // of slots
	memory  int         // bytes that are reserved, and no record's yet
	ended   []completed // by verdicts of the block that is judged
	drops   *batchEnd   // the last of them where that is one of drops
	unused  int         // memory of those that were dropped
	sends   int         // how many; see clock.renew
	breath  int         // bytes since produce.Pipeline.Breathe
	inside  int         // Sends that hold mu, or wait for their turn with a record
}

// ackWants is what the lane's on_acknowledgement plugins ask for.
type ackWants struct{ any, key, headers bool }

func newLane(p *Producer, c *chainRun, index int, link *interceptor.Lane, pl *placer) *lane {
	l := &lane{p: p, chain: c, index: index, link: link, placer: pl, current: newBlock(), spare: newBlock()}
	l.turn.L = &l.mu
	return l
}

// reserve takes buffer memory for a record, some of it in advance for those that
// come next, so that not each of them pays for it. It reports false where there
// is none, or others wait for theirs. mu is held.
func (l *lane) reserve(size int) bool {
	if l.memory < size {
		want := size + l.p.pipeline.Share()
		switch {
		case l.p.pipeline.TryReserve(want - l.memory):
			l.memory = want
		case l.p.pipeline.TryReserve(size - l.memory):
			l.memory = size
		default:
			return false
		}
	}
	l.memory -= size
	return true
}

// returnMemory gives back what is reserved in advance.
func (l *lane) returnMemory() {
	l.mu.Lock()
	l.returnCredit()
	l.mu.Unlock()
}

// returnCredit is returnMemory with mu held.
func (l *lane) returnCredit() {
	if l.memory > 0 {
		l.p.pipeline.Release(l.memory)
		l.memory = 0
	}
}

// enter finds a slot for the record of a Send that holds mu. It fails, and lets
// go of mu, when none becomes free until deadline, by default max_block from now,
// and when the producer is closed.
func (l *lane) enter(ctx context.Context, deadline time.Time) (*slot, error) {
	sl := l.slot()
	if sl == nil {
		l.mu.Unlock()
		if deadline.IsZero() {
			deadline = l.p.maxBlockDeadline()
		}
		var err error
		if sl, err = l.p.slots.acquire(ctx, deadline); err != nil {
			return nil, err
		}
		l.mu.Lock()
		l.p.tally.accept(1)
	}
	if l.p.closed.Load() {
		l.p.tally.accept(-1)
		l.returnCredit()
		l.mu.Unlock()
		l.p.slots.abandon(sl)
		return nil, errProducerClosed
	}
	l.inside++
	if l.sends++; l.sends%recentReads == 0 {
		l.p.clock.renew()
	}
	return sl, nil
}

// leave unlocks the lane after a Send of size bytes.
func (l *lane) leave(size int) {
	if l.inside--; l.inside == 0 && l.p.closed.Load() {
		l.turn.Broadcast()
	}
	l.breath += size
	breathe := l.breath >= produce.BreatheBytes
	if breathe {
		l.breath = 0
	}
	l.mu.Unlock()
	if breathe {
		l.p.pipeline.Breathe()
	}
}

// slot takes a slot out of the lane's lot, nil when none is free.
func (l *lane) slot() *slot {
	if len(l.lot.refs) == 0 {
		l.p.slots.fill(&l.lot)
		if len(l.lot.refs) == 0 {
			return nil
		}
		l.p.tally.accept(len(l.lot.refs))
	}
	return l.p.slots.from(&l.lot)
}

// returnLot gives back the slots that no record came into. mu is held.
func (l *lane) returnLot() {
	if n := len(l.lot.refs); n > 0 {
		l.p.tally.accept(-n)
		l.p.slots.giveBack(&l.lot)
	}
}

// beginTransaction has the records of a transaction get refs after its beginning.
func (l *lane) beginTransaction() {
	l.mu.Lock()
	l.returnLot()
	l.mu.Unlock()
}

// drain waits for the Sends that were let in before the producer closed.
func (l *lane) drain() {
	l.mu.Lock()
	for l.inside > 0 {
		l.turn.Wait()
	}
	l.returnCredit()
	l.mu.Unlock()
}

// stage takes a record over. A block that it fills is judged here, on the
// caller's goroutine; the pump judges what stays behind. mu is held; it is free
// for a while where the record has to wait for its turn.
func (l *lane) stage(sl *slot, rec *klamm.Record) {
	if l.direct && !l.judging && len(l.current.slots) == 0 && l.p.park.any.Load() == 0 && l.placer.direct(l, sl, rec) {
		return
	}
	for !l.current.room(int(sl.reserved)) {
		l.judgeCurrent()
	}
	l.current.add(sl, rec)
	switch {
	case l.current.full():
		l.judgeCurrent()
	case len(l.current.slots) == 1:
		l.p.wakePump()
	}
}

// run judges what is staged now, after what is being judged.
func (l *lane) run() {
	l.mu.Lock()
	l.judgeCurrent()
	l.mu.Unlock()
}

// flush is run for a Flush, which waits for the slots of the lot too.
func (l *lane) flush() {
	l.mu.Lock()
	l.returnLot()
	l.returnCredit()
	l.judgeCurrent()
	l.mu.Unlock()
}

// idleRun judges what is staged unless somebody judges already, who then wakes
// the pump before leaving.
func (l *lane) idleRun() {
	l.mu.Lock()
	if !l.judging {
		l.judgeCurrent()
	}
	l.mu.Unlock()
}

// judgeCurrent waits for its turn and judges the current block. It is called,
// and returns, with mu held; mu is free while the plugins run.
func (l *lane) judgeCurrent() {
	for l.judging {
		l.turn.Wait()
	}
	b := l.current
	if len(b.slots) == 0 {
		return
	}
	l.judging = true
	l.current, l.spare = l.spare, nil
	l.mu.Unlock()

	l.judge(b)
	b.reset()

	l.mu.Lock()
	l.spare, l.judging = b, false
	if len(l.current.slots) == 0 { // b is in the cache, the other is not
		l.current, l.spare = b, l.current
	}
	l.turn.Broadcast()
	if len(l.current.slots) > 0 {
		l.p.wakePump()
	}
}

// exclusive runs f between two judgements.
func (l *lane) exclusive(f func()) {
	l.mu.Lock()
	for l.judging {
		l.turn.Wait()
	}
	l.judging = true
	l.mu.Unlock()
	f()
	l.mu.Lock()
	l.judging = false
	l.turn.Broadcast()
	if len(l.current.slots) > 0 {
		l.p.wakePump()
	}
	l.mu.Unlock()
}

// judge runs the on_send chain over a block, then places what passed.
func (l *lane) judge(b *block) {
	if l.cuts() && l.p.hold.on.Load() {
		l.holdRest(b, 0)
		return
	}
	b.batch.NowMS = l.p.clock.nowMS()
	b.batch.Topics = l.p.facts
	l.link.OnSend(context.Background(), &b.batch)
	for i := range b.batch.Items {
		sl, it := b.slots[i], &b.batch.Items[i]
		if sl.special && l.holds(sl, it, standingOf(it)) {
			continue
		}
		if !l.settleVerdict(sl, it) {
			l.holdRest(b, i+1)
			break
		}
	}
	l.endAll()
	l.placer.place(l, b)
}

// end notes that a verdict failed a record.
func (l *lane) end(sl *slot, it *interceptor.Item) {
	l.ended = append(l.ended, completed{slot: sl, result: klamm.Result{
		Outcome: klamm.Failed, Topic: it.Record.Topic, Partition: klamm.NoPartition, Offset: klamm.NoOffset,
		Plugin: it.Plugin, Reason: it.Reason, Err: it.Err,
	}})
}

// drop is end for a record that is dropped: most of a block are for one reason.
func (l *lane) drop(sl *slot, it *interceptor.Item) {
	if l.drops == nil || !l.drops.takes(sl, it) {
		l.drops = newDropEnd(sl, it)
		l.ended = append(l.ended, completed{batch: l.drops})
	}
	if sl.done != nil || sl.seen().sync != nil { // somebody is told
		l.drops.duplicates(&it.Duplicate)
	}
	l.drops.Refs = append(l.drops.Refs, uint64(sl.ref))
	l.unused += int(sl.reserved)
	sl.reserved = 0
}

// endAll hands on, at once, all records of a block that verdicts have ended, and
// gives back their memory.
func (l *lane) endAll() {
	if len(l.ended) == 0 {
		return
	}
	memory := l.unused
	for i := range l.ended {
		if sl := l.ended[i].slot; sl != nil {
			memory += int(sl.reserved)
			sl.reserved = 0
		}
	}
	l.drops, l.unused = nil, 0
	l.p.pipeline.Release(memory)
	l.p.acker.queue.put(l.ended...)
	clear(l.ended)
	l.ended = l.ended[:0]
}

// settleVerdict notes the chain's verdict in the slot and completes the record
// if the verdict ended it. It returns false where the record is held back, and so
// must all be that come after it.
func (l *lane) settleVerdict(sl *slot, it *interceptor.Item) bool {
	sl.claimed = it.Claimed
	if l.wants.any {
		sl.judged(it)
		sl.keep(l.wants, &it.Record)
	}
	if it.Edited() && !it.Record.Timestamp.IsZero() {
		sl.timestamp = it.Record.Timestamp.UnixMilli()
	}
	if it.Outcome == klamm.InFlight {
		return true
	}
	return l.settleEnd(sl, it)
}

// settleEnd is settleVerdict of a record whose way ended.
func (l *lane) settleEnd(sl *slot, it *interceptor.Item) bool {
	switch it.Outcome {
	case klamm.Dropped:
		if it.Wait != nil {
			return l.wait(sl, it)
		}
		l.drop(sl, it)
	case klamm.DeadLettered:
		sl.more().dead = &deadVerdict{plugin: it.Plugin, reason: it.Reason}
	default:
		if l.cuts() && mustHold(it.Err) {
			l.holdOne(sl, it)
			return false
		}
		l.end(sl, it)
	}
	return true
}

// judged notes what on_acknowledgement tells of the judgement.
func (sl *slot) judged(it *interceptor.Item) {
	m := sl.more()
	m.offered, m.generations, m.link, m.reasonCode = it.Offered, it.Generations, it.Link, it.ReasonCode
}

// wait makes the record a waiter on the one that it duplicates. It keeps its
// slot and gives its memory back now: its value is never needed again. It returns
// false where the record must not wait, and is held back.
func (l *lane) wait(sl *slot, it *interceptor.Item) bool {
	l.p.giveBack(sl)
	sl.more().topic = it.Record.Topic
	r, settled := it.Wait.Commit(sl.ref, it.Plugin)
	if !settled {
		return true
	}
	if l.cuts() && mustHold(r.Err) {
		l.holdOne(sl, it)
		return false
	}
	l.p.completeWaiter(sl, r)
	return true
}

// keep copies what on_acknowledgement asks to see.
func (sl *slot) keep(wants ackWants, rec *klamm.Record) {
	if !wants.key && !wants.headers {
		return
	}
	m := sl.more()
	if wants.key {
		m.kept.key = cloneBytes(rec.Key)
	}
	if wants.headers {
		m.kept.headers = cloneHeaders(rec.Headers)
	}
}

func cloneBytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

func cloneHeaders(hs []klamm.Header) []klamm.Header {
	if len(hs) == 0 {
		return nil
	}
	out := make([]klamm.Header, len(hs))
	for i, h := range hs {
		out[i] = klamm.Header{Key: h.Key, Value: cloneBytes(h.Value)}
	}
	return out
}
