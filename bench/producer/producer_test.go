package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/bench/internal/clients"
	"github.com/klamm-io/klamm/bench/internal/drive"
	"github.com/klamm-io/klamm/bench/internal/rows"
)

// TestMain lets this test's own program be the broker and the drivers, as the
// command is.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case driveCommand:
			drive.Main(clients.Open)
		case brokerCommand:
			os.Exit(serveBroker(os.Args[2], os.Stdin, os.Stdout, os.Stderr))
		}
	}
	os.Exit(m.Run())
}

// TestAllClientsDeliver has each client in Go send records of all kinds to a
// sink, which counts them and sums up their contents. Rounds are short: figures
// are not what is tested.
func TestAllClientsDeliver(t *testing.T) {
	o := options{
		clients: []string{"klamm", "klamm-tuned", "franz-go", "franz-go-tuned", "sarama", "sarama-idempotent"},
		plugins: []string{"none", "c", "native"}, sizes: []int{100}, codecs: []string{"none", "zstd"},
		rounds: 1, warm: 5000, time: 1, rate: 20_000, rateTime: 1e8, partitions: 3, broker: "sink",
	}
	if testing.Short() {
		o.codecs = o.codecs[:1]
	}
	var log bytes.Buffer
	measured, err := measure(context.Background(), o, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	if want := 10 * len(o.codecs); len(measured) != want {
		t.Errorf("%d rows, want %d\n%s", len(measured), want, &log)
	}
	for _, r := range measured {
		if !(r.Rate > 0) || r.CPU == nil || r.Allocs == nil || r.P50 == nil || r.P99 == nil || *r.P99 < *r.P50 {
			t.Errorf("figures are missing: %+v", r)
		}
	}
	var out strings.Builder
	if err := rows.WriteJSON(&out, measured[:1]); err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(out.String()), &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"client", "plugins", "size", "codec", "records_per_s", "cpu_s_per_million", "allocs_per_record", "p50_ms", "p99_ms"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("a row has no %s: %s", name, &out)
		}
	}
}

// liar is a driver that says it sent more than it did.
type liar struct{ drive.Report }

func (l liar) round(drive.Job) (drive.Report, error) { return l.Report, nil }
func (liar) close() error                            { return nil }

func TestLostRecordsEndTheRun(t *testing.T) {
	b, err := startSink(3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	c := contender{topic: "t", driver: liar{drive.Report{Records: 5, Unique: 5, Seconds: 1}}}
	if _, err := c.run(b, drive.Job{Records: 5}); err == nil || !strings.Contains(err.Error(), "got 0 records, not 5") {
		t.Errorf("got %v, want an error about lost records", err)
	}
	c.driver = liar{drive.Report{Err: "refused"}}
	if _, err := c.run(b, drive.Job{}); err == nil || err.Error() != "refused" {
		t.Errorf("got %v, want the client's own error", err)
	}
}

func TestParsePerformance(t *testing.T) {
	const out = `100 records sent, 20.0 records/sec (0.00 MB/sec), 1.0 ms avg latency, 2.0 ms max latency.
2000 records sent, 4000.0 records/sec (0.38 MB/sec), 5.10 ms avg latency, 80.00 ms max latency, 4 ms 50th, 9 ms 95th, 31 ms 99th, 79 ms 99.9th.
1500 steady state records sent, 5000.000000 records/sec (0.48 MB/sec), 4.10 ms avg latency, 60.00 ms max latency, 3 ms 50th, 8 ms 95th, 30 ms 99th, 59 ms 99.9th.
`
	r, err := parsePerformance(out)
	if err != nil {
		t.Fatal(err)
	}
	want := drive.Report{Records: 1500, Seconds: 0.3, Allocs: -1, P50: 3, P99: 30}
	if r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
	if _, err := parsePerformance("nothing"); err == nil {
		t.Error("output without a summary is taken")
	}
}

func TestOptions(t *testing.T) {
	var said bytes.Buffer
	o, err := parse([]string{"--quick", "--clients", "klamm,java", "--sizes", "50"}, &said)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.clients) != 2 || o.sizes[0] != 50 || len(o.codecs) != 2 || o.rounds < 5 {
		t.Errorf("got %+v", o)
	}
	for _, args := range [][]string{{"--clients", "x"}, {"--sizes", "1"}, {"--output", "x"}, {"--rounds", "0"}, {"x"}} {
		if _, err := parse(args, &said); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	for _, name := range allClients {
		if settings(name) == "" {
			t.Errorf("nothing says how %s is set up", name)
		}
	}
}

func TestSkipsWhatIsMissing(t *testing.T) {
	var log bytes.Buffer
	k := kit{log: &log}
	for range 2 {
		k.skip("java", &missing{errors.New("no java")})
	}
	if got := log.String(); got != "skip java: no java\n" {
		t.Errorf("got %q, want one line", got)
	}
}
