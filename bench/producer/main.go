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
	"io"
	"time"

	"github.com/klamm-io/klamm/bench/internal/command"
	"github.com/klamm-io/klamm/bench/internal/records"
)

func main() {
	command.Main(run, map[string]command.Serve{driveCommand: serveClient, brokerCommand: serveBroker})
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
	f := command.NewFlags("producer", "100 B without compression, and zstd, with shorter rounds; about 4 minutes", stderr)
	f.List(&o.clients, "clients", allClients)
	f.List(&o.plugins, "plugins", allPlugins)
	f.List(&o.codecs, "codecs", allCodecs)
	f.Numbers(&o.sizes, "sizes", "bytes of key and value, with commas; default 100,1024", func(n int) bool { return n >= records.KeyLen+2 })
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
	if o.rounds < 1 || o.partitions < 1 || o.rate < 0 {
		return o, errors.New("--rounds and --partitions must be above 0, and --rate not below")
	}
	o.json = f.JSON
	o.fill(f)
	return o, nil
}

// fill sets what the command line left open.
func (o *options) fill(f *command.Flags) {
	o.warm = 200_000
	command.Fill(f, &o.time, 0, time.Second, 200*time.Millisecond)
	command.Fill(f, &o.rateTime, 0, 2*time.Second, 300*time.Millisecond)
	fill := func(to *[]string, full, quick []string) {
		if *to != nil {
			return
		}
		if *to = full; f.Quick {
			*to = quick
		}
	}
	fill(&o.clients, allClients, allClients)
	fill(&o.plugins, allPlugins, allPlugins)
	fill(&o.codecs, allCodecs, []string{"none", "zstd"})
	if o.sizes == nil {
		if o.sizes = []int{100, 1024}; f.Quick {
			o.sizes = o.sizes[:1]
		}
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
	return command.Write(o.json, stdout, measured, writeTable)
}
