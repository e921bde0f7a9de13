package host_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/broker"
)

const patience = 30 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// startBroker runs an embedded broker with the topics.
func startBroker(t *testing.T, partitions int, topics ...string) *broker.Broker {
	t.Helper()
	b, err := broker.Start(within(t), &host.EmbeddedConfig{Listen: "127.0.0.1:0", Partitions: partitions, Topics: topics}, broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the broker: %v", err)
		}
	})
	return b
}

// newHost starts a host on the broker; it closes with the test.
func newHost(t *testing.T, b *broker.Broker, cfg host.Config, opts ...host.Option) *host.Host {
	t.Helper()
	cfg.Cluster.BootstrapServers = b.Addrs()
	h, err := host.New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(within(t)); err != nil {
			t.Errorf("close the host: %v", err)
		}
	})
	return h
}

func producerOf(t *testing.T, h *host.Host) *host.Producer {
	t.Helper()
	p, err := h.Producer()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readTopic reads a topic to its end with a client that is not ours.
func readTopic(t *testing.T, b *broker.Broker, topic string) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	want := int64(0)
	for p := range 64 {
		info := b.Cluster().PartitionInfo(topic, int32(p))
		if info == nil {
			break
		}
		want += info.HighWatermark
	}
	var recs []*kgo.Record
	ctx := within(t)
	for int64(len(recs)) < want {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %q: %v after %d of %d records", topic, err, len(recs), want)
		}
		recs = append(recs, fetches.Records()...)
	}
	return recs
}

// judge is a native interceptor made of functions.
type judge struct {
	send    func(*interceptor.Item)
	consume func(*interceptor.Item)
	ack     func(*interceptor.Ack)
	commit  func(interceptor.Commit)
}

func (j judge) OnSend(_ context.Context, items []*interceptor.Item) error {
	for _, it := range items {
		if j.send != nil {
			j.send(it)
		}
	}
	return nil
}

func (j judge) OnConsume(_ context.Context, items []*interceptor.Item) error {
	for _, it := range items {
		if j.consume != nil {
			j.consume(it)
		}
	}
	return nil
}

func (j judge) OnAcknowledgement(_ context.Context, acks []*interceptor.Ack) error {
	for _, a := range acks {
		if j.ack != nil {
			j.ack(a)
		}
	}
	return nil
}

func (j judge) OnCommit(_ context.Context, commits []interceptor.Commit) error {
	for _, c := range commits {
		if j.commit != nil {
			j.commit(c)
		}
	}
	return nil
}

// chainOf is a configuration with one chain of one native interceptor, "j".
func chainOf(topics ...string) host.Config {
	return host.Config{Chain: map[string]host.ChainConfig{"c": {Topics: topics, OnSend: []string{"j"}}}}
}

// results collects completions by record number.
type results struct {
	mu  sync.Mutex
	got map[int]klamm.Result
	dup []int
}

func newResults() *results { return &results{got: map[int]klamm.Result{}} }

func (r *results) of(i int) func(klamm.Result) {
	return func(res klamm.Result) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, twice := r.got[i]; twice {
			r.dup = append(r.dup, i)
		}
		r.got[i] = res
	}
}

// complete fails the test unless each of n records has exactly one completion.
func (r *results) complete(t *testing.T, n int) map[int]klamm.Result {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) != n || len(r.dup) > 0 {
		t.Fatalf("%d records have a completion, want %d; completed twice: %v", len(r.got), n, r.dup)
	}
	return r.got
}

func balanced(t *testing.T, c host.Counts, in int64) {
	t.Helper()
	if !c.Balanced() || c.InFlight != 0 || c.In != in {
		t.Fatalf("counts %+v, want in = %d, in_flight = 0, balanced", c, in)
	}
}

func value(i int) []byte { return fmt.Appendf(nil, "value-%d", i) }
