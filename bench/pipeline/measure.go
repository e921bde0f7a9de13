package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klamm-io/klamm/bench/internal/child"
	"github.com/klamm-io/klamm/bench/internal/guests"
	"github.com/klamm-io/klamm/bench/internal/jobs"
	"github.com/klamm-io/klamm/bench/internal/rounds"
	"github.com/klamm-io/klamm/internal/module"
)

// bench is one run: a broker, an input, and what jobs need.
type bench struct {
	o      options
	log    io.Writer
	broker *child.Broker
	topics *topics
	redis  *redisServer
	cache  string
	root   string
	dir    string // of what jobs remember in files
	runs   int    // names topics and groups
}

// contender is one row in the making.
type contender struct {
	name    string
	cfg     jobs.Config
	once    bool // exactly once
	reads   bool // and writes nothing
	records int
	input   string
	reports []report
	row     row
}

// recipeShare is what part of the records the recipe gets: it is slow, and a
// round is to take no minutes.
const recipeShare = 20

// measure runs everything that the options ask for.
func measure(ctx context.Context, o options, log io.Writer) (all []row, err error) {
	if !child.Pinned {
		fmt.Fprintln(log, "this system cannot give a process one core: jobs and broker share all of them")
	}
	b := &bench{o: o, log: log}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	contenders, err := b.contenders(ctx)
	if err != nil {
		return nil, err
	}
	for n := range o.rounds {
		fmt.Fprintf(log, "round %d of %d\n", n+1, o.rounds)
		for i := range contenders {
			c := contenders[(i+n)%len(contenders)]
			if err := b.round(ctx, c); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	for _, c := range contenders {
		if err := b.finish(ctx, c); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		all = append(all, c.row)
	}
	return all, nil
}

func (b *bench) open(ctx context.Context) (err error) {
	if b.root, err = guests.Root(); err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	b.cache = filepath.Join(cache, "klamm-bench")
	if err := os.MkdirAll(b.cache, 0o700); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "klamm-bench-"); err != nil {
		return err
	}
	if b.broker, err = child.StartBroker(brokerCommand, b.o.partitions); err != nil {
		return err
	}
	if b.topics, err = newTopics(b.broker.Addrs, b.o.partitions); err != nil {
		return err
	}
	fmt.Fprintf(b.log, "writing %d records, a fifth of them duplicates\n", b.o.records)
	return errors.Join(b.topics.fill(ctx, "in", b.o.records), b.topics.fill(ctx, "in-few", b.o.records/recipeShare))
}

func (b *bench) close() error {
	var errs []error
	if b.redis != nil {
		errs = append(errs, b.redis.close())
	}
	if b.topics != nil {
		b.topics.close()
	}
	if b.broker != nil {
		errs = append(errs, b.broker.Close())
	}
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}

// contenders are the jobs that can be had here.
func (b *bench) contenders(ctx context.Context) (all []*contender, err error) {
	for _, name := range b.o.jobs {
		c := &contender{name: name, once: true, records: b.o.records, input: "in"}
		job, with, _ := strings.Cut(name, "-")
		switch {
		case job == "klamm":
			c.cfg, err = b.klamm(ctx, with)
		case name == "franz-go":
			c.cfg.Job = "franz-go"
		case job == "read":
			c.cfg.Job, c.reads, c.once = name, true, false
		default:
			c.cfg.Job, c.once, c.input, c.records = name, false, "in-few", b.o.records/recipeShare
			if b.redis, err = startRedis(b.dir); err != nil {
				fmt.Fprintf(b.log, "skip %s: %v\n", name, err)
				continue
			}
			c.cfg.Redis = b.redis.addr
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		c.cfg.Brokers, c.cfg.Cache = b.broker.Addrs, b.cache
		c.row = row{Job: name, ExactlyOnce: c.once}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("nobody is left to measure")
	}
	return all, nil
}

// klamm is its job with guests in C or Go, and ids in memory, or with guests in C
// and ids in Kafka.
func (b *bench) klamm(ctx context.Context, with string) (jobs.Config, error) {
	cfg := jobs.Config{Job: "klamm", State: "memory", Modules: map[string]string{}}
	if with == "kafka" {
		cfg.State = "kafka"
	}
	for _, name := range []string{"dedup", "route-by"} {
		folder := filepath.Join(b.root, "..", "plugins", name)
		cfg.Modules[name] = filepath.Join(folder, "c", name+".wasm")
		if with == "go" {
			path, err := module.Build(ctx, filepath.Join(folder, "wasm"), "", b.cache)
			if err != nil {
				return cfg, err
			}
			cfg.Modules[name] = path
		}
	}
	return cfg, nil
}

// fresh is a contender's job with an output and a group of its own.
func (b *bench) fresh(ctx context.Context, c *contender, in string, records int) (jobs.Config, error) {
	b.runs++
	cfg := c.cfg
	cfg.In, cfg.Out = in, fmt.Sprintf("out-%s-%d", c.name, b.runs)
	cfg.Group, cfg.Records = cfg.Out, int64(records)
	if cfg.State == "kafka" {
		cfg.Path = "klamm-state-" + cfg.Out
	}
	return cfg, b.topics.create(ctx, cfg.Out)
}

// roundLimit ends a round that hangs.
const roundLimit = 3 * time.Minute

// round runs a job over the whole input, and has a reader that is not the job's say
// what came out.
func (b *bench) round(ctx context.Context, c *contender) error {
	cfg, err := b.fresh(ctx, c, c.input, c.records)
	if err != nil {
		return err
	}
	if b.o.profile != "" {
		cfg.Profile = filepath.Join(b.o.profile, cfg.Out+".pprof")
	}
	p, err := startJob(cfg)
	if err != nil {
		return err
	}
	defer p.Limit(roundLimit)()
	var r report
	if err := p.Call(struct{}{}, &r); err != nil {
		return err
	}
	if err := p.Close(); err != nil {
		return err
	}
	if r.Err != "" {
		return errors.New(r.Err)
	}
	if c.reads { // it ends when it has read all
		c.reports = append(c.reports, r)
		return b.topics.drop(ctx, cfg.Out)
	}
	got, err := b.topics.count(ctx, cfg.Out)
	if err != nil {
		return err
	}
	if lost, doubled := got.against(c.records); lost+doubled > 0 {
		return fmt.Errorf("without a fault %d records were lost and %d doubled", lost, doubled)
	}
	c.reports = append(c.reports, r)
	return b.topics.drop(ctx, cfg.Out)
}

// finish makes the row: medians, then the rounds for delays and for kills.
func (b *bench) finish(ctx context.Context, c *contender) error {
	var rates, cpus []float64
	for _, r := range c.reports {
		rates = append(rates, float64(c.records)/r.Seconds)
		cpus = append(cpus, r.CPU/float64(c.records)*1e6)
	}
	c.row.Rate, c.row.CPU = rounds.Median(rates), rounds.Median(cpus)
	if c.reads {
		return nil
	}
	if b.o.rate > 0 {
		if err := b.delays(ctx, c); err != nil {
			return fmt.Errorf("delays: %w", err)
		}
	}
	if b.o.kills > 0 {
		if err := b.kills(ctx, c); err != nil {
			return fmt.Errorf("kills: %w", err)
		}
	}
	return nil
}

// delays offers records at a fixed rate and measures from the producer's clock to
// a reader of what is committed.
func (b *bench) delays(ctx context.Context, c *contender) error {
	fmt.Fprintf(b.log, "%s: delays at %d records a second\n", c.name, b.o.rate)
	in := fmt.Sprintf("paced-%s", c.name)
	if err := b.topics.create(ctx, in); err != nil {
		return err
	}
	cfg, err := b.fresh(ctx, c, in, 0)
	if err != nil {
		return err
	}
	p, err := startJob(cfg)
	if err != nil {
		return err
	}
	if err := tell(p); err != nil {
		return err
	}
	took, err := b.topics.paced(ctx, in, cfg.Out, b.o.rate, b.o.rateTime)
	if err := errors.Join(err, p.Close()); err != nil {
		return err
	}
	slices.Sort(took)
	at := func(percent int) *float64 {
		v := took[(len(took)-1)*percent/100].Seconds() * 1e3
		return &v
	}
	c.row.P50, c.row.P99 = at(50), at(99)
	return nil
}

// tell has a job begin, without waiting for its end.
func tell(p *child.Process) error { return p.Send(struct{}{}) }

// kills kills the job again and again while records come. Each life is long enough
// for a commit, and ends at a random moment after it.
func (b *bench) kills(ctx context.Context, c *contender) error {
	fmt.Fprintf(b.log, "%s: %d kills\n", c.name, b.o.kills)
	in := fmt.Sprintf("killed-%s", c.name)
	if err := b.topics.create(ctx, in); err != nil {
		return err
	}
	cfg, err := b.fresh(ctx, c, in, 0)
	if err != nil {
		return err
	}
	stop, sent := make(chan struct{}), make(chan int, 1)
	go func() { sent <- b.topics.offerUntil(ctx, in, killRate, stop) }()
	for range b.o.kills {
		if err := b.oneLife(ctx, cfg); err != nil {
			close(stop)
			<-sent
			return err
		}
	}
	close(stop)
	n := <-sent
	p, err := startJob(cfg)
	if err != nil {
		return err
	}
	if err := tell(p); err != nil {
		return err
	}
	if err := errors.Join(b.topics.awaitEnd(ctx, cfg), p.Close()); err != nil {
		return err
	}
	got, err := b.topics.count(ctx, cfg.Out)
	if err != nil {
		return err
	}
	lost, doubled := got.against(n)
	c.row.Kills, c.row.Lost, c.row.Doubled = &b.o.kills, &lost, &doubled
	return nil
}

const (
	killRate = 3000                   // records a second, meanwhile
	killMost = 300 * time.Millisecond // after a commit
)

// oneLife starts a job, and kills it some time after its first commit.
func (b *bench) oneLife(ctx context.Context, cfg jobs.Config) error {
	before, _, err := b.topics.progress(ctx, cfg)
	if err != nil {
		return err
	}
	p, err := startJob(cfg)
	if err != nil {
		return err
	}
	if err := errors.Join(tell(p), b.topics.awaitCommit(ctx, cfg, before)); err != nil {
		return errors.Join(err, p.Kill())
	}
	time.Sleep(rand.N(killMost))
	return p.Kill()
}
