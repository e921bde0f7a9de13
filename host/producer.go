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
	slots    *slots
	park     *park
	facts    interceptor.TopicFacts
	clock    *clock
	tally    tally
	flushed  atomic.Int64 // nanoseconds spent in Flush

	acker  acknowledger
	notes  handoff[note]
	pumped chan struct{}

	// open ends when Close begins: it wakes whoever waits in a Send. ctx ends
	// when Close gives up what waits for metadata.
	open   context.Context
	shut   context.CancelFunc
	ctx    context.Context
	cancel context.CancelFunc
	// sending is held for reading by every Send that may still stage.
	sending sync.RWMutex
	closed  bool
	stages  sync.WaitGroup
	closing closing
	// callbacks is who must not wait for callbacks.
	callbacks notifying
}

func newProducer(h *Host, c *cluster.Cluster) (*Producer, error) {
	p := &Producer{
		cfg: &h.cfg.Producer, log: h.log, cluster: c, ledger: h.ledger, chains: h.chains,
		slots: newSlots(h.cfg.Producer.Slots), clock: h.clock, pumped: make(chan struct{}, 1),
	}
	p.notes = newHandoff[note]()
	p.acker = acknowledger{p: p, queue: newHandoff[completed](), acks: map[*lane][]interceptor.Ack{}}
	p.park = newPark(p)
	p.facts = topicFacts{p}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.open, p.shut = context.WithCancel(p.ctx)
	var err error
	if p.pipeline, err = produce.New(p.cfg, c, p.complete, h.log); err != nil {
		p.cancel()
		return nil, err
	}
	p.stages.Add(3)
	go func() { defer p.stages.Done(); p.acker.run(); p.notes.close() }()
	go func() { defer p.stages.Done(); p.runNotifier() }()
	go func() { defer p.stages.Done(); p.pump() }()
	return p, nil
}

// Send sends one record and waits for its completion. The error is the
// result's; a dropped or dead-lettered record is no error. When ctx ends first,
// the record goes on without its sender: its outcome is then not known here, and
// the error wraps ctx's and klamm.ErrOutcomeUnknown.
func (p *Producer) Send(ctx context.Context, rec *klamm.Record) (klamm.Result, error) {
	woken := make(chan klamm.Result, 1)
	l, err := p.accept(ctx, rec, origin{sync: woken})
	if err != nil {
		return refused(rec, err), err
	}
	l.run()
	select {
	case r := <-woken:
		return r, r.Err
	case <-ctx.Done():
		err := fmt.Errorf("send to %q: %w, %w", rec.Topic, klamm.ErrOutcomeUnknown, ctx.Err())
		return refused(rec, err), err
	}
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
	results := make([]klamm.Result, len(recs))
	woken := make([]chan klamm.Result, len(recs))
	lanes := map[*lane]bool{}
	for i := range recs {
		woken[i] = make(chan klamm.Result, 1)
		l, err := p.accept(ctx, &recs[i], origin{sync: woken[i]})
		if err != nil {
			woken[i] <- refused(&recs[i], err)
			continue
		}
		lanes[l] = true
	}
	for l := range lanes {
		l.run()
	}
	var errs []error
	for i := range recs {
		select {
		case results[i] = <-woken[i]:
		case <-ctx.Done():
			results[i] = refused(&recs[i], fmt.Errorf("send to %q: %w, %w", recs[i].Topic, klamm.ErrOutcomeUnknown, ctx.Err()))
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
	sync  chan klamm.Result
}

// accept reserves what a record needs and stages it. From then on it counts as
// in, and has exactly one completion.
func (p *Producer) accept(ctx context.Context, rec *klamm.Record, from origin) (*lane, error) {
	size, err := p.validate(rec)
	if err != nil {
		return nil, err
	}
	p.sending.RLock()
	defer p.sending.RUnlock()
	if p.closed {
		return nil, p.errClosed()
	}
	sl, err := p.reserve(ctx, size)
	if err != nil {
		return nil, fmt.Errorf("send to %q: %w", rec.Topic, err)
	}
	c := from.chain
	if c == nil {
		c = p.chains.forTopic(rec.Topic)
	}
	l := c.lane(rec)
	now := p.clock.since()
	ms := rec.Timestamp.UnixMilli()
	if rec.Timestamp.IsZero() {
		ms = p.clock.msAt(now)
	}
	sl.lane, sl.tally, sl.done, sl.sync = l, from.tally, from.done, from.sync
	sl.topic, sl.timestamp, sl.accepted, sl.reserved = rec.Topic, ms, now, size
	p.tally.accept()
	if from.tally != nil {
		from.tally.accept()
	}
	l.stage(sl, rec, size, ms)
	return l, nil
}

// validate finds what no plugin and no broker is needed to refuse, and returns
// the bytes that the record reserves.
func (p *Producer) validate(rec *klamm.Record) (int, error) {
	if rec == nil {
		return 0, errors.New("send: the record is nil")
	}
	if err := klamm.CheckTopic(rec.Topic); err != nil {
		return 0, fmt.Errorf("send: %w", err)
	}
	if to, explicit := rec.Target.Partition(); explicit && to < 0 {
		return 0, fmt.Errorf("send to %q: %w: %d is negative", rec.Topic, klamm.ErrInvalidPartition, to)
	}
	size := produce.UpperBound(len(rec.Key), len(rec.Value), rec.Headers)
	return size, p.fits(size, rec)
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

// reserve takes a slot and buffer memory, which share max_block.
func (p *Producer) reserve(ctx context.Context, size int) (*slot, error) {
	var deadline time.Time
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.pipeline.Reserve(ctx, size, deadline); err != nil {
		deadline = p.maxBlockDeadline()
		if err := p.reserveSlowly(ctx, size, deadline); err != nil {
			return nil, err
		}
	}
	if deadline.IsZero() {
		deadline = p.maxBlockDeadline()
	}
	sl, err := p.slots.acquire(ctx, deadline)
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
		return klamm.ErrClosed
	}
	return err
}

// giveBack returns a record's buffer memory where the accumulator never had it.
func (p *Producer) giveBack(sl *slot) {
	if sl.reserved > 0 {
		p.pipeline.Release(sl.reserved)
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
	p.chains.eachLane((*lane).run)
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
	p.acker.queue.close()
	p.stages.Wait()
	if flushed != nil {
		return fmt.Errorf("close: %w", flushed)
	}
	return err
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
	p.sending.Lock()
	p.closed = true
	p.sending.Unlock()
}

func (p *Producer) errClosed() error { return fmt.Errorf("producer %w", klamm.ErrClosed) }

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

func (p *Producer) isClosed() bool {
	p.sending.RLock()
	defer p.sending.RUnlock()
	return p.closed
}

// Counts returns the identity of all records that the producer accepted.
func (p *Producer) Counts() Counts { return p.tally.counts() }
