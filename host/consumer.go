package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
)

// Consume joins the group of [consumer] and calls f with every record of the
// topics that on_consume lets pass, one at a time, in the order of each
// partition, until ctx ends or f fails. The record and its bytes are f's until
// it returns.
//
// Offsets are committed every auto_commit_interval_ms, before partitions go to
// another member, and at the end; always only those of records for which f has
// returned nil, or which a plugin dropped. An error of f ends Consume with that
// error: its record is not committed and is read again. A record that a plugin
// failed goes to the plugin's dead-letter topic where it has one; otherwise it
// ends Consume too, so that it is not lost.
func (h *Host) Consume(ctx context.Context, topics []string, f func(ctx context.Context, rec *klamm.Record) error) error {
	group := h.cfg.Consumer.GroupID
	if group == "" {
		return errors.New("consume: consumer.group_id is empty; set it in [consumer]")
	}
	c, err := h.newConsumption(group, h.cfg.Consumer.GroupInstanceID, topics, h.consumeChain(topics), h.cfg.Consumer.AutoCommit.Std())
	if err != nil {
		return err
	}
	defer c.close()
	c.deliver = func(ctx context.Context, it *interceptor.Item, done func(klamm.Outcome), fail func(error)) error {
		switch it.Outcome {
		case klamm.DeadLettered:
			return h.sendDeadLetter(ctx, it, done, fail)
		case klamm.Failed:
			return fmt.Errorf("consume %s/%d@%d: %w", it.Record.Topic, it.Record.Partition, it.Record.Offset, it.Err)
		}
		if err := f(ctx, &it.Record); err != nil {
			return err
		}
		done(klamm.Written)
		return nil
	}
	return c.run(ctx)
}

// consumeChain is the chain of the topics, where they have one and the same.
func (h *Host) consumeChain(topics []string) *chainRun {
	var run *chainRun
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
func (h *Host) sendDeadLetter(ctx context.Context, it *interceptor.Item, done func(klamm.Outcome), fail func(error)) error {
	dead := interceptor.DeadLetterRecord(it, interceptor.Origin{
		Topic: it.Record.Topic, Partition: it.Record.Partition, Offset: it.Record.Offset,
	})
	_, err := h.producer.accept(ctx, &dead, origin{chain: h.chains.bare, done: func(r klamm.Result) {
		if r.Err != nil {
			fail(fmt.Errorf("dead-letter topic %q: %w", dead.Topic, r.Err))
			return
		}
		done(klamm.DeadLettered)
	}})
	return err
}
