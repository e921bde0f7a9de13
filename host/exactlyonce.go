package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klamm-io/klamm"
)

// An exactly-once pipeline has a transactional producer of its own. Every
// commit_interval_ms, and before partitions go to another member, it waits until
// all that it has read is completed, adds the offsets to the transaction, fenced by
// the group's metadata (KIP-447), and commits.
//
// When a transaction is lost, so are the pipeline's positions and plugins' claims
// since the last commit. It begins a new life then: a producer that fences the old
// one, and a member that reads on from the committed offsets. Being a static
// member, it takes its partitions back at once.

// lives runs an exactly-once pipeline, life after life, until ctx ends, it has
// reached its end, or an error does not pass.
func (p *pipeline) lives(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.h.halted, cancel)()
	for failures := 0; ; {
		commits := p.commits.Load()
		err := p.run(ctx)
		if err == nil || ctx.Err() != nil || !passes(err) {
			return err
		}
		if p.commits.Load() > commits {
			failures = 0
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
	if errors.Is(err, klamm.ErrOutcomeUnknown) {
		return true // the committed offsets tell: they are in the same transaction
	}
	switch klamm.ClassOf(err) {
	case klamm.ClassAbortable, klamm.ClassRetriable:
		return true
	}
	return errors.Is(err, errPartitionLost)
}

var errPartitionLost = fmt.Errorf("a partition went to another member before the transaction was committed")

// reborn ends this life and begins the next one, with its counts and its pause.
func (p *pipeline) reborn(ctx context.Context) (*pipeline, error) {
	if err := p.close(); err != nil {
		p.log.Warn("close a pipeline", "pipeline", p.name, "error", err)
	}
	next, err := p.h.newPipeline(ctx, p.name, p.cfg)
	if err != nil {
		if next != nil {
			_ = next.close()
		}
		return p, err
	}
	p.mu.Lock()
	next.paused = p.paused
	p.mu.Unlock()
	next.tally.set(p.safe)
	next.safe = p.safe
	next.commits.Store(p.commits.Load())
	p.h.mu.Lock()
	p.h.pipelines[p.name] = next
	p.h.mu.Unlock()
	return next, nil
}

// openProducer gives the pipeline its producer and lanes. The producer fences an
// earlier one of the same id, and ends its transaction, before anything is read.
func (p *pipeline) openProducer(ctx context.Context) error {
	cfg := p.h.cfg.Producer
	cfg.TransactionalID = p.h.instanceID(p.name)
	own := newChains(&p.h.cfg)
	own.add("", p.h.chains.bare.chain)
	p.chain = own.bare
	if name, ok := p.h.cfg.PipelineChain(p.name); ok {
		p.chain = own.add(name, p.h.chains.named[name].chain)
	}
	p.bare = own.bare
	producer, err := newProducer(p.h, &cfg, own)
	if err != nil {
		return err
	}
	p.producer, p.ownsProducer = producer, true
	producer.tolerant = true
	if err := p.h.openLanes(ctx, producer); err != nil {
		return err
	}
	return producer.InitTransactions(ctx)
}

// closeProducer aborts what is open.
func (p *pipeline) closeProducer() error {
	ctx, cancel := context.WithTimeout(context.Background(), revokeGrace)
	defer cancel()
	err := p.producer.Close(ctx)
	if klamm.ClassOf(err) == klamm.ClassFatal || klamm.ClassOf(err) == klamm.ClassAbortable {
		err = nil // it is why the life ended
	}
	return errors.Join(err, p.producer.chains.closeLanes(ctx))
}

// enter has a transaction open for what is delivered next. The lane is held.
func (p *pipeline) enter(ctx context.Context) error {
	if p.inTxn {
		return nil
	}
	if err := p.producer.BeginTransaction(ctx); err != nil {
		return err
	}
	p.inTxn = true
	return nil
}

// cutLimit is how long a commit may take, its records' completion included.
const cutLimit = 30 * time.Second

// cut commits all that was read. It holds the lane, so nothing is delivered
// meanwhile. An error ends the life.
func (p *pipeline) cut(ctx context.Context) error {
	p.lane.mu.Lock()
	defer p.lane.mu.Unlock()
	// The end of the pipeline does not end a commit that has begun.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutLimit)
	defer cancel()
	err := p.cutLocked(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: not committed within %v: %v", klamm.ErrTimeout, cutLimit, err)
	}
	if err != nil && !p.cutFailed {
		p.cutFailed = true
		p.stop(err)
	}
	return err
}

func (p *pipeline) cutLocked(ctx context.Context) error {
	if p.cutFailed {
		return errLifeOver
	}
	if err := p.complete(ctx); err != nil {
		return err
	}
	parts, offsets := p.toCommit()
	if len(offsets) == 0 && !p.inTxn {
		return nil
	}
	if err := p.enter(ctx); err != nil {
		return err
	}
	if err := p.producer.SendOffsets(ctx, offsets, p.groupMetadata()); err != nil {
		return err
	}
	if err := p.producer.endWholly(ctx, p.producer.CommitTransaction); err != nil {
		return err
	}
	p.inTxn = false
	p.safe = p.tally.counts()
	p.Committed(offsets)
	p.confirm(parts, offsets)
	return nil
}

var errLifeOver = fmt.Errorf("the transaction is lost")

// complete waits until everything that was delivered is completed. Callbacks may
// have sent dead letters meanwhile, so it looks again.
func (p *pipeline) complete(ctx context.Context) error {
	for {
		if p.inTxn {
			if err := p.producer.Flush(ctx); err != nil {
				return err
			}
		}
		if p.failed.Load() {
			return errLifeOver
		}
		if p.settledAll() {
			return nil
		}
		if !p.inTxn {
			return fmt.Errorf("records are open outside of a transaction")
		}
	}
}

// settledAll reports whether no record is in flight.
func (p *pipeline) settledAll() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pr := range p.all {
		if !pr.settled() {
			return false
		}
	}
	return true
}

// revoked commits before partitions go. If they are lost already, so is the
// transaction that has records of them.
func (p *pipeline) revoked(lost bool) {
	ctx, cancel := context.WithTimeout(context.Background(), revokeGrace)
	defer cancel()
	if !lost {
		if err := p.cut(ctx); err != nil && !errors.Is(err, errLifeOver) {
			p.log.Warn("commit before a rebalance", "group", p.name, "error", err)
		}
		return
	}
	p.lane.mu.Lock()
	defer p.lane.mu.Unlock()
	if p.inTxn && !p.cutFailed {
		p.cutFailed = true
		p.stop(errPartitionLost)
	}
}
