// Command pipeline measures one job beside the same job written in other ways:
// consume, drop duplicates by their id, route, produce, exactly once where the way
// can. Each runs in a process of its own on one core, with a broker (kfake) in
// another process on another core.
//
//	cd bench && go run ./pipeline --output json [--quick]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/klamm-io/klamm/bench/internal/rows"
)

func main() {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case jobCommand:
			os.Exit(serveJob(os.Args[2], os.Stdin, os.Stdout, os.Stderr))
		case brokerCommand:
			os.Exit(serveBroker(os.Args[2], os.Stdin, os.Stdout, os.Stderr))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	json       bool
	jobs       []string
	records    int // of a round
	rounds     int
	rate       int // of the round for delays
	rateTime   time.Duration
	kills      int
	partitions int
	profile    string
}

// allJobs are the rows: a job, and with what it runs.
// Those that read do nothing else.
var allJobs = []string{"klamm-c", "klamm-go", "klamm-kafka", "franz-go", "redis", "read-klamm", "read-franz-go", "read-sarama"}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("pipeline", flag.ContinueOnError)
	f.SetOutput(stderr)
	output := f.String("output", "table", "table or json, one object a row")
	quick := f.Bool("quick", false, "fewer records and rounds, and no kills; under 3 minutes")
	f.Func("jobs", "with commas; default "+strings.Join(allJobs, ","), func(text string) error {
		o.jobs = strings.Split(text, ",")
		for _, name := range o.jobs {
			if !slices.Contains(allJobs, name) {
				return fmt.Errorf("there are %s", strings.Join(allJobs, ", "))
			}
		}
		return nil
	})
	f.IntVar(&o.records, "records", 0, "records of a round; default 1,000,000, with --quick 500,000")
	f.IntVar(&o.rounds, "rounds", 0, "rounds of each figure; default 5, with --quick 3")
	f.IntVar(&o.rate, "rate", 2000, "records a second in the round for delays; 0 leaves it out")
	f.DurationVar(&o.rateTime, "rate-time", 0, "how long the round for delays takes; default 10s, with --quick 3s")
	f.IntVar(&o.kills, "kills", -1, "kills of each job in a round of its own; default 20, with --quick 0")
	f.IntVar(&o.partitions, "partitions", 12, "partitions of the topics")
	f.StringVar(&o.profile, "profile", "", "folder for a CPU profile of each job")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.json = *output == "json"; !o.json && *output != "table" {
		return o, fmt.Errorf("--output %q: want table or json", *output)
	}
	o.fill(*quick)
	if o.rounds < 1 || o.partitions < 1 || o.records < 100 || o.rate < 0 {
		return o, errors.New("--rounds and --partitions must be above 0, --records 100 or more, and --rate not below 0")
	}
	return o, nil
}

// fill sets what the command line left open.
func (o *options) fill(quick bool) {
	set := func(n *int, open, full, short int) {
		if *n != open {
			return
		}
		if *n = full; quick {
			*n = short
		}
	}
	set(&o.records, 0, 1_000_000, 500_000)
	set(&o.rounds, 0, 5, 3)
	set(&o.kills, -1, 20, 0)
	if o.rateTime == 0 {
		if o.rateTime = 10 * time.Second; quick {
			o.rateTime = 3 * time.Second
		}
	}
	if o.jobs == nil {
		o.jobs = allJobs
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	measured, err := measure(ctx, o, stderr)
	if err != nil {
		return err
	}
	if o.json {
		return rows.WriteJSON(stdout, measured)
	}
	return writeTable(stdout, measured)
}
