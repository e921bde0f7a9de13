package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/host/internal/produce"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/state"
)

// Producer sends records through the chain of their topic. A host has one; all
// who ask for it share it.
//
// Its methods are safe for concurrent use. Records of one goroutine to one
// partition keep their order, unless their chain has several lanes.
type Producer struct {
	cfg      *ProducerConfig
	log      *slog.Logger
	cluster  *cluster.Cluster
	ledger   *state.Ledger
	chains   *chains
	pipeline *produce.Pipeline
	// producers is where those of the host are found by their numbers.
	producers *producers
	number    uint8 // among the host's; refs have it
	slots     *slots
	park      *park
	facts     interceptor.TopicFacts
	clock     *clock
	tally     tally
	txn       *transactions // nil without a transactional_id
	hold      *holdBack     // of the exactly-once pipeline whose producer it is; nil for others
	flushed   atomic.Int64  // nanoseconds spent in Flush

	acker     acknowledger
	ackerGone chan struct{} // closed when it runs no more
	notes     handoff[note]
	pumped    chan struct{}

	// open ends when Close begins: it wakes whoever waits in a Send. ctx ends
	// when Close gives up what waits for metadata.
	open   context.Context
	shut   context.CancelFunc
	ctx    context.Context
	cancel context.CancelFunc
	// closed is looked at under the lock of the lane that a Send goes to.
	closed  atomic.Bool
	stages  sync.WaitGroup
	closing closing
	// callbacks is who must not wait for callbacks.
	callbacks notifying
}

// newProducer starts a producer with the lanes of its own in ch.
func newProducer(h *Host, cfg *ProducerConfig, ch *chains) (*Producer, error) {
	p := &Producer{
		cfg: cfg, log: h.log, cluster: h.cluster, ledger: h.ledger, chains: ch,
		slots: newSlots(cfg.Slots), clock: h.clock, pumped: make(chan struct{}, 1), ackerGone: make(chan struct{}),
	}
	if cfg.TransactionalID != "" {
		p.txn = newTransactions(p)
	}
	if err := h.producers.add(p); err != nil {
		return nil, err
	}
	p.producers = &h.producers
	p.notes = newHandoff[note]()
	p.acker = acknowledger{p: p, queue: newHandoff[completed](), acks: map[*lane][]interceptor.Ack{}}
	p.park = newPark(p)
	p.facts = topicFacts{p}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.open, p.shut = context.WithCancel(p.ctx)
	var err error
	if p.pipeline, err = produce.New(p.cfg, p.cluster, p.complete, h.log); err != nil {
		p.cancel()
		h.producers.remove(p)
		return nil, err
	}
	p.pipeline.OnWait(p.returnMemory)
	p.stages.Add(3)
	go func() { defer p.stages.Done(); p.acker.run(); close(p.ackerGone); p.notes.close() }()
	go func() { defer p.stages.Done(); p.runNotifier() }()
	go func() { defer p.stages.Done(); p.pump() }()
	return p, nil
}

// Send sends one record and waits for its completion. The error is the
// result's; a dropped or dead-lettered record is no error. When ctx ends first,
// the record goes on without its sender: its outcome is then not known here, and
// the error wraps ctx's and klamm.ErrOutcomeUnknown.
func (p *Producer) Send(ctx context.Context, rec *klamm.Record) (klamm.Result, error) {
	w := newAwaited(1)
	l, err := p.accept(ctx, rec, origin{sync: w})
	if err != nil {
		return refused(rec, err), err
	}
	l.run()
	r := w.wait(ctx)[0]
	if r.Outcome == klamm.InFlight {
		r = unknown(ctx, rec)
	}
	return r, r.Err
}

// unknown is the result of a record whose sender waits no longer.
func unknown(ctx context.Context, rec *klamm.Record) klamm.Result {
	return refused(rec, fmt.Errorf("send to %q: %w, %w", rec.Topic, klamm.ErrOutcomeUnknown, ctx.Err()))
}

func refused(rec *klamm.Record, err error) klamm.Result {
	r := klamm.Result{Outcome: klamm.Failed, Partition: klamm.NoPartition, Offset: klamm.NoOffset, Err: err}
	if rec != nil {
		r.Topic = rec.Topic
	}
	return r
}

// SendAsync stages one record and returns. The record's bytes are copied: they
// are the caller's again at once. done, which may be nil, is called once, on a
// goroutine that all callbacks share, and may send; a slow one delays the other
// callbacks, never the sending.
//
// It waits, at most max_block, while buffer_memory or the acknowledgement slots
// are used up. An error means that the record was not accepted and that done is
// not called: ErrClosed, ErrBufferFull, ErrRecordTooLarge, ErrInvalidTopic,
// ErrInvalidPartition, or ctx's.
func (p *Producer) SendAsync(ctx context.Context, rec *klamm.Record, done func(klamm.Result)) error {
	_, err := p.accept(ctx, rec, origin{done: done})
	return err
}

// SendBatch sends records and waits for all of them. Results are in the order of
// the records; the error joins those of the records that failed.
func (p *Producer) SendBatch(ctx context.Context, recs []klamm.Record) ([]klamm.Result, error) {
	w := newAwaited(len(recs))
	var last *lane
	for i := range recs {
		l, err := p.accept(ctx, &recs[i], origin{sync: w, index: i})
		if err != nil {
			w.set(i, refused(&recs[i], err))
			continue
		}
		if last != nil && l != last {
			last.run()
		}
		last = l
	}
	if last != nil {
		last.run()
	}
	results := w.wait(ctx)
	var errs []error
	for i := range results {
		if results[i].Outcome == klamm.InFlight {
			results[i] = unknown(ctx, &recs[i])
		}
		if results[i].Err != nil {
			errs = append(errs, fmt.Errorf("record %d: %w", i, results[i].Err))
		}
	}
	return results, errors.Join(errs...)
}

// origin is who wants to know of a record's completion.
type origin struct {
	chain *chainRun // nil: the chain of the record's topic
	tally *tally
	done  func(klamm.Result)
	sync  *awaited // gets result number index
	index int
	// source is 1 more than the partition that a pipeline with ids in Kafka read
	// the record from.
	source int32
	// delivery is the record as a pipeline read it that tries it again.
	delivery *delivery
}

// accept reserves what a record needs and stages it. From then on it counts as
// in, and has exactly one completion.
func (p *Producer) accept(ctx context.Context, rec *klamm.Record, from origin) (*lane, error) {
	to, size, err := p.validate(rec)
	if err != nil {
		return nil, err
	}
	c := from.chain
	if c == nil {
		c = to.chain
	}
	txn := uint32(0)
	if p.txn != nil {
		if txn = p.txn.number.Load(); txn == 0 {
			return nil, fmt.Errorf("send to %q: no transaction is open: %w", rec.Topic, klamm.ErrTransactionState)
		}
	}
	l := c.lane(rec)
	sl, err := p.reserve(ctx, l, size)
	if err != nil {
		return nil, fmt.Errorf("send to %q: %w", rec.Topic, err)
	}
	p.fill(sl, l, rec, size, txn, &from)
	l.stage(sl, rec)
	l.leave(size)
	return l, nil
}

// fill notes in a slot what its record needs.
func (p *Producer) fill(sl *slot, l *lane, rec *klamm.Record, size int, txn uint32, from *origin) {
	now := p.clock.recent()
	ms := p.clock.msAt(now)
	if !rec.Timestamp.IsZero() {
		ms = rec.Timestamp.UnixMilli()
	}
	sl.lane, sl.done, sl.timestamp, sl.accepted, sl.reserved = l, from.done, ms, now, int32(size)
	if from.sync != nil || from.tally != nil || from.source > 0 || from.delivery != nil {
		m := sl.more()
		m.sync, m.index, m.tally, m.source, m.delivery = from.sync, from.index, from.tally, from.source, from.delivery
	}
	sl.txn = uint16(txn)
	if from.tally != nil {
		from.tally.accept(1)
	}
}

// validate finds what no plugin and no broker is needed to refuse, and returns
// the record's route and the bytes that it reserves.
func (p *Producer) validate(rec *klamm.Record) (*route, int, error) {
	if rec == nil {
		return nil, 0, errors.New("send: the record is nil")
	}
	to, err := p.chains.route(rec.Topic)
	if err != nil {
		return nil, 0, fmt.Errorf("send: %w", err)
	}
	if to, explicit := rec.Target.Partition(); explicit && to < 0 {
		return nil, 0, fmt.Errorf("send to %q: %w: %d is negative", rec.Topic, klamm.ErrInvalidPartition, to)
	}
	size := produce.UpperBound(len(rec.Key), len(rec.Value), rec.Headers)
	return to, size, p.fits(size, rec)
}

// fits checks a record against max_request_size, as Kafka's client does: before
// compression.
func (p *Producer) fits(size int, rec *klamm.Record) error {
	if limit := int(p.cfg.MaxRequestSize); size > limit {
		return fmt.Errorf("send to %q: %w: %d bytes, max_request_size is %d; raise it, and the topic's max.message.bytes, or send less",
			rec.Topic, klamm.ErrRecordTooLarge, size, limit)
	}
	return nil
}

// reserve takes buffer memory and a slot, which share max_block, and enters the
// lane.
func (p *Producer) reserve(ctx context.Context, l *lane, size int) (*slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Most often nobody waits, and then nobody needs to know until when.
	var deadline time.Time
	l.mu.Lock()
	if !l.reserve(size) {
		l.mu.Unlock()
		deadline = p.maxBlockDeadline()
		if err := p.reserveSlowly(ctx, size, deadline); err != nil {
			return nil, err
		}
		l.mu.Lock()
	}
	sl, err := l.enter(ctx, deadline)
	if err != nil {
		p.pipeline.Release(size)
	}
	return sl, err
}

// reserveSlowly waits for memory, and no longer than the producer is open.
func (p *Producer) reserveSlowly(ctx context.Context, size int, deadline time.Time) error {
	merged, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.open, cancel)()
	err := p.pipeline.Reserve(merged, size, deadline)
	if err != nil && p.open.Err() != nil {
		return errProducerClosed
	}
	return err
}

// returnMemory gives back what lanes have reserved in advance.
func (p *Producer) returnMemory() { p.chains.eachLane((*lane).returnMemory) }

// giveBack returns a record's buffer memory where the accumulator never had it.
func (p *Producer) giveBack(sl *slot) {
	if sl.reserved > 0 {
		p.pipeline.Release(int(sl.reserved))
		sl.reserved = 0
	}
}

// Flush sends everything at once, whatever linger says, and returns when every
// record accepted before it is completed and its callback has returned. Records
// accepted meanwhile are not waited for. Called from a callback, which would wait
// for itself, it returns an error at once (KIP-1118).
func (p *Producer) Flush(ctx context.Context) error {
	if p.callbacks.isCaller() {
		return errors.New("flush: called from a callback, for which it would wait; have another goroutine flush")
	}
	return p.flush(ctx)
}

func (p *Producer) flush(ctx context.Context) error {
	start := time.Now()
	defer func() { p.flushed.Add(int64(time.Since(start))) }()
	done := p.slots.cut()
	end := p.pipeline.BeginFlush()
	defer end()
	p.chains.eachLane((*lane).flush)
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush: %w with %d records in flight", ctx.Err(), p.tally.inFlight.Load())
	}
}

// Close refuses further records, completes those it has until ctx ends, then
// fails the rest: with ErrClosed what was never sent, with ErrOutcomeUnknown
// what was. Every record has its completion before Close returns. It may be
// called twice.
//
// Called from a callback it waits for nothing: what is not written is failed, as
// if ctx had ended, and the callbacks run once this one has returned. That is
// close(0) of Kafka's client.
func (p *Producer) Close(ctx context.Context) error {
	callback := p.callbacks.isCaller()
	if callback {
		ctx = ended(ctx)
	}
	return p.closing.do(callback, p.refuse, func() error { return p.close(ctx) })
}

// ended returns a context that is over.
func ended(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

func (p *Producer) close(ctx context.Context) error {
	var ended error
	if p.txn != nil {
		ended = p.txn.close(ctx)
	}
	flushed := p.flush(ctx)
	if p.tally.inFlight.Load() == 0 {
		flushed = nil // callbacks alone are not done yet
	}
	p.cancel()
	p.park.tasks.Wait()
	err := p.pipeline.Close(ctx)
	if lost := p.awaitCompletions(); lost != nil {
		return lost
	}
	if p.txn != nil {
		p.txn.closed()
	}
	p.acker.queue.close()
	p.stages.Wait()
	if p.txn == nil || p.txn.doubt == nil { // else its refs are still in use
		p.producers.remove(p)
	}
	if flushed != nil {
		return fmt.Errorf("close: %w", flushed)
	}
	return errors.Join(ended, err)
}

// awaitCompletions waits for the last two stages to complete what the pipeline
// has handed on. Callbacks may be slow, but they are not waited for for ever.
func (p *Producer) awaitCompletions() error {
	select {
	case <-p.slots.cut():
		return nil
	case <-time.After(callbackGrace):
		return fmt.Errorf("close: %d records have no completion yet, or their callbacks have not returned after %v", p.tally.inFlight.Load(), callbackGrace)
	}
}

// callbackGrace is how long Close waits for callbacks after its last record.
const callbackGrace = 30 * time.Second

// refuse wakes the Sends that wait and lets none stage any more.
func (p *Producer) refuse() {
	p.shut()
	p.slots.close()
	p.closed.Store(true)
	p.chains.eachLane((*lane).drain)
}

var errProducerClosed = fmt.Errorf("producer %w", klamm.ErrClosed)

// pump judges partial blocks as soon as it is idle, so that a lone record is not
// delayed; under load the blocks that fill meanwhile are judged by Sends.
func (p *Producer) pump() {
	for {
		select {
		case <-p.pumped:
			p.chains.eachLane((*lane).idleRun)
			p.clock.anchor()
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *Producer) wakePump() {
	select {
	case p.pumped <- struct{}{}:
	default:
	}
}

func (p *Producer) isClosed() bool { return p.closed.Load() }

// Counts returns the identity of all records that the producer accepted.
func (p *Producer) Counts() Counts {
	// Slots that lanes have taken in advance are no records.
	p.chains.eachLane(func(l *lane) { l.mu.Lock(); l.returnLot() })
	defer p.chains.eachLane(func(l *lane) { l.mu.Unlock() })
	return p.tally.counts()
}
