package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/host/internal/produce"
	"github.com/klamm-io/klamm/interceptor"
)

// An exactly-once pipeline has a transactional producer of its own. Every
// commit_interval_ms, and before partitions go to another member, it waits until
// all that it has read is completed, adds the offsets to the transaction, fenced by
// the group's metadata (KIP-447), and commits.
//
// When a transaction is lost, so are the pipeline's positions and plugins' claims
// since the last commit. It begins a new life then: with the same producer, under a
// new epoch, and as a member that reads on from the committed offsets. Being a
// static member, it takes its partitions back at once. What the epoch is asked for
// with tells a host that another one of its id has replaced that it has been.

// exactlyOnce is what a pipeline has of it from one life to the next.
type exactlyOnce struct {
	producer *Producer
	chain    *chainRun // of the producer
	bare     *chainRun // of the producer, for dead letters
	counts   cutCounts
	back     holdBack
	claims   *claims     // in Kafka; nil: none
	own      ownProducer // the same, for whoever asks at any moment
	// The lane's mutex guards the rest while a life lasts.
	inTxn bool   // a transaction is open
	over  bool   // this life is
	cut   *cut   // of a commit whose end is not known
	read  uint64 // records, to number them
}

// cut is what a transaction commits.
type cut struct {
	by      *Producer
	commits int64 // of the producer, before
	counts  Counts
	offsets map[klamm.TopicPartition]int64
	notes   map[klamm.TopicPartition]string // by which its offsets are known
}

// cutCounts tells of records what is committed. Those of a lost transaction are in
// flight until they have been read again.
type cutCounts struct {
	mu   sync.Mutex
	safe Counts
	in   int64
}

func (c *cutCounts) commit(safe Counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.safe = safe
}

// seen returns the counts where in records were read.
func (c *cutCounts) seen(in int64) Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = max(c.in, in)
	now := c.safe
	now.In, now.InFlight = c.in, c.in-c.safe.In
	return now
}

// end has what was not committed count as failed: it is read again by others.
func (c *cutCounts) end(in int64) {
	left := c.seen(in)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.safe.Failed += left.InFlight
	c.safe.In = left.In
}

// lives runs an exactly-once pipeline, life after life, until ctx ends, it has
// reached its end, or an error does not pass.
func (p *pipeline) lives(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.h.halted, cancel)()
	for failures, commits := 0, p.commits.Load(); ; {
		err := p.run(ctx)
		over := ctx.Err() != nil || p.h.halted.Err() != nil || p.ended.Load()
		switch {
		case err == nil && over:
			return nil
		case err == nil:
			err = errLifeOver // a session's end has ended what was under way
		case !passes(err), over && errors.Is(err, klamm.ErrFenced):
			return err
		case over:
			p.log.Warn("the last transaction is lost: the next run reads again from the commit before", "pipeline", p.name, "err", err)
			return nil
		}
		if now := p.commits.Load(); now > commits {
			failures, commits = 0, now
		}
		if failures++; failures > mostFailures {
			return fmt.Errorf("%d times in a row without a commit: %w", failures, err)
		}
		p.log.Warn("the transaction is lost: reading again from the last commit", "pipeline", p.name, "err", err)
		select {
		case <-time.After(min(rebirth<<min(failures-1, 8), rebirthMax)):
		case <-ctx.Done():
			return nil
		}
		if p, err = p.reborn(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

const (
	// mostFailures is how many lives in a row may end without a commit: what a
	// plugin or the brokers refuse every time does not pass.
	mostFailures = 20
	rebirth      = 20 * time.Millisecond
	rebirthMax   = 5 * time.Second
)

// passes reports whether another life may do better.
func passes(err error) bool {
	var broker *klamm.BrokerError
	var fenced *produce.FencedError
	switch {
	case errors.As(err, &fenced):
		return true // renew tells by whom
	case errors.Is(err, klamm.ErrFenced), errors.As(err, &broker) && broker.Code == klamm.CodeFencedInstanceId:
		return false // another host has our id, and our partitions
	case errors.Is(err, errPartitionLost), errors.Is(err, errLifeOver), mustHold(err):
		return true
	case errors.Is(err, klamm.ErrOutcomeUnknown):
		return true // the committed offsets tell: they are in the same transaction
	}
	if broker != nil && lostEpoch[broker.Code] {
		return true // renew tells whether for good
	}
	class := klamm.ClassOf(err)
	return class == klamm.ClassAbortable || class == klamm.ClassRetriable
}

// lostEpoch are brokers' refusals of a record whose producer has lost its
// transaction, for its age or because it was replaced.
var lostEpoch = map[klamm.Code]bool{
	klamm.CodeInvalidProducerEpoch: true, klamm.CodeOutOfOrderSequenceNumber: true, klamm.CodeUnknownProducerId: true,
	klamm.CodeInvalidTxnState: true, klamm.CodeInvalidProducerIdMapping: true, klamm.CodeTransactionAbortable: true,
}

var errPartitionLost = fmt.Errorf("a partition went to another member before the transaction was committed")

// reborn ends this life and begins the next one.
func (p *pipeline) reborn(ctx context.Context) (*pipeline, error) {
	if err := p.renew(ctx); err != nil {
		return p, err
	}
	ends, err := p.endsAhead(ctx)
	if err != nil {
		return p, err
	}
	next, err := p.h.newReading(p.name, p.cfg)
	if err != nil {
		return p, err
	}
	if err := p.consumption.close(); err != nil {
		p.log.Warn("close a pipeline", "pipeline", p.name, "error", err)
	}
	next.once = p.once // not taken from the old one, which others may still ask
	next.rekey = p.rekey
	next.once.inTxn, next.once.over = false, false
	next.transactional()
	next.ends, next.atEnd = ends, ends != nil && len(ends) == 0
	next.keepPartitions = p.keepPartitions
	if p.sheets != nil {
		next.sheets = newSheets() // what the last life counted and did not commit is not true
	}
	next.tally.set(next.once.counts.seen(0).completed())
	next.commits.Store(p.commits.Load())
	next.retries.Store(p.retries.Load())
	p.h.mu.Lock() // so that who pauses the pipeline pauses the one that goes on
	p.mu.Lock()
	next.paused = p.paused
	p.mu.Unlock()
	p.h.pipelines[p.name] = next
	p.h.mu.Unlock()
	return next, nil
}

// endsAhead returns what is left of stop_at_end's ends: not where the input ends by
// now, for it may never do so.
func (p *pipeline) endsAhead(ctx context.Context) (map[klamm.TopicPartition]int64, error) {
	p.mu.Lock()
	ends := maps.Clone(p.ends)
	p.mu.Unlock()
	if ends == nil {
		return nil, nil
	}
	committed, err := consume.Committed(ctx, p.h.cluster, p.groupID, slices.Collect(maps.Keys(ends)))
	maps.DeleteFunc(ends, func(tp klamm.TopicPartition, end int64) bool { return committed[tp] >= end })
	return ends, err
}

// renew ends the transaction that is open, a commit that is under way by its
// commit. The producer goes on under a new epoch; a new one takes the place of one
// that is lost.
func (p *pipeline) renew(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, cutLimit)
	defer cancel()
	err := p.once.producer.endWholly(limited, p.once.producer.renew)
	fenced := errors.Is(err, klamm.ErrFenced)
	switch {
	case err == nil:
		return p.follow(ctx)
	case ctx.Err() != nil:
		return err
	case fenced:
		if err := p.goesOn(limited, err); err != nil {
			return err
		}
	}
	p.log.Warn("a new producer takes the place of a lost one", "pipeline", p.name, "err", err)
	if err := p.closeProducer(); err != nil {
		p.log.Warn("close a pipeline's producer", "pipeline", p.name, "error", err)
	}
	if err := p.openProducer(ctx); err != nil {
		return err
	}
	if fenced { // who joined meanwhile is to stay
		if err := p.stillThere(limited, err); err != nil {
			return err
		}
	}
	return p.follow(ctx)
}

// openProducer gives the pipeline its producer and lanes. The producer fences an
// earlier one of the same id, and ends its transaction, before anything is read.
func (p *pipeline) openProducer(ctx context.Context) error {
	cfg := p.h.cfg.Producer
	cfg.TransactionalID = p.h.cfg.Host.ID + "/" + p.name
	cfg.TransactionTimeout = p.cfg.TransactionTimeout
	own := newChains(&p.h.cfg)
	own.add("", p.h.chains.bare.chain)
	p.once.chain = own.bare
	if name, ok := p.h.cfg.PipelineChain(p.name); ok {
		p.once.chain = own.add(name, p.h.chains.named[name].chain)
	}
	p.once.bare = own.bare
	producer, err := newProducer(p.h, &cfg, own)
	if err != nil {
		return err
	}
	p.once.producer = producer
	p.once.own.replace(producer)
	producer.hold = &p.once.back
	if err := p.h.openLanes(ctx, producer); err != nil {
		return err
	}
	return producer.InitTransactions(ctx)
}

// closeProducer aborts what is open.
func (p *pipeline) closeProducer() error {
	producer := p.once.producer
	if producer == nil || producer.isClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), revokeGrace)
	defer cancel()
	err := producer.Close(ctx)
	if klamm.ClassOf(err) == klamm.ClassFatal || klamm.ClassOf(err) == klamm.ClassAbortable {
		err = nil // it is why the life ended
	}
	return errors.Join(err, producer.chains.closeLanes(ctx))
}

// transactional has the reading commit in transactions.
func (p *pipeline) transactional() {
	p.group.ReadStable()
	p.commitAll, p.beforeRevoke = p.commitCut, p.revoked
	p.producer, p.chain, p.bare = p.once.producer, p.once.chain, p.once.bare
	p.limbo, p.left = map[klamm.TopicPartition][]progressClaim{}, map[int32]int64{}
	for _, r := range p.once.back.take() {
		r.d.release(errLifeOver) // it is read again, and would meet its own claims
	}
	p.once.back.tried()
	p.gate, p.soon = p.once.back.wait, make(chan struct{}, 1)
	p.consumption.claims = p.once.claims
}

// enter has a transaction open for what is delivered next. The lane is held.
func (p *pipeline) enter(ctx context.Context) error {
	if p.once.inTxn {
		return nil
	}
	if err := p.producer.BeginTransaction(ctx); err != nil {
		return err
	}
	p.once.inTxn = true
	return nil
}

// cutLimit is how long a commit may take, its records' completion included. What is
// not committed by then is seen to between two lives, where no rebalance waits for
// it.
const cutLimit = 30 * time.Second

// commitCut commits all that was read. It holds the lane, so nothing is delivered
// meanwhile. An error ends the life.
func (p *pipeline) commitCut(ctx context.Context) error {
	p.lane.mu.Lock()
	defer p.lane.mu.Unlock()
	if p.once.over {
		return errLifeOver
	}
	// The end of the pipeline does not end a commit that has begun.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutLimit)
	defer cancel()
	err := p.commitLocked(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: not committed within %v: %v", klamm.ErrTimeout, cutLimit, err)
	}
	if err != nil {
		p.once.over = true
		why := err
		if first := p.failed.Load(); first != nil {
			why = *first
		}
		p.stop(why)
	}
	return err
}

func (p *pipeline) commitLocked(ctx context.Context) error {
	if err := p.sendHeld(ctx); err != nil {
		return err
	}
	if err := p.complete(ctx); err != nil {
		return err
	}
	parts, offsets := p.toCommit()
	defer p.tryAgain()
	if len(offsets) == 0 && !p.once.inTxn {
		return nil
	}
	if err := p.enter(ctx); err != nil {
		return err
	}
	var ids *written
	if p.claims != nil {
		var err error
		if ids, err = p.writeClaims(ctx, parts, offsets); err != nil {
			return err
		}
	}
	notes, err := p.sendOffsets(ctx, offsets)
	if err != nil {
		return err
	}
	p.once.cut = &cut{
		by: p.producer, commits: p.producer.committed(), counts: p.tally.counts().completed(), offsets: offsets, notes: notes,
	}
	if err := p.producer.endWholly(ctx, p.producer.CommitTransaction); err != nil {
		return err
	}
	p.once.inTxn = false
	p.once.counts.commit(p.once.cut.counts)
	p.once.cut = nil
	if len(offsets) > 0 {
		p.Committed(offsets)
		p.confirm(parts, offsets)
	}
	if ids != nil {
		p.claims.committed(ids)
	}
	return nil
}

// sendOffsets adds the offsets to the transaction, and returns what it notes with
// them. The generation stays what it is until the coordinator has taken them, or it
// would refuse them.
func (p *pipeline) sendOffsets(ctx context.Context, offsets map[klamm.TopicPartition]int64) (notes map[klamm.TopicPartition]string, err error) {
	release, err := p.group.Steady(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	member := p.groupMetadata()
	if len(offsets) > 0 && member.Member == "" {
		return nil, errPartitionLost // nobody's offsets are not fenced
	}
	if member.Notes, err = p.notes(offsets); err != nil {
		return nil, err
	}
	return member.Notes, p.producer.SendOffsets(ctx, offsets, member)
}

// tryAgain lets reading go on, or has what is held back sent again in a while.
func (p *pipeline) tryAgain() {
	if pause := p.once.back.tried(); pause > 0 {
		time.AfterFunc(pause, p.commitSoon)
	}
}

var errLifeOver = fmt.Errorf("the transaction is lost")

// sendHeld sends what was held back, once the transaction that it was held back
// from is committed. One that is held back again holds back all after it.
func (p *pipeline) sendHeld(ctx context.Context) error {
	if p.once.inTxn {
		return nil
	}
	var failed error
	for _, r := range p.once.back.take() {
		if failed != nil {
			p.once.back.keep(r)
		} else if failed = p.inTurn(ctx, r); failed != nil {
			p.once.back.keep(r)
			p.failed.CompareAndSwap(nil, &failed)
		}
	}
	return failed
}

// inTurn sends a record in the order of reading: not before what is held back.
func (p *pipeline) inTurn(ctx context.Context, r heldRecord) error {
	if p.once.back.on.Load() {
		p.holdBack(r)
		return nil
	}
	if err := p.enter(ctx); err != nil {
		return err
	}
	if r.aside != nil {
		return p.setAside(ctx, r.aside, r.d.done, r.d.fail)
	}
	return p.accept(ctx, r.d)
}

func (p *pipeline) holdBack(r heldRecord) {
	if p.once.back.keep(r) {
		p.commitSoon()
	}
}

// forwardOnce is forward within transactions. A record that goes past the chain's
// lane waits until those before it have been judged there: they may hold it back.
func (p *pipeline) forwardOnce(ctx context.Context, d *delivery, it *interceptor.Item) error {
	if d.turn == 0 { // else it was held, and keeps its place
		p.once.read++
		d.turn = p.once.read
	}
	if it.Outcome == klamm.InFlight {
		d.keep(it)
		return p.inTurn(ctx, heldRecord{d: d})
	}
	p.judgeAll()
	if h := d.pr.retry; h != nil && h.holds(d, passing) {
		h.keep(d.judged(it, true))
		return nil
	}
	aside := *it
	aside.Record = *cloneRecord(&it.Record)
	return p.inTurn(ctx, heldRecord{d, &aside})
}

// enterAll numbers records in the order of reading, and has a transaction open for
// them; held is that they are held back.
func (p *pipeline) enterAll(ctx context.Context, ds []delivery) (held bool, err error) {
	for i := range ds {
		p.once.read++
		ds[i].turn = p.once.read
	}
	if !p.once.back.on.Load() {
		return false, p.enter(ctx)
	}
	for i := range ds {
		p.holdBack(heldRecord{d: &ds[i]})
	}
	return true, nil
}

// complete waits until everything that was delivered is completed or held back.
// Callbacks may have sent dead letters meanwhile, so it looks again.
func (p *pipeline) complete(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.once.inTxn {
			if err := p.producer.Flush(ctx); err != nil {
				return err
			}
		}
		if p.failed.Load() != nil {
			return errLifeOver
		}
		if p.inFlight() == p.once.back.count() {
			return nil
		}
		if !p.once.inTxn {
			return fmt.Errorf("records are open outside of a transaction")
		}
	}
}

// inFlight returns how many records are neither completed nor failed, nor held to be
// tried again: they are not in the transaction.
func (p *pipeline) inFlight() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for pr := range p.followed() {
		n += pr.inFlight() - pr.retry.count()
	}
	return n
}

// revoked commits before partitions go. If they are lost already, so is the
// transaction that has records of them. It is settled where all that was read is
// committed, or was dropped unread.
func (p *pipeline) revoked(parts map[string][]int32, lost bool) (settled bool) {
	if !lost {
		if err := p.commitCut(context.Background()); err != nil && !errors.Is(err, errLifeOver) {
			p.log.Warn("commit before a rebalance", "group", p.name, "error", err)
		}
	}
	p.dropHeld(parts)
	p.lane.mu.Lock()
	defer p.lane.mu.Unlock()
	if lost && p.once.inTxn && !p.once.over {
		p.once.over = true
		p.stop(errPartitionLost)
	}
	return !lost && !p.once.inTxn && !p.once.over
}

// dropHeld leaves records to their partitions' next owner.
func (p *pipeline) dropHeld(parts map[string][]int32) {
	p.lane.mu.Lock()
	defer p.lane.mu.Unlock()
	p.once.back.drop(parts)
	p.commitSoon()
}

// stats counts what is committed.
func (p *pipeline) stats() PipelineStats {
	s := p.consumption.stats()
	if once := p.once; once != nil {
		s.Counts = once.counts.seen(s.In)
		s.Produce = once.own.stats()
	}
	return s
}
