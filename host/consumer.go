package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
)

// Consumer reads topics as a member of [consumer]'s group, past the on_consume
// plugins of their chain.
//
// A record is handled when the handler has returned nil for it, or when a plugin
// dropped or dead-lettered it. Only the offsets of handled records are ever
// committed, in the order of each partition: every auto_commit_interval_ms, before
// partitions go to another member, at the end, and when Commit is called. With
// enable_auto_commit = false it is Commit alone that commits. on_commit follows
// each commit that succeeded.
//
// Its methods are safe for concurrent use.
type Consumer struct {
	h           *Host
	c           *consumption
	deadLetters string // topic; "": none
}

// Handler handles one record. The record, its headers and their bytes are its own
// until it returns: their memory is used again then, so what is kept is copied.
type Handler func(ctx context.Context, rec *klamm.Record) error

// Consumer returns a new member of the group of [consumer] for topics. It joins
// with Run. Whoever opens it closes it.
func (h *Host) Consumer(topics ...string) (*Consumer, error) {
	cfg := &h.cfg.Consumer
	if cfg.GroupID == "" {
		return nil, errors.New("consume: consumer.group_id is empty; set it in [consumer]")
	}
	every := cfg.AutoCommit.Std()
	if cfg.EnableAutoCommit != nil && !*cfg.EnableAutoCommit {
		every = 0
	}
	c, err := h.newConsumption(cfg, cfg.GroupID, cfg.GroupInstanceID, topics, h.consumeChain(topics), every)
	if err != nil {
		return nil, err
	}
	c.manual = every == 0
	c.retry = retryPolicy{cfg.Retries, cfg.RetryBackoff.Std(), cfg.RetryBackoffMax.Std()}
	c.judgeAll = func() {} // it was when it was read
	return &Consumer{h: h, c: c, deadLetters: cfg.DeadLetterTopic}, nil
}

// Run joins the group and calls f with every record that on_consume lets pass,
// one at a time, in the order of each partition, until ctx ends or f fails. A
// record that f or a plugin failed is tried again so many times as [consumer]
// retries says, after pauses in which other partitions go on, and then goes to
// [consumer] dead_letter_topic, or to the plugin's. Without one the error ends Run,
// with its record not committed, so that it is read again.
//
// Run is called once.
func (c *Consumer) Run(ctx context.Context, f Handler) error {
	c.c.deliver = func(ctx context.Context, d *delivery, it *interceptor.Item) error {
		switch it.Outcome {
		case klamm.DeadLettered:
			return c.sendDeadLetter(ctx, d, it)
		case klamm.Failed:
			return c.putAside(ctx, d, it, fmt.Errorf("consume %s/%d@%d: %w", it.Record.Topic, it.Record.Partition, it.Record.Offset, it.Err))
		}
		return c.handle(ctx, d, it, f)
	}
	return c.c.run(ctx)
}

func (c *Consumer) handle(ctx context.Context, d *delivery, it *interceptor.Item, f Handler) error {
	err := f(ctx, c.own(d, it))
	switch {
	case err == nil:
		d.done(klamm.Result{Outcome: klamm.Written})
		return nil
	case ctx.Err() != nil:
		return err // that may be why
	case d.again != nil && d.pr.retry.holds(d, failing):
		d.pr.retry.keep(retryRecord{d: d})
		return nil
	case c.deadLetters == "":
		return err
	}
	return c.putAside(ctx, d, &interceptor.Item{Record: *d.read, Reason: err.Error(), Handled: true, Failures: d.failures()}, err)
}

// own is the record as a handler has it, which may change it. What may have to be
// handled again, or put aside, is kept beside that. One that plugins saw is in the
// block's memory: the handler has that one then, and the copy is kept.
func (c *Consumer) own(d *delivery, it *interceptor.Item) *klamm.Record {
	kept := d.again != nil || c.deadLetters != ""
	switch {
	case d.read == nil && kept:
		d.keep(it)
		return &it.Record
	case d.read == nil:
		return &it.Record
	case kept:
		return cloneRecord(d.read)
	}
	return d.read
}

// putAside sends a record to the consumer's dead-letter topic, where it has one.
func (c *Consumer) putAside(ctx context.Context, d *delivery, it *interceptor.Item, err error) error {
	if c.deadLetters == "" {
		return err
	}
	it.Outcome, it.DeadLetterTopic = klamm.DeadLettered, c.deadLetters
	return c.sendDeadLetter(ctx, d, it)
}

func (c *Consumer) sendDeadLetter(ctx context.Context, d *delivery, it *interceptor.Item) error {
	return c.h.producer.sendDeadLetter(ctx, c.h.chains.bare, it, d.done, d.fail)
}

// Commit commits the offsets of all records handled so far and waits for the
// broker's answer (Kafka's commitSync). The handler may call it.
func (c *Consumer) Commit(ctx context.Context) error { return c.c.commit(ctx) }

// GroupMetadata says as which member of the group the consumer reads now, for
// Producer.SendOffsets. It changes with every rebalance, so take it for each
// transaction. A consumer whose offsets are committed in transactions has
// enable_auto_commit = false.
func (c *Consumer) GroupMetadata() GroupMetadata { return c.c.groupMetadata() }

// Pause stops the fetching of partitions until Resume. What was fetched before
// is still handled.
func (c *Consumer) Pause(tps ...klamm.TopicPartition) { c.c.group.Pause(tps...) }

// Resume goes on with paused partitions.
func (c *Consumer) Resume(tps ...klamm.TopicPartition) { c.c.group.Resume(tps...) }

// Stats returns the consumer's identity and lag. A handled record is out.
func (c *Consumer) Stats() PipelineStats { return c.c.stats() }

// Close ends the consumer's plugins. Call it when Run has returned.
func (c *Consumer) Close() error { return c.c.close() }

// Consume is Consumer, Run and Close in one.
func (h *Host) Consume(ctx context.Context, topics []string, f Handler) error {
	c, err := h.Consumer(topics...)
	if err != nil {
		return err
	}
	return errors.Join(c.Run(ctx, f), c.Close())
}

// consumeChain is the chain of the topics, where they have one and the same.
func (h *Host) consumeChain(topics []string) *chainRun {
	run := h.chains.bare
	for i, t := range topics {
		of := h.chains.forTopic(t)
		if i > 0 && of != run {
			h.log.Warn("topics of one consumer have different chains; the first one's is used", "topics", topics)
			break
		}
		run = of
	}
	return run
}

// sendDeadLetter writes a record that a plugin condemned to its dead-letter
// topic, past all plugins.
func (p *Producer) sendDeadLetter(ctx context.Context, bare *chainRun, it *interceptor.Item, done func(klamm.Result), fail func(error)) error {
	dead := interceptor.DeadLetterRecord(it, interceptor.Origin{
		Topic: it.Record.Topic, Partition: it.Record.Partition, Offset: it.Record.Offset,
	})
	_, err := p.accept(ctx, &dead, origin{chain: bare, done: func(r klamm.Result) {
		if r.Err != nil {
			fail(fmt.Errorf("dead-letter topic %q: %w", dead.Topic, r.Err))
			return
		}
		r.Outcome = klamm.DeadLettered
		done(r)
	}})
	return err
}

// never is the interval of a commit loop that only Commit drives.
const never = time.Duration(1<<63 - 1)
