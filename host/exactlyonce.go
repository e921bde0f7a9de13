package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
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
