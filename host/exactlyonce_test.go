package host_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
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
	seen := map[string]int{}
	for _, v := range readCommitted(t, b, topic) {
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
		const n = 3000
		fill(t, b, "raw", n)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0)) // used by the brokers' goroutine alone
		faults := map[string]int{}
		var mu sync.Mutex
		refuse := func(key kmsg.Key, err *kerr.Error, one int) {
			b.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: -1, When: func(kmsg.Request) bool {
				if rng.IntN(one) > 0 {
					return false
				}
				mu.Lock()
				defer mu.Unlock()
				faults[fmt.Sprint(key.Name(), " ", err.Message)]++
				return true
			}})
		}
		refuse(kmsg.EndTxn, kerr.TransactionAbortable, 15)
		refuse(kmsg.EndTxn, kerr.ConcurrentTransactions, 10)
		refuse(kmsg.TxnOffsetCommit, kerr.IllegalGeneration, 20)
		refuse(kmsg.TxnOffsetCommit, kerr.CoordinatorLoadInProgress, 10)
		refuse(kmsg.Produce, kerr.TransactionAbortable, 60)
		refuse(kmsg.InitProducerID, kerr.CoordinatorLoadInProgress, 5)

		pass := host.WithInterceptor("j", judge{})
		ctx, cancel := context.WithCancel(within(t))
		defer cancel()
		var hosts sync.WaitGroup
		for _, id := range []string{"a", "b"} {
			hosts.Go(func() {
				chance := rand.New(rand.NewPCG(seed, uint64(id[0])))
				for ctx.Err() == nil {
					if runOnce(t, ctx, b, id, chance, pass) {
						return
					}
				}
			})
		}
		hosts.Wait()
		onceEach(t, b, "clean", numbered(n))
		if got := committedOf(t, b, "p", "raw"); got != n {
			t.Errorf("the group has committed %d, want %d", got, n)
		}
		mu.Lock()
		defer mu.Unlock()
		t.Log(slices.Sorted(maps.Keys(faults)), faults)
		if len(faults) < 3 {
			t.Errorf("faults %v: too few kinds were made", faults)
		}
	})
}

// runOnce runs a host for a moment, ends it in some way, and reports whether it
// had come to the end of its input.
func runOnce(t *testing.T, ctx context.Context, b *testBroker, id string, chance *rand.Rand, opts ...host.Option) bool {
	cfg := exactlyOnce(id)
	p := cfg.Pipeline["p"]
	p.StopAtEnd = false
	cfg.Pipeline["p"] = p
	cfg.Cluster.BootstrapServers = b.Addrs()
	h, err := host.New(cfg, opts...)
	if err != nil {
		t.Error(err)
		return true
	}
	running, stop := context.WithTimeout(ctx, time.Duration(50+chance.IntN(400))*time.Millisecond)
	defer stop()
	if err := h.Run(running); err != nil && !errors.Is(err, klamm.ErrFenced) && !strings.Contains(err.Error(), "FENCED_INSTANCE_ID") {
		t.Errorf("host %s: %v", id, err)
	}
	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := h.Close(closing); err != nil {
		t.Errorf("close host %s: %v", id, err)
	}
	return committedOf(t, b, "p", "raw") >= 3000
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
	second := newHost(t, b, exactlyOnce("h"), host.WithInterceptor("j", judge{}))
	fillFrom(t, b, "raw", 500, 500)
	must(t, second.Run(within(t)))
	waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == 1000 })
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the zombie ended without an error")
		}
	case <-within(t).Done():
		t.Error("the zombie runs on")
	}
	onceEach(t, b, "clean", numbered(1000))
}
