package host

import (
	"context"
	"sync"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
)

const (
	blockRecords = 256
	blockBytes   = 256 << 10
)

// block is what Sends stage until it is judged: the records' bytes, copied, and
// their places in the chain's batch.
type block struct {
	batch   interceptor.Batch
	slots   []*slot
	arena   []byte
	headers []klamm.Header
	bytes   int
}

func newBlock() *block {
	return &block{arena: make([]byte, 0, blockBytes), slots: make([]*slot, 0, blockRecords)}
}

func (b *block) full() bool { return len(b.slots) >= blockRecords || b.bytes >= blockBytes }

// room reports whether a record of n bytes still goes in; an empty block takes
// any.
func (b *block) room(n int) bool { return len(b.slots) == 0 || b.bytes+n <= blockBytes }

// add copies a record's bytes, so that the caller's are free at once. Header
// keys are strings and need no copy.
func (b *block) add(sl *slot, rec *klamm.Record, timestampMS int64) {
	cp := *rec
	cp.Key, cp.Value = b.copy(rec.Key), b.copy(rec.Value)
	cp.Timestamp = timeOfMS(timestampMS)
	cp.Headers = nil
	if len(rec.Headers) > 0 {
		start := len(b.headers)
		for _, h := range rec.Headers {
			b.headers = append(b.headers, klamm.Header{Key: h.Key, Value: b.copy(h.Value)})
		}
		cp.Headers = b.headers[start:len(b.headers):len(b.headers)]
	}
	b.batch.Items = append(b.batch.Items, interceptor.Item{Record: cp, Ref: uint64(sl.ref)})
	b.slots = append(b.slots, sl)
}

// copy moves src into the arena; what does not fit gets memory of its own,
// since records already point into the arena. nil stays nil.
func (b *block) copy(src []byte) []byte {
	if src == nil {
		return nil
	}
	b.bytes += len(src)
	if len(b.arena)+len(src) > cap(b.arena) {
		return append(make([]byte, 0, len(src)), src...)
	}
	start := len(b.arena)
	b.arena = append(b.arena, src...)
	return b.arena[start:len(b.arena):len(b.arena)]
}

func (b *block) reset() {
	b.batch.Reset()
	clear(b.slots)
	b.slots = b.slots[:0]
	b.arena = b.arena[:0]
	clear(b.headers)
	b.headers = b.headers[:0]
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

	mu      sync.Mutex
	turn    sync.Cond
	current *block
	spare   *block // nil while it is being judged
	judging bool
}

// ackWants is what the lane's on_acknowledgement plugins ask for.
type ackWants struct{ any, key, headers bool }

func newLane(p *Producer, c *chainRun, index int, link *interceptor.Lane, pl *placer) *lane {
	l := &lane{p: p, chain: c, index: index, link: link, placer: pl, current: newBlock(), spare: newBlock()}
	l.turn.L = &l.mu
	return l
}

// stage takes a record over. A block that it fills is judged here, on the
// caller's goroutine; the pump judges what stays behind.
func (l *lane) stage(sl *slot, rec *klamm.Record, size int, timestampMS int64) {
	l.mu.Lock()
	for !l.current.room(size) {
		l.judgeCurrent()
	}
	l.current.add(sl, rec, timestampMS)
	first := len(l.current.slots) == 1
	if l.current.full() {
		l.judgeCurrent()
		first = false
	}
	l.mu.Unlock()
	if first {
		l.p.wakePump()
	}
}

// run judges what is staged now, after what is being judged.
func (l *lane) run() {
	l.mu.Lock()
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
	b.batch.NowMS = l.p.clock.nowMS()
	b.batch.Topics = l.p.facts
	l.link.OnSend(context.Background(), &b.batch)
	for i := range b.batch.Items {
		l.settleVerdict(b.slots[i], &b.batch.Items[i])
	}
	l.placer.place(l, b)
}

// settleVerdict notes the chain's verdict in the slot and completes the record
// if the verdict ended it.
func (l *lane) settleVerdict(sl *slot, it *interceptor.Item) {
	sl.offered, sl.claimed = it.Offered, it.Claimed
	sl.generations, sl.link, sl.reasonCode = it.Generations, it.Link, it.ReasonCode
	sl.topic = it.Record.Topic
	l.keepForAck(sl, &it.Record)
	switch it.Outcome {
	case klamm.InFlight:
	case klamm.Dropped:
		if it.Wait != nil {
			l.wait(sl, it)
			return
		}
		l.p.completeLocal(sl, klamm.Result{Outcome: klamm.Dropped, Plugin: it.Plugin, Reason: it.Reason})
	case klamm.DeadLettered:
		sl.dead = &deadVerdict{plugin: it.Plugin, reason: it.Reason}
	default:
		l.p.completeLocal(sl, klamm.Result{Outcome: klamm.Failed, Plugin: it.Plugin, Reason: it.Reason, Err: it.Err})
	}
}

// wait makes the record a waiter on the one that it duplicates. It keeps its
// slot and gives its memory back now: its value is never needed again.
func (l *lane) wait(sl *slot, it *interceptor.Item) {
	l.p.giveBack(sl)
	if r, settled := it.Wait.Commit(sl.ref, it.Plugin); settled {
		l.p.completeWaiter(sl, r)
	}
}

func (l *lane) keepForAck(sl *slot, rec *klamm.Record) {
	if l.wants.key {
		sl.key = cloneBytes(rec.Key)
	}
	if l.wants.headers {
		sl.headers = cloneHeaders(rec.Headers)
	}
	if !rec.Timestamp.IsZero() {
		sl.timestamp = rec.Timestamp.UnixMilli()
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
