package host

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/partitioner"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// Explain runs one record past the on_send plugins and the partitioner of its
// topic's chain and returns what each did. Nothing is sent, nothing is claimed
// for good, and instances of its own are used, so that running lanes do not
// notice.
//
// On a host without brokers (Load) the topic's partitions are not known: the
// partition is klamm.NoPartition then.
func (h *Host) Explain(ctx context.Context, rec *klamm.Record) (*Explanation, error) {
	if err := klamm.CheckTopic(rec.Topic); err != nil {
		return nil, err
	}
	run := h.chains.forTopic(rec.Topic)
	link, err := run.chain.Lane(ctx, 0, 1)
	if err != nil {
		return nil, err
	}
	defer link.Close(ctx)
	e := &Explanation{Chain: run.name, Topic: rec.Topic, Partition: klamm.NoPartition, Default: klamm.NoPartition}
	it := interceptor.Item{Record: *rec, Ref: uint64(h.consumeRef())}
	if it.Record.Timestamp.IsZero() {
		it.Record.Timestamp = timeOfMS(h.clock.nowMS())
	}
	start := time.Now()
	steps := link.Explain(ctx, abi.OnSend, &it, h.clock.nowMS(), h.facts())
	for i := range steps {
		e.Steps = append(e.Steps, explainStep(&steps[i]))
	}
	e.Outcome, e.Reason, e.Topic = it.Outcome.String(), it.Reason, it.Record.Topic
	if it.Outcome == klamm.InFlight {
		err = h.explainPartition(ctx, run, &it.Record, e)
	}
	e.Elapsed = time.Since(start)
	if it.Claimed {
		h.settle(state.Ref(it.Ref), state.Settlement{Outcome: klamm.Failed, Err: errExplained, NowMS: h.clock.nowMS()})
	}
	return e, err
}

var errExplained = fmt.Errorf("the record was explained, not sent")

// facts is nil where no broker is known.
func (h *Host) facts() interceptor.TopicFacts {
	if h.producer == nil {
		return nil
	}
	return h.producer.facts
}

func explainStep(s *interceptor.Step) ExplainStep {
	out := ExplainStep{Plugin: s.Plugin, Hook: abi.OnSend.String(), Verdict: s.Verdict, Detail: s.Reason, Elapsed: s.Took}
	switch {
	case s.Fault != nil:
		out.Detail = s.Fault.Error()
	case s.Duplicate.Topic != "":
		out.Detail = "duplicate of " + s.Duplicate.String()
	case s.Pending:
		out.Detail = "duplicate of a record in flight"
	case !s.Called:
		out.Detail = "the plugin has no on_send"
	}
	out.Changes = changes(&s.Before, &s.After)
	return out
}

// explainPartition asks the chain's partitioner and the default one.
func (h *Host) explainPartition(ctx context.Context, run *chainRun, rec *klamm.Record, e *Explanation) error {
	if h.producer == nil {
		return nil
	}
	meta, err := h.cluster.AwaitTopic(ctx, rec.Topic)
	if err != nil {
		return err
	}
	var t placeTopic
	t.refresh(meta)
	e.Partitions = int32(len(meta.Partitions))
	fallback := partitioner.Default(h.defaultPartitioner())
	if e.Default, err = fallback.Partition(rec, &t.view); err != nil {
		return err
	}
	chosen, err := h.partitionerOf(ctx, run, 0, 1, fallback)
	if err != nil {
		return err
	}
	pl := newPlacer(chosen, fallback)
	defer pl.close(ctx)
	p := placement{record: rec, to: partitioner.UseDefault}
	start := time.Now()
	if pl.batched != nil {
		out := []int32{partitioner.UseDefault}
		if err := pl.batched.PartitionBatch([]*klamm.Record{rec}, []uint64{0}, &t.view, out); err != nil {
			return partitioner.RecordError(err, 0)
		}
		p.to = out[0]
	}
	if e.Partition, err = pl.choose(&p, &t); err != nil {
		return err
	}
	if name := or(h.cfg.Chain[run.name].Partitioner, h.cfg.Producer.Partitioner); chosen != nil {
		e.Steps = append(e.Steps, ExplainStep{
			Plugin: name, Hook: abi.Partition.String(), Verdict: abi.Route.String(), Elapsed: time.Since(start),
			Detail: fmt.Sprintf("partition %d of %d", e.Partition, e.Partitions),
		})
	}
	return nil
}

// changes describes what differs between two versions of a record.
func changes(before, after *klamm.Record) []string {
	var out []string
	if before.Topic != after.Topic {
		out = append(out, fmt.Sprintf("topic: %q -> %q", before.Topic, after.Topic))
	}
	if !same(before.Key, after.Key) {
		out = append(out, fmt.Sprintf("key: %s -> %s", shown(before.Key), shown(after.Key)))
	}
	if !same(before.Value, after.Value) {
		out = append(out, fmt.Sprintf("value: %s -> %s", shown(before.Value), shown(after.Value)))
	}
	if !before.Timestamp.Equal(after.Timestamp) {
		out = append(out, fmt.Sprintf("timestamp: %d -> %d", before.Timestamp.UnixMilli(), after.Timestamp.UnixMilli()))
	}
	if before.Target != after.Target {
		out = append(out, fmt.Sprintf("partition: %s -> %s", target(before.Target), target(after.Target)))
	}
	return append(out, headerChanges(before.Headers, after.Headers)...)
}

func headerChanges(before, after []klamm.Header) []string {
	var out []string
	left := append([]klamm.Header(nil), before...)
	for _, h := range after {
		at := -1
		for i := range left {
			if left[i].Key == h.Key && same(left[i].Value, h.Value) {
				at = i
				break
			}
		}
		if at < 0 {
			out = append(out, fmt.Sprintf("header + %s: %s", h.Key, shown(h.Value)))
		} else {
			left = append(left[:at], left[at+1:]...)
		}
	}
	for _, h := range left {
		out = append(out, fmt.Sprintf("header - %s: %s", h.Key, shown(h.Value)))
	}
	return out
}

// same keeps null and empty apart.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

const shownMax = 400

func shown(b []byte) string {
	if b == nil {
		return "null"
	}
	if len(b) > shownMax {
		return strconv.Quote(string(b[:shownMax])) + fmt.Sprintf(" and %d bytes more", len(b)-shownMax)
	}
	return strconv.Quote(string(b))
}

func target(t klamm.Target) string {
	if p, explicit := t.Partition(); explicit {
		return strconv.Itoa(int(p))
	}
	return "none"
}
