package host_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

// fill writes n records with a client that is not ours.
func fill(t *testing.T, b *testBroker, topic string, n int) {
	t.Helper()
	fillFrom(t, b, topic, 0, n)
}

// fillFrom writes n records, numbered from first.
func fillFrom(t *testing.T, b *testBroker, topic string, first, n int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		v := value(first + i)
		recs[i] = &kgo.Record{Topic: topic, Key: strconv.AppendInt(nil, int64(first+i), 10), Value: v, Headers: []kgo.RecordHeader{{Key: "n", Value: v}, {Key: "n"}}}
	}
	if err := cl.ProduceSync(within(t), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// committedOf returns the sum of the offsets that a group has committed of a topic.
func committedOf(t *testing.T, b *testBroker, group, topic string) int64 {
	t.Helper()
	var sum int64
	for _, at := range offsetsOf(t, b, group, topic) {
		sum += at
	}
	return sum
}

// offsetsOf returns them by partition.
func offsetsOf(t *testing.T, b *testBroker, group, topic string) map[int32]int64 {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	offsets, err := kadm.NewClient(cl).FetchOffsets(within(t), group)
	// A cluster's first group finds no coordinator until its topic is made.
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) && !errors.Is(err, kerr.CoordinatorNotAvailable) {
		t.Fatal(err)
	}
	all := map[int32]int64{}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == topic && o.At > 0 {
			all[o.Partition] = o.At
		}
	})
	return all
}

func pipelineConfig() host.Config {
	cfg := chainOf("clean")
	cfg.Pipeline = map[string]host.PipelineConfig{"p": {From: []string{"raw"}, To: "clean", StopAtEnd: true}}
	return cfg
}

func TestPipelineCopiesWhatItsChainLetsPass(t *testing.T) {
	b := startBroker(t, 3, "raw", "clean")
	const n = 2000
	fill(t, b, "raw", n)
	h := newHost(t, b, pipelineConfig(), host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
		if i, _ := strconv.Atoi(string(it.Record.Key)); i%4 == 0 {
			it.Drop("every fourth")
		}
	}}))
	if err := h.Run(within(t)); err != nil {
		t.Fatal(err)
	}
	stats := h.Stats().Pipelines["p"]
	balanced(t, stats.Counts, n)
	if stats.Dropped != n/4 || stats.Out != n*3/4 {
		t.Fatalf("counts %+v, want a quarter of %d dropped", stats.Counts, n)
	}
	seen := map[string]bool{}
	for _, rec := range readTopic(t, b, "clean") {
		i, _ := strconv.Atoi(string(rec.Key))
		if i%4 == 0 || seen[string(rec.Key)] || string(rec.Value) != string(value(i)) || len(rec.Headers) != 2 || rec.Headers[1].Value != nil {
			t.Fatalf("record %q = %q with headers %v", rec.Key, rec.Value, rec.Headers)
		}
		seen[string(rec.Key)] = true
	}
	if len(seen) != n*3/4 {
		t.Fatalf("%d records arrived, want %d", len(seen), n*3/4)
	}
	if got := committedOf(t, b, "p", "raw"); got != n {
		t.Fatalf("the group has committed %d, want %d", got, n)
	}
}

// A pipeline that cannot go on commits nothing that is not completed: the next
// run reads it again.
func TestPipelineStopsAtAPoisonRecordAndLosesNothing(t *testing.T) {
	b := startBroker(t, 1, "raw", "clean")
	const n, poison = 500, 250
	fill(t, b, "raw", n)
	bad := errors.New("cannot read this")
	var healed atomic.Bool
	j := judge{send: func(it *interceptor.Item) {
		if string(it.Record.Key) == strconv.Itoa(poison) && !healed.Load() {
			it.Fail(bad)
		}
	}}
	h := newHost(t, b, pipelineConfig(), host.WithInterceptor("j", j))
	if err := h.Run(within(t)); !errors.Is(err, bad) {
		t.Fatalf("error %v, want %v", err, bad)
	}
	if got := committedOf(t, b, "p", "raw"); got > poison {
		t.Fatalf("the group has committed %d, past the record %d that was not written", got, poison)
	}
	if err := h.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	healed.Store(true)
	h = newHost(t, b, pipelineConfig(), host.WithInterceptor("j", j))
	if err := h.Run(within(t)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, rec := range readTopic(t, b, "clean") {
		seen[string(rec.Key)] = true
	}
	if len(seen) != n {
		t.Fatalf("%d different records arrived, want %d", len(seen), n)
	}
}

func TestPipelineDeadLettersPoison(t *testing.T) {
	b := startBroker(t, 1, "raw", "clean", "raw.dead")
	const n = 300
	fill(t, b, "raw", n)
	cfg := pipelineConfig()
	p := cfg.Pipeline["p"]
	p.DeadLetterTopic = "raw.dead"
	cfg.Pipeline["p"] = p
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
		if i, _ := strconv.Atoi(string(it.Record.Key)); i%100 == 7 {
			it.Fail(errors.New("poison"))
		}
	}}))
	if err := h.Run(within(t)); err != nil {
		t.Fatal(err)
	}
	stats := h.Stats().Pipelines["p"]
	balanced(t, stats.Counts, n)
	if stats.DeadLettered != 3 || stats.Failed != 0 {
		t.Fatalf("counts %+v, want 3 dead-lettered, none failed", stats.Counts)
	}
	for _, rec := range readTopic(t, b, "raw.dead") {
		if i, _ := strconv.Atoi(string(rec.Key)); i%100 != 7 || string(rec.Value) != string(value(i)) {
			t.Fatalf("dead letter %q = %q", rec.Key, rec.Value)
		}
	}
	if got := committedOf(t, b, "p", "raw"); got != n {
		t.Fatalf("the group has committed %d, want %d", got, n)
	}
}

// C135: records that on_consume drops still advance the position, and on_commit
// runs after successful commits only.
func TestC135_ConsumeDropsAdvanceThePosition(t *testing.T) {
	b := startBroker(t, 2, "raw")
	const n = 400
	fill(t, b, "raw", n)
	cfg := host.Config{Chain: map[string]host.ChainConfig{"c": {Topics: []string{"raw"}, OnConsume: []string{"j"}, OnCommit: []string{"j"}}}}
	cfg.Consumer.GroupID = "readers"
	var mu sync.Mutex
	noted := map[int32]int64{}
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{
		consume: func(it *interceptor.Item) {
			if i, _ := strconv.Atoi(string(it.Record.Key)); i%2 == 1 {
				it.Drop("odd")
			}
		},
		commit: func(c interceptor.Commit) { mu.Lock(); noted[c.Partition] = c.Offset; mu.Unlock() },
	}))
	ctx, cancel := context.WithCancel(within(t))
	var got atomic.Int32
	err := h.Consume(ctx, []string{"raw"}, func(_ context.Context, rec *klamm.Record) error {
		if i, _ := strconv.Atoi(string(rec.Key)); i%2 == 1 {
			return fmt.Errorf("record %d was dropped, but came", i)
		}
		if got.Add(1) == n/2 {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Dropped records behind the last that was handled may not have been read.
	sum := committedOf(t, b, "readers", "raw")
	if sum < n-n/10 {
		t.Fatalf("the group has committed %d of %d", sum, n)
	}
	var told int64
	for _, at := range noted {
		told += at
	}
	if told != sum {
		t.Fatalf("on_commit was told %d, the group has committed %d", told, sum)
	}
}

func TestConsumeErrorIsNotCommitted(t *testing.T) {
	b := startBroker(t, 1, "raw")
	fill(t, b, "raw", 50)
	cfg := host.Config{}
	cfg.Consumer.GroupID = "readers"
	h := newHost(t, b, cfg)
	bad := errors.New("handler")
	var n int
	err := h.Consume(within(t), []string{"raw"}, func(_ context.Context, rec *klamm.Record) error {
		if n++; n == 20 {
			return bad
		}
		return nil
	})
	if !errors.Is(err, bad) {
		t.Fatalf("error %v, want the handler's", err)
	}
	if got := committedOf(t, b, "readers", "raw"); got != 19 {
		t.Fatalf("the group has committed %d, want 19", got)
	}
}

// A topic that ends with a transaction's marker has an end that no record
// reaches: stop_at_end must get there all the same.
func TestPipelineStopsBehindTransactionMarkers(t *testing.T) {
	b := startBroker(t, 1, "raw", "clean")
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.TransactionalID("writer"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(within(t), &kgo.Record{Topic: "raw", Value: value(i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(within(t), commit); err != nil {
			t.Fatal(err)
		}
	}
	h := newHost(t, b, pipelineConfig(), host.WithInterceptor("j", judge{}))
	if err := h.Run(within(t)); err != nil {
		t.Fatal(err)
	}
	balanced(t, h.Stats().Pipelines["p"].Counts, 2)
	if got := committedOf(t, b, "p", "raw"); got != 6 {
		t.Fatalf("the group has committed %d, want 6: three records, three markers", got)
	}
}
