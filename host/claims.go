package host

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/kafka"
)

// This file ties the states in Kafka (state/kafka) to exactly-once pipelines: their
// ids come and go with the partitions, and are written in the pipeline's
// transactions.

// backends are those that a ledger can open.
func (h *Host) backends() map[string]state.Opener {
	all := maps.Clone(h.opt.backends)
	all["kafka"] = h.openKafka
	return all
}

// openKafka is a state.Opener. It asks no broker: pipelines do, when they start.
func (h *Host) openKafka(name string, cfg state.StoreConfig, log *slog.Logger) (state.Backend, error) {
	h.claims[name] = h.newKafka(name, cfg, log)
	return h.claims[name], nil
}

// CheckState asks the brokers whether a state in Kafka can be used: whether its
// topic, where there is one, fits its pipeline's input and was made for it.
// Nothing is made. exists is false where there is no topic yet: the pipeline
// makes it.
func (h *Host) CheckState(ctx context.Context, name string) (exists bool, err error) {
	all := h.cfg.StatePipelines(name)
	if h.cfg.State[name].Backend != "kafka" || len(all) == 0 {
		return false, fmt.Errorf("state %q is not in Kafka, or no pipeline uses it", name)
	}
	b := h.newKafka(name, h.storeConfig(name), h.log)
	defer b.Close()
	partitions, err := h.statePartitions(ctx, all[0])
	if err != nil {
		return false, err
	}
	return b.Verify(ctx, partitions)
}

// statePartitions returns how many partitions a pipeline reads, or will read.
func (h *Host) statePartitions(ctx context.Context, pipeline string) (int32, error) {
	cfg := h.cfg.Pipeline[pipeline]
	if cfg.Rekey {
		return h.rekeyPartitions(ctx, pipeline, cfg)
	}
	return h.inputPartitions(ctx, cfg.From)
}

func (h *Host) newKafka(name string, cfg state.StoreConfig, log *slog.Logger) *kafka.Backend {
	pipeline := ""
	if all := h.cfg.StatePipelines(name); len(all) > 0 {
		pipeline = all[0] // the check has seen to it that there is one
	}
	scope := "state"
	if cfg.ScopeTopic {
		scope = "topic"
	}
	topic := h.cfg.StateTopic(name)
	return kafka.New(kafka.Options{
		Name: name, Pipeline: pipeline, Topic: topic, Scope: scope, Clock: h.cfg.StateClock(name),
		Replication: int16(h.cfg.State[name].Replication), MaxEntries: cfg.MaxEntries, MaxBytes: cfg.MaxBytes,
		Log: &claimLog{h, topic}, Source: h.sourceOf, Logger: log,
	})
}

// sourceOf returns the partition that a record with a claim was read from; ok is
// false for one that no pipeline with ids in Kafka reads.
func (h *Host) sourceOf(ref state.Ref) (partition int32, ok bool) {
	number, sent := producerOf(ref)
	if !sent {
		return h.reads.source(ref)
	}
	p := h.producers[number].Load()
	if p == nil {
		return 0, false
	}
	source := p.slots.at(ref).seen().source
	return source - 1, source > 0
}

// reads are the blocks of records that on_consume judges now, each of one
// partition.
type reads struct {
	mu     sync.Mutex
	blocks []readBlock
}

type readBlock struct {
	first     state.Ref
	n         int
	partition int32
}

// begin notes a block. The function that it returns ends it.
func (r *reads) begin(first state.Ref, n int, partition int32) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocks = append(r.blocks, readBlock{first, n, partition})
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.blocks = slices.DeleteFunc(r.blocks, func(b readBlock) bool { return b.first == first })
	}
}

func (r *reads) source(ref state.Ref) (partition int32, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.blocks {
		if ref >= b.first && ref < b.first+state.Ref(b.n) {
			return b.partition, true
		}
	}
	return 0, false
}

// claims are the states in Kafka of one pipeline. It outlives the pipeline's
// lives.
type claims struct {
	h      *Host
	inputs []string
	states []*kafka.Backend
	mu     sync.Mutex
	have   map[int32]map[string]bool // by partition, the topics that are assigned
}

// openClaims opens the states in Kafka that a pipeline uses; nil where it uses
// none.
func (h *Host) openClaims(ctx context.Context, pipeline string, cfg PipelineConfig) (*claims, error) {
	c := &claims{h: h, inputs: cfg.From, have: map[int32]map[string]bool{}}
	for _, name := range h.cfg.PipelineStates(pipeline) {
		c.states = append(c.states, h.claims[name])
	}
	if len(c.states) == 0 {
		return nil, nil
	}
	partitions, err := h.inputPartitions(ctx, cfg.From)
	if err != nil {
		return nil, err
	}
	for _, b := range c.states {
		if err := b.Open(ctx, partitions); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// inputPartitions returns how many partitions each of the topics has.
func (h *Host) inputPartitions(ctx context.Context, topics []string) (int32, error) {
	var n int
	for i, name := range topics {
		t, err := h.cluster.AwaitTopic(ctx, name)
		if err != nil {
			return 0, err
		}
		if i > 0 && len(t.Partitions) != n {
			return 0, fmt.Errorf("topic %q has %d partitions and topic %q has %d: a pipeline with ids in Kafka needs equally many, since it keeps those of the partitions of the same number together",
				name, len(t.Partitions), topics[0], n)
		}
		n = len(t.Partitions)
	}
	return int32(n), nil
}

// assigned begins to read ids back, but of partitions that were kept.
func (c *claims) assigned(parts map[string][]int32, kept func(partition int32) bool) {
	c.mu.Lock()
	var fresh, same []int32
	for topic, ids := range parts {
		for _, id := range ids {
			switch {
			case c.have[id] != nil:
			case kept(id):
				c.have[id], same = map[string]bool{}, append(same, id)
			default:
				c.have[id], fresh = map[string]bool{}, append(fresh, id)
			}
			c.have[id][topic] = true
		}
	}
	c.mu.Unlock()
	for _, b := range c.states {
		b.Assign(fresh...)
		b.Keep(same...)
	}
}

// await returns when the ids of a partition are there. Of several inputs, the
// host must have all partitions of that number: another one has its ids
// otherwise.
func (c *claims) await(ctx context.Context, tp klamm.TopicPartition) error {
	c.mu.Lock()
	missing := slices.IndexFunc(c.inputs, func(t string) bool { return !c.have[tp.Partition][t] })
	c.mu.Unlock()
	if missing >= 0 && len(c.inputs) > 1 {
		return fmt.Errorf("partition %d of topic %q was assigned to this host and that of topic %q was not: ids in Kafka need them together; use partition_assignment_strategy = %q on every host of the group",
			tp.Partition, tp.Topic, c.inputs[missing], "range")
	}
	for _, b := range c.states {
		if err := b.Await(ctx, tp.Partition); err != nil {
			if ctx.Err() != nil {
				return nil // taken away, or the end: these are read again
			}
			return err
		}
	}
	return nil
}

// revoked ends the use of ids. Those that were not committed are forgotten.
func (c *claims) revoked(parts map[string][]int32) {
	c.mu.Lock()
	var gone []int32
	for topic, ids := range parts {
		for _, id := range ids {
			if c.have[id] == nil {
				continue
			}
			if delete(c.have[id], topic); len(c.have[id]) == 0 {
				delete(c.have, id)
				gone = append(gone, id)
			}
		}
	}
	c.mu.Unlock()
	for _, b := range c.states {
		b.Revoke(gone...)
	}
}

// written is how far the ids of one transaction came.
type written struct {
	mu   sync.Mutex
	next []map[int32]int64 // by state: the offset after the last one of each partition
	errs []error
}

// writeClaims has the ids of the records that offsets commit written in the open
// transaction. Those of on_send were staged as they were written.
func (p *pipeline) writeClaims(ctx context.Context, parts map[klamm.TopicPartition]*progress, offsets map[klamm.TopicPartition]int64) (*written, error) {
	for tp, at := range offsets {
		for _, c := range parts[tp].claimsBefore(at) {
			p.h.ledger.Stage(c.ref, p.h.consumed(tp, c), tp.Partition)
		}
	}
	w := &written{next: make([]map[int32]int64, len(p.claims.states))}
	any := false
	for i, b := range p.claims.states {
		w.next[i] = map[int32]int64{}
		from := origin{chain: p.bare, done: func(r klamm.Result) { w.done(i, r) }}
		for _, write := range b.Take() {
			any = true
			rec := klamm.Record{Topic: b.Topic(), Target: klamm.ToPartition(write.Partition), Key: write.Key, Value: write.Value}
			if _, err := p.producer.accept(ctx, &rec, from); err != nil {
				return nil, err
			}
		}
	}
	if !any {
		return w, nil
	}
	if err := p.producer.Flush(ctx); err != nil {
		return nil, err
	}
	return w, w.err()
}

func (w *written) done(state int, r klamm.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Err != nil {
		w.errs = append(w.errs, r.Err)
		return
	}
	w.next[state][r.Partition] = max(w.next[state][r.Partition], r.Offset+1)
}

func (w *written) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errs) == 0 {
		return nil
	}
	return fmt.Errorf("write the ids of the transaction: %w", w.errs[0])
}

// committed tells the states that the transaction is.
func (c *claims) committed(w *written) {
	for i, b := range c.states {
		b.Committed(w.next[i])
	}
}
