// Command pipeline measures one job beside the same job written in other ways:
// consume, drop duplicates by their id, route, produce, exactly once where the way
// can. Each runs in a process of its own on one core, with a broker (kfake) in
// another process on another core.
//
//	cd bench && go run ./pipeline --output json [--quick]
package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/klamm-io/klamm/bench/internal/command"
	"github.com/klamm-io/klamm/bench/internal/jobs"
)

func main() {
	command.Main(run, map[string]command.Serve{jobCommand: serveJob, brokerCommand: serveBroker})
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
	f := command.NewFlags("pipeline", "fewer records and rounds, and no kills; a minute or two", stderr)
	f.List(&o.jobs, "jobs", allJobs)
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
	o.json = f.JSON
	command.Fill(f, &o.records, 0, 1_000_000, 500_000)
	command.Fill(f, &o.rounds, 0, 5, 3)
	command.Fill(f, &o.kills, -1, 20, 0)
	command.Fill(f, &o.rateTime, 0, 10*time.Second, 3*time.Second)
	if o.jobs == nil {
		o.jobs = allJobs
	}
	if o.rounds < 1 || o.partitions < 1 || o.partitions > jobs.PartitionsMax || o.records < 100 || o.rate < 0 {
		return o, fmt.Errorf("--rounds and --partitions must be above 0, --partitions %d at most, --records 100 or more, and --rate not below 0", jobs.PartitionsMax)
	}
	return o, nil
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
	return command.Write(o.json, stdout, measured, writeTable)
}
