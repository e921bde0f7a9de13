package consume

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
)

// readAllOf reads to the end.
func (x *bench) readAllOf(t *testing.T, cfg config.Consumer, o ReadOptions, topics ...string) map[klamm.TopicPartition][]klamm.Record {
	t.Helper()
	o.StopAtEnd = true
	var mu sync.Mutex
	read := make(map[klamm.TopicPartition][]klamm.Record)
	err := Read(testContext(t), x.cluster, &cfg, topics, o, func(tp klamm.TopicPartition, recs []klamm.Record, _ int64) error {
		mu.Lock()
		defer mu.Unlock()
		read[tp] = append(read[tp], recs...)
		return nil
	})
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return read
}

func TestReadToTheEnd(t *testing.T) {
	const n = 20
	x := newBench(t, 3, 2, "t", "empty")
	cl := x.client(t)
	start := time.UnixMilli(1700000000000)
	for i := range n {
		r := &kgo.Record{Topic: "t", Partition: 1, Timestamp: start.Add(time.Duration(i) * time.Second), Value: []byte{byte(i)}}
		if err := cl.ProduceSync(testContext(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		o     ReadOptions
		first byte // number of the first record; n is none
	}{
		{"earliest", ReadOptions{}, 0},
		{"latest", ReadOptions{Start: Start{At: Latest}}, n},
		{"offset", ReadOptions{Start: Start{At: AtOffset, Offset: 7}}, 7},
		{"offset behind the end", ReadOptions{Start: Start{At: AtOffset, Offset: 700}}, n},
		{"time", ReadOptions{Start: Start{At: AtTime, Time: start.Add(4500 * time.Millisecond)}}, 5},
		{"time in the future", ReadOptions{Start: Start{At: AtTime, Time: start.Add(time.Hour)}}, n},
		{"before the end", ReadOptions{Start: Start{At: BeforeEnd, Offset: 3}}, n - 3},
		{"further before the end than the start", ReadOptions{Start: Start{At: BeforeEnd, Offset: 300}}, 0},
		{"its partition", ReadOptions{Partitions: []int32{1}}, 0},
		{"other partitions", ReadOptions{Partitions: []int32{0, 2}}, n},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			read := x.readAllOf(t, config.Consumer{}, tt.o, "t", "empty")
			recs := read[tp("t", 1)]
			if len(recs) != n-int(tt.first) || len(recs) > 0 && recs[0].Value[0] != tt.first {
				t.Errorf("%d records from %v, want %d from %d", len(recs), recs, n-int(tt.first), tt.first)
			}
			if len(read) > 1 {
				t.Errorf("records of other partitions: %v", read)
			}
		})
	}
	t.Run("partition that is not there", func(t *testing.T) {
		err := Read(testContext(t), x.cluster, &config.Consumer{}, []string{"t"}, ReadOptions{Partitions: []int32{7}}, nil)
		if !errors.Is(err, klamm.ErrInvalidPartition) {
			t.Errorf("error %v, want ErrInvalidPartition", err)
		}
	})
	t.Run("topic that is not there", func(t *testing.T) {
		err := Read(testContext(t), x.cluster, &config.Consumer{}, []string{"nope"}, ReadOptions{}, nil)
		if !errors.Is(err, klamm.ErrUnknownTopic) {
			t.Errorf("error %v, want ErrUnknownTopic", err)
		}
	})
}

// TestReadEndsBehindMarkers: the last offsets of the topic are not a record's.
func TestReadEndsBehindMarkers(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	cl := x.client(t, kgo.TransactionalID("x"))
	for _, commit := range []bool{true, false} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(testContext(t), kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(err)
		}
	}
	if recs := x.readAllOf(t, config.Consumer{}, ReadOptions{}, "t")[tp("t", 0)]; len(recs) != 1 {
		t.Errorf("%d records, want 1", len(recs))
	}
	// An open transaction is behind the end.
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: "t", Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if recs := x.readAllOf(t, config.Consumer{}, ReadOptions{}, "t")[tp("t", 0)]; len(recs) != 1 {
		t.Errorf("%d records with an open transaction, want 1", len(recs))
	}
	if recs := x.readAllOf(t, config.Consumer{IsolationLevel: "read_uncommitted"}, ReadOptions{}, "t")[tp("t", 0)]; len(recs) != 3 {
		t.Errorf("%d records with read_uncommitted, want 3", len(recs))
	}
	if err := cl.EndTransaction(testContext(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

func TestReadFollowsAndEnds(t *testing.T) {
	x := newBench(t, 2, 1, "t")
	x.produce(t, "t", 2, 0, 5)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	var mu sync.Mutex
	n := 0
	more := make(chan struct{})
	written := make(chan struct{})
	go func() { // the producer, beside the reader
		defer close(written)
		<-more
		cl := x.client(t)
		for i := range 10 {
			cl.Produce(ctx, &kgo.Record{Topic: "t", Partition: int32(i % 2)}, nil)
		}
		cl.Flush(ctx)
	}()
	err := Read(ctx, x.cluster, &config.Consumer{}, []string{"t"}, ReadOptions{}, func(_ klamm.TopicPartition, recs []klamm.Record, _ int64) error {
		mu.Lock()
		defer mu.Unlock()
		switch n += len(recs); n {
		case 10:
			close(more)
		case 20:
			cancel()
		}
		return nil
	})
	if err != nil || n != 20 {
		t.Errorf("Read: %v, %d records, want 20", err, n)
	}
	<-written
	boom := errors.New("boom")
	err = Read(testContext(t), x.cluster, &config.Consumer{}, []string{"t"}, ReadOptions{}, func(klamm.TopicPartition, []klamm.Record, int64) error { return boom })
	if !errors.Is(err, boom) {
		t.Errorf("Read: %v, want the function's error", err)
	}
}

func TestOffsetsRetry(t *testing.T) {
	x := newBench(t, 3, 2, "t")
	x.produce(t, "t", 3, 0, 4)
	h := x.Cluster(t).Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Partitions: []int32{1}, Err: kerr.NotLeaderForPartition, Count: 2},
	)
	got, err := Offsets(testContext(t), x.cluster, map[klamm.TopicPartition]int64{tp("t", 0): -1, tp("t", 1): -1, tp("t", 2): -2}, false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[klamm.TopicPartition]int64{tp("t", 0): 4, tp("t", 1): 4, tp("t", 2): 0}, got); diff != "" {
		t.Errorf("offsets (-want +got):\n%s", diff)
	}
	if h.Hits() != 2 {
		t.Errorf("%d faults met, want 2", h.Hits())
	}
	x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.TopicAuthorizationFailed})
	if _, err := Offsets(testContext(t), x.cluster, map[klamm.TopicPartition]int64{tp("t", 0): -1}, false); codeOf(err) != klamm.CodeTopicAuthorizationFailed {
		t.Errorf("error %v, want TOPIC_AUTHORIZATION_FAILED", err)
	}
}

func TestRemaining(t *testing.T) {
	x := newBench(t, 3, 1, "t")
	x.produce(t, "t", 2, 0, 4) // partition 2 stays empty
	remaining := func(group string) map[klamm.TopicPartition]int64 {
		t.Helper()
		ends, err := Remaining(testContext(t), x.cluster, group, []string{"t"})
		if err != nil {
			t.Fatal(err)
		}
		return ends
	}
	both := map[klamm.TopicPartition]int64{tp("t", 0): 4, tp("t", 1): 4}
	if diff := cmp.Diff(both, remaining("g")); diff != "" {
		t.Errorf("without commits (-want +got):\n%s", diff)
	}
	m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
	m.waitRead(t, 8)
	if err := m.group.Commit(testContext(t), map[klamm.TopicPartition]int64{tp("t", 0): 4, tp("t", 1): 3}); err != nil {
		t.Fatal(err)
	}
	x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, TopLevel: true, Err: kerr.CoordinatorLoadInProgress})
	if diff := cmp.Diff(map[klamm.TopicPartition]int64{tp("t", 1): 4}, remaining("g")); diff != "" {
		t.Errorf("after a commit (-want +got):\n%s", diff)
	}
	if err := x.Cluster(t).DeleteRecords("t", 0, 4); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[klamm.TopicPartition]int64{tp("t", 1): 4}, remaining("other")); diff != "" {
		t.Errorf("with deleted records (-want +got):\n%s", diff)
	}
}

// BenchmarkRead reads from a broker that answers every fetch with the same 1 MB
// batch of 100 byte values.
func BenchmarkRead(b *testing.B) {
	br, err := broker.Start(b.Context(), &config.Embedded{Partitions: 4, Topics: []string{"t"}}, broker.Options{Kafka: []kfake.Opt{kfake.SyntheticFetch(kfake.SyntheticBatch{})}})
	if err != nil {
		b.Fatal(err)
	}
	defer br.Close()
	c, err := cluster.Open(b.Context(), &config.Cluster{BootstrapServers: br.Addrs()}, cluster.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	err = Read(ctx, c, &config.Consumer{}, []string{"t"}, ReadOptions{}, func(_ klamm.TopicPartition, recs []klamm.Record, _ int64) error {
		if n.Add(int64(len(recs))) >= int64(b.N) {
			cancel()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "records/s")
}
