package host_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/checker"
	"github.com/klamm-io/klamm/sdk/abi"
)

// readCommitted returns the values of committedRecords.
func readCommitted(t *testing.T, b *testBroker, topic string) []string {
	t.Helper()
	var values []string
	for _, r := range committedRecords(t, b, topic) {
		values = append(values, string(r.Value))
	}
	return values
}

// committedRecords reads what a client that is not ours sees of a topic's
// committed records, in the order of each partition. It marks the end, so a topic
// is read once.
func committedRecords(t *testing.T, b *testBroker, topic string) []*kgo.Record {
	t.Helper()
	end, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	// A last record in each partition tells where to stop.
	starts, err := kadm.NewClient(end).ListStartOffsets(within(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	parts := len(starts[topic])
	for part := range parts {
		if err := end.ProduceSync(within(t), &kgo.Record{Partition: int32(part), Value: []byte("end")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(50*time.Millisecond), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var recs []*kgo.Record
	ctx := within(t)
	for parts > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %q: %v", topic, err)
		}
		for _, r := range fetches.Records() {
			if string(r.Value) == "end" {
				parts--
				continue
			}
			recs = append(recs, r)
		}
	}
	return recs
}

func transactional(id string) host.Config {
	var cfg host.Config
	cfg.Producer.TransactionalID = id
	cfg.Producer.Linger = host.Duration(time.Millisecond)
	return cfg
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sendAll(t *testing.T, p *host.Producer, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		must(t, p.SendAsync(within(t), &klamm.Record{Topic: topic, Key: []byte(v), Value: []byte(v)}, nil))
	}
}

// versions runs a test with both versions of transactions.
func versions(t *testing.T, f func(t *testing.T, start func(partitions int, topics ...string) *testBroker)) {
	for _, version := range []int16{1, 2} {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			f(t, func(partitions int, topics ...string) *testBroker {
				b := startBroker(t, partitions, topics...)
				if version == 1 {
					downgrade(t, b)
				}
				return b
			})
		})
	}
}

// downgrade has the brokers agree on transaction.version 1 (KIP-890).
func downgrade(t *testing.T, b *testBroker) {
	t.Helper()
	b.Cluster(t)
	must(t, checker.AgreeOnTransactions(within(t), b.Addrs(), 1))
}

func TestC119_CommitAndAbort(t *testing.T) {
	versions(t, func(t *testing.T, start func(int, ...string) *testBroker) {
		b := start(3, "t")
		h := newHost(t, b, transactional("id"))
		p := producerOf(t, h)
		for n := range 10 {
			must(t, p.BeginTransaction(within(t)))
			sendAll(t, p, "t", fmt.Sprint("a", n), fmt.Sprint("b", n))
			if n%2 == 0 {
				must(t, p.CommitTransaction(within(t)))
			} else {
				must(t, p.AbortTransaction(within(t)))
			}
		}
		seen := map[string]int{}
		for _, v := range readCommitted(t, b, "t") {
			seen[v]++
		}
		for n := range 10 {
			want := 1 - n%2
			if seen[fmt.Sprint("a", n)] != want || seen[fmt.Sprint("b", n)] != want {
				t.Errorf("transaction %d: its records are seen %d and %d times, want %d", n, seen[fmt.Sprint("a", n)], seen[fmt.Sprint("b", n)], want)
			}
		}
		c := p.Counts()
		if !c.Balanced() || c.InFlight != 0 || c.In != 20 || c.Out != 10 || c.Failed != 10 {
			t.Errorf("counts %+v, want 10 out and 10 failed", c)
		}
		f := h.Stats().Produce.Transactions
		if f.Committed != 5 || f.Aborted != 5 || f.Begin <= 0 || f.Commit <= 0 || f.Abort <= 0 || f.SendOffsets != 0 {
			t.Errorf("figures of 5 commits and 5 aborts without offsets: %+v", f)
		}
	})
}

func TestC121_AbortFailsWhatWasNotSent(t *testing.T) {
	b := startBroker(t, 1, "t")
	cfg := transactional("id")
	cfg.Producer.Linger = host.Duration(time.Hour)
	cfg.Producer.DeliveryTimeout = host.Duration(2 * time.Hour)
	flags := make(chan uint32, 10)
	cfg.Chain = map[string]host.ChainConfig{"c": {Topics: []string{"t"}, OnSend: []string{"j"}}}
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{ack: func(a *interceptor.Ack) { flags <- a.Flags; flags <- uint32(a.Code) }}))
	p := producerOf(t, h)
	must(t, p.BeginTransaction(within(t)))
	results := make(chan klamm.Result, 1)
	must(t, p.SendAsync(within(t), &klamm.Record{Topic: "t", Value: []byte("v")}, func(r klamm.Result) { results <- r }))
	must(t, p.AbortTransaction(within(t)))
	r := <-results
	if r.Outcome != klamm.Failed || !errors.Is(r.Err, klamm.ErrTransactionAborted) || klamm.ClassOf(r.Err) != klamm.ClassAbortable {
		t.Errorf("result %+v, want one that failed with ErrTransactionAborted", r)
	}
	if f, code := <-flags, int32(<-flags); f&abi.AckAborted == 0 || code != abi.ErrAborted {
		t.Errorf("on_acknowledgement: flags %d, code %d; want aborted", f, code)
	}
}

func TestC126_FencedBySecondProducer(t *testing.T) {
	versions(t, func(t *testing.T, start func(int, ...string) *testBroker) {
		b := start(1, "t")
		old := producerOf(t, newHost(t, b, transactional("id")))
		must(t, old.BeginTransaction(within(t)))
		sendAll(t, old, "t", "old 1")
		must(t, old.Flush(within(t)))

		second := producerOf(t, newHost(t, b, transactional("id")))
		must(t, second.Transaction(within(t), func(ctx context.Context) error {
			sendAll(t, second, "t", "new 1", "new 2")
			return nil
		}))
		_ = old.SendAsync(within(t), &klamm.Record{Topic: "t", Value: []byte("old 2")}, nil)
		err := old.CommitTransaction(within(t))
		if klamm.ClassOf(err) == klamm.ClassAbortable {
			err = old.AbortTransaction(within(t))
		}
		if !errors.Is(err, klamm.ErrFenced) || klamm.ClassOf(err) != klamm.ClassFatal {
			t.Errorf("the old producer ended with %v, want a fatal ErrFenced", err)
		}
		if err := old.BeginTransaction(within(t)); !errors.Is(err, klamm.ErrFatal) {
			t.Errorf("it begins again: %v", err)
		}
		must(t, second.Transaction(within(t), func(context.Context) error { sendAll(t, second, "t", "new 3"); return nil }))
		if got := fmt.Sprint(readCommitted(t, b, "t")); got != "[new 1 new 2 new 3]" {
			t.Errorf("committed are %v", got)
		}
	})
}

func TestC129_OffsetsOfAMemberThatIsReplaced(t *testing.T) {
	versions(t, func(t *testing.T, start func(int, ...string) *testBroker) {
		b := start(1, "in", "out")
		fill(t, b, "in", 10)
		cfg := transactional("id")
		cfg.Consumer.GroupID = "g"
		off := false
		cfg.Consumer.EnableAutoCommit = &off
		h := newHost(t, b, cfg)
		p := producerOf(t, h)
		c, err := h.Consumer("in")
		must(t, err)
		ctx, cancel := context.WithCancel(within(t))
		defer cancel()
		done := errors.New("done")
		err = c.Run(ctx, func(ctx context.Context, rec *klamm.Record) error {
			next := map[klamm.TopicPartition]int64{{Topic: "in", Partition: 0}: rec.Offset + 1}
			if rec.Offset == 4 { // as if another member had come
				stale := c.GroupMetadata()
				stale.Generation += 7
				err := p.Transaction(ctx, func(ctx context.Context) error {
					sendAll(t, p, "out", "stale")
					return p.SendOffsets(ctx, next, stale)
				})
				if klamm.ClassOf(err) != klamm.ClassAbortable {
					t.Errorf("offsets of a stale generation: %v, want an abortable error", err)
				}
			}
			err := p.Transaction(ctx, func(ctx context.Context) error {
				sendAll(t, p, "out", strconv.FormatInt(rec.Offset, 10))
				return p.SendOffsets(ctx, next, c.GroupMetadata())
			})
			if err == nil && rec.Offset == 9 {
				return done
			}
			return err
		})
		if !errors.Is(err, done) {
			t.Fatal(err)
		}
		must(t, c.Close())
		if got := fmt.Sprint(readCommitted(t, b, "out")); got != "[0 1 2 3 4 5 6 7 8 9]" {
			t.Errorf("committed are %v", got)
		}
		if at := committedOf(t, b, "g", "in"); at != 10 {
			t.Errorf("the group's offset is %d, want 10", at)
		}
	})
}

func TestC131_CloseAbortsTheOpenTransaction(t *testing.T) {
	b := startBroker(t, 1, "t")
	cfg := transactional("id")
	cfg.Cluster.BootstrapServers = b.Addrs()
	h, err := host.New(cfg)
	must(t, err)
	p := producerOf(t, h)
	must(t, p.BeginTransaction(within(t)))
	sendAll(t, p, "t", "never")
	must(t, p.Flush(within(t)))
	must(t, h.Close(within(t)))
	// A reader would wait for the transaction's end, had it none.
	if got := readCommitted(t, b, "t"); len(got) > 0 {
		t.Errorf("committed are %v", got)
	}
}

func TestC133_CallsOutOfOrder(t *testing.T) {
	b := startBroker(t, 1, "t")
	p := producerOf(t, newHost(t, b, transactional("id")))
	plain := producerOf(t, newHost(t, b, host.Config{}))
	ctx := within(t)
	for name, err := range map[string]error{
		"commit":       p.CommitTransaction(ctx),
		"abort":        p.AbortTransaction(ctx),
		"offsets":      p.SendOffsets(ctx, map[klamm.TopicPartition]int64{{Topic: "t"}: 1}, host.GroupMetadata{Group: "g"}),
		"send":         p.SendAsync(ctx, &klamm.Record{Topic: "t"}, nil),
		"plain begin":  plain.BeginTransaction(ctx),
		"plain commit": plain.CommitTransaction(ctx),
	} {
		if !errors.Is(err, klamm.ErrTransactionState) || klamm.ClassOf(err) != klamm.ClassApplication {
			t.Errorf("%s: %v, want ErrTransactionState", name, err)
		}
	}
	must(t, p.BeginTransaction(ctx))
	if err := p.BeginTransaction(ctx); !errors.Is(err, klamm.ErrTransactionState) {
		t.Errorf("begin twice: %v", err)
	}
	sendAll(t, p, "t", "v")
	must(t, p.CommitTransaction(ctx))
	if got := fmt.Sprint(readCommitted(t, b, "t")); got != "[v]" {
		t.Errorf("committed are %v", got)
	}
}

// A record that failed makes its transaction one that must be aborted, whoever
// failed it.
func TestTransactionWithAFailedRecord(t *testing.T) {
	b := startBroker(t, 1, "t")
	cfg := transactional("id")
	cfg.Chain = map[string]host.ChainConfig{"c": {Topics: []string{"t"}, OnSend: []string{"j"}}}
	bad := errors.New("bad record")
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
		if string(it.Record.Value) == "bad" {
			it.Fail(bad)
		}
	}}))
	p := producerOf(t, h)
	err := p.Transaction(within(t), func(context.Context) error { sendAll(t, p, "t", "good", "bad", "good too"); return nil })
	if klamm.ClassOf(err) != klamm.ClassAbortable || !errors.Is(err, bad) {
		t.Errorf("the transaction ended with %v, want an abortable error", err)
	}
	must(t, p.Transaction(within(t), func(context.Context) error { sendAll(t, p, "t", "good"); return nil }))
	if got := fmt.Sprint(readCommitted(t, b, "t")); got != "[good]" {
		t.Errorf("committed are %v", got)
	}
	balanced(t, p.Counts(), 4)
}

// T4: a transaction that the coordinator has aborted for its age.
func TestT4_TransactionTimesOut(t *testing.T) {
	versions(t, func(t *testing.T, start func(int, ...string) *testBroker) {
		b := start(1, "t")
		id := fmt.Sprint("id-", time.Now().UnixNano()) // of its own: the epoch must begin at 0
		cfg := transactional(id)
		cfg.Producer.TransactionTimeout = host.Duration(100 * time.Millisecond)
		p := producerOf(t, newHost(t, b, cfg))
		must(t, p.BeginTransaction(within(t)))
		sendAll(t, p, "t", "too old")
		must(t, p.Flush(within(t)))
		// In version 2 Apache Kafka raises the epoch twice: it fences the producer, and
		// ends the transaction.
		waitFor(t, func() bool { return epochOf(t, b, id) > 0 })
		if t.Name() == "TestT4_TransactionTimesOut/version_1" || b.own == nil {
			// In version 2 the embedded broker takes a record of an old epoch for the
			// beginning of a transaction, which Kafka's coordinator does not.
			sendAll(t, p, "t", "too late")
		}
		err := p.CommitTransaction(within(t))
		if klamm.ClassOf(err) != klamm.ClassAbortable {
			t.Fatalf("commit: %v, want an abortable error", err)
		}
		must(t, p.AbortTransaction(within(t)))
		must(t, p.BeginTransaction(within(t)))
		must(t, p.AbortTransaction(within(t)))
		if got := readCommitted(t, b, "t"); len(got) > 0 {
			t.Errorf("committed are %v", got)
		}
	})
}

// waitFor polls: the brokers do by themselves what it waits for.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	if !comes(t, ok) {
		t.FailNow()
	}
}

// comes is waitFor off the test's own goroutine, which alone may end the test.
func comes(t *testing.T, ok func() bool) bool {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Error("it does not happen")
			return false
		}
	}
	return true
}

func epochOf(t *testing.T, b *testBroker, id string) int16 {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	must(t, err)
	defer cl.Close()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	resp, err := cl.Request(within(t), req)
	must(t, err)
	return resp.(*kmsg.DescribeTransactionsResponse).TransactionStates[0].ProducerEpoch
}

// A20: EndTxn with an error that nobody foresaw is no commit.
func TestA20_UnknownErrorOfACommit(t *testing.T) {
	b := startBroker(t, 1, "t")
	p := producerOf(t, newHost(t, b, transactional("id")))
	var once atomic.Bool
	b.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError, Count: 1, When: func(kmsg.Request) bool { once.Store(true); return true }})
	err := p.Transaction(within(t), func(context.Context) error { sendAll(t, p, "t", "v"); return nil })
	if !once.Load() || !errors.Is(err, klamm.ErrFatal) || !errors.Is(err, klamm.ErrOutcomeUnknown) {
		t.Errorf("commit: %v, want a fatal ErrOutcomeUnknown", err)
	}
}

// A21: Close ends soon in every state.
func TestA21_CloseInEveryState(t *testing.T) {
	b := startBroker(t, 1, "t")
	states := map[string]func(t *testing.T, p *host.Producer){
		"not initialized": func(*testing.T, *host.Producer) {},
		"ready":           func(t *testing.T, p *host.Producer) { must(t, p.InitTransactions(within(t))) },
		"open":            func(t *testing.T, p *host.Producer) { must(t, p.BeginTransaction(within(t))) },
		"open with records": func(t *testing.T, p *host.Producer) {
			must(t, p.BeginTransaction(within(t)))
			sendAll(t, p, "t", "v")
		},
		"fenced": func(t *testing.T, p *host.Producer) {
			must(t, p.BeginTransaction(within(t)))
			sendAll(t, p, "t", "v")
			must(t, producerOf(t, newHost(t, b, transactional(t.Name()))).InitTransactions(within(t)))
		},
		"must be aborted": func(t *testing.T, p *host.Producer) {
			must(t, p.BeginTransaction(within(t)))
			_ = p.SendOffsets(within(t), map[klamm.TopicPartition]int64{{Topic: "t"}: 1}, host.GroupMetadata{Group: "no such group", Generation: 5, Member: "m"})
		},
	}
	for name, bring := range states {
		t.Run(name, func(t *testing.T) {
			cfg := transactional(t.Name())
			cfg.Cluster.BootstrapServers = b.Addrs()
			h, err := host.New(cfg)
			must(t, err)
			bring(t, producerOf(t, h))
			if err := h.Close(within(t)); err != nil && !errors.Is(err, klamm.ErrFenced) {
				t.Error(err)
			}
		})
	}
}

// Close takes its turn: a commit that another goroutine waits for meanwhile, and
// whose answer never comes, ends with an outcome that nobody knows.
func TestCloseDuringACommitOfAnotherGoroutine(t *testing.T) {
	b := startBroker(t, 1, "t")
	asked, release := make(chan struct{}), make(chan struct{})
	b.Cluster(t).ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster(t).KeepControl()
		select {
		case <-asked:
		default:
			close(asked)
		}
		b.Cluster(t).SleepControl(func() { <-release })
		return nil, nil, false
	})
	cfg := transactional("x")
	cfg.Cluster.BootstrapServers = b.Addrs()
	h, err := host.New(cfg)
	must(t, err)
	p := producerOf(t, h)
	must(t, p.BeginTransaction(within(t)))
	_, err = p.Send(within(t), &klamm.Record{Topic: "t", Value: []byte("v")})
	must(t, err)
	committed := make(chan error, 1)
	go func() { committed <- p.CommitTransaction(within(t)) }()
	<-asked
	closing, cancel := context.WithCancel(within(t))
	cancel()
	if err := p.Close(closing); err == nil {
		t.Error("Close did not tell that the commit has no end")
	}
	if err := <-committed; !errors.Is(err, klamm.ErrOutcomeUnknown) || klamm.ClassOf(err) != klamm.ClassFatal {
		t.Errorf("the commit ended with %v, want an outcome that is not known", err)
	}
	close(release)
	if err := h.Close(within(t)); !errors.Is(err, context.Canceled) { // it is the producer's, who was closed before
		t.Error(err)
	}
}
