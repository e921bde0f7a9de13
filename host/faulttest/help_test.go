package faulttest

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/internal/checker/trial"
	"github.com/klamm-io/klamm/internal/faultproxy"
)

var (
	seedFlag = flag.Uint64("seed", 0, "`number` that decides about records and faults; 0: another one each time")
	longFlag = flag.Bool("long", false, "fifty times the records")
)

// TestMain runs several tests at a time: they wait more than they compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// records is how many a test sends where the short form sends n.
func records(n int) int {
	if *longFlag {
		return 50 * n
	}
	return n
}

const produceKey = int16(kmsg.Produce)

func deadline(t *testing.T) context.Context {
	t.Helper()
	limit := patience
	if *longFlag {
		limit = 20 * patience
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// start starts a trial with small batches and short backoffs, through a proxy.
func start(t *testing.T, o trial.Options) (*trial.Trial, context.Context) {
	t.Helper()
	ctx := deadline(t)
	more := o.Config
	o.Proxy = true
	place(t, &o)
	if o.InFlight == 0 {
		o.InFlight = 300 // many requests from few records
	}
	if o.Seed = *seedFlag; o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	o.Config = func(c *host.Config) {
		c.Producer.BatchSize, c.Producer.RetryBackoff = 600, ms(5)
		if more != nil {
			more(c)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay: go test ./host/faulttest -run '^%s$' -seed %d", t.Name(), o.Seed)
		}
	})
	tr, err := trial.Start(ctx, o)
	must(t, err)
	t.Cleanup(func() {
		closing, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		must(t, tr.Close(closing))
	})
	return tr, ctx
}

func ms(n int) host.Duration { return host.Duration(time.Duration(n) * time.Millisecond) }

// soon is ms for timeouts that the tests wait for.
func soon(n int) host.Duration { return slower * ms(n) }

// impatient gives requests up soon, and records never.
func impatient(c *host.Config) { c.Producer.RequestTimeout = ms(300) }

// finish judges. Nothing may be wrong.
func finish(t *testing.T, ctx context.Context, tr *trial.Trial) *checker.Report {
	t.Helper()
	r, err := tr.Finish(ctx)
	must(t, err)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("%d acknowledged, %d dropped, %d failed, %d refused, %d unknown of which %d written; %v",
		r.Acknowledged, r.Dropped, r.FailedDefinite, r.Refused, r.Unknown, r.UnknownWritten, r.Faults)
	return r
}

// allWritten fails the test if a record has another outcome.
func allWritten(t *testing.T, r *checker.Report) {
	t.Helper()
	if bad := r.FailedDefinite + r.Refused + r.Unknown; bad > 0 {
		t.Errorf("%d records failed, %d were refused, %d have no certain outcome", r.FailedDefinite, r.Refused, r.Unknown)
	}
}

// noneFailed allows unknown outcomes.
func noneFailed(t *testing.T, r *checker.Report) {
	t.Helper()
	if bad := r.FailedDefinite + r.Refused; bad > 0 {
		t.Errorf("%d records failed, %d were refused", r.FailedDefinite, r.Refused)
	}
}

// loadUntil sends until a fault was made so many times.
func loadUntil(t *testing.T, ctx context.Context, tr *trial.Trial, fault string, n int64) {
	t.Helper()
	for tr.Faults()[fault] < n {
		must(t, tr.Load(ctx, 100))
	}
}

// struck fails the test unless the fault was made.
func struck(t *testing.T, r *checker.Report, fault string) {
	t.Helper()
	if r.Faults[fault] == 0 {
		t.Errorf("there was no %s: %v", fault, r.Faults)
	}
}

// fault has brokers answer the Produce requests that pick chooses, counted from
// 1, with an error. Partitions nil is all.
func fault(t *testing.T, tr *trial.Trial, err *kerr.Error, partitions []int32, pick func(n int) bool) {
	n := 0 // When runs on the brokers' one goroutine
	embedded(t, tr).Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: tr.Topic(), Partitions: partitions, Err: err, Count: -1,
		When: func(kmsg.Request) bool {
			n++
			if !pick(n) {
				return false
			}
			tr.Count(err.Message)
			return true
		},
	})
}

// embedded returns the brokers for what real ones cannot be told to do.
func embedded(t *testing.T, tr *trial.Trial) *kfake.Cluster {
	t.Helper()
	if tr.Kafka == nil {
		t.Skip("only embedded brokers can be told to answer so")
	}
	return tr.Kafka
}

func every(k int) func(int) bool { return func(n int) bool { return n%k == 0 } }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rule is a proxy rule for Produce.
func rule(a faultproxy.Action, chance float64) faultproxy.Rule {
	return faultproxy.Rule{Action: a, Key: produceKey, Chance: chance, Delay: 50 * time.Millisecond}
}
