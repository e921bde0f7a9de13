package host

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/config"
)

// pipeline reads topics, sends what its chain lets pass to another, and commits
// a record's offset when the broker has acknowledged what came of it: at least
// once. For exactly once see exactlyonce.go.
type pipeline struct {
	*consumption
	cfg      PipelineConfig
	producer *Producer
	chain    *chainRun    // of the producer
	bare     *chainRun    // of the producer, for dead letters
	once     *exactlyOnce // nil: at least once, with the host's own producer
	rekey    *rekeying    // chooses the partitions, where it is not nil

	keepPartitions bool // a record goes to the partition of its number

	done   chan struct{} // closed when its last life has ended
	behind *pipeline     // with stop_at_end: where it ends is known when that one is done
}

// Run runs every [pipeline.NAME] until ctx ends, all that have stop_at_end are
// done, or one fails. A pipeline that fails ends the others too; what it has not
// completed is not committed and is read again by the next run.
func (h *Host) Run(ctx context.Context) error { return h.run(ctx, h.cfg.Stages(), nil) }

// run runs pipelines. prepare, if it is not nil, is called with each before it
// reads.
func (h *Host) run(ctx context.Context, pipelines map[string]PipelineConfig, prepare func(context.Context, *pipeline) error) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started, err := h.startPipelines(ctx, pipelines)
	defer func() {
		h.mu.Lock()
		for i, p := range started {
			if now := h.pipelines[p.name]; now != nil {
				started[i] = now // its last life
			}
		}
		h.mu.Unlock()
		for _, p := range started {
			if err := p.close(); err != nil {
				h.log.Warn("close a pipeline", "pipeline", p.name, "error", err)
			}
		}
	}()
	for _, p := range started {
		if err == nil && prepare != nil {
			err = prepare(ctx, p)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	return runAll(ctx, cancel, started)
}

// enter registers a Run, so that Close can wait for it.
func (h *Host) enter() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return fmt.Errorf("host %w", klamm.ErrClosed)
	}
	h.running.Add(1)
	return nil
}

func (h *Host) startPipelines(ctx context.Context, pipelines map[string]PipelineConfig) ([]*pipeline, error) {
	if err := h.makeRekeyTopics(ctx, pipelines); err != nil {
		return nil, err
	}
	var started []*pipeline
	for name, cfg := range pipelines {
		p, err := h.newPipeline(ctx, name, cfg)
		if err != nil {
			if p != nil {
				err = errors.Join(err, p.close())
			}
			return started, fmt.Errorf("pipeline %q: %w", name, err)
		}
		started = append(started, p)
		h.mu.Lock()
		h.pipelines[name] = p
		h.mu.Unlock()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range started {
		if p.cfg.Rekey && p.cfg.StopAtEnd {
			p.behind = h.pipelines[config.RekeyStage(p.name)]
		}
	}
	return started, nil
}

func runAll(ctx context.Context, cancel context.CancelFunc, pipelines []*pipeline) error {
	errs := make([]error, len(pipelines))
	var all sync.WaitGroup
	for i, p := range pipelines {
		all.Go(func() {
			defer close(p.done)
			if p.behind != nil {
				if err := p.awaitStage(ctx); err != nil {
					errs[i] = fmt.Errorf("pipeline %q: %w", p.name, err)
					cancel()
					return
				}
			}
			run := p.run
			if p.once != nil {
				run = p.lives
			}
			if err := run(ctx); err != nil {
				errs[i] = fmt.Errorf("pipeline %q: %w", p.name, err)
				cancel()
			}
		})
	}
	all.Wait()
	if len(pipelines) == 0 {
		<-ctx.Done()
	}
	return errors.Join(errs...)
}

func (h *Host) stopPipelines() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.halt()
	for _, p := range h.pipelines {
		if p.stop != nil {
			p.stop(nil)
		}
	}
}

// newPipeline returns the pipeline, to be closed, also where it cannot be started.
func (h *Host) newPipeline(ctx context.Context, name string, cfg PipelineConfig) (*pipeline, error) {
	p, err := h.newReading(name, cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Guarantee == config.ExactlyOnce {
		p.once = &exactlyOnce{}
		if err := p.openProducer(ctx); err != nil {
			return p, err
		}
		if p.once.claims, err = h.openClaims(ctx, name, cfg); err != nil {
			return p, err
		}
		p.transactional()
	}
	if p.rekey, err = h.rekeyingOf(ctx, name, cfg); err != nil {
		return p, err
	}
	if cfg.StopAtEnd && !cfg.Rekey {
		if p.ends, err = consume.Remaining(ctx, h.cluster, p.groupID, cfg.From); err != nil {
			return p, err
		}
		p.atEnd = len(p.ends) == 0
	}
	return p, nil
}

// awaitStage learns where the pipeline ends: where the stage before it has.
func (p *pipeline) awaitStage(ctx context.Context) error {
	select {
	case <-p.behind.done:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		p.atEnd = true // nothing is read any more
		return nil
	}
	ends, err := consume.Remaining(ctx, p.h.cluster, p.groupID, p.cfg.From)
	p.ends, p.atEnd = ends, len(ends) == 0
	return err
}

// newReading returns a pipeline that is at least once.
func (h *Host) newReading(name string, cfg PipelineConfig) (*pipeline, error) {
	group := cfg.GroupID
	if group == "" {
		group = name
	}
	run := h.chains.bare
	if chain, ok := h.cfg.PipelineChain(name); ok {
		run = h.chains.named[chain]
	}
	c, err := h.newConsumption(h.reading(cfg.Guarantee), group, h.instanceID(name), cfg.From, run, cfg.CommitInterval.Std())
	if err != nil {
		return nil, err
	}
	p := &pipeline{consumption: c, cfg: cfg, producer: h.producer, chain: run, bare: h.chains.bare, done: make(chan struct{})}
	c.name, c.deliver, c.refused = name, p.forward, p.refusedOne
	if cfg.Retries == 0 { // else each may be held
		c.deliverAll = p.forwardAll
	}
	c.retry = retryPolicy{cfg.Retries, cfg.RetryBackoff.Std(), cfg.RetryBackoffMax.Std()}
	c.judgeAll = func() {
		for _, l := range p.chain.lanes {
			l.run()
		}
	}
	return p, nil
}

// reading is how a pipeline reads. Exactly-once pipelines are assigned all their
// partitions at once. A cooperative assignment takes two steps, and a static member
// that is killed after the first comes back without another (KIP-345): nobody would
// read what it had let go. They commit before every rebalance anyway.
func (h *Host) reading(g config.Guarantee) *ConsumerConfig {
	cfg := h.cfg.Consumer
	if g == config.ExactlyOnce && cfg.Assignor == "cooperative-sticky" {
		cfg.Assignor = "sticky"
	}
	return &cfg
}

// instanceID makes the pipeline a static member (KIP-345), so that a restart
// with the same [host] id takes its partitions back at once.
func (h *Host) instanceID(pipeline string) string {
	if h.cfg.Host.ID == "" {
		return ""
	}
	return h.cfg.Host.ID + "-" + pipeline
}

// close ends the producer that is the pipeline's own, and the reading's plugins.
func (p *pipeline) close() error {
	var err error
	if p.once != nil {
		err = p.closeProducer()
		p.followLast()
		p.once.counts.end(p.tally.counts().In)
	}
	return errors.Join(err, p.consumption.close())
}

// forward sends one record that on_consume let pass.
func (p *pipeline) forward(ctx context.Context, d *delivery, it *interceptor.Item) error {
	if p.once != nil {
		return p.forwardOnce(ctx, d, it)
	}
	if it.Outcome != klamm.InFlight {
		return p.setAside(ctx, it, d.done, d.fail)
	}
	d.keep(it)
	return p.accept(ctx, d)
}

// forwardAll is forward for records that no plugin saw.
func (p *pipeline) forwardAll(ctx context.Context, ds []delivery) (int, error) {
	if p.once != nil {
		if held, err := p.enterAll(ctx, ds); err != nil {
			return 0, err
		} else if held {
			return len(ds), nil
		}
	}
	for i := range ds {
		p.address(ds[i].read)
	}
	for n := 0; n < len(ds); n++ {
		if n += p.producer.acceptAll(ctx, ds[n:], p.from(&ds[n])); n == len(ds) {
			break
		}
		if err := p.accept(ctx, &ds[n]); err != nil { // it waits for room
			return n, err
		}
	}
	return len(ds), nil
}

// setAside carries out a verdict of on_consume that lets a record not pass.
func (p *pipeline) setAside(ctx context.Context, it *interceptor.Item, done func(klamm.Result), fail func(error)) error {
	if it.Outcome == klamm.DeadLettered {
		return p.sendDeadLetter(ctx, it, done, fail)
	}
	return p.poison(ctx, it, done, fail)
}

// address has a record that was read go where the pipeline writes. Its own topic is
// that of its delivery.
func (p *pipeline) address(rec *klamm.Record) {
	rec.Topic, rec.Target = p.cfg.To, 0
	switch {
	case p.keepPartitions:
		rec.Target = klamm.ToPartition(rec.Partition)
	case p.rekey != nil:
		rec.Target = klamm.ToPartition(p.rekey.partition(rec))
	}
}

// from is the origin of a record that was read.
func (p *pipeline) from(d *delivery) origin {
	o := origin{chain: p.chain, done: d.finished}
	if d.again != nil {
		o.delivery = d
	}
	if p.claims != nil {
		o.source = d.pr.tp.Partition + 1
	}
	return o
}

// accept has the producer send a record that was read.
func (p *pipeline) accept(ctx context.Context, d *delivery) error {
	p.address(d.read)
	_, err := p.producer.accept(ctx, d.read, p.from(d))
	return err
}

// refusedOne follows a record that the producer took over and did not write.
func (p *pipeline) refusedOne(d *delivery, r klamm.Result) {
	if p.once != nil && errors.Is(r.Err, errHeldBack) {
		p.holdBack(heldRecord{d: d})
		return
	}
	it := interceptor.Item{Record: d.asRead(), Outcome: klamm.Failed, Plugin: r.Plugin, Reason: r.Reason, Err: r.Err, Failures: d.failures()}
	// On the notifier's goroutine: it holds no memory and no slot, so that
	// sending from here cannot deadlock.
	if err := p.poison(p.producer.ctx, &it, d.done, d.fail); err != nil {
		d.fail(err)
	}
}

// poison sends a record that a plugin failed to the pipeline's dead-letter
// topic. Without one, or when it was not a plugin's doing, the pipeline stops:
// going on would lose the record.
func (p *pipeline) poison(ctx context.Context, it *interceptor.Item, done func(klamm.Result), fail func(error)) error {
	var perr *klamm.PluginError
	plugins := errors.As(it.Err, &perr)
	if p.cfg.DeadLetterTopic == "" || !plugins {
		advice := ""
		if plugins {
			advice = "; set dead_letter_topic to put such records aside"
		}
		return fmt.Errorf("record %s/%d@%d: %w%s", it.Record.Topic, it.Record.Partition, it.Record.Offset, it.Err, advice)
	}
	it.DeadLetterTopic = p.cfg.DeadLetterTopic
	return p.sendDeadLetter(ctx, it, done, fail)
}

func (p *pipeline) sendDeadLetter(ctx context.Context, it *interceptor.Item, done func(klamm.Result), fail func(error)) error {
	return p.producer.sendDeadLetter(ctx, p.bare, it, done, fail)
}
