package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/demo"
)

// processStart is as early as a Go program can ask.
var processStart = time.Now()

const demoTopic = "quakes"

// demoOptions are the flags of `klamm demo`.
type demoOptions struct {
	length time.Duration
	rate   float64
	seed   uint64
	show   bool
}

func (a *app) demoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "embedded broker, real earthquake feed with duplicates, plugins, live figures",
		Long: `Replays polls of a real earthquake feed, as a client sees it that asks again and
again: every poll returns the whole window, so most events were there before, and
some come back revised. A dedup plugin drops the repeats and lets the revisions
through; a partitioner plugin keeps each seismic network on its share of the
partitions. The topic is read back, and at the end every count is checked.

It needs no Kafka, no network and no toolchain, and leaves nothing behind but the
cache of compiled plugins. The events are real; the revisions are made up, by a
seed. The embedded broker is not Apache Kafka: no figure here tells its speed.`,
		Example: `  klamm demo
  klamm demo --for 5s --output json
  klamm demo --rate 5000 --for 10s
  klamm demo --print-config`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.show {
				_, err := fmt.Fprint(a.out, demo.Config())
				return err
			}
			return a.runDemo(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.length, "for", 0, "stop after this `time`; 0: Ctrl-C stops")
	f.Float64Var(&o.rate, "rate", 500, "records per second; 0: as fast as it goes")
	f.Uint64Var(&o.seed, "seed", demo.DefaultSeed, "`number` that the revisions are made from")
	f.BoolVar(&o.show, "print-config", false, "print the demo's configuration and do nothing else")
	return cmd
}

func (a *app) runDemo(ctx context.Context, o demoOptions) error {
	if o.rate < 0 || math.IsNaN(o.rate) {
		return usagef("--rate %v: it is records per second, 0 for as fast as it goes", o.rate)
	}
	if o.length < 0 {
		return usagef("--for %v: it is how long to go on, 0 until Ctrl-C", o.length)
	}
	cfg, problems := config.Parse("demo.toml", []byte(demo.Config()), config.Options{})
	if err := problems.Err(); err != nil {
		return err
	}
	events, err := demo.Events()
	if err != nil {
		return err
	}
	a.say("klamm demo: the broker is embedded and not Apache Kafka; the events are real, their revisions made up")
	h, err := host.New(*cfg, append(withEmbedded(), host.WithContext(ctx), host.WithLogger(a.demoLogger()))...)
	if err != nil {
		return err
	}
	run, err := newDemoRun(a, h, o, cfg.Cluster.Embedded.Partitions, demo.NewFeed(events, demo.DefaultWindow, demo.DefaultStep, o.seed))
	if err == nil {
		a.say("broker on %s; plugins %s; %v after the start", h.Brokers()[0], "dedup, by-network", since(processStart))
		err = run.all(ctx)
	}
	closing, cancel := context.WithTimeout(context.Background(), demoPatience)
	defer cancel()
	return errors.Join(err, h.Close(closing))
}

// demoLogger says warnings only: the demo has its own words.
func (a *app) demoLogger() *slog.Logger { return a.quietLogger(config.Log{}) }

// since is the time since t as people read it.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// check holds the whole run against what the feed says must be.
func (r *demoRun) check() error {
	s := r.snapshot()
	c := s.counts
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.In != c.Out+c.Dropped+c.DeadLettered+c.Failed || c.InFlight != 0 {
		wrong("the identity does not hold: %+v", c)
	}
	if s.read != c.Out {
		wrong("%d records were acknowledged, %d were read back", c.Out, s.read)
	}
	if s.again > 0 {
		wrong("%d records were read twice", s.again)
	}
	if c.Failed == 0 && c.Out != s.sent {
		wrong("%d versions of events were sent, %d are in the topic", s.sent, c.Out)
	}
	if r.failure != nil {
		wrong("%d records failed, the first with: %w", c.Failed, r.failure)
	}
	return errors.Join(errs...)
}

// demoJSON is the demo's result. Its fields and their order are a contract.
type demoJSON struct {
	Schema       string           `json:"schema"`
	In           int64            `json:"in"`
	Out          int64            `json:"out"`
	Dropped      int64            `json:"dropped"`
	DeadLettered int64            `json:"dead_lettered"`
	Failed       int64            `json:"failed"`
	InFlight     int64            `json:"in_flight"`
	Partitions   map[string]int64 `json:"partitions"`
}

func (a *app) printDemo(r *demoRun) error {
	s := r.snapshot()
	c := s.counts
	if a.json() {
		parts := map[string]int64{}
		for i, n := range s.partitions {
			parts[fmt.Sprint(i)] = n
		}
		return printJSON(a.out, demoJSON{"klamm.demo/1", c.In, c.Out, c.Dropped, c.DeadLettered, c.Failed, c.InFlight, parts})
	}
	fmt.Fprintf(a.out, "in %s = out %s + dropped %s + dead-lettered %s + failed %s; in flight %d\n",
		count(c.In), count(c.Out), count(c.Dropped), count(c.DeadLettered), count(c.Failed), c.InFlight)
	fmt.Fprintf(a.out, "read back %s records of %s polls: each version of an event exactly once, %s of them revisions\n",
		count(s.read), count(s.polls), count(s.revisions))
	for i, n := range s.partitions {
		fmt.Fprintf(a.out, "  partition %d  %6s  %s\n", i, count(n), s.networks[i])
	}
	return nil
}

// dropText says which record a dropped one repeats.
func dropText(r klamm.Result) string {
	if r.Reason == "" {
		return "dropped by " + r.Plugin
	}
	return fmt.Sprintf("dropped by %s: %s", r.Plugin, r.Reason)
}
