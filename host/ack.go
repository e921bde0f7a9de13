package host

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/produce"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// Completion has three stages on three goroutines, each handing on without
// waiting. The sender frees buffer memory (complete); the acknowledger settles
// claims, runs on_acknowledgement and frees the slot; the notifier runs
// callbacks, which hold neither memory nor slot, so that a callback may send.

// completed is one record's end on its way to the acknowledger.
type completed struct {
	slot    *slot
	result  klamm.Result
	retried bool
	unknown bool
}

// acknowledger is the second stage.
type acknowledger struct {
	p     *Producer
	queue handoff[completed]
	acks  map[*lane][]interceptor.Ack
	order []*lane
	freed []state.Ref

	// Of settle.
	owners   []state.Ref
	fates    []state.Settlement
	resolved []state.Resolution
}

// complete is the first stage: the pipeline calls it on a sender's goroutine,
// once for each batch.
func (p *Producer) complete(c *produce.Completion) {
	ends := make([]completed, len(c.Refs))
	for i, ref := range c.Refs {
		sl := p.slots.at(state.Ref(ref))
		err := c.Err
		if c.RecordErrs != nil {
			err = c.RecordErrs[i]
		}
		ends[i] = completed{slot: sl, retried: c.Attempts > 1, result: writeResult(sl, c, i, err)}
		ends[i].unknown = errors.Is(err, klamm.ErrOutcomeUnknown)
	}
	p.acker.queue.put(ends...)
}

// writeResult is the result of a record that was handed to the accumulator.
func writeResult(sl *slot, c *produce.Completion, i int, err error) klamm.Result {
	r := klamm.Result{Outcome: klamm.Written, Topic: sl.topic, Partition: c.Partition, Offset: klamm.NoOffset}
	if sl.dead != nil {
		r.Outcome, r.Plugin, r.Reason = klamm.DeadLettered, sl.dead.plugin, sl.dead.reason
	}
	if err != nil {
		r.Outcome, r.Err = klamm.Failed, err
		return r
	}
	if c.BaseOffset >= 0 {
		r.Offset = c.BaseOffset + int64(i)
	}
	ms := sl.timestamp
	if c.TimestampMS >= 0 {
		ms = c.TimestampMS
	}
	r.Timestamp = timeOfMS(ms)
	return r
}

// completeLocal ends a record that never reached the accumulator.
func (p *Producer) completeLocal(sl *slot, r klamm.Result) {
	p.giveBack(sl)
	r.Topic, r.Partition, r.Offset = sl.topic, sl.partition, klamm.NoOffset
	p.acker.queue.put(completed{slot: sl, result: r})
}

func (p *Producer) failLocal(sl *slot, err error) {
	r := klamm.Result{Outcome: klamm.Failed, Err: err}
	var perr *klamm.PluginError
	if errors.As(err, &perr) {
		r.Plugin, r.Reason = perr.Plugin, perr.Err.Error()
	}
	p.completeLocal(sl, r)
}

// completeWaiter ends a record that waited for the one that it duplicates.
func (p *Producer) completeWaiter(sl *slot, r state.Resolution) {
	p.acker.queue.put(waiterEnd(sl, r))
}

func waiterEnd(sl *slot, r state.Resolution) completed {
	return completed{slot: sl, result: klamm.Result{
		Outcome: r.Outcome, Plugin: r.Plugin, Reason: r.Reason, Err: r.Err,
		Topic: sl.topic, Partition: klamm.NoPartition, Offset: klamm.NoOffset,
	}}
}

// run is the second stage's goroutine. It ends when the queue is closed and
// empty.
func (a *acknowledger) run() {
	for {
		work, ok := a.queue.take()
		if !ok {
			return
		}
		a.process(work)
	}
}

func (a *acknowledger) process(work []completed) {
	now := a.p.clock.since()
	nowMS := a.p.clock.msAt(now)
	claimed := false
	for from := 0; from < len(work); { // work grows by the waiters that are set free
		end := min(from+settleMost, len(work))
		work = a.settle(work, from, end, nowMS)
		claimed = claimed || len(a.owners) > 0
		from = end
	}
	if claimed {
		a.p.ledger.Flush()
	}
	a.notifyPlugins(work, now)
	a.finish(work)
}

// settleMost is how many records are settled under one lock of the ledger, which
// claims need meanwhile.
const settleMost = 256

// settle settles the claims of work[from:end] and appends the waiters that this
// sets free.
func (a *acknowledger) settle(work []completed, from, end int, nowMS int64) []completed {
	a.owners, a.fates = a.owners[:0], a.fates[:0]
	for i := from; i < end; i++ {
		if c := &work[i]; c.slot.claimed {
			a.owners = append(a.owners, c.slot.ref)
			a.fates = append(a.fates, settlement(c, nowMS))
		}
	}
	if len(a.owners) == 0 {
		return work
	}
	a.resolved = a.p.ledger.SettleAll(a.owners, a.fates, a.resolved[:0])
	for _, r := range a.resolved {
		if !resolveSeat(r) {
			work = append(work, waiterEnd(a.p.slots.at(r.Waiter), r))
		}
	}
	clear(a.fates)
	clear(a.resolved)
	return work
}

// settlement tells the ledger what became of a record that has claims.
func settlement(c *completed, nowMS int64) state.Settlement {
	r := &c.result
	return state.Settlement{
		Outcome: r.Outcome, Unknown: c.unknown,
		At:     state.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset},
		Plugin: r.Plugin, Reason: r.Reason, Err: r.Err, NowMS: nowMS,
	}
}

// notifyPlugins runs on_acknowledgement, lane by lane, in batches.
func (a *acknowledger) notifyPlugins(work []completed, now time.Duration) {
	for i := range work {
		l := work[i].slot.lane
		if !l.wants.any {
			continue
		}
		if len(a.acks[l]) == 0 {
			a.order = append(a.order, l)
		}
		a.acks[l] = append(a.acks[l], ackOf(&work[i], now))
	}
	for _, l := range a.order {
		l.link.OnAcknowledgement(context.Background(), a.acks[l])
		clear(a.acks[l])
		a.acks[l] = a.acks[l][:0]
	}
	a.order = a.order[:0]
}

func ackOf(c *completed, now time.Duration) interceptor.Ack {
	sl := c.slot
	ack := interceptor.Ack{
		Record: klamm.Record{Topic: c.result.Topic, Key: sl.key, Headers: sl.headers, Timestamp: c.result.Timestamp},
		Ref:    uint64(sl.ref), Partition: c.result.Partition, Offset: c.result.Offset,
		Code: ackCode(&c.result), Latency: now - sl.accepted,
		Err: c.result.Err, Plugin: c.result.Plugin, Reason: c.result.Reason,
		ReasonCode: sl.reasonCode, Link: sl.link, Offered: sl.offered, Generations: sl.generations,
	}
	if c.result.Outcome == klamm.Dropped {
		ack.Flags |= abi.AckDropped
	}
	if c.retried {
		ack.Flags |= abi.AckRetried
	}
	return ack
}

// ackCode is what plugins see of an error: Kafka's code, or one of ours below
// zero (sdk/abi).
func ackCode(r *klamm.Result) int32 {
	if r.Err == nil {
		return abi.ErrNone
	}
	var broker *klamm.BrokerError
	var plugin *klamm.PluginError
	switch {
	case errors.Is(r.Err, klamm.ErrOutcomeUnknown):
		return abi.ErrUnknownOutcome
	case errors.As(r.Err, &plugin):
		return abi.ErrPlugin
	case errors.As(r.Err, &broker):
		return int32(broker.Code)
	case errors.Is(r.Err, klamm.ErrBufferFull):
		return abi.ErrBuffer
	case errors.Is(r.Err, klamm.ErrTimeout):
		return abi.ErrTimedOut
	case errors.Is(r.Err, klamm.ErrClosed):
		return abi.ErrClosed
	}
	return abi.ErrOther
}

// finish frees the slots, wakes the Sends that wait and hands the callbacks on.
func (a *acknowledger) finish(work []completed) {
	notes := make([]note, len(work))
	a.freed = a.freed[:0]
	for i := range work {
		c := &work[i]
		sl := c.slot
		a.p.tally.complete(c.result.Outcome)
		if sl.tally != nil {
			sl.tally.complete(c.result.Outcome)
		}
		if sl.sync != nil {
			sl.sync <- c.result // buffered: one result each
		}
		notes[i] = note{done: sl.done, result: c.result, group: sl.group}
		a.freed = append(a.freed, sl.ref)
	}
	a.p.slots.release(a.freed)
	a.p.notes.put(notes...)
}

// note is a callback to run, and the flush group that then counts it out.
type note struct {
	done   func(klamm.Result)
	result klamm.Result
	group  *flushGroup
}

// runNotifier is the third stage's goroutine.
func (p *Producer) runNotifier() {
	p.callbacks.goroutine = goroutineID()
	for {
		p.callbacks.busy.Store(false)
		notes, ok := p.notes.take()
		if !ok {
			return
		}
		p.callbacks.busy.Store(true)
		for start := 0; start < len(notes); {
			g := notes[start].group
			end := start
			for ; end < len(notes) && notes[end].group == g; end++ {
				if notes[end].done != nil {
					notes[end].done(notes[end].result)
				}
			}
			p.slots.forget(g, end-start)
			start = end
		}
	}
}

// handoff is an unbounded queue between two stages: put never waits, take gets
// all there is. What bounds it is the number of slots.
type handoff[T any] struct {
	mu     sync.Mutex
	items  []T
	spare  []T
	wake   chan struct{}
	closed bool
}

func newHandoff[T any]() handoff[T] { return handoff[T]{wake: make(chan struct{}, 1)} }

func (h *handoff[T]) put(items ...T) {
	h.mu.Lock()
	h.items = append(h.items, items...)
	h.mu.Unlock()
	h.signal()
}

func (h *handoff[T]) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// take waits for items. The slice is the caller's until its next take.
func (h *handoff[T]) take() ([]T, bool) {
	for {
		h.mu.Lock()
		if len(h.items) > 0 {
			got := h.items
			clear(h.spare)
			h.items, h.spare = h.spare[:0], got
			h.mu.Unlock()
			return got, true
		}
		closed := h.closed
		h.mu.Unlock()
		if closed {
			return nil, false
		}
		<-h.wake
	}
}

// close ends the taker once it has taken everything.
func (h *handoff[T]) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.signal()
}
