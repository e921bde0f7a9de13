package saramaplugin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/saramaplugin"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/broker"
)

func TestMain(m *testing.M) {
	sarama.Logger = log.New(io.Discard, "", 0)
	goleak.VerifyTestMain(m,
		// sarama's own, which end with its clients, aside.
		goleak.IgnoreAnyFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
	)
}

const patience = 60 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func startBroker(t testing.TB, partitions int, topics ...string) *broker.Broker {
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

func newHost(t testing.TB, b *broker.Broker, cfg host.Config, opts ...host.Option) *host.Host {
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

// chainOf is a configuration with one chain, of one native interceptor "j".
func chainOf(topics ...string) host.Config {
	list := []string{"j"}
	return host.Config{Chain: map[string]host.ChainConfig{"c": {
		Topics: topics, OnSend: list, OnConsume: list, OnCommit: list, DeadLetterTopic: "dead",
	}}}
}

// dedupOf is a configuration with one chain that drops messages of a key that
// was written.
func dedupOf(topics ...string) host.Config {
	return host.Config{
		State: map[string]host.StateConfig{"ids": {}},
		Plugin: map[string]host.PluginConfig{"dedup": {
			Module: "builtin:dedup", State: "ids", Timeout: host.Duration(5 * time.Second), Config: map[string]any{"id": "key", "window": "24h"},
		}},
		Chain: map[string]host.ChainConfig{"c": {Topics: topics, OnSend: []string{"dedup"}}},
	}
}

// settings are sarama's, with results on and quick retries.
func settings() *sarama.Config {
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V3_6_0_0
	cfg.Producer.Return.Successes = true
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Retry.Max = 5
	cfg.Producer.Retry.Backoff = time.Millisecond
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.Metadata.Retry.Backoff = 10 * time.Millisecond
	return cfg
}

func asyncOf(t testing.TB, h *host.Host, b *broker.Broker, cfg *sarama.Config) sarama.AsyncProducer {
	t.Helper()
	p, err := sarama.NewAsyncProducer(b.Addrs(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := saramaplugin.WrapAsyncProducer(h, cfg, p)
	if err != nil {
		t.Fatal(errors.Join(err, p.Close()))
	}
	return w
}

func syncOf(t testing.TB, h *host.Host, b *broker.Broker, cfg *sarama.Config) sarama.SyncProducer {
	t.Helper()
	p, err := sarama.NewSyncProducer(b.Addrs(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := saramaplugin.WrapSyncProducer(h, cfg, p)
	if err != nil {
		t.Fatal(errors.Join(err, p.Close()))
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close the producer: %v", err)
		}
	})
	return w
}

// results reads what comes back, by Metadata.
type results struct {
	mu   sync.Mutex
	ok   map[any]*sarama.ProducerMessage
	errs map[any]error
	dup  []any
	all  sync.WaitGroup
	n    atomic.Int64
}

// readResults reads both channels until they are closed.
func readResults(p sarama.AsyncProducer) *results {
	r := &results{ok: map[any]*sarama.ProducerMessage{}, errs: map[any]error{}}
	r.all.Go(func() { r.readSuccesses(p) })
	r.all.Go(func() { r.readErrors(p) })
	return r
}

func (r *results) readSuccesses(p sarama.AsyncProducer) {
	for msg := range p.Successes() {
		r.mu.Lock()
		r.note(msg)
		r.ok[msg.Metadata] = msg
		r.mu.Unlock()
		r.n.Add(1)
	}
}

func (r *results) readErrors(p sarama.AsyncProducer) {
	for err := range p.Errors() {
		r.mu.Lock()
		r.note(err.Msg)
		r.errs[err.Msg.Metadata] = err.Err
		r.mu.Unlock()
		r.n.Add(1)
	}
}

func (r *results) note(msg *sarama.ProducerMessage) {
	_, was := r.ok[msg.Metadata]
	if _, failed := r.errs[msg.Metadata]; was || failed {
		r.dup = append(r.dup, msg.Metadata)
	}
}

// wait returns when the channels are closed, and fails the test unless n
// messages came back once.
func (r *results) wait(t testing.TB, n int) {
	t.Helper()
	done := make(chan struct{})
	go func() { r.all.Wait(); close(done) }()
	select {
	case <-done:
	case <-within(t).Done():
		t.Fatalf("the channels are not closed; %d results so far", r.n.Load())
	}
	if got := len(r.ok) + len(r.errs); got != n || len(r.dup) > 0 {
		t.Fatalf("%d messages came back, want %d; twice: %v", got, n, r.dup)
	}
}

// readTopic reads a topic to its end with a client that is not ours.
func readTopic(t testing.TB, b *broker.Broker, topic string) []*kgo.Record {
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

func balanced(t testing.TB, p any, in int64) host.Counts {
	t.Helper()
	c := saramaplugin.Counts(p)
	if !c.Balanced() || c.InFlight != 0 || c.In != in {
		t.Fatalf("counts %+v, want in = %d, in_flight = 0, balanced", c, in)
	}
	return c
}

// refuse answers every partition of a produce request with an error.
func refuse(req kmsg.Request, code int16) kmsg.Response {
	in := req.(*kmsg.ProduceRequest)
	out := in.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range in.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
		for _, part := range topic.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.BaseOffset = part.Partition, code, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		out.Topics = append(out.Topics, rt)
	}
	return out
}

func key(i int) sarama.Encoder { return sarama.StringEncoder(fmt.Sprint(i)) }

// b2 is what two topics have: those of the chain and the dead letters.
type b2 struct{ written, dead []*kgo.Record }

// checkWritten compares the topics with byKey's verdicts on n messages.
func checkWritten(t *testing.T, got b2, n int) {
	t.Helper()
	if len(got.written) != n/2 || len(got.dead) != n/6 {
		t.Fatalf("%d records and %d dead letters, want %d and %d", len(got.written), len(got.dead), n/2, n/6)
	}
	for _, rec := range got.written {
		i, _ := strconv.Atoi(string(rec.Key))
		value, headers := "v", 0
		if i%6 == 1 {
			value, headers = "edited", 1
		}
		if string(rec.Value) != value || len(rec.Headers) != headers || i%6 == 5 && rec.Partition != 2 {
			t.Fatalf("message %d is %q with %d headers in partition %d", i, rec.Value, len(rec.Headers), rec.Partition)
		}
	}
	for _, rec := range got.dead {
		if i, _ := strconv.Atoi(string(rec.Key)); i%6 != 3 || len(rec.Headers) == 0 {
			t.Fatalf("dead letter %q with %d headers", rec.Key, len(rec.Headers))
		}
	}
}
