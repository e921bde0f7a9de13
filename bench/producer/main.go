// Command producer measures producers of Kafka records beside each other: Klamm
// without and with plugins, franz-go, sarama, librdkafka and Kafka's Java client,
// each in a process of its own on one core, with a broker in another process on
// another core.
//
//	cd bench && go run ./producer --output json [--quick]
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
	"strconv"
	"strings"
	"time"

	"github.com/klamm-io/klamm/bench/internal/clients"
	"github.com/klamm-io/klamm/bench/internal/drive"
	"github.com/klamm-io/klamm/bench/internal/records"
	"github.com/klamm-io/klamm/bench/internal/rows"
)

func main() {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case driveCommand:
			drive.Main(clients.Open)
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
	clients    []string
	plugins    []string
	sizes      []int
	codecs     []string
	rounds     int
	warm       int           // records before the first round
	time       time.Duration // of a round
	rate       int           // of rounds for latency
	rateTime   time.Duration // of a round for latency
	partitions int
	broker     string // sink, kfake, or addresses
	profile    string
}

var (
	allClients = []string{"klamm", "klamm-tuned", "franz-go", "franz-go-tuned", "sarama", "sarama-idempotent", "librdkafka", "java"}
	allPlugins = []string{"none", "go", "c", "native"}
	allCodecs  = []string{"none", "snappy", "lz4", "zstd"}
)

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("producer", flag.ContinueOnError)
	f.SetOutput(stderr)
	output := f.String("output", "table", "table or json, one object a row")
	quick := f.Bool("quick", false, "100 B without compression, and zstd, with shorter rounds; under 5 minutes")
	f.Func("clients", "with commas; default "+strings.Join(allClients, ","), list(&o.clients, allClients))
	f.Func("plugins", "with commas; default "+strings.Join(allPlugins, ","), list(&o.plugins, allPlugins))
	f.Func("codecs", "with commas; default "+strings.Join(allCodecs, ","), list(&o.codecs, allCodecs))
	f.Func("sizes", "bytes of key and value, with commas; default 100,1024", numbers(&o.sizes, records.KeyLen+2))
	f.IntVar(&o.rounds, "rounds", 5, "rounds of each figure")
	f.DurationVar(&o.time, "time", 0, "about how long a round of each client takes; default 1s")
	f.IntVar(&o.rate, "rate", 20_000, "records a second in rounds for latency; 0 leaves them out")
	f.DurationVar(&o.rateTime, "rate-time", 0, "how long a round for latency takes; default 2s")
	f.IntVar(&o.partitions, "partitions", 12, "partitions of the topic")
	f.StringVar(&o.broker, "broker", "sink", "sink (counts and throws away), kfake, or addresses of a cluster, with commas")
	f.StringVar(&o.profile, "profile", "", "folder for a CPU profile of each Go client")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.json = *output == "json"; !o.json && *output != "table" {
		return o, fmt.Errorf("--output %q: want table or json", *output)
	}
	if o.rounds < 1 || o.partitions < 1 || o.rate < 0 {
		return o, errors.New("--rounds and --partitions must be above 0, and --rate not below")
	}
	o.fill(*quick)
	return o, nil
}

// fill sets what the command line left open.
func (o *options) fill(quick bool) {
	set := func(d *time.Duration, full, short time.Duration) {
		if *d != 0 {
			return
		}
		if *d = full; quick {
			*d = short
		}
	}
	o.warm = 200_000
	set(&o.time, time.Second, 300*time.Millisecond)
	set(&o.rateTime, 2*time.Second, 500*time.Millisecond)
	if o.clients == nil {
		o.clients = allClients
	}
	if o.plugins == nil {
		o.plugins = allPlugins
	}
	if o.sizes == nil {
		o.sizes = []int{100, 1024}
		if quick {
			o.sizes = []int{100}
		}
	}
	if o.codecs == nil {
		o.codecs = allCodecs
		if quick {
			o.codecs = []string{"none", "zstd"}
		}
	}
}

func list(to *[]string, known []string) func(string) error {
	return func(text string) error {
		*to = strings.Split(text, ",")
		for _, name := range *to {
			if !slices.Contains(known, name) {
				return fmt.Errorf("there are %s", strings.Join(known, ", "))
			}
		}
		return nil
	}
}

func numbers(to *[]int, least int) func(string) error {
	return func(text string) error {
		*to = nil
		for field := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(field)
			if err != nil || n < least {
				return fmt.Errorf("%q is no number from %d on", field, least)
			}
			*to = append(*to, n)
		}
		return nil
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
