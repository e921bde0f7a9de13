//go:build !kafka

package faulttest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/faultproxy"
)

// TestUnansweredEnds has the answers to a pipeline's commits get lost, after they
// were carried out and instead, and the coordinator refuse the repeated request. The
// offsets tell then what each transaction came to: whether ids are remembered, and
// what counts. Nothing is known of it otherwise.
func TestUnansweredEnds(t *testing.T) {
	for _, end := range []struct {
		name   string
		action faultproxy.Action
	}{
		{"committed", faultproxy.CutBeforeReply},
		{"aborted", faultproxy.CutBeforeRequest},
	} {
		for _, hook := range []string{"on_send", "on_consume"} {
			for _, version := range []int16{1, 2} {
				t.Run(fmt.Sprintf("%s, dedup %s, version %d", end.name, hook, version), func(t *testing.T) {
					t.Parallel()
					unansweredEnds(t, end.action, hook, version)
				})
			}
		}
	}
}

func unansweredEnds(t *testing.T, action faultproxy.Action, hook string, version int16) {
	ctx := deadline(t)
	b, err := broker.Start(ctx, &config.Embedded{Partitions: 3, Topics: []string{"raw", "clean"}}, broker.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, b.Close()) })
	if version == 1 {
		must(t, checker.AgreeOnTransactions(ctx, b.Addrs(), 1))
	}
	proxy, err := faultproxy.New(b.Addrs(), faultproxy.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, proxy.Close()) })
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.DefaultProduceTopic("raw"))
	must(t, err)
	defer cl.Close()
	in := input{cl: cl}

	h, err := host.New(dedupCopy(proxy.Addrs(), hook))
	must(t, err)
	defer func() { must(t, h.Close(context.WithoutCancel(ctx))) }()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.Run(running) }()

	lost := proxy.Add(faultproxy.Rule{Action: action, Key: int16(kmsg.EndTxn), Every: 3})
	refused := 0
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidTxnState, Count: -1, When: func(kmsg.Request) bool {
		if lost.Strikes() == refused {
			return false
		}
		refused++
		return true
	}})
	n := 0
	for ; lost.Strikes() < 4; n += 30 {
		in.write(t, ctx, n, 30)
		arrive(t, ctx, b.Addrs(), n+30)
	}
	lost.Remove()
	for i := 0; i < n; i += 30 { // all of it again, as other records with the same ids
		in.write(t, ctx, i, 30)
	}
	arrive(t, ctx, b.Addrs(), 2*n)
	stop()
	must(t, <-ended)

	log := func(topic string) *checker.Kafka {
		return &checker.Kafka{Topic: topic, Brokers: b.Addrs(), Made: "raw"}
	}
	offsets, err := checker.CommittedOffsets(ctx, b.Addrs(), "p", "raw")
	must(t, err)
	r, err := checker.JudgePassage(ctx, checker.Passage{In: log("raw"), Out: log("clean"), Offsets: offsets, EpochPerTxn: version == 2})
	must(t, err)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if r.In != int64(2*n) || r.Out != int64(n) || r.Dropped != int64(n) {
		t.Errorf("%d in, %d out, %d dropped; want %d, %d, %d", r.In, r.Out, r.Dropped, 2*n, n, n)
	}
	stats := h.Stats()
	want := host.Counts{In: int64(2 * n), Out: int64(n), Dropped: int64(n)}
	if got := stats.Pipelines["p"].Counts; got != want {
		t.Errorf("the pipeline counts %+v, want %+v", got, want)
	}
	for _, s := range stats.States {
		if s.UnknownFree+s.UnknownHeld > 0 || s.Pending > 0 {
			t.Errorf("state: %+v", s)
		}
	}
}

// dedupCopy is a host with a pipeline that drops duplicates.
func dedupCopy(addrs []string, hook string) host.Config {
	chain := host.ChainConfig{Topics: []string{"clean"}}
	if hook == "on_send" {
		chain.OnSend = []string{"dedup"}
	} else {
		chain.OnConsume = []string{"dedup"}
	}
	cfg := host.Config{
		State:  map[string]host.StateConfig{"ids": {Scope: "state"}},
		Plugin: map[string]host.PluginConfig{"dedup": {Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "header:" + checker.DedupHeader, "window": "0s"}}},
		Chain:  map[string]host.ChainConfig{"c": chain},
		Pipeline: map[string]host.PipelineConfig{"p": {
			From: []string{"raw"}, To: "clean", Guarantee: "exactly_once", CommitInterval: ms(10), TransactionTimeout: soon(60_000),
		}},
	}
	cfg.Host.ID = "h"
	cfg.Cluster.BootstrapServers = addrs
	cfg.Producer.Linger, cfg.Producer.RetryBackoff = ms(1), ms(5)
	cfg.Consumer.FetchMaxWait = ms(20)
	return cfg
}

// input writes records; sent counts those of each key.
type input struct {
	cl   *kgo.Client
	sent [7]int
}

// write writes so many records, with ids for dedup from first on.
func (in *input) write(t *testing.T, ctx context.Context, first, n int) {
	t.Helper()
	var recs []*kgo.Record
	for i := first; i < first+n; i++ {
		key := i % len(in.sent)
		id := checker.MakeID(0, key, in.sent[key])
		in.sent[key]++
		rec := checker.Payload{Topic: "raw", ID: id, Dedup: uint64(i) + 1, Size: 60}.Record()
		out := &kgo.Record{Key: rec.Key, Value: rec.Value}
		for _, h := range rec.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		recs = append(recs, out)
	}
	must(t, in.cl.ProduceSync(ctx, recs...).FirstErr())
}

// arrive waits until the group has committed so many records.
func arrive(t *testing.T, ctx context.Context, addrs []string, n int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		at, err := checker.CommittedOffsets(ctx, addrs, "p", "raw")
		must(t, err)
		sum := int64(0)
		for _, offset := range at {
			sum += offset
		}
		if sum == int64(n) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the group has committed %d of %d", sum, n)
		}
	}
}
