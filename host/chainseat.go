package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/partitioner"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// This file lets chains run for records that another Kafka client sends or
// reads; the wrappers of host/saramaplugin are made of it.

// ChainInfo says what a chain's plugins do, as of now.
type ChainInfo struct {
	Name string
	// Sends: on_send is not empty. Acknowledges: a plugin has
	// on_acknowledgement. Claims: a plugin of on_send keeps state, whose claims
	// must be settled by what became of their records. Commits: a plugin has
	// on_commit. Consumes: on_consume is not empty.
	Sends, Acknowledges, Claims, Consumes, Commits bool
}

// Chains describes the configured chains, sorted by name.
func (h *Host) Chains() []ChainInfo {
	infos := make([]ChainInfo, 0, len(h.cfg.Chain))
	for _, name := range slices.Sorted(maps.Keys(h.cfg.Chain)) {
		c := h.cfg.Chain[name]
		infos = append(infos, ChainInfo{
			Name: name, Sends: len(c.OnSend) > 0, Consumes: len(c.OnConsume) > 0,
			Acknowledges: slices.ContainsFunc(c.AcknowledgementList(), func(n string) bool { return h.hasHook(n, abi.OnAcknowledgement) }),
			Commits:      slices.ContainsFunc(c.OnCommit, func(n string) bool { return h.hasHook(n, abi.OnCommit) }),
			Claims:       slices.ContainsFunc(c.OnSend, h.hasState),
		})
	}
	return infos
}

func (h *Host) hasState(name string) bool { p := h.plugins[name]; return p != nil && p.space != nil }

func (h *Host) hasHook(name string, hook abi.Hook) bool {
	if p := h.plugins[name]; p != nil {
		gen := p.run.Active()
		return gen != nil && gen.Hooks.Has(hook)
	}
	var has bool
	switch native := h.opt.interceptors[name]; hook {
	case abi.OnAcknowledgement:
		_, has = native.(interceptor.OnAcknowledger)
	case abi.OnCommit:
		_, has = native.(interceptor.OnCommitter)
	}
	return has
}

// ChainFor returns the name of the topic's chain, "" where it has none.
func (h *Host) ChainFor(topic string) string { return h.chains.forTopic(topic).name }

// ChainSeat is a place at a chain for records that the host does not send or
// read itself. It owns one instance of each of the chain's plugins, as a lane
// of the Producer does.
//
// The way of a record: OnSend or OnConsume judges it, as an interceptor.Item of
// a batch; NewTicket keeps what its end needs, since the item's memory is the
// batch's; Await completes it where it duplicates a record in flight; Complete
// tells its end, exactly once. Whoever opens a seat closes it, before the host.
//
// Its methods are safe for concurrent use. Judgements take turns.
type ChainSeat struct {
	h     *Host
	link  *interceptor.Lane
	tally tally

	judging sync.Mutex
}

// ChainSeat opens a seat at a chain of the configuration.
func (h *Host) ChainSeat(ctx context.Context, chain string) (*ChainSeat, error) {
	if h.producer == nil {
		return nil, fmt.Errorf("chain %q: %w", chain, errNoProducer)
	}
	run := h.chains.named[chain]
	if run == nil {
		return nil, fmt.Errorf("the configuration has no chain %q", chain)
	}
	link, err := run.chain.Lane(ctx, 0, 1)
	if err != nil {
		return nil, err
	}
	return &ChainSeat{h: h, link: link}, nil
}

// OnSend judges records that are about to be sent. It gives each item a Ref,
// and the time of now where it has no timestamp.
func (s *ChainSeat) OnSend(ctx context.Context, b *interceptor.Batch) {
	s.begin(b)
	for i := range b.Items {
		if rec := &b.Items[i].Record; rec.Timestamp.IsZero() {
			rec.Timestamp = timeOfMS(b.NowMS)
		}
	}
	s.judging.Lock()
	defer s.judging.Unlock()
	s.link.OnSend(ctx, b)
}

// OnConsume judges records that were read. It gives each item a Ref.
func (s *ChainSeat) OnConsume(ctx context.Context, b *interceptor.Batch) {
	s.begin(b)
	s.judging.Lock()
	defer s.judging.Unlock()
	s.link.OnConsume(ctx, b)
}

func (s *ChainSeat) begin(b *interceptor.Batch) {
	s.h.clock.anchor()
	b.NowMS, b.Topics = s.h.clock.nowMS(), s.h.producer.facts
	for i := range b.Items {
		b.Items[i].Ref = uint64(s.h.consumeRef())
		s.tally.accept(1)
	}
}

// Ticket is what the end of a judged record needs of its judgement. It holds
// nothing of the batch's memory.
type Ticket struct {
	slot   slot
	wait   *state.Wait
	plugin string
}

// NewTicket makes the ticket of a judged item.
func (s *ChainSeat) NewTicket(it *interceptor.Item) Ticket {
	t := Ticket{wait: it.Wait, plugin: it.Plugin, slot: slot{
		ref: state.Ref(it.Ref), accepted: s.h.clock.since(), claimed: it.Claimed,
	}}
	t.slot.judged(it)
	t.slot.keep(ackWantsOf(s.link), &it.Record)
	return t
}

// Waits says that the record was dropped as the duplicate of one in flight, so
// that its own end is Await's to tell.
func (t *Ticket) Waits() bool { return t.wait != nil }

// Claimed says that the record holds ids, or did.
func (t *Ticket) Claimed() bool { return t.slot.claimed }

// seatWaiters are the waiting records of all seats: state.Ref -> func(klamm.Result).
// Their refs have the top bit set, those of a Producer's slots have not.
var seatWaiters sync.Map

const seatRef state.Ref = 1 << 63

// Await calls done once with the result of a record whose ticket Waits: when
// the record that it duplicates has its end, which may be before Await returns.
// done must not wait for anything; it may run on any goroutine.
func (s *ChainSeat) Await(t *Ticket, done func(klamm.Result)) {
	ref := t.slot.ref
	seatWaiters.Store(ref, done)
	if r, settled := t.wait.Commit(ref, t.plugin); settled {
		resolveSeat(r)
	}
}

// Abandon gives an Await up. It returns false where done was called, or is
// being called. An abandoned record is to be completed as failed: whether the
// one that it duplicates was written is not known.
func (s *ChainSeat) Abandon(t *Ticket) bool {
	_, waits := seatWaiters.LoadAndDelete(t.slot.ref)
	return waits
}

// Forgo makes the drop of a record whose ticket Waits final, whatever becomes
// of the record that it duplicates.
func (s *ChainSeat) Forgo(t *Ticket) { t.wait.Cancel() }

// resolveSeat completes a seat's waiter. It returns false for a Producer's.
func resolveSeat(r state.Resolution) bool {
	if r.Waiter&seatRef == 0 {
		return false
	}
	if done, ok := seatWaiters.LoadAndDelete(r.Waiter); ok {
		done.(func(klamm.Result))(klamm.Result{
			Outcome: r.Outcome, Plugin: r.Plugin, Reason: r.Reason, Err: r.Err,
			Topic: r.At.Topic, Partition: klamm.NoPartition, Offset: klamm.NoOffset,
			DuplicateOf: duplicateOf(r.Outcome, &r.At),
		})
	}
	return true
}

// settle tells the ledger what became of a record outside of the Producer, and
// completes those that waited for it.
func (h *Host) settle(ref state.Ref, s state.Settlement) {
	h.producers.complete(h.ledger.Settle(ref, s))
}

// Completion is the end of one record.
type Completion struct {
	Ticket *Ticket
	// Result has any outcome but klamm.InFlight. With Failed, an Err that wraps
	// klamm.ErrOutcomeUnknown says that the record may have been written.
	Result klamm.Result
}

// Complete settles the records' claims and runs on_acknowledgement, in one
// call of each plugin where it can.
func (s *ChainSeat) Complete(ctx context.Context, ends []Completion) {
	now := s.h.clock.since()
	wants := ackWantsOf(s.link)
	var acks []interceptor.Ack
	for i := range ends {
		c := s.settled(&ends[i], s.h.clock.msAt(now))
		if wants.any {
			acks = append(acks, ackOf(&c, now))
		}
	}
	if len(acks) > 0 {
		s.link.OnAcknowledgement(ctx, acks)
	}
}

// Settle is Complete for records that were read: on_acknowledgement is for
// those that are sent.
func (s *ChainSeat) Settle(ends []Completion) {
	for i := range ends {
		s.settled(&ends[i], s.h.clock.nowMS())
	}
}

func (s *ChainSeat) settled(end *Completion, nowMS int64) completed {
	c := completed{slot: &end.Ticket.slot, result: end.Result, unknown: errors.Is(end.Result.Err, klamm.ErrOutcomeUnknown)}
	if c.slot.claimed {
		s.h.settle(c.slot.ref, settlement(&c, nowMS))
	}
	s.tally.complete(end.Result.Outcome, 1)
	return c
}

// OnCommit tells the plugins of committed offsets.
func (s *ChainSeat) OnCommit(ctx context.Context, commits []interceptor.Commit) {
	s.link.OnCommit(ctx, commits)
}

// DeadLetter writes a dead-lettered item that was read to its dead-letter topic
// with the host's own Producer, past all plugins. done is called once, with nil
// when it was written, on a goroutine of the Producer.
func (s *ChainSeat) DeadLetter(ctx context.Context, it *interceptor.Item, done func(error)) {
	err := s.h.producer.sendDeadLetter(ctx, s.h.chains.bare, it, func(klamm.Result) { done(nil) }, done)
	if err != nil {
		done(fmt.Errorf("dead-letter topic %q: %w", it.DeadLetterTopic, err))
	}
}

// Counts returns the identity of the records that the seat judged.
func (s *ChainSeat) Counts() Counts { return s.tally.counts() }

// Close closes the seat's instances. It may be called twice, but not beside
// another call.
func (s *ChainSeat) Close(ctx context.Context) error { return s.link.Close(ctx) }

// PartitionerSeat asks a chain's partitioner, or a plugin, for the partitions of
// records that another client sends. Calls take turns. It ends with the host.
type PartitionerSeat struct {
	h  *Host
	mu sync.Mutex
	pl *placer
}

// PartitionerSeat opens the partitioner of a chain, or the partitioner of that
// name: a plugin, a native one, or one of Klamm's own.
func (h *Host) PartitionerSeat(ctx context.Context, name string) (*PartitionerSeat, error) {
	if h.producer == nil {
		return nil, fmt.Errorf("partitioner %q: %w", name, errNoProducer)
	}
	view := h
	if _, ok := h.cfg.Chain[name]; !ok {
		// A chain that has nothing but that partitioner.
		view = &Host{cfg: h.cfg, opt: h.opt, log: h.log, plugins: h.plugins}
		view.cfg.Chain = map[string]config.Chain{name: {Partitioner: name}}
	}
	fallback := partitioner.Default(h.defaultPartitioner())
	chosen, err := view.partitionerOf(ctx, &chainRun{name: name}, 0, 1, fallback)
	if err != nil {
		return nil, fmt.Errorf("partitioner %q: %w", name, err)
	}
	return &PartitionerSeat{h: h, pl: newPlacer(chosen, fallback)}, nil
}

// Partition chooses a partition for a record of a topic that has so many.
func (s *PartitionerSeat) Partition(rec *klamm.Record, partitions int32) (int32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topic(rec.Topic, partitions)
	p := placement{record: rec, to: partitioner.UseDefault}
	if s.pl.batched != nil {
		out := []int32{partitioner.UseDefault}
		if err := s.pl.batched.PartitionBatch([]*klamm.Record{rec}, []uint64{0}, &t.view, out); err != nil {
			return klamm.NoPartition, partitioner.RecordError(err, 0)
		}
		p.to = out[0]
	}
	to, err := s.pl.choose(&p, t)
	if err == nil {
		s.pl.account(&t.view, to, false, len(rec.Key)+len(rec.Value))
	}
	return to, err
}

// topic follows what the host knows of a topic, as far as the client that asks
// knows the same number of partitions.
func (s *PartitionerSeat) topic(name string, partitions int32) *placeTopic {
	t := s.pl.topics[name]
	if t == nil {
		t = s.pl.find(name)
		s.h.cluster.Refresh(name) // nobody else may have asked for it
	}
	meta := s.h.cluster.Topic(name)
	switch {
	case meta != nil && int32(len(meta.Partitions)) == partitions:
		if meta != t.meta {
			t.refresh(meta)
		}
	case t.meta != nil || int32(len(t.view.Partitions)) != partitions:
		t.meta, t.view = nil, partitioner.Topic{Name: name, Partitions: make([]int32, partitions)}
		for i := range t.view.Partitions {
			t.view.Partitions[i] = int32(i)
		}
	}
	return t
}
