//go:build kafka && unix

package faulttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/internal/checker/trial"
	"github.com/klamm-io/klamm/internal/faultproxy"
	"github.com/klamm-io/klamm/internal/kafkatest"
)

// Three brokers of Apache Kafka share the processors with the tests.
const (
	patience = 5 * time.Minute
	atOnce   = "3"
	slower   = 10 // are brokers than embedded ones
)

var (
	brokers *kafkatest.Cluster
	topics  atomic.Int64
)

// place has a trial use a topic of its own on Apache Kafka, with a copy on each
// of three brokers.
func place(t *testing.T, o *trial.Options) {
	t.Helper()
	if testing.Short() && !strings.Contains(t.Name(), "Apache") {
		t.Skip("the short form leaves what also runs on embedded brokers to them")
	}
	brokers = kafkatest.Three(t)
	o.Addresses, o.Copies = brokers.Addrs(), 3
	o.Topic = fmt.Sprint("trial-", topics.Add(1))
	if limit := o.BrokerConfigs["message.max.bytes"]; limit != "" {
		o.TopicConfigs = map[string]string{"max.message.bytes": limit}
	}
}

// shuffle moves every leader, as far as brokers let it just now.
func shuffle(tr *trial.Trial) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if brokers.MoveLeaders(ctx, tr.Topic()) == nil {
		tr.Count("leaders_moved")
	}
}

// settle waits until all brokers are there and all copies in sync.
func settle(t *testing.T, ctx context.Context) {
	t.Helper()
	must(t, brokers.Await(ctx))
}

// leaderAway waits until other brokers lead all that this one led.
func leaderAway(t *testing.T, ctx context.Context, tr *trial.Trial, broker int) {
	t.Helper()
	for {
		leaders, err := brokers.Leaders(ctx, tr.Topic())
		if err == nil && !slices.Contains(leaders, broker) && !slices.Contains(leaders, -1) {
			return
		}
		must(t, ctx.Err())
		time.Sleep(20 * time.Millisecond)
	}
}

// apacheFaults are what real brokers go through while records are sent. Each
// returns when the fault is over; brokers need not have settled.
var apacheFaults = []struct {
	name  string
	loads int // how often it calls load
	run   func(t *testing.T, ctx context.Context, tr *trial.Trial, broker int, load func())
}{
	{"killed", 2, func(t *testing.T, ctx context.Context, tr *trial.Trial, broker int, load func()) {
		must(t, brokers.Kill(broker))
		load()
		leaderAway(t, ctx, tr, broker)
		load()
		must(t, brokers.Restart(broker))
	}},
	{"stopped", 2, func(t *testing.T, ctx context.Context, tr *trial.Trial, broker int, load func()) {
		began := time.Now()
		must(t, brokers.Stop(broker))
		load()
		leaderAway(t, ctx, tr, broker)
		time.Sleep(time.Until(began.Add(10 * time.Second))) // the fault itself lasts so long
		load()
		must(t, brokers.Continue(broker)) // it answers what it was asked 10 s ago
	}},
	{"leaders moved", 4, func(t *testing.T, ctx context.Context, tr *trial.Trial, broker int, load func()) {
		for range 4 {
			must(t, brokers.MoveLeaders(ctx, tr.Topic()))
			load()
		}
	}},
}

func trialOptions() trial.Options { return trial.Options{Asked: 0.2, Config: impatient} }

// B1, B2, B3: brokers are killed, stopped for 10 s, and lose their leadership,
// one after the other.
func TestApacheFaults(t *testing.T) {
	for _, fault := range apacheFaults {
		t.Run(fault.name, func(t *testing.T) {
			tr, ctx := start(t, trialOptions())
			load := func() { must(t, tr.Load(ctx, records(1500))) }
			load()
			rounds := 1
			if *longFlag {
				rounds = 5
			}
			for n := range rounds {
				leaders, err := brokers.Leaders(ctx, tr.Topic())
				must(t, err)
				fault.run(t, ctx, tr, leaders[n%len(leaders)], load)
				tr.Count(fault.name)
				settle(t, ctx)
				load()
			}
			r := finish(t, ctx, tr)
			noneFailed(t, r)
			javaReads(t, ctx, tr, r)
		})
	}
}

// E1: with a broker away, a topic that wants three copies in sync takes nothing:
// NOT_ENOUGH_REPLICAS, until it is back.
func TestE1_ApacheMinInsync(t *testing.T) {
	o := trialOptions()
	o.InFlight = 3000
	o.TopicConfigs = map[string]string{"min.insync.replicas": "3"}
	tr, ctx := start(t, o)
	must(t, tr.Load(ctx, records(1000)))
	must(t, tr.Producer.Flush(ctx))
	must(t, brokers.Kill(0))
	leaderAway(t, ctx, tr, 0)
	retried := tr.Host.Stats().Produce.Retries
	must(t, tr.Load(ctx, 2000)) // waits in memory
	for tr.Host.Stats().Produce.Retries == retried {
		must(t, ctx.Err())
		time.Sleep(20 * time.Millisecond)
	}
	must(t, brokers.Restart(0))
	settle(t, ctx)
	must(t, tr.Load(ctx, records(1000)))
	r := finish(t, ctx, tr)
	allWritten(t, r)
	javaReads(t, ctx, tr, r)
}

// TestApacheChaos has broker faults on top of the proxy's, with a dedup plugin.
// The long form is a million records and 100 broker faults.
func TestApacheChaos(t *testing.T) {
	faults, each := 4, 1000
	if testing.Short() {
		faults = 1
	}
	if *longFlag {
		faults, each = 100, 10_000
	}
	o := trialOptions()
	o.Dedup = true
	tr, ctx := start(t, o)
	stop := tr.Chaos(ctx)
	numbers := tr.Rand(1 << 34)
	kinds := map[string]int{}
	for n := range faults {
		fault := apacheFaults[numbers.IntN(len(apacheFaults))]
		fault.run(t, ctx, tr, numbers.IntN(3), func() { must(t, tr.Load(ctx, each/fault.loads)) })
		tr.Count(fault.name)
		kinds[fault.name]++
		settle(t, ctx)
		if n == faults/2 {
			must(t, tr.Snapshot(ctx))
		}
	}
	stop()
	r := finish(t, ctx, tr)
	noneFailed(t, r)
	t.Logf("%d records, broker faults %v", r.Sent, kinds)
	javaReads(t, ctx, tr, r)
}

// javaReads has Java's own code judge too: its consumer must get as many
// records as the checker, each at a place of its own, and so many and no more must lie
// on the leaders' disks, in batches with good checksums.
func javaReads(t *testing.T, ctx context.Context, tr *trial.Trial, r *checker.Report) {
	t.Helper()
	want := int(r.Acknowledged + r.UnknownWritten)
	var batches []kafkatest.Batch
	var unread error
	var dumped sync.WaitGroup
	dumped.Go(func() { batches, unread = brokers.Batches(ctx, tr.Topic()) })
	consumed, err := brokers.Count(ctx, tr.Topic())
	dumped.Wait()
	must(t, errors.Join(err, unread))
	found := 0
	for _, b := range batches {
		if !b.Valid {
			t.Errorf("the batch at offset %d of %s has a wrong checksum", b.Base, b.File)
		}
		found += b.Count
	}
	if consumed != want || found != want {
		t.Errorf("Java's consumer finds %d records, %d lie on the disks, the checker found %d", consumed, found, want)
	}
}

// TestApacheTransactions has transactions while a broker is killed, stopped, or
// loses what it led, coordinators among it, and the proxy loses and holds requests
// of theirs. Java's consumer reads what is committed.
func TestApacheTransactions(t *testing.T) {
	for i, fault := range apacheFaults {
		t.Run(fault.name, func(t *testing.T) {
			if testing.Short() && i > 0 {
				t.Skip("the short form kills a broker alone")
			}
			o := trialOptions()
			o.Partitions = 6
			tr, ctx := startTransactions(t, 2, o)
			for _, key := range []kmsg.Key{kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.InitProducerID} {
				tr.Proxy.Add(control(key, faultproxy.CutBeforeReply, 0.1, 0))
				tr.Proxy.Add(control(key, faultproxy.HoldRequest, 0.05, time.Second))
			}
			load := func() { must(t, tr.Transactions(ctx, 10, 50)) }
			load()
			fault.run(t, ctx, tr, i%3, load)
			tr.Count(fault.name)
			settle(t, ctx)
			load()
			r := finish(t, ctx, tr)
			got, err := brokers.Count(ctx, tr.Topic())
			must(t, err)
			if got != int(r.Visible) || r.Visible == 0 || r.Visible == r.Acknowledged {
				t.Errorf("Java's consumer finds %d records, the checker %d of %d that were acknowledged, in transactions of which some were aborted", got, r.Visible, r.Acknowledged)
			}
		})
	}
}
