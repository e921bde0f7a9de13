package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/backendtest"
	"github.com/klamm-io/klamm/state/kafka"
	"github.com/klamm-io/klamm/state/kafka/kafkatest"
)

// bareHost is one with brokers and nothing else, and a client that is not ours.
func bareHost(t testing.TB) (*Host, *kgo.Client) {
	ctx := context.Background()
	b, err := broker.Start(ctx, &config.Embedded{Listen: "127.0.0.1:0", Partitions: 1}, broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Open(ctx, &config.Cluster{BootstrapServers: b.Addrs()}, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cl.Close()
		if err := errors.Join(c.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	return &Host{cluster: c, log: slog.New(slog.DiscardHandler)}, cl
}

// The suite of all backends, and its model, with brokers.
func TestKafkaStateSuite(t *testing.T) {
	h, cl := bareHost(t)
	var mu sync.Mutex
	topics := map[string]string{}
	var n atomic.Int64
	open := func(dir string, maxEntries int, maxBytes int64) (state.Backend, error) {
		mu.Lock()
		topic := topics[dir]
		if topic == "" {
			topic = fmt.Sprint("ids-", n.Add(1))
			topics[dir] = topic
		}
		mu.Unlock()
		b := kafka.New(kafka.Options{
			Name: "ids", Topic: topic, Pipeline: "p", MaxEntries: maxEntries, MaxBytes: maxBytes, Log: &claimLog{h, topic},
			Source: func(state.Ref) (int32, bool) { return 0, true },
			Now:    func() time.Time { return time.UnixMilli(0) },
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Open(ctx, 1); err != nil {
			return nil, err
		}
		b.Assign(0)
		commit := func(writes []kafka.Write) (map[int32]int64, error) { return produceAll(cl, topic, writes) }
		return &kafkatest.OneByOne{Backend: b, Commit: commit}, b.Await(ctx, 0)
	}
	backendtest.Run(t, backendtest.Kit{Open: open, Reopen: open, LocalValues: true})
}

func produceAll(cl *kgo.Client, topic string, writes []kafka.Write) (map[int32]int64, error) {
	recs := make([]*kgo.Record, len(writes))
	for i, w := range writes {
		recs[i] = &kgo.Record{Topic: topic, Partition: w.Partition, Key: w.Key, Value: w.Value}
	}
	next := map[int32]int64{}
	for _, r := range cl.ProduceSync(context.Background(), recs...) {
		if r.Err != nil {
			return nil, r.Err
		}
		next[r.Record.Partition] = r.Record.Offset + 1
	}
	return next, nil
}

func TestClaimLog(t *testing.T) {
	h, cl := bareHost(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l := &claimLog{h, "ids"}
	if _, ok, err := l.Describe(ctx); ok || err != nil {
		t.Fatalf("a topic that is not there: %v, %v", ok, err)
	}
	for range 2 { // the second time another host has made it
		if err := l.Create(ctx, 3, 0, kafka.Settings()); err != nil {
			t.Fatal(err)
		}
	}
	d, ok, err := l.Describe(ctx)
	if want := (kafka.Description{Partitions: 3, CleanupPolicy: "compact"}); !ok || err != nil || d != want {
		t.Fatalf("got %+v, %v, %v, want %+v", d, ok, err, want)
	}
	if err := l.Append(ctx, 2, []byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if _, err := produceAll(cl, "ids", []kafka.Write{{Partition: 2, Key: []byte("a"), Value: []byte("1")}, {Partition: 2, Key: []byte("a")}}); err != nil {
		t.Fatal(err)
	}
	first, end, err := l.Bounds(ctx, 2)
	if first != 0 || end != 3 || err != nil {
		t.Fatalf("bounds %d to %d, %v", first, end, err)
	}
	var got []string
	err = l.Read(ctx, 2, 0, end, func(recs []klamm.Record) error {
		for _, r := range recs {
			got = append(got, fmt.Sprintf("%d %s %q %v", r.Offset, r.Key, r.Value, r.Value == nil))
		}
		return nil
	})
	if want := `[0 k "v" false 1 a "1" false 2 a "" true]`; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	stop := errors.New("enough")
	if err := l.Read(ctx, 2, 0, end, func([]klamm.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the reader: %v", err)
	}
}

// BenchmarkRestore reads a partition's ids back from an embedded broker: b.N ids.
//
//	go test ./host -run xxx -bench Restore -benchtime 10000000x
func BenchmarkRestore(b *testing.B) {
	h, cl := bareHost(b)
	ctx := context.Background()
	open := func() *kafka.Backend {
		k := kafka.New(kafka.Options{
			Name: "ids", Topic: "ids", Pipeline: "p", MaxEntries: b.N, Log: &claimLog{h, "ids"},
			Source: func(state.Ref) (int32, bool) { return 0, true },
		})
		if err := k.Open(ctx, 1); err != nil {
			b.Fatal(err)
		}
		return k
	}
	k := open()
	k.Assign(0)
	if err := k.Await(ctx, 0); err != nil {
		b.Fatal(err)
	}
	next := map[int32]int64{}
	for done := 0; done < b.N; {
		for range min(100_000, b.N-done) {
			done++
			k.Stage(0, "dedup", state.ID{uint64(done) * 0x9e3779b97f4a7c15, uint64(done) * 0xc2b2ae3d27d4eb4f}, state.Position{Topic: "clean", Partition: 3, Offset: int64(done)}, int64(1<<60))
		}
		var err error
		if next, err = produceAll(cl, "ids", k.Take()); err != nil {
			b.Fatal(err)
		}
		k.Aborted()
	}
	if err := k.Close(); err != nil {
		b.Fatal(err)
	}
	k = open()
	b.ReportAllocs()
	b.ResetTimer()
	k.Assign(0)
	if err := k.Await(ctx, 0); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if n := k.Bucket("dedup").Usage().Entries; n != b.N {
		b.Fatalf("%d ids read back of %d, up to %v", n, b.N, next)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ids/s")
	if err := k.Close(); err != nil {
		b.Fatal(err)
	}
}
