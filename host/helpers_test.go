package host_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/broker"
)

const patience = 30 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// testBroker is what a test runs on: an embedded broker, or with the build tag
// kafka one of Apache Kafka.
type testBroker struct {
	addrs []string
	own   *broker.Broker // nil for Apache Kafka
}

// startBroker gives the test a broker with these topics alone.
func startBroker(t testing.TB, partitions int, topics ...string) *testBroker {
	t.Helper()
	if addrs := apacheKafka(t, partitions, topics...); addrs != nil {
		return &testBroker{addrs: addrs}
	}
	b, err := broker.Start(within(t), &host.EmbeddedConfig{Listen: "127.0.0.1:0", Partitions: partitions, Topics: topics},
		broker.Options{Kafka: []kfake.Opt{kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "50"})}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the broker: %v", err)
		}
	})
	return &testBroker{b.Addrs(), b}
}

func (b *testBroker) Addrs() []string { return b.addrs }

// Cluster is for what only the embedded broker can be told to do. A test that
// asks for it is skipped on Apache Kafka.
func (b *testBroker) Cluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	if b.own == nil {
		t.Skip("only the embedded broker can be told to do this")
	}
	return b.own.Cluster()
}

// Close ends the embedded broker.
func (b *testBroker) Close(t *testing.T) {
	t.Helper()
	b.Cluster(t)
	if err := b.own.Close(); err != nil {
		t.Fatal(err)
	}
}

// newHost starts a host on the broker; it closes with the test.
func newHost(t testing.TB, b *testBroker, cfg host.Config, opts ...host.Option) *host.Host {
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

func producerOf(t testing.TB, h *host.Host) *host.Producer {
	t.Helper()
	p, err := h.Producer()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readTopic reads a topic to its end with a client that is not ours.
func readTopic(t *testing.T, b *testBroker, topic string) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(within(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(0)
	ends.Each(func(o kadm.ListedOffset) { want += o.Offset })
	return readUntil(t, b, topic, int(want))
}

// readUntil reads a topic from its start until it has so many records.
func readUntil(t testing.TB, b *testBroker, topic string, want int) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var recs []*kgo.Record
	ctx := within(t)
	for len(recs) < want {
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

func balanced(t testing.TB, c host.Counts, in int64) {
	t.Helper()
	if !c.Balanced() || c.InFlight != 0 || c.In != in {
		t.Fatalf("counts %+v, want in = %d, in_flight = 0, balanced", c, in)
	}
}

func value(i int) []byte { return fmt.Appendf(nil, "value-%d", i) }
