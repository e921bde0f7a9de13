package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/host/internal/produce"
)

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

// tryAgain lets reading go on, or has what is held back sent again in a while.
func (p *pipeline) tryAgain() {
	if pause := p.once.back.tried(); pause > 0 {
		time.AfterFunc(pause, p.commitSoon)
	}
}

var errLifeOver = fmt.Errorf("the transaction is lost")
