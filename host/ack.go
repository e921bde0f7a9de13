package host

import (
	"context"
	"errors"
	"slices"
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

// completed is one record's end on its way to the acknowledger, or that of many
// that ended alike.
type completed struct {
	batch   *batchEnd // of many; nil for one record, which the rest is about
	end     *txnEnd   // not nil: no record, but the end of a transaction
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
	// Of the work at hand: records that ended alike, those that end alone, and the
	// slots of those of batches that somebody waits for besides the callback.
	batches  []*batchEnd
	alone    []completed
	ends     []*txnEnd
	specials []special
	notes    []note

	// Of settle.
	claimed  bool // there were claims since the ledger was flushed
	owners   []state.Ref
	offsets  []int64
	read     int32 // kept so that the compiler keeps the readings of begin
	fates    []state.Settlement
	resolved []state.Resolution
}

// special is a record of a batch with a slot that says more.
type special struct {
	batch *batchEnd
	i     int
	slot  *slot
}

// complete is the first stage: the pipeline calls it on a sender's goroutine,
// once for each batch.
func (p *Producer) complete(c *produce.Completion) {
	p.acker.queue.put(completed{batch: newBatchEnd(c)})
}

// writeResult is the result of a record that was handed to the accumulator.
func writeResult(sl *slot, c *produce.Completion, i int, err error) klamm.Result {
	r := klamm.Result{Outcome: klamm.Written, Topic: c.Topic, Partition: c.Partition, Offset: klamm.NoOffset}
	if dead := sl.seen().dead; dead != nil {
		r.Outcome, r.Plugin, r.Reason = klamm.DeadLettered, dead.plugin, dead.reason
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
	r.Offset = klamm.NoOffset
	p.acker.queue.put(completed{slot: sl, result: r})
}

// failLocal fails one, whose partition may have been chosen already.
func (p *Producer) failLocal(sl *slot, topic string, partition int32, err error) {
	r := klamm.Result{Outcome: klamm.Failed, Topic: topic, Partition: partition, Err: err}
	var perr *klamm.PluginError
	if errors.As(err, &perr) {
		r.Plugin, r.Reason = perr.Plugin, perr.Cause()
	}
	p.completeLocal(sl, r)
}

// completeWaiter ends a record that waited for the one that it duplicates.
func (p *Producer) completeWaiter(sl *slot, r state.Resolution) {
	p.acker.queue.put(waiterEnd(sl, r))
}

func waiterEnd(sl *slot, r state.Resolution) completed {
	if r.Err == errTriedAgain && !sl.bind() {
		r.Err = errTwinTriedAgain // nobody sends this one again
	}
	return completed{slot: sl, result: klamm.Result{
		Outcome: r.Outcome, Plugin: r.Plugin, Reason: r.Reason, Err: r.Err,
		Topic: sl.seen().topic, Partition: klamm.NoPartition, Offset: klamm.NoOffset,
		DuplicateOf: duplicateOf(r.Outcome, &r.At),
	}}
}

// duplicateOf is what Result.DuplicateOf says of a record that met an id whose
// record is at at, if it is known. One that shares its owner's drop by another
// plugin is no duplicate of anything: at has no partition then.
func duplicateOf(o klamm.Outcome, at *klamm.Position) *klamm.Position {
	if o != klamm.Dropped || !known(at) {
		return nil
	}
	return &klamm.Position{Topic: at.Topic, Partition: at.Partition, Offset: at.Offset}
}

// known reports whether a position tells of a record.
func known(at *klamm.Position) bool { return at.Topic != "" && at.Partition >= 0 }

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
	for i := range work {
		if b := work[i].batch; b != nil {
			a.begin(b, nowMS)
		} else if end := work[i].end; end != nil {
			a.ends = append(a.ends, end)
		} else {
			a.alone = append(a.alone, work[i])
		}
	}
	a.settleAlone(nowMS)
	for _, end := range a.ends { // all records of its transaction came before it
		a.settled(a.p.txn.end(end, nowMS, a.resolved[:0]))
	}
	if a.claimed {
		a.claimed = false
		a.p.ledger.Flush()
	}
	for i, end := range a.ends {
		close(end.done)
		a.ends[i] = nil
	}
	a.ends = a.ends[:0]
	// From here on everybody is told.
	a.notifyPlugins(a.alone, now)
	a.finishBatches()
	a.finish(a.alone)
	clear(a.alone)
	a.alone = a.alone[:0]
}

// begin begins the end of a batch of which all records are written, all failed, or
// all dropped for one reason, so that what it says of one it says of all. Those that
// differ, and those that plugins are told of, go on alone.
func (a *acknowledger) begin(b *batchEnd, nowMS int64) {
	a.batches = append(a.batches, b)
	b.calls = slices.Grow(b.calls[:0], len(b.Refs))[:len(b.Refs)]
	unknown := errors.Is(b.Err, klamm.ErrOutcomeUnknown)
	a.read = a.p.slots.readAll(b.Refs)
	for i, ref := range b.Refs {
		sl := a.p.slots.at(state.Ref(ref))
		b.txn = sl.txn
		if b.RecordErrs != nil || sl.lane.wants.any || sl.seen().dead != nil {
			b.calls[i] = call{}
			a.alone = append(a.alone, b.alone(i, sl))
			continue
		}
		if sl.claimed {
			a.owners, a.offsets = append(a.owners, sl.ref), append(a.offsets, b.offset(i))
		}
		if sl.special {
			a.specials = append(a.specials, special{b, i, sl})
		}
		b.calls[i] = call{sl.group, sl.done, sl.timestamp}
	}
	if len(a.owners) > 0 {
		a.settleBatch(b, state.Settlement{
			Outcome: b.outcome(), Unknown: unknown, Err: b.Err, NowMS: nowMS,
			At: state.Position{Topic: b.Topic, Partition: b.Partition}, Plugin: b.plugin, Reason: b.reason,
		})
	}
}

// settleBatch settles the owners, which are records of one batch. What is written in
// a transaction is settled by its end.
func (a *acknowledger) settleBatch(b *batchEnd, s state.Settlement) {
	settle := a.p.ledger.SettleSame
	if b.txn != 0 && b.outcome() == klamm.Written {
		settle = a.p.txn.tentative
	}
	a.settled(settle(a.owners, a.offsets, s, a.resolved[:0]))
	a.offsets = a.offsets[:0]
}

// finishBatches tells the records of the batches.
func (a *acknowledger) finishBatches() {
	for _, s := range a.specials {
		s.slot.rest.tell(s.batch.result(s.i, s.slot.timestamp))
	}
	clear(a.specials)
	a.specials = a.specials[:0]
	for i, b := range a.batches {
		a.freed = a.freed[:0]
		for j, ref := range b.Refs {
			if b.calls[j].group != nil {
				a.freed = append(a.freed, state.Ref(ref))
			}
		}
		a.p.tally.complete(b.outcome(), len(a.freed))
		if b.txn != 0 {
			a.p.txn.count(b.txn, b.outcome(), len(a.freed), b.Err)
		}
		a.p.slots.release(a.freed)
		a.p.notes.put(note{batch: b})
		a.batches[i] = nil
	}
	a.batches = a.batches[:0]
}

// settleMost is how many records are handed to the ledger at once, which takes them
// by 128 under one lock, as claims need that meanwhile.
const settleMost = 256

// fate notes what became of a record that has claims.
func (a *acknowledger) fate(owner state.Ref, s state.Settlement) {
	a.owners, a.fates = append(a.owners, owner), append(a.fates, s)
	if len(a.owners) >= settleMost {
		a.settle()
	}
}

// settle tells the ledger what became of the records whose fate was noted. Those
// who waited for them end alone.
func (a *acknowledger) settle() {
	if len(a.owners) == 0 {
		return
	}
	a.settled(a.p.ledger.SettleAll(a.owners, a.fates, a.resolved[:0]))
	clear(a.fates)
	a.fates = a.fates[:0]
}

// settled completes those who waited for the owners.
func (a *acknowledger) settled(waiters []state.Resolution) {
	a.claimed = true
	a.free(waiters)
	a.owners = a.owners[:0]
	clear(waiters)
	a.resolved = waiters
}

// free completes records that waited, or has the producer do it whose they are.
func (a *acknowledger) free(waiters []state.Resolution) {
	for _, r := range waiters {
		if number, ok := producerOf(r.Waiter); ok && number == a.p.number {
			a.alone = append(a.alone, waiterEnd(a.p.slots.at(r.Waiter), r))
		} else if !resolveSeat(r) {
			a.p.producers.completeWaiter(r)
		}
	}
}

// settleAlone settles the claims of single records, and of those that their
// ends set free.
func (a *acknowledger) settleAlone(nowMS int64) {
	for i := 0; i < len(a.alone); {
		for ; i < len(a.alone); i++ {
			c := &a.alone[i]
			switch {
			case !c.slot.claimed:
			case c.slot.txn != 0 && c.result.Outcome == klamm.Written:
				a.tentative(c, settlement(c, nowMS))
			default:
				a.fate(c.slot.ref, settlement(c, nowMS))
			}
		}
		a.settle()
	}
}

// tentative is settleBatch for one record of a transaction. Owners whose fate was
// noted keep theirs until settle.
func (a *acknowledger) tentative(c *completed, s state.Settlement) {
	a.claimed = true
	a.free(a.p.txn.tentative([]state.Ref{c.slot.ref}, []int64{c.result.Offset}, s, nil))
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
	sl, m := c.slot, c.slot.seen()
	ack := interceptor.Ack{
		Record: klamm.Record{Topic: c.result.Topic, Key: m.kept.key, Headers: m.kept.headers, Timestamp: c.result.Timestamp},
		Ref:    uint64(sl.ref), Partition: c.result.Partition, Offset: c.result.Offset,
		Code: ackCode(&c.result), Latency: now - sl.accepted,
		Err: c.result.Err, Plugin: c.result.Plugin, Reason: c.result.Reason,
		ReasonCode: m.reasonCode, Link: m.link, Offered: m.offered, Generations: m.generations,
	}
	if c.result.Outcome == klamm.Dropped {
		ack.Flags |= abi.AckDropped
	}
	if c.retried {
		ack.Flags |= abi.AckRetried
	}
	if errors.Is(c.result.Err, klamm.ErrTransactionAborted) {
		ack.Flags |= abi.AckAborted
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
	case errors.Is(r.Err, klamm.ErrTransactionAborted):
		return abi.ErrAborted
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
	a.notes, a.freed = a.notes[:0], a.freed[:0]
	var outcomes [klamm.Failed + 1]int
	for i := range work {
		if handedBack(work[i].result.Err) {
			a.p.tally.accept(-1)
			continue
		}
		outcomes[work[i].result.Outcome]++
	}
	for outcome, n := range outcomes {
		if n > 0 {
			a.p.tally.complete(klamm.Outcome(outcome), n)
		}
	}
	for i := range work {
		c := &work[i]
		sl := c.slot
		if sl.txn != 0 {
			a.p.txn.count(sl.txn, c.result.Outcome, 1, c.result.Err)
		}
		if sl.special {
			sl.rest.tell(c.result)
		}
		a.notes = append(a.notes, note{done: sl.done, result: c.result, group: sl.group})
		a.freed = append(a.freed, sl.ref)
	}
	a.p.slots.release(a.freed)
	if len(a.notes) > 0 {
		a.p.notes.put(a.notes...)
	}
	clear(a.notes)
}
