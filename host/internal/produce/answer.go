package produce

import (
	"errors"
	"fmt"

	"github.com/klamm-io/klamm"
)

// answer is what a broker said about one batch.
type answer struct {
	code         klamm.Code
	baseOffset   int64
	logAppend    int64 // -1: create time
	logStart     int64 // -1: not told
	leader       int32 // KIP-951; -1: not told
	leaderEpoch  int32
	message      string
	recordErrors []recordError
	// cause is why there is no answer, where code is NETWORK_EXCEPTION.
	cause error
}

// failedLate reports whether the broker refused a batch after it had written it:
// it was a leader no more, say, while it waited for its replicas, which may have
// the batch by now. Apache Kafka's brokers tell the offset then, which a batch
// that was refused at once does not have. Others leave it at 0, but not the start
// of the log (Produce 5).
func (a *answer) failedLate() bool {
	return a.code != klamm.CodeNone && a.baseOffset >= 0 && (a.logStart >= 0 || a.baseOffset > 0)
}

// recordError is what the broker has against one record of a batch.
type recordError struct {
	index   int32
	message string
}

// err returns the answer as an error.
func (a *answer) err() error {
	if a.cause != nil {
		return a.cause
	}
	return &klamm.BrokerError{Code: a.code, Message: a.message}
}

// answered decides what becomes of a batch that comes back from the wire.
func (p *Pipeline) answered(from *sender, b *batch, a *answer) {
	t := b.part
	t.mu.Lock()
	t.onWire--
	b.wire = false
	if b.done {
		t.lateAnswer(b, a) // unlocks
		return
	}
	r := p.ruleFor(a.code, b)
	r.unclear = r.unclear || a.failedLate()
	records := b.header.count
	end, halves := t.judge(b, a, r)
	owner := t.owner
	t.mu.Unlock()

	switch {
	case halves:
		p.count.splits.Add(1)
		p.recycle(b)
	case end == nil:
		p.count.retried(1, records)
	default:
		p.settle(b, end)
		p.recycle(b)
	}
	if r.do == failAll && p.txn != nil {
		p.txn.fatal(fmt.Errorf("topic %q partition %d: %w", t.topic.name, t.id, a.err()))
	} else if r.do == failAll {
		p.fail(fmt.Errorf("the producer has stopped: topic %q partition %d: %w", t.topic.name, t.id, a.err()))
	}
	if r.refresh {
		p.follow(t, a)
	}
	if owner != nil && owner != from {
		owner.kick()
	}
}

// endedBatch is a batch whose completion is yet to be called, without locks.
type endedBatch struct {
	batch *batch
	end   *ending
}

// ending is how a batch ended.
type ending struct {
	baseOffset int64
	timestamp  int64
	err        error
	recordErrs []error
}

// judge applies the rule to the batch. It returns its end, nil when it goes
// again, whole or in halves. t.mu is held.
func (t *partition) judge(b *batch, a *answer, r rule) (end *ending, halves bool) {
	if b.stamp == nil && (r.do == reorder || r.do == restart || r.do == fence) {
		r = rule{do: fail} // it has no sequence that could be mended
	}
	// A broker that calls a batch out of order when nothing is in flight before
	// it may be confused, and have written it.
	maybe := b.maybeWritten || r.unclear || r.do == reorder && (t.isTurnOf(b) || t.isBehindHole(b))
	switch r.do {
	case succeed, succeedUnplaced:
		b.done = true
		t.forget(b)
		t.acknowledged(b, a.baseOffset)
		if r.do == succeedUnplaced {
			return &ending{baseOffset: -1, timestamp: -1}, false
		}
		return &ending{baseOffset: a.baseOffset, timestamp: a.logAppend}, false
	case split:
		if b.header.count == 1 {
			return t.lose(b, maybe, b.tooLarge(a.code, a.message)), false
		}
		if err := t.split(b); err != nil {
			return t.lose(b, maybe, err), false
		}
		return nil, true
	case fence:
		// Epochs are a matter of one partition, but should a broker take them
		// for the producer's, then the epoch that another partition of ours
		// moved to has fenced this one, and nothing is lost.
		ours := b.stamp != nil && b.stamp != t.pipeline.identity.current()
		if !ours || maybe {
			return t.lose(b, maybe, a.err()), false
		}
	case fail, failAll:
		end = t.lose(b, maybe, a.err())
		if !maybe {
			end.recordErrs = recordErrors(b, a.code, a.recordErrors)
		}
		return end, false
	}
	b.maybeWritten = maybe
	b.unclear = b.unclear || r.unclear
	b.lastErr = a.err()
	if err := t.pipeline.giveUpReason(b); err != nil {
		return t.lose(b, maybe, err), false
	}
	if t.pipeline.txn != nil && t.isBeyondMending(b, a, r) {
		return t.lose(b, maybe, a.err()), false
	}
	if r.do == reorder && t.isOvertaken(b) && b.gaps > 1 {
		// The broker is past it and no longer knows whether it was written.
		return t.lose(b, true, a.err()), false
	}
	t.again(b, a, r)
	return nil, false
}

// giveUpReason returns why a batch that could be retried is not.
func (p *Pipeline) giveUpReason(b *batch) error {
	if b.attempts > p.set.retries {
		return fmt.Errorf("%d attempts (retries %d): %w", b.attempts, p.set.retries, b.lastErr)
	}
	if stop := p.stop.Load(); stop != nil {
		return *stop
	}
	return nil
}

// again puts b back for a retry.
func (t *partition) again(b *batch, a *answer, r rule) {
	p := t.pipeline
	b.retryAt = p.now() + p.set.backoff.after(b.attempts)
	if a.code == klamm.CodeConcurrentTransactions {
		b.retryAt = p.now() + concurrentPause
	}
	switch {
	case b.stamp == nil:
	case r.do == reorder:
		t.outOfOrder(b)
	case r.do == restart && a.logStart >= 0 && t.inflight[0] == b:
		t.sequences.restart, t.forgotten = true, true
	case r.do == fence:
		t.sequences.restart = true
	default:
		b.gaps = 0
	}
	t.requeue(b)
}

// lose ends b without an acknowledgement. maybe tells that it may be in the log.
// t.mu is held.
func (t *partition) lose(b *batch, maybe bool, err error) *ending {
	b.done = true
	t.giveUp(b, maybe)
	return &ending{baseOffset: -1, timestamp: -1, err: b.failure(maybe, err)}
}

// lateAnswer is for a batch whose completion has been called already, because
// delivery_timeout or Close ended it on the wire. Nobody is told, but the
// sequence may turn out to be no hole. It unlocks t.mu.
func (t *partition) lateAnswer(b *batch, a *answer) {
	if do := ruleOf(a.code).do; do == succeed || do == succeedUnplaced {
		t.acknowledged(b, a.baseOffset)
	}
	settled := b.settled
	owner := t.owner
	t.mu.Unlock()
	if settled {
		t.pipeline.recycle(b)
	}
	if owner != nil {
		owner.kick()
	}
	if txn := t.pipeline.txn; txn != nil {
		txn.kick() // the end of the transaction may wait for this
	}
}

// untaken takes back a batch whose request was never written.
func (p *Pipeline) untaken(b *batch) {
	t := b.part
	t.mu.Lock()
	t.onWire--
	b.wire = false
	if b.done {
		t.lateAnswer(b, &answer{code: klamm.CodeNetworkException}) // unlocks
		return
	}
	b.attempts--
	t.requeue(b)
	t.mu.Unlock()
}

// follow looks for the leader after a broker said that it is not.
func (p *Pipeline) follow(t *partition, a *answer) {
	if a.leader >= 0 {
		p.net.hint(t.topic.name, t.id, a.leader, a.leaderEpoch)
		t.relocate()
	}
	p.net.refresh(t.topic.name)
}

// settle completes a batch: it frees its buffer memory, then tells its records.
// The batch is done, and only the caller that made it so comes here.
func (p *Pipeline) settle(b *batch, e *ending) {
	p.mem.release(b.reserved)
	b.completion = Completion{
		Topic:       b.part.topic.name,
		Partition:   b.part.id,
		BaseOffset:  e.baseOffset,
		TimestampMS: e.timestamp,
		Err:         e.err,
		RecordErrs:  e.recordErrs,
		Refs:        b.refs,
		Attempts:    b.attempts,
	}
	p.count.ended(b, e)
	if p.txn != nil && e.err != nil {
		p.txn.batchFailed(b, e.err)
	}
	p.complete(&b.completion)
	if p.incomplete.Add(-1) == 0 {
		p.wakeClose()
		if p.txn != nil {
			p.txn.kick()
		}
	}
}

// settleEarly completes a batch that was ended from outside. It may be on the
// wire still; then the sender that has it recycles it.
func (p *Pipeline) settleEarly(b *batch, e *ending) {
	p.settle(b, e)
	t := b.part
	t.mu.Lock()
	b.settled = true
	wire := b.wire
	t.mu.Unlock()
	if !wire {
		p.recycle(b)
	}
}

// mayBeWritten reports whether a batch may be in the log in spite of its error.
func mayBeWritten(err error) bool { return errors.Is(err, klamm.ErrOutcomeUnknown) }
