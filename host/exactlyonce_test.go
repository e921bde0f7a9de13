package host_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/config"
)

func exactlyOnce(id string) host.Config {
	cfg := pipelineConfig()
	cfg.Host.ID = id
	cfg.Producer.Linger = host.Duration(time.Millisecond)
	p := cfg.Pipeline["p"]
	p.Guarantee, p.CommitInterval = "exactly_once", host.Duration(5*time.Millisecond)
	cfg.Pipeline["p"] = p
	return cfg
}

// onceEach fails the test unless the topic's committed records are those values,
// each once.
func onceEach(t *testing.T, b *testBroker, topic string, want []string) {
	t.Helper()
	onceOf(t, topic, readCommitted(t, b, topic), want)
}

// onceOf fails the test unless there are those values, each once.
func onceOf(t *testing.T, topic string, values, want []string) {
	t.Helper()
	seen := map[string]int{}
	for _, v := range values {
		seen[v]++
	}
	var lost, doubled []string
	for _, v := range want {
		if seen[v] == 0 {
			lost = append(lost, v)
		}
	}
	for v, n := range seen {
		if n > 1 {
			doubled = append(doubled, v)
		}
	}
	if len(lost)+len(doubled) > 0 || len(seen) != len(want) {
		t.Errorf("%s: %d values, want %d; lost %v, doubled %v", topic, len(seen), len(want), lost, doubled)
	}
}

func numbered(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = string(value(i))
	}
	return all
}

func TestExactlyOncePipeline(t *testing.T) {
	versions(t, func(t *testing.T, start func(int, ...string) *testBroker) {
		b := start(3, "raw", "clean", "dead")
		const n = 2000
		fill(t, b, "raw", n)
		cfg := exactlyOnce("h")
		p := cfg.Pipeline["p"]
		p.DeadLetterTopic = "dead"
		cfg.Pipeline["p"] = p
		bad := errors.New("poison")
		h := newHost(t, b, cfg, host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
			switch i, _ := strconv.Atoi(string(it.Record.Key)); i % 10 {
			case 3:
				it.Drop("every tenth")
			case 7:
				it.Fail(bad)
			}
		}}))
		must(t, h.Run(within(t)))
		stats := h.Stats().Pipelines["p"]
		balanced(t, stats.Counts, n)
		if stats.Dropped != n/10 || stats.DeadLettered != n/10 || stats.Out != n*8/10 {
			t.Errorf("counts %+v", stats.Counts)
		}
		var out, dead []string
		for i, v := range numbered(n) {
			switch i % 10 {
			case 3:
			case 7:
				dead = append(dead, v)
			default:
				out = append(out, v)
			}
		}
		onceEach(t, b, "clean", out)
		onceEach(t, b, "dead", dead)
		if got := committedOf(t, b, "p", "raw"); got != n {
			t.Errorf("the group has committed %d, want %d", got, n)
		}
	})
}

// A poison record without a dead-letter topic stops the pipeline, and nothing of
// the transaction that it was read in is seen.
func TestExactlyOncePipelineStopsAtAPoisonRecord(t *testing.T) {
	b := startBroker(t, 1, "raw", "clean")
	fill(t, b, "raw", 100)
	bad := errors.New("cannot read this")
	cfg := exactlyOnce("h")
	broken := true
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
		if broken && string(it.Record.Key) == "50" {
			it.Fail(bad)
		}
	}}))
	if err := h.Run(within(t)); !errors.Is(err, bad) {
		t.Fatalf("run: %v, want the plugin's error", err)
	}
	broken = false
	must(t, h.Run(within(t)))
	onceEach(t, b, "clean", numbered(100))
}

// TestExactlyOnceUnderFaults has two hosts copy a topic while transactions are
// refused, hosts are closed in the middle and others take over: a reader that is
// not ours sees each input record once.
func TestExactlyOnceUnderFaults(t *testing.T) {
	versions(t, func(t *testing.T, start func(int, ...string) *testBroker) {
		b := start(4, "raw", "clean")
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		faults := newRefusals(t, b, seed)
		faults.refuse(kmsg.EndTxn, kerr.TransactionAbortable, 15)
		faults.refuse(kmsg.EndTxn, kerr.ConcurrentTransactions, 10)
		faults.refuse(kmsg.TxnOffsetCommit, kerr.IllegalGeneration, 20)
		faults.refuse(kmsg.TxnOffsetCommit, kerr.CoordinatorLoadInProgress, 10)
		faults.refuse(kmsg.Produce, kerr.TransactionAbortable, 60)
		faults.refuse(kmsg.InitProducerID, kerr.CoordinatorLoadInProgress, 5)

		ctx, cancel := context.WithCancel(within(t))
		var hosts sync.WaitGroup
		defer hosts.Wait()
		defer cancel()
		for _, id := range []string{"a", "b"} {
			hosts.Go(func() {
				chance := rand.New(rand.NewPCG(seed, uint64(id[0])))
				for ctx.Err() == nil {
					runOnce(t, ctx, b, id, time.Duration(50+chance.IntN(400))*time.Millisecond)
				}
			})
		}
		n := 0
		for ; n < 2000 || faults.kinds() < 6; n += 50 {
			fillFrom(t, b, "raw", n, 50)
			waitFor(t, func() bool { return committedOf(t, b, "p", "raw") > int64(n-200) })
		}
		waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == int64(n) })
		cancel()
		hosts.Wait()
		onceEach(t, b, "clean", numbered(n))
		t.Log(n, "records;", faults)
	})
}

// refusals makes brokers refuse requests now and then, and counts them.
type refusals struct {
	t   *testing.T
	b   *testBroker
	rng *rand.Rand // used by the brokers' goroutine alone
	mu  sync.Mutex
	got map[string]int
}

func newRefusals(t *testing.T, b *testBroker, seed uint64) *refusals {
	return &refusals{t: t, b: b, rng: rand.New(rand.NewPCG(seed, 0)), got: map[string]int{}}
}

// refuse has one of so many requests refused.
func (r *refusals) refuse(key kmsg.Key, err *kerr.Error, one int) {
	r.b.Cluster(r.t).Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: -1, When: func(req kmsg.Request) bool {
		if req, ok := req.(*kmsg.ProduceRequest); ok && req.TransactionID == nil {
			return false // who fills the topic
		}
		if r.rng.IntN(one) > 0 {
			return false
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got[key.Name()+" "+err.Message]++
		return true
	}})
}

func (r *refusals) kinds() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

func (r *refusals) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.got)
}

// runOnce runs a host for a moment and closes it.
func runOnce(t *testing.T, ctx context.Context, b *testBroker, id string, d time.Duration) {
	cfg := exactlyOnce(id)
	p := cfg.Pipeline["p"]
	p.StopAtEnd = false
	cfg.Pipeline["p"] = p
	cfg.Cluster.BootstrapServers = b.Addrs()
	h, err := host.New(cfg, host.WithInterceptor("j", judge{}))
	if err != nil {
		t.Error(err)
		return
	}
	running, stop := context.WithTimeout(ctx, d)
	defer stop()
	if err := h.Run(running); err != nil {
		t.Errorf("host %s: %v", id, err)
	}
	closing, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := h.Close(closing); err != nil {
		t.Errorf("close host %s: %v", id, err)
	}
}

// A host that is taken over by one with the same id stops, and writes nothing more
// that counts.
func TestExactlyOnceZombie(t *testing.T) {
	b := startBroker(t, 1, "raw", "clean")
	fill(t, b, "raw", 500)
	cfg := exactlyOnce("h")
	p := cfg.Pipeline["p"]
	p.StopAtEnd = false
	cfg.Pipeline["p"] = p
	zombie := newHost(t, b, cfg, host.WithInterceptor("j", judge{}))
	ended := make(chan error, 1)
	go func() { ended <- zombie.Run(within(t)) }()
	waitFor(t, func() bool {
		return zombie.Stats().Pipelines["p"].Commits > 0
	})
	second := newHost(t, b, cfg, host.WithInterceptor("j", judge{}))
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	last := make(chan error, 1)
	go func() { last <- second.Run(ctx) }()
	waitFor(t, func() bool {
		all := second.Pipelines()
		return len(all) == 1 && all[0].Joined
	})
	fillFrom(t, b, "raw", 500, 500)
	waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == 1000 })
	select {
	case err := <-ended:
		if !errors.Is(err, klamm.ErrFenced) {
			t.Errorf("the zombie ended with %v", err)
		}
	case <-within(t).Done():
		t.Error("the zombie runs on")
	}
	cancel()
	must(t, <-last)
	onceEach(t, b, "clean", numbered(1000))
}

// Two pipelines that share ids, which meet in them in opposite orders: a record
// whose duplicate is in the other's open transaction is held back, and neither
// transaction is lost for it. Each id is written once, by one of them.
func TestExactlyOncePipelinesThatShareIDs(t *testing.T) {
	b := startBroker(t, 2, "raw-a", "raw-b", "clean-a", "clean-b")
	const n = 2000
	cfg := host.Config{
		State:  map[string]host.StateConfig{"ids": {Scope: "state"}},
		Plugin: map[string]host.PluginConfig{"dedup": {Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "key", "window": "24h"}}},
		Chain:  map[string]host.ChainConfig{"clean": {Topics: []string{"clean-*"}, OnSend: []string{"dedup"}}},
	}
	cfg.Host.ID = "h"
	cfg.Producer.Linger = host.Duration(time.Millisecond)
	cfg.Pipeline = map[string]host.PipelineConfig{}
	for _, name := range []string{"a", "b"} {
		cfg.Pipeline[name] = host.PipelineConfig{
			From: []string{"raw-" + name}, To: "clean-" + name, StopAtEnd: true,
			Guarantee: "exactly_once", CommitInterval: host.Duration(20 * time.Millisecond),
		}
	}
	fill(t, b, "raw-a", n)
	for i := n - 50; i >= 0; i -= 50 {
		fillFrom(t, b, "raw-b", i, 50)
	}
	var log warnings
	h := newHost(t, b, cfg, host.WithLogger(slog.New(&log)))
	must(t, h.Run(within(t)))
	stats := h.Stats().Pipelines
	balanced(t, stats["a"].Counts, n)
	balanced(t, stats["b"].Counts, n)
	for name, p := range stats {
		if f := p.Produce.Transactions; f.Committed == 0 || f.Init <= 0 || f.Begin <= 0 || f.SendOffsets <= 0 || f.Commit <= 0 {
			t.Errorf("pipeline %s: transactions %+v", name, f)
		}
		if s := p.Produce; p.Out > 0 && (s.Records < p.Out || s.Batches == 0 || s.Requests == 0 || s.Bytes == 0 || s.Connections == 0 || s.RequestLatency.Count == 0) {
			t.Errorf("pipeline %s: produced %+v", name, s)
		}
	}
	if out := stats["a"].Out + stats["b"].Out; out != n {
		t.Errorf("%d records are out, want %d", out, n)
	}
	seen := map[string]int{}
	for _, topic := range []string{"clean-a", "clean-b"} {
		for _, v := range readCommitted(t, b, topic) {
			seen[v]++
		}
	}
	for _, v := range numbered(n) {
		if seen[v] != 1 {
			t.Errorf("%s is there %d times", v, seen[v])
		}
	}
	if got := log.all(); len(got) > 0 {
		t.Errorf("transactions were lost: %q", got)
	}
	t.Logf("a %+v, b %+v, commits %d and %d", stats["a"].Counts, stats["b"].Counts, stats["a"].Commits, stats["b"].Commits)
}

// warnings keeps what is logged at a warning's level or above.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler           { return w }
func (w *warnings) WithGroup(string) slog.Handler                { return w }

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	w.said = append(w.said, text)
	return nil
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said
}

// Several hosts of a group that are to stop at the end stop when all of it is read,
// whoever read it.
func TestHostsStopAtTheEndTogether(t *testing.T) {
	for i, protocol := range []config.GroupProtocol{"classic", "classic", config.ConsumerProtocol, config.ConsumerProtocol} {
		once := i%2 == 1
		t.Run(fmt.Sprint("exactly once ", once, ", ", protocol), func(t *testing.T) {
			b := startBroker(t, 4, "raw", "clean")
			fill(t, b, "raw", 2000)
			ends := make(chan error, 3)
			for _, id := range []string{"a", "b", "c"} {
				cfg := exactlyOnce(id)
				cfg.Consumer.GroupProtocol = protocol
				p := cfg.Pipeline["p"]
				if !once {
					p.Guarantee = "at_least_once"
				}
				cfg.Pipeline["p"] = p
				h := newHost(t, b, cfg, host.WithInterceptor("j", judge{}))
				go func() { ends <- h.Run(within(t)) }()
			}
			for range 3 {
				must(t, <-ends)
			}
			if once {
				onceEach(t, b, "clean", numbered(2000))
			}
			if got := committedOf(t, b, "p", "raw"); got != 2000 {
				t.Errorf("the group has committed %d", got)
			}
		})
	}
}

// A host that is asked to end commits what it has read, in its transaction, and
// leaves nothing open.
func TestExactlyOnceDrains(t *testing.T) {
	b := startBroker(t, 3, "raw", "clean")
	fill(t, b, "raw", 3000)
	cfg := exactlyOnce("h")
	p := cfg.Pipeline["p"]
	p.StopAtEnd, p.CommitInterval = false, host.Duration(5*time.Second) // less than it takes
	p.TransactionTimeout = host.Duration(time.Minute)
	cfg.Pipeline["p"] = p
	var log warnings
	h := newHost(t, b, cfg, host.WithInterceptor("j", judge{}), host.WithLogger(slog.New(&log)))
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	waitFor(t, func() bool { return h.Stats().Pipelines["p"].In > 500 })
	cancel()
	must(t, <-ended)
	stats := h.Stats().Pipelines["p"]
	if stats.Out == 0 || stats.InFlight != 0 || stats.Failed != 0 || !stats.Balanced() {
		t.Errorf("counts %+v; %q", stats.Counts, log.all())
	}
	seen := map[string]int{}
	for _, v := range readCommitted(t, b, "clean") {
		seen[v]++
	}
	if at := committedOf(t, b, "p", "raw"); int64(len(seen)) != at || at != stats.Out {
		t.Errorf("%d values are there, %d offsets and %d records are committed", len(seen), at, stats.Out)
	}
}
