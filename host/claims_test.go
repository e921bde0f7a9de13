package host_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// cleaning is an exactly-once pipeline whose dedup has its ids in Kafka.
func cleaning(id string, onConsume bool) host.Config {
	cfg := exactlyOnce(id)
	cfg.Plugin = map[string]host.PluginConfig{"dedup": {Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "key", "window": "0s"}}}
	cfg.State = map[string]host.StateConfig{"ids": {Backend: "kafka"}}
	chain := host.ChainConfig{Topics: []string{"clean"}, OnSend: []string{"dedup"}}
	if onConsume {
		chain = host.ChainConfig{Topics: []string{"clean"}, OnConsume: []string{"dedup"}}
	}
	cfg.Chain = map[string]host.ChainConfig{"c": chain}
	return cfg
}

// fillDoubled writes every number below n, some of them several times, with
// the same key.
func fillDoubled(t *testing.T, b *testBroker, topic string, n int, rng *rand.Rand) (records int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var recs []*kgo.Record
	for i := range n {
		for range 1 + rng.IntN(3) {
			recs = append(recs, &kgo.Record{Topic: topic, Key: fmt.Append(nil, i), Value: value(i)})
		}
	}
	rng.Shuffle(len(recs), func(i, j int) { recs[i], recs[j] = recs[j], recs[i] })
	if err := cl.ProduceSync(within(t), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return len(recs)
}

func TestIDsInKafka(t *testing.T) {
	for _, onConsume := range []bool{false, true} {
		t.Run(fmt.Sprint("on_consume ", onConsume), func(t *testing.T) {
			b := startBroker(t, 3, "raw", "clean")
			rng := rand.New(rand.NewPCG(1, 2))
			const n = 300
			in := fillDoubled(t, b, "raw", n, rng)
			first := newHost(t, b, cleaning("a", onConsume))
			must(t, first.Run(within(t)))
			onceEach(t, b, "clean", numbered(n))
			balanced(t, first.Stats().Pipelines["p"].Counts, int64(in))
			if s := first.Stats().States[0]; s.Claims != int64(in) || s.Hits != int64(in-n) || s.Pending != 0 || s.Errors != 0 {
				t.Errorf("state %+v, want %d claims, of which %d met their id again", s, in, in-n)
			}
			must(t, first.Close(within(t)))

			// Another process finds the ids in the topic.
			more := fillDoubled(t, b, "raw", n+50, rng)
			second := newHost(t, b, cleaning("a", onConsume))
			must(t, second.Run(within(t)))
			onceEach(t, b, "clean", numbered(n+50))
			if dropped := second.Stats().Pipelines["p"].Dropped; dropped != int64(more-50) {
				t.Errorf("%d dropped, want %d", dropped, more-50)
			}
			if s := second.Stats().Backends[0]; s.Restored < n || s.Error != "" || s.Backend != "kafka" || s.Where != "topic klamm-state-ids" {
				t.Errorf("backend %+v", s)
			}
		})
	}
}

// TestIDsInKafkaUnderFaults has two hosts drop duplicates while transactions are
// refused and hosts end in the middle and are replaced: a reader that is not ours
// sees every id once.
func TestIDsInKafkaUnderFaults(t *testing.T) {
	for _, onConsume := range []bool{false, true} {
		t.Run(fmt.Sprint("on_consume ", onConsume), func(t *testing.T) { idsUnderFaults(t, onConsume) })
	}
}

func idsUnderFaults(t *testing.T, onConsume bool) {
	b := startBroker(t, 4, "raw", "clean")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const n = 1500
	in := fillDoubled(t, b, "raw", n, rand.New(rand.NewPCG(seed, 1)))
	rng := rand.New(rand.NewPCG(seed, 0)) // used by the brokers' goroutine alone
	refuse := func(key kmsg.Key, err *kerr.Error, one int) {
		b.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: -1, When: func(req kmsg.Request) bool {
			if p, ok := req.(*kmsg.ProduceRequest); ok && p.TransactionID == nil {
				return false
			}
			return rng.IntN(one) == 0
		}})
	}
	refuse(kmsg.EndTxn, kerr.TransactionAbortable, 15)
	refuse(kmsg.TxnOffsetCommit, kerr.IllegalGeneration, 20)
	refuse(kmsg.Produce, kerr.TransactionAbortable, 60)

	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var hosts sync.WaitGroup
	for _, id := range []string{"a", "b"} {
		hosts.Go(func() {
			chance := rand.New(rand.NewPCG(seed, uint64(id[0])))
			for ctx.Err() == nil && !ranOnce(t, ctx, b, cleaning(id, onConsume), chance, int64(in)) {
			}
		})
	}
	hosts.Wait()
	onceEach(t, b, "clean", numbered(n))
}

// ranOnce is runOnce with ids in Kafka.
func ranOnce(t *testing.T, ctx context.Context, b *testBroker, cfg host.Config, chance *rand.Rand, in int64) bool {
	id := cfg.Host.ID
	p := cfg.Pipeline["p"]
	p.StopAtEnd = false
	cfg.Pipeline["p"] = p
	cfg.Cluster.BootstrapServers = b.Addrs()
	h, err := host.New(cfg)
	if err != nil {
		t.Error(err)
		return true
	}
	running, stop := context.WithTimeout(ctx, time.Duration(50+chance.IntN(400))*time.Millisecond)
	defer stop()
	if err := h.Run(running); err != nil && klamm.ClassOf(err) != klamm.ClassFatal && !strings.Contains(err.Error(), "FENCED_INSTANCE_ID") {
		t.Errorf("host %s: %v", id, err)
	}
	closing, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Close(closing); err != nil {
		t.Errorf("close host %s: %v", id, err)
	}
	return committedOf(t, b, "p", "raw") >= in
}

// A record that is not written after on_consume has claimed its id gives the id
// back, and so do those that were claimed with it: the next life reads them again,
// and drops none as its own duplicate.
func TestOnConsumeGivesBackWhatIsNotWritten(t *testing.T) {
	b := startBroker(t, 1, "raw", "clean")
	fill(t, b, "raw", 400)
	cfg := cleaning("a", true)
	cfg.Producer.BatchSize = 512
	left := 3 // used by the brokers' goroutine alone
	b.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TransactionAbortable, Count: -1, When: func(req kmsg.Request) bool {
		if p := req.(*kmsg.ProduceRequest); p.TransactionID == nil || left == 0 {
			return false
		}
		left--
		return true
	}})
	h := newHost(t, b, cfg)
	must(t, h.Run(within(t)))
	onceEach(t, b, "clean", numbered(400))
	if s := h.Stats().States[0]; s.Pending != 0 {
		t.Errorf("%d ids are in flight for ever", s.Pending)
	}
}

// running is cleaning without an end.
func running(id string) host.Config {
	cfg := cleaning(id, false)
	p := cfg.Pipeline["p"]
	p.StopAtEnd = false
	cfg.Pipeline["p"] = p
	return cfg
}

// runningHosts returns what starts a host of the group, which stop ends, and what
// ends all.
func runningHosts(t *testing.T, b *testBroker) (start func(id string) (h *host.Host, stop func()), end func()) {
	all, cancel := context.WithCancel(within(t))
	var hosts sync.WaitGroup
	start = func(id string) (*host.Host, func()) {
		h := newHost(t, b, running(id))
		ctx, cancel := context.WithCancel(all)
		ended := make(chan struct{})
		hosts.Go(func() { defer close(ended); must(t, h.Run(ctx)) })
		return h, func() { cancel(); <-ended }
	}
	end = func() { cancel(); hosts.Wait() }
	t.Cleanup(end)
	return start, end
}

func restored(h *host.Host) int64 { return h.Stats().Backends[0].Restored }

// A second host joins: it gets partitions with their ids, which the first one
// wrote.
func TestIDsInKafkaGoWithTheirPartitions(t *testing.T) {
	b := startBroker(t, 4, "raw", "clean")
	rng := rand.New(rand.NewPCG(3, 4))
	const n = 400
	in := fillDoubled(t, b, "raw", n, rng)
	start, end := runningHosts(t, b)
	first, _ := start("a")
	waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == int64(in) })
	second, _ := start("b")
	waitFor(t, func() bool { return restored(second) > 0 })
	in += fillDoubled(t, b, "raw", n+100, rng)
	waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == int64(in) })
	if drops := second.Stats().Pipelines["p"].Dropped; drops == 0 {
		t.Error("the second host has dropped nothing")
	}
	if got := first.Stats().States[0].Entries + second.Stats().States[0].Entries; got != n+100 {
		t.Errorf("%d ids on both hosts, want %d: each has those of its partitions", got, n+100)
	}
	end()
	onceEach(t, b, "clean", numbered(n+100))
}

// A host that another one of its id has replaced writes no ids that count.
func TestIDsInKafkaZombie(t *testing.T) {
	b := startBroker(t, 1, "raw", "clean")
	rng := rand.New(rand.NewPCG(5, 6))
	in := fillDoubled(t, b, "raw", 200, rng)
	zombie := newHost(t, b, running("h"))
	ended := make(chan error, 1)
	go func() { ended <- zombie.Run(within(t)) }()
	waitFor(t, func() bool { return zombie.Stats().Pipelines["p"].Commits > 0 })
	in += fillDoubled(t, b, "raw", 300, rng) // the zombie may be in the middle of these
	second := newHost(t, b, cleaning("h", false))
	must(t, second.Run(within(t)))
	in += fillDoubled(t, b, "raw", 400, rng)
	must(t, second.Run(within(t)))
	waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == int64(in) })
	select {
	case err := <-ended:
		if !errors.Is(err, klamm.ErrFenced) {
			t.Errorf("the zombie ended with %v", err)
		}
	case <-within(t).Done():
		t.Error("the zombie runs on")
	}
	onceEach(t, b, "clean", numbered(400))
}

// Partitions of several inputs go together, with one partition of ids.
func TestIDsInKafkaOfSeveralInputs(t *testing.T) {
	b := startBroker(t, 3, "raw", "more", "clean")
	rng := rand.New(rand.NewPCG(7, 8))
	in := fillDoubled(t, b, "raw", 150, rng) + fillDoubled(t, b, "more", 200, rng)
	cfg := cleaning("a", false)
	cfg.Consumer.Assignor = "range"
	p := cfg.Pipeline["p"]
	p.From = []string{"raw", "more"}
	cfg.Pipeline["p"] = p
	h := newHost(t, b, cfg)
	must(t, h.Run(within(t)))
	onceEach(t, b, "clean", numbered(200))
	balanced(t, h.Stats().Pipelines["p"].Counts, int64(in))
}

func TestIDsInKafkaRefusals(t *testing.T) {
	b := startBroker(t, 3, "raw", "more", "clean")
	must(t, createTopic(t, b, "few", 2))
	fill(t, b, "more", 10)
	wrong := func(change func(*host.Config), want string) {
		t.Helper()
		cfg := cleaning("a", false)
		change(&cfg)
		h := newHost(t, b, cfg)
		defer h.Close(within(t))
		if err := h.Run(within(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	wrong(func(c *host.Config) { c.State["ids"] = host.StateConfig{Backend: "kafka", Topic: "few"} },
		`pipeline "p": state "ids" in topic "few": it has 2 partitions and the pipeline's input has 3`)
	wrong(func(c *host.Config) { c.State["ids"] = host.StateConfig{Backend: "kafka", Topic: "more"} },
		`its cleanup.policy is "delete"`)
	wrong(func(c *host.Config) {
		p := c.Pipeline["p"]
		p.From = []string{"raw", "few"}
		c.Pipeline["p"], c.Consumer.Assignor = p, "range"
	}, `topic "few" has 2 partitions and topic "raw" has 3: a pipeline with ids in Kafka needs equally many`)

	// What the program sends itself is in no transaction that has ids.
	h := newHost(t, b, cleaning("a", false))
	r := sendNow(t, producerOf(t, h), klamm.Record{Topic: "clean", Key: []byte("k"), Value: []byte("v")})
	if r.Outcome != klamm.Failed || !strings.Contains(fmt.Sprint(r.Err), "the record was not read by the pipeline that the state belongs to") {
		t.Errorf("got %+v", r)
	}
	// Nor is what it reads itself.
	fill(t, b, "clean", 1)
	cfg := cleaning("a", true)
	cfg.Consumer.GroupID = "g"
	cfg.Chain["more"] = host.ChainConfig{Topics: []string{"more"}, OnConsume: []string{"dedup"}}
	reader := newHost(t, b, cfg)
	c, err := reader.Consumer("more")
	must(t, err)
	err = c.Run(within(t), func(context.Context, *klamm.Record) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "the record was not read by the pipeline that the state belongs to") {
		t.Errorf("a consumer: got %v", err)
	}
	must(t, h.Run(within(t)))
}

func createTopic(t *testing.T, b *testBroker, name string, partitions int32) error {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	_, err = kadm.NewClient(cl).CreateTopic(within(t), partitions, 1, nil, name)
	return err
}

// A partition that stays with its host through a rebalance is not read back, and
// so waits for nobody: here for transactions that others have left open in the ids
// of every partition. Those that came anew wait, as they must.
func TestIDsInKafkaOfPartitionsThatStay(t *testing.T) {
	b := startBroker(t, 4, "raw", "clean")
	rng := rand.New(rand.NewPCG(9, 10))
	in := fillDoubled(t, b, "raw", 200, rng)
	start, end := runningHosts(t, b)
	first, _ := start("a")
	waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == int64(in) })
	open := openIn(t, b, "klamm-state-ids", 4)
	second, stop := start("b")
	waitFor(t, func() bool { return len(partitionsOf(first)) == 2 && len(partitionsOf(second)) == 2 })
	in += fillDoubled(t, b, "raw", 300, rng)
	waitFor(t, func() bool { return len(behind(t, b)) == 2 })
	for _, p := range partitionsOf(second) {
		if !slices.Contains(behind(t, b), p) {
			t.Errorf("partition %d has gone on before its ids were read back", p)
		}
	}
	// They come to the first one, whose own transactions do not wait with them.
	stop()
	putOut(t, b, "p", "b-p")
	waitFor(t, func() bool { return len(partitionsOf(first)) == 4 })
	commits := first.Stats().Pipelines["p"].Commits
	in += fillDoubled(t, b, "raw", 400, rng)
	waitFor(t, func() bool { return first.Stats().Pipelines["p"].Commits > commits && len(behind(t, b)) == 2 })
	must(t, open.EndTransaction(within(t), kgo.TryAbort))
	waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == int64(in) })
	end()
	onceEach(t, b, "clean", numbered(400))
}

// openIn leaves a transaction open that has a record in every partition.
func openIn(t *testing.T, b *testBroker, topic string, partitions int32) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.TransactionalID("open"), kgo.TransactionTimeout(time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, err)
	t.Cleanup(cl.Close)
	must(t, cl.BeginTransaction())
	for p := range partitions {
		must(t, cl.ProduceSync(within(t), &kgo.Record{Topic: topic, Partition: p, Key: []byte("left open")}).FirstErr())
	}
	return cl
}

func partitionsOf(h *host.Host) (ids []int32) {
	for _, p := range h.Stats().Pipelines["p"].Partitions {
		ids = append(ids, p.Partition)
	}
	return ids
}

// behind are the partitions that the pipeline has not committed to their ends.
func behind(t *testing.T, b *testBroker) (ids []int32) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	must(t, err)
	defer cl.Close()
	lag, err := kadm.NewClient(cl).Lag(within(t), "p")
	must(t, err)
	for _, l := range lag["p"].Lag["raw"] {
		if l.Lag != 0 {
			ids = append(ids, l.Partition)
		}
	}
	return ids
}
