package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/internal/checker/trial"
	"github.com/klamm-io/klamm/internal/config"
)

// benchOptions are the flags of `klamm bench`.
type benchOptions struct {
	records    int
	topic      string
	size       int
	partitions int
	embedded   int
	keys       int
	lanes      int
	asked      float64
	faults     bool
	plugins    bool
	duplicates float64
	window     time.Duration
	durable    bool
	history    string
	seed       uint64
}

func (a *app) benchCommand() *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "send records, under faults if asked, and verify that none was lost, doubled or reordered",
		Long: `Sends records through Klamm's producer, reads them back with another client
(franz-go), and judges: each acknowledged record must be there once, in order, with
the bytes that were sent, and each has exactly one completion. The last line of
stdout is the verdict; records per second go to stderr and tell of this machine.

Without --brokers it starts embedded brokers. With --faults a proxy between cuts,
holds, swallows and mutilates frames, brokers stop and answer with errors, and
leaders move; the same --seed makes the same decisions. With --duplicates records
repeat ids, and none may be dropped unless one of its id is there (false_drops), nor
may two get through within the window (dedup_doubled); with --faults brokers then also
refuse records for good, so that ids are released again. --history keeps what the
sender saw, for ` + "`klamm verify`" + `.`,
		Example: `  klamm bench --records 100000
  klamm bench --records 100000 --faults --duplicates 0.2 --output json
  klamm bench -b localhost:9092 --topic bench-1 --records 50000 --history bench-1.history`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.bench(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.IntVarP(&o.records, "records", "n", 100_000, "`number` of records to send")
	f.StringVar(&o.topic, "topic", "klamm-bench", "`topic` of the records; it is created, and must be new")
	f.IntVar(&o.size, "size", 100, "`bytes` of a value")
	f.IntVar(&o.partitions, "partitions", 12, "`number` of partitions")
	f.IntVar(&o.embedded, "embedded", 3, "`number` of embedded brokers")
	f.IntVar(&o.keys, "keys", 64, "`number` of keys of each of the 4 senders")
	f.IntVar(&o.lanes, "lanes", 1, "`number` of lanes of the chain")
	f.Float64Var(&o.asked, "explicit", 0, "`share` of keys whose records ask for their partition, 0 to 1")
	f.BoolVar(&o.faults, "faults", false, "make faults while sending")
	f.Float64Var(&o.duplicates, "duplicates", 0, "run the dedup plugin; this `share` of the records repeats the id of one before, 0 to 0.9")
	f.BoolVar(&o.plugins, "plugins", false, "the same as --duplicates 0.2")
	f.DurationVar(&o.window, "window", 0, "the `time` for which the plugin remembers an id, 0: for ever; with one, some records repeat ids from far back")
	f.BoolVar(&o.durable, "fsync", false, "have each record in the history, on disk, before it is sent")
	f.StringVar(&o.history, "history", "", "keep the history in this `file`")
	f.Uint64Var(&o.seed, "seed", 0, "`number` that decides about records and faults; 0: another one each time")
	return cmd
}

func (o *benchOptions) check() error {
	for _, n := range []struct {
		name             string
		value, low, high int
	}{
		{"records", o.records, 1, 1 << 30},
		{"size", o.size, checker.MinPayload, 512 << 10},
		{"partitions", o.partitions, 1, 10_000},
		{"embedded", o.embedded, 1, 20},
		{"keys", o.keys, 1, checker.Keys},
		{"lanes", o.lanes, 1, 64},
	} {
		if n.value < n.low || n.value > n.high {
			return usagef("--%s %d: it is %d to %d", n.name, n.value, n.low, n.high)
		}
	}
	if !(o.asked >= 0 && o.asked <= 1) {
		return usagef("--explicit %v: it is a share, 0 to 1", o.asked)
	}
	if !(o.duplicates >= 0 && o.duplicates <= 0.9) {
		return usagef("--duplicates %v: it is a share, 0 to 0.9", o.duplicates)
	}
	if o.window < 0 || o.window > 0 && o.duplicates == 0 {
		return usagef("--window %v: it is not negative, and goes with --duplicates", o.window)
	}
	return nil
}

// benchInFlight keeps the records in flight to a hundredth, so that faults meet
// all parts of a run, but not to so few that batches stay small.
func benchInFlight(records int) int { return min(max(records/100, 2000), 50_000) }

func (a *app) bench(ctx context.Context, o benchOptions) error {
	if o.plugins && o.duplicates == 0 {
		o.duplicates = 0.2
	}
	if err := o.check(); err != nil {
		return err
	}
	var log *slog.Logger // what faults do to connections is no news
	if a.verbose {
		log = a.logger(config.Log{})
	}
	t, err := trial.Start(ctx, trial.Options{
		Topic: o.topic, Partitions: o.partitions, Embedded: o.embedded, Addresses: a.brokers, Keys: o.keys, Size: o.size,
		Asked: o.asked, Dedup: o.duplicates > 0, Repeats: o.duplicates, Window: o.window, Refusals: o.duplicates > 0, Lanes: o.lanes, Seed: o.seed, History: o.history, Durable: o.durable,
		Proxy: o.faults, InFlight: benchInFlight(o.records), Logger: log,
		Config: func(c *host.Config) {
			if o.faults {
				c.Producer.RequestTimeout = host.Duration(2 * time.Second) // swallowed requests are given up sooner
			}
		},
	})
	if err != nil {
		return err
	}
	if err := a.benchLoad(ctx, t, o); err != nil {
		closing, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		return errors.Join(err, t.Close(closing))
	}
	finishing, cancel := context.WithTimeout(ctx, benchPatience)
	defer cancel()
	report, err := t.Finish(finishing)
	if report != nil {
		if found := a.finding(report); found != nil {
			return found
		}
	}
	return err
}

// benchPatience bounds how long the records in flight may take, and the reading.
const benchPatience = 10 * time.Minute

// benchLoad sends the records and says how fast that went.
func (a *app) benchLoad(ctx context.Context, t *trial.Trial, o benchOptions) error {
	a.say("sending %s records to %q, seed %d", count(int64(o.records)), t.Topic(), t.Seed())
	stop := func() {}
	if o.faults {
		stop = t.Chaos(ctx)
	}
	began := time.Now()
	err := t.Load(ctx, o.records)
	took := time.Since(began)
	if err == nil && o.faults {
		err = t.Snapshot(ctx) // while faults are still made
	}
	stop()
	if err == nil {
		a.say("%s records in %v, %s a second on this machine, history, checks and faults included; reading them back",
			count(int64(o.records)), took.Round(time.Millisecond), count(int64(float64(o.records)/took.Seconds())))
	}
	return err
}
