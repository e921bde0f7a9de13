package host

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/produce"
	"github.com/klamm-io/klamm/state"
)

// GroupMetadata says as which member of a consumer group offsets are committed;
// Consumer.GroupMetadata returns it. The group's coordinator refuses the offsets
// of a member that has been replaced (KIP-447).
type GroupMetadata = produce.GroupMetadata

// transactions is the host's side of a transactional producer: who may send, and
// what waits for the end of the transaction. The states are produce's.
type transactions struct {
	p *Producer
	// number is that of the transaction that takes records, 0 while none does.
	number  atomic.Uint32
	figures txnFigures
	// turn is held by the one call that begins or ends a transaction.
	turn chan struct{}

	// The rest belongs to who has the turn.
	live    bool      // a transaction has begun and not ended
	ending  txnEnding // an end that was begun is to be gone on with
	aborted bool      // the pipeline has; records that never reached it are left

	// The acknowledger's: records that were written in the transaction and hold
	// claims, and how many have which outcome.
	heldClaims
	outcomes [klamm.Failed + 1]int64
	// doubt is what is left of a pipeline's transaction whose end nobody knows. The
	// acknowledger sets it before settle returns.
	doubt *doubt
}

type txnEnding uint8

const (
	notEnding txnEnding = iota
	committing
	aborting
)

func newTransactions(p *Producer) *transactions {
	return &transactions{p: p, turn: make(chan struct{}, 1)}
}

var errNotTransactional = fmt.Errorf("the producer has no transactional_id: %w", klamm.ErrTransactionState)

// within takes the turn for f, with max_block_ms as the limit of time.
func (p *Producer) within(ctx context.Context, call txnCall, f func(context.Context, *transactions) error) error {
	t := p.txn
	if t == nil {
		return errNotTransactional
	}
	if p.callbacks.isCaller() {
		return fmt.Errorf("called from a callback, for which the transaction would wait: have another goroutine do it: %w", klamm.ErrTransactionState)
	}
	defer t.figures.since(call, time.Now())
	limit := p.cfg.MaxBlock.Std()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: max_block_ms %v is over", klamm.ErrTimeout, limit))
	defer cancel()
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("another call begins or ends a transaction: %w", context.Cause(ctx))
	}
	defer func() { <-t.turn }()
	return f(ctx, t)
}

// InitTransactions makes the producer the only one of its transactional_id: it
// fences an earlier one and ends that one's open transaction. BeginTransaction
// does it where it has not been done.
//
// An error that is klamm.ErrTimeout (max_block_ms, 60s by default, or ctx) leaves
// it under way: the same call waits for it. klamm.ErrFatal is for good.
func (p *Producer) InitTransactions(ctx context.Context) error {
	return p.within(ctx, txnInit, func(ctx context.Context, t *transactions) error { return p.pipeline.InitTransactions(ctx) })
}

// renew ends the open transaction, and makes sure that the producer is still the
// one of its transactional_id. A commit that is under way goes on.
func (p *Producer) renew(ctx context.Context) error {
	return p.within(ctx, txnInit, func(ctx context.Context, t *transactions) error {
		if err := t.finish(ctx); err != nil {
			return err
		}
		return p.pipeline.RenewTransactions(ctx)
	})
}

// committed returns how many transactions were committed.
func (p *Producer) committed() int64 { return p.txn.figures.commits.Load() }

// BeginTransaction begins a transaction. All records that are sent from then on
// belong to it, until CommitTransaction or AbortTransaction.
func (p *Producer) BeginTransaction(ctx context.Context) error {
	return p.within(ctx, txnBegin, func(ctx context.Context, t *transactions) error {
		if t.live {
			return fmt.Errorf("begin a transaction: one is open: %w", klamm.ErrTransactionState)
		}
		number, err := p.pipeline.BeginTransaction(ctx)
		if err == nil {
			t.live = true
			p.chains.eachLane((*lane).beginTransaction)
			p.slots.begin()
			t.number.Store(number)
		}
		return err
	})
}

// SendOffsets has the offsets of the next records to read committed with the
// transaction: they count if and only if its records do. The offsets of a member
// that has been replaced make the transaction one that must be aborted.
//
// An error that is klamm.ErrTimeout leaves the request under way; it is part of
// the transaction then.
func (p *Producer) SendOffsets(ctx context.Context, offsets map[klamm.TopicPartition]int64, group GroupMetadata) error {
	return p.within(ctx, txnSendOffsets, func(ctx context.Context, t *transactions) error {
		if t.ending != notEnding {
			return t.refuse("send offsets")
		}
		return p.pipeline.SendOffsets(ctx, offsets, group)
	})
}

// CommitTransaction sends what was accepted before it, waits until every record
// has its completion, and commits. Claims of the transaction's records are
// confirmed before it returns.
//
// Only when it returns nil is the transaction committed. An error that is
// klamm.ErrAbortable, as when one of its records failed, asks for
// AbortTransaction. After klamm.ErrTimeout it is under way: repeat the call, no
// other one is allowed. With klamm.ErrFatal the producer is lost; where that is
// klamm.ErrOutcomeUnknown too, nobody knows whether the transaction was committed.
//
// Called from a callback, for which it would wait, it returns
// klamm.ErrTransactionState, as all calls for transactions do.
func (p *Producer) CommitTransaction(ctx context.Context) error {
	return p.within(ctx, txnCommit, func(ctx context.Context, t *transactions) error { return t.commit(ctx) })
}

// AbortTransaction ends the transaction: no reader of committed records sees any
// of its records. Those that were not sent fail with klamm.ErrTransactionAborted;
// claims are released. Errors are those of CommitTransaction.
func (p *Producer) AbortTransaction(ctx context.Context) error {
	return p.within(ctx, txnAbort, func(ctx context.Context, t *transactions) error { return t.abort(ctx) })
}

// Transaction begins a transaction, calls f and commits. Where f or the commit
// fails it aborts and returns that error; where f panics it aborts and lets it
// go on. klamm.ClassOf tells what to do: after ClassAbortable call it again, after
// ClassFatal open another producer.
func (p *Producer) Transaction(ctx context.Context, f func(ctx context.Context) error) error {
	if err := p.BeginTransaction(ctx); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done { // f panics
			_ = p.endWholly(context.WithoutCancel(ctx), p.AbortTransaction)
		}
	}()
	err := f(ctx)
	done = true
	if err == nil {
		if err = p.endWholly(ctx, p.CommitTransaction); err == nil || errors.Is(err, klamm.ErrFatal) || errors.Is(err, klamm.ErrTimeout) {
			return err
		}
	}
	if aborted := p.endWholly(context.WithoutCancel(ctx), p.AbortTransaction); aborted != nil {
		return errors.Join(err, aborted)
	}
	return err
}

// endWholly repeats a call while it times out by max_block_ms, not by ctx.
func (p *Producer) endWholly(ctx context.Context, call func(context.Context) error) error {
	for {
		err := call(ctx)
		if !errors.Is(err, klamm.ErrTimeout) || klamm.ClassOf(err) != klamm.ClassRetriable || ctx.Err() != nil {
			return err
		}
	}
}

// refuse is for a call that comes between the two halves of another.
func (t *transactions) refuse(what string) error {
	done := "CommitTransaction"
	if t.ending == aborting {
		done = "AbortTransaction"
	}
	return fmt.Errorf("%s: %s has timed out and is under way; repeat that call: %w", what, done, klamm.ErrTransactionState)
}

func (t *transactions) commit(ctx context.Context) error {
	if t.ending == aborting {
		return t.refuse("commit the transaction")
	}
	if t.live {
		t.ending = committing
		t.number.Store(0) // records that come now are none of this transaction
		if err := t.p.Flush(ctx); err != nil {
			return fmt.Errorf("commit the transaction: not all of its records are acknowledged yet; repeat the call to go on waiting: %w", context.Cause(ctx))
		}
	}
	return t.ended(t.p.pipeline.CommitTransaction(ctx), state.Settlement{})
}

func (t *transactions) abort(ctx context.Context) error {
	if t.ending == committing {
		return t.refuse("abort the transaction")
	}
	if !t.live {
		return t.p.pipeline.AbortTransaction(ctx)
	}
	t.ending = aborting
	t.number.Store(0)
	if !t.aborted {
		if err := t.p.pipeline.AbortTransaction(ctx); err != nil {
			return t.ended(err, state.Settlement{})
		}
		t.aborted = true
	}
	// What never came as far as the pipeline fails now.
	t.p.chains.eachLane((*lane).run)
	t.p.park.expel(klamm.ErrTransactionAborted)
	if err := t.p.Flush(ctx); err != nil {
		return fmt.Errorf("abort the transaction: not all of its records have failed yet; repeat the call to go on waiting: %w", context.Cause(ctx))
	}
	return t.ended(nil, state.Settlement{Outcome: klamm.Failed, Err: klamm.ErrTransactionAborted})
}

// ended follows the pipeline's answer to a commit or an abort. s is what the end
// means for records that were written and hold claims; InFlight stands for each
// one's own.
func (t *transactions) ended(err error, s state.Settlement) error {
	switch {
	case !t.live:
		return err
	case err == nil && t.ending == committing:
		t.figures.commits.Add(1)
	case err == nil:
		t.figures.aborts.Add(1)
	case errors.Is(err, klamm.ErrFatal), errors.Is(err, klamm.ErrClosed):
		// It is never committed now, but where the commit itself got no answer.
		s = state.Settlement{Outcome: klamm.Failed, Err: err, Unknown: errors.Is(err, klamm.ErrOutcomeUnknown)}
	case errors.Is(err, klamm.ErrAbortable):
		t.ending = notEnding
		return err
	default:
		return err
	}
	t.live, t.ending, t.aborted = false, notEnding, false
	t.settle(s)
	return err
}

// txnEnd is the end of a transaction on its way to the acknowledger.
type txnEnd struct {
	s    state.Settlement
	keep bool // until it is known what the transaction came to
	done chan struct{}
}

// settle has the acknowledger settle what the transaction holds, after all that
// was completed before, and waits for it. Pipelines find out what an end came to
// that is not known here (late.go).
func (t *transactions) settle(s state.Settlement) {
	end := &txnEnd{s: s, keep: s.Unknown && t.p.hold != nil, done: make(chan struct{})}
	t.p.acker.queue.put(completed{end: end})
	select {
	case <-end.done:
	case <-t.p.ackerGone:
	}
}

// closed settles what is open when the producer's pipeline has ended, and with it
// every call that had the turn.
func (t *transactions) closed() {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	if t.live {
		t.live = false
		t.settle(state.Settlement{Outcome: klamm.Failed, Err: klamm.ErrClosed, Unknown: t.ending == committing})
	}
}

// close ends the open transaction before the producer closes: a commit that is
// under way goes on, anything else is aborted.
func (t *transactions) close(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return nil // the pipeline ends it, as far as it can
	}
	defer func() { <-t.turn }()
	return t.finish(ctx)
}

// finish is close for who has the turn.
func (t *transactions) finish(ctx context.Context) error {
	if !t.live {
		return nil
	}
	var err error
	if t.ending == committing {
		err = t.commit(ctx)
	} else {
		err = t.abort(ctx)
	}
	if t.ending == notEnding && t.live {
		err = t.abort(ctx)
	}
	return err
}

// heldClaims are the records of a transaction that hold claims, their offsets, and
// what became of them otherwise.
type heldClaims struct {
	held    []state.Ref
	offsets []int64
	fates   []heldFate
}

// heldFate is what became of records that were written together.
type heldFate struct {
	records int
	fate    state.Settlement
}

// settleHeld settles them all by s, or each by its own fate where s has no outcome.
func (h *heldClaims) settleHeld(l *state.Ledger, s state.Settlement, nowMS int64, out []state.Resolution) []state.Resolution {
	held, offsets := h.held, h.offsets
	for _, f := range h.fates {
		fate := s
		if s.Outcome == klamm.InFlight {
			fate = f.fate
		}
		fate.NowMS = nowMS
		out = l.SettleSame(held[:f.records], offsets[:f.records], fate, out)
		held, offsets = held[f.records:], offsets[f.records:]
	}
	return out
}

// tentative keeps the claims of records that were written together in the
// transaction until its end. It appends to out the completions of those within it
// that waited for the records.
func (t *transactions) tentative(owners []state.Ref, offsets []int64, s state.Settlement, out []state.Resolution) []state.Resolution {
	t.held, t.offsets = append(t.held, owners...), append(t.offsets, offsets...)
	t.fates = append(t.fates, heldFate{len(owners), s})
	for i, ref := range owners {
		if source := t.p.slots.at(ref).seen().source; source > 0 {
			s.At.Offset = offsets[i]
			t.p.ledger.Stage(ref, s, source-1)
		}
	}
	return t.p.ledger.TentativeSame(owners, offsets, s, out)
}

// end settles the claims, on the acknowledger's goroutine, or keeps them.
func (t *transactions) end(e *txnEnd, nowMS int64, out []state.Resolution) []state.Resolution {
	if e.keep {
		t.doubt = &doubt{p: t.p, heldClaims: t.heldClaims}
		t.heldClaims = heldClaims{}
	}
	out = t.settleHeld(t.p.ledger, e.s, nowMS, out)
	if e.s.Outcome != klamm.InFlight {
		t.p.tally.revoke(&t.outcomes)
	}
	clear(t.fates)
	t.held, t.offsets, t.fates = t.held[:0], t.offsets[:0], t.fates[:0]
	t.outcomes = [klamm.Failed + 1]int64{}
	return out
}

// count notes n completions within the transaction. One that failed makes it a
// transaction that must be aborted: nobody wants the rest alone.
func (t *transactions) count(number uint16, o klamm.Outcome, n int, err error) {
	t.outcomes[o] += int64(n)
	if o == klamm.Failed && t.p.hold == nil { // a pipeline knows what to do
		t.p.pipeline.Abandon(uint32(number), err)
	}
}
