package host_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

var errFlaky = errors.New("not now")

// flaky fails records, by key, so often; below zero: always.
type flaky struct {
	mu    sync.Mutex
	left  map[string]int
	calls map[string]int
}

func newFlaky(left map[string]int) *flaky { return &flaky{left: left, calls: map[string]int{}} }

func (f *flaky) judge(it *interceptor.Item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := string(it.Record.Key)
	f.calls[key]++
	if f.left[key] != 0 {
		f.left[key]--
		it.Fail(errFlaky)
	}
}

func (f *flaky) called(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[key]
}

// retrying is a pipeline that tries records again, of either guarantee.
func retrying(once bool, n int, backoff time.Duration) host.Config {
	cfg := exactlyOnce("h")
	p := cfg.Pipeline["p"]
	if !once {
		p.Guarantee = "at_least_once"
	}
	p.DeadLetterTopic = "dead"
	p.Retries, p.RetryBackoff, p.RetryBackoffMax = n, host.Duration(backoff), host.Duration(backoff)
	cfg.Pipeline["p"] = p
	return cfg
}

// hooked is a native interceptor that judges in one of the hooks.
func hooked(hook string, cfg *host.Config, f func(*interceptor.Item)) host.Option {
	c := cfg.Chain["c"]
	if hook == "on_consume" {
		c.OnSend, c.OnConsume = nil, []string{"j"}
		cfg.Chain["c"] = c
		return host.WithInterceptor("j", judge{consume: f})
	}
	return host.WithInterceptor("j", judge{send: f})
}

func eachRetrying(t *testing.T, f func(t *testing.T, once bool, hook string)) {
	for _, once := range []bool{false, true} {
		for _, hook := range []string{"on_send", "on_consume"} {
			t.Run(fmt.Sprintf("exactly once %v, %s", once, hook), func(t *testing.T) { f(t, once, hook) })
		}
	}
}

// inOrder fails the test unless the records of each partition are in the order of
// their numbers.
func inOrder(t *testing.T, recs []*kgo.Record) {
	t.Helper()
	last := map[int32]int{}
	for _, r := range recs {
		n, err := strconv.Atoi(string(r.Key))
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := last[r.Partition]; ok && n < before {
			t.Errorf("partition %d: record %d stands behind %d", r.Partition, n, before)
		}
		last[r.Partition] = n
	}
}

func valuesOf(recs []*kgo.Record) []string {
	all := make([]string, len(recs))
	for i, r := range recs {
		all[i] = string(r.Value)
	}
	return all
}

// A plugin that succeeds at the third try loses nothing to the dead-letter topic,
// and the order of the partitions is kept; a poison record goes there once its tries
// are used up, with their number, and blocks nothing.
func TestRetries(t *testing.T) {
	eachRetrying(t, func(t *testing.T, once bool, hook string) {
		b := startBroker(t, 3, "raw", "clean", "dead")
		const n = 500
		fill(t, b, "raw", n)
		f := newFlaky(map[string]int{"7": 2, "100": 1, "101": 2, "250": -1, "499": 2})
		cfg := retrying(once, 2, time.Millisecond)
		h := newHost(t, b, cfg, hooked(hook, &cfg, f.judge))
		must(t, h.Run(within(t)))
		stats := h.Stats().Pipelines["p"]
		balanced(t, stats.Counts, n)
		if stats.DeadLettered != 1 || stats.Out != n-1 || stats.Retries != 2+1+2+2+2 {
			t.Errorf("counts %+v, %d retries", stats.Counts, stats.Retries)
		}
		clean := committedRecords(t, b, "clean")
		want := numbered(n)
		onceOf(t, "clean", valuesOf(clean), append(want[:250:250], want[251:]...))
		inOrder(t, clean)
		dead := committedRecords(t, b, "dead")
		onceOf(t, "dead", valuesOf(dead), []string{"value-250"})
		if len(dead) == 1 {
			if got := headerOf(dead[0], interceptor.HeaderAttempts); got != "3" {
				t.Errorf("attempts %q, want 3", got)
			}
			if got := headerOf(dead[0], interceptor.HeaderHook); got != hook {
				t.Errorf("hook %q, want %q", got, hook)
			}
		}
		if f.called("250") != 3 {
			t.Errorf("the poison record was judged %d times", f.called("250"))
		}
		if got := committedOf(t, b, "p", "raw"); got != n {
			t.Errorf("the group has committed %d, want %d", got, n)
		}
	})
}

func headerOf(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// A partition of nothing but poison records is held for the tries of one of them, or
// little more: they are judged together, and each is judged as often as one alone.
func TestManyPoisonRecordsAtOnce(t *testing.T) {
	eachRetrying(t, func(t *testing.T, once bool, hook string) {
		b := startBroker(t, 1, "raw", "clean", "dead")
		const n, tries = 400, 3
		fill(t, b, "raw", n)
		left := map[string]int{}
		for i := range n {
			left[strconv.Itoa(i)] = -1
		}
		f := newFlaky(left)
		cfg := retrying(once, tries, time.Millisecond)
		h := newHost(t, b, cfg, hooked(hook, &cfg, f.judge))
		must(t, h.Run(within(t)))
		stats := h.Stats().Pipelines["p"]
		balanced(t, stats.Counts, n)
		if stats.DeadLettered != n || stats.Retries > n*tries {
			t.Errorf("counts %+v, %d retries", stats.Counts, stats.Retries)
		}
		dead := committedRecords(t, b, "dead")
		onceOf(t, "dead", valuesOf(dead), numbered(n))
		inOrder(t, dead)
		for i := range n {
			if got := f.called(strconv.Itoa(i)); got > tries+1 {
				t.Fatalf("record %d was judged %d times", i, got)
			}
		}
	})
}

// While a partition waits for a record's next try, for minutes here, the others go
// on. A host that ends meanwhile does so at once, and leaves what it holds to the
// next one, which loses and doubles nothing.
func TestARetryHoldsItsPartitionAlone(t *testing.T) {
	eachRetrying(t, func(t *testing.T, once bool, hook string) {
		b := startBroker(t, 3, "raw", "clean", "dead")
		const n = 600
		fill(t, b, "raw", n)
		first, ends := map[int32]int{}, map[int32]int64{}
		for _, r := range readTopic(t, b, "raw") {
			ends[r.Partition]++
			i, _ := strconv.Atoi(string(r.Key))
			if at, ok := first[r.Partition]; !ok || i < at {
				first[r.Partition] = i
			}
		}
		held := strconv.Itoa(first[1])
		cfg := retrying(once, 5, 5*time.Minute)
		p := cfg.Pipeline["p"]
		p.StopAtEnd = false
		cfg.Pipeline["p"] = p
		f := newFlaky(map[string]int{held: -1})
		h := newHost(t, b, cfg, hooked(hook, &cfg, f.judge))
		ctx, cancel := context.WithCancel(within(t))
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		waitFor(t, func() bool {
			all := offsetsOf(t, b, "p", "raw")
			return all[0] == ends[0] && all[2] == ends[2] && f.called(held) > 0
		})
		cancel()
		must(t, <-ended)
		if at := offsetsOf(t, b, "p", "raw")[1]; at != 0 {
			t.Errorf("partition 1 is committed up to %d", at)
		}
		must(t, h.Close(within(t)))
		p.StopAtEnd = true
		cfg.Pipeline["p"] = p
		next := newHost(t, b, cfg, hooked(hook, &cfg, func(*interceptor.Item) {}))
		must(t, next.Run(within(t)))
		clean := committedRecords(t, b, "clean")
		onceOf(t, "clean", valuesOf(clean), numbered(n))
		inOrder(t, clean)
		if f.called(held) != 1 {
			t.Errorf("it was judged %d times within the pause", f.called(held))
		}
	})
}

// A rebalance takes partitions away from a host that holds records of all of them.
func TestARebalanceTakesWhatIsHeld(t *testing.T) {
	eachRetrying(t, func(t *testing.T, once bool, hook string) {
		b := startBroker(t, 4, "raw", "clean", "dead")
		const n = 400
		fill(t, b, "raw", n)
		left := map[string]int{}
		for i := range n {
			left[strconv.Itoa(i)] = -1
		}
		f := newFlaky(left)
		run := func(id string, judge func(*interceptor.Item)) (*host.Host, func()) {
			cfg := retrying(once, 5, 5*time.Minute)
			cfg.Host.ID = id
			cfg.Consumer.Heartbeat = host.Duration(50 * time.Millisecond)
			p := cfg.Pipeline["p"]
			p.StopAtEnd = false
			cfg.Pipeline["p"] = p
			h := newHost(t, b, cfg, hooked(hook, &cfg, judge))
			ctx, cancel := context.WithCancel(within(t))
			ended := make(chan error, 1)
			go func() { ended <- h.Run(ctx) }()
			return h, func() { cancel(); must(t, <-ended) }
		}
		first, endFirst := run("a", f.judge)
		waitFor(t, func() bool {
			return first.Stats().Pipelines["p"].Retries >= 4 && len(first.Stats().Pipelines["p"].Partitions) == 4
		})
		second, endSecond := run("b", func(*interceptor.Item) {})
		waitFor(t, func() bool { return len(second.Stats().Pipelines["p"].Partitions) == 2 })
		waitFor(t, func() bool { return second.Stats().Pipelines["p"].Out > 0 && second.Stats().Pipelines["p"].Lag == 0 })
		endFirst()
		must(t, first.Close(within(t)))
		third, endThird := run("a", func(*interceptor.Item) {})
		waitFor(t, func() bool { return committedOf(t, b, "p", "raw") == n })
		endSecond()
		endThird()
		_ = third
		clean := committedRecords(t, b, "clean")
		onceOf(t, "clean", valuesOf(clean), numbered(n))
		inOrder(t, clean)
	})
}

// A fault whose policy is dead_letter has its tries too; the verdict of that name has
// none.
func TestRetriesBeforeAPolicysDeadLetter(t *testing.T) {
	for _, once := range []bool{false, true} {
		t.Run(fmt.Sprint("exactly once ", once), func(t *testing.T) {
			b := startBroker(t, 1, "raw", "clean", "dead")
			cfg := retrying(once, 2, time.Millisecond)
			cfg.Chain = map[string]host.ChainConfig{"c": {Topics: []string{"clean"}, OnSend: []string{"j", "faulty"}, DeadLetterTopic: "dead"}}
			cfg.Plugin = map[string]host.PluginConfig{"faulty": {Module: "../testdata/faulty/faulty.wasm", OnError: "dead_letter"}}
			var mu sync.Mutex
			seen := map[string]int{}
			h := newHost(t, b, cfg, host.WithInterceptor("j", judge{send: func(it *interceptor.Item) {
				mu.Lock()
				defer mu.Unlock()
				seen[string(it.Record.Key)]++
				if string(it.Record.Key) == "verdict" {
					it.DeadLetter("as it says")
				}
			}}))
			cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.DefaultProduceTopic("raw"))
			must(t, err)
			defer cl.Close()
			for _, key := range []string{"a", "traps", "verdict", "z"} {
				must(t, cl.ProduceSync(within(t), &kgo.Record{Key: []byte(key), Value: []byte(key)}).FirstErr())
			}
			must(t, h.Run(within(t)))
			stats := h.Stats().Pipelines["p"]
			balanced(t, stats.Counts, 4)
			if stats.DeadLettered != 2 || stats.Dropped != 2 || stats.Retries != 2 {
				t.Errorf("counts %+v, %d retries", stats.Counts, stats.Retries)
			}
			attempts := map[string]string{}
			for _, r := range committedRecords(t, b, "dead") {
				attempts[string(r.Key)] = headerOf(r, interceptor.HeaderAttempts)
			}
			if len(attempts) != 2 || attempts["traps"] != "3" || attempts["verdict"] != "" {
				t.Errorf("attempts %q", attempts)
			}
		})
	}
}

// A handler's errors are tried again too, and what it never takes goes to the
// consumer's dead-letter topic.
func TestHandlersRetry(t *testing.T) {
	b := startBroker(t, 2, "raw", "dead")
	const n = 200
	fill(t, b, "raw", n)
	var cfg host.Config
	cfg.Consumer.GroupID, cfg.Consumer.DeadLetterTopic = "g", "dead"
	cfg.Consumer.Retries, cfg.Consumer.RetryBackoff, cfg.Consumer.RetryBackoffMax = 2, host.Duration(time.Millisecond), host.Duration(time.Millisecond)
	h := newHost(t, b, cfg)
	f := newFlaky(map[string]int{"5": 2, "50": -1, "150": 1})
	var mu sync.Mutex
	var handled []*kgo.Record
	c, err := h.Consumer("raw")
	must(t, err)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(ctx, func(_ context.Context, rec *klamm.Record) error {
			it := interceptor.Item{Record: *rec}
			f.judge(&it)
			mu.Lock()
			defer mu.Unlock()
			if it.Err == nil {
				handled = append(handled, &kgo.Record{Partition: rec.Partition, Key: append([]byte(nil), rec.Key...), Value: append([]byte(nil), rec.Value...)})
			}
			clear(rec.Value) // it is the handler's own
			return it.Err
		})
	}()
	waitFor(t, func() bool { s := c.Stats(); return s.Out+s.DeadLettered == n })
	cancel()
	must(t, <-ended)
	stats := c.Stats()
	must(t, c.Close())
	balanced(t, stats.Counts, n)
	if stats.DeadLettered != 1 || stats.Retries != 2+2+1 {
		t.Errorf("counts %+v, %d retries", stats.Counts, stats.Retries)
	}
	want := numbered(n)
	onceOf(t, "handled", valuesOf(handled), append(want[:50:50], want[51:]...))
	inOrder(t, handled)
	dead := committedRecords(t, b, "dead")
	onceOf(t, "dead", valuesOf(dead), []string{"value-50"})
	if len(dead) == 1 && (headerOf(dead[0], interceptor.HeaderAttempts) != "3" || headerOf(dead[0], interceptor.HeaderHook) != interceptor.HookHandler ||
		headerOf(dead[0], interceptor.HeaderReason) != errFlaky.Error()) {
		t.Errorf("headers %v", dead[0].Headers)
	}
	if got := committedOf(t, b, "g", "raw"); got != n {
		t.Errorf("the group has committed %d, want %d", got, n)
	}
}

// TestHandlerThatFailsForGood ends a consumer that has no dead-letter topic: what
// comes after the record in its partition is not handled, and is read again.
func TestHandlerThatFailsForGood(t *testing.T) {
	b := startBroker(t, 1, "raw")
	const n = 100
	fill(t, b, "raw", n)
	var cfg host.Config
	cfg.Consumer.GroupID = "g"
	cfg.Consumer.Retries, cfg.Consumer.RetryBackoff, cfg.Consumer.RetryBackoffMax = 2, host.Duration(time.Millisecond), host.Duration(time.Millisecond)
	c, err := newHost(t, b, cfg).Consumer("raw")
	must(t, err)
	var last atomic.Int64
	var tries atomic.Int64
	err = c.Run(within(t), func(_ context.Context, rec *klamm.Record) error {
		if rec.Offset == 50 {
			tries.Add(1)
			return errFlaky
		}
		last.Store(rec.Offset)
		return nil
	})
	if !errors.Is(err, errFlaky) {
		t.Errorf("it ended with %v", err)
	}
	if tries.Load() != 3 || last.Load() != 49 {
		t.Errorf("%d tries; the last record that was handled is %d, want 49", tries.Load(), last.Load())
	}
	must(t, c.Close())
	if got := committedOf(t, b, "g", "raw"); got != 50 {
		t.Errorf("the group has committed %d, want 50", got)
	}
}

// TestRetriesAtRandom has records fail at random beside dedup, with duplicates in
// other partitions and transactions that are lost: each id is written once, in
// order, but for those that are poison.
func TestRetriesAtRandom(t *testing.T) {
	versions(t, func(t *testing.T, start func(int, ...string) *testBroker) {
		b := start(3, "raw", "clean", "dead")
		const n = 1500
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		left := map[string]int{}
		poison := map[string]bool{}
		for i := range n {
			switch key := strconv.Itoa(i); rng.IntN(20) {
			case 0:
				left[key], poison[key] = -1, true
			case 1, 2:
				left[key] = 1 + rng.IntN(2)
			}
		}
		f := newFlaky(left)
		cfg := retrying(true, 2, time.Millisecond)
		cfg.State = map[string]host.StateConfig{"ids": {Scope: "state"}}
		cfg.Plugin = map[string]host.PluginConfig{"dedup": {Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "key", "window": "0s"}}}
		cfg.Chain = map[string]host.ChainConfig{"c": {Topics: []string{"clean"}, OnSend: []string{"dedup", "j"}, OnConsume: []string{"d"}}}
		faults := newRefusals(t, b, seed)
		faults.refuse(kmsg.EndTxn, kerr.TransactionAbortable, 15)
		faults.refuse(kmsg.Produce, kerr.TransactionAbortable, 60)
		var sent []*kgo.Record
		for i := range n {
			key := strconv.Itoa(i)
			sent = append(sent, &kgo.Record{Partition: int32(rng.IntN(3)), Key: []byte(key), Value: value(i)})
			if i > 20 && rng.IntN(5) == 0 && !poison[key] {
				if of := strconv.Itoa(i - rng.IntN(20)); !poison[of] {
					sent = append(sent, &kgo.Record{Partition: int32(rng.IntN(3)), Key: []byte(of), Value: []byte("value-" + of)})
				}
			}
			if rng.IntN(10) == 0 {
				sent = append(sent, &kgo.Record{Partition: int32(rng.IntN(3)), Key: []byte("drop"), Value: []byte("drop")})
			}
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.DefaultProduceTopic("raw"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		must(t, err)
		defer cl.Close()
		must(t, cl.ProduceSync(within(t), sent...).FirstErr())
		h := newHost(t, b, cfg, host.WithInterceptor("j", judge{send: f.judge}), host.WithInterceptor("d", judge{consume: func(it *interceptor.Item) {
			if string(it.Record.Key) == "drop" {
				it.Drop("as it says")
			}
		}}))
		must(t, h.Run(within(t)))
		stats := h.Stats().Pipelines["p"]
		balanced(t, stats.Counts, int64(len(sent)))
		var want, dead []string
		for i := range n {
			if poison[strconv.Itoa(i)] {
				dead = append(dead, string(value(i)))
			} else {
				want = append(want, string(value(i)))
			}
		}
		onceEach(t, b, "clean", want)
		onceEach(t, b, "dead", dead)
		if stats.Retries == 0 || stats.Out != int64(len(want)) || stats.DeadLettered != int64(len(dead)) {
			t.Errorf("counts %+v, %d retries", stats.Counts, stats.Retries)
		}
		t.Log(stats.Counts, stats.Retries, "retries;", faults)
	})
}

// A record that dedup has claimed in on_consume, and a plugin behind it failed, is no
// duplicate of itself at the next try.
func TestRetriesBehindAClaimOfTheSameRecord(t *testing.T) {
	for _, once := range []bool{false, true} {
		for _, hook := range []string{"on_send", "on_consume"} {
			t.Run(fmt.Sprintf("exactly once %v, %s", once, hook), func(t *testing.T) {
				b := startBroker(t, 1, "raw", "clean", "dead")
				const n = 100
				fill(t, b, "raw", n)
				fill(t, b, "raw", n) // again: all of them are duplicates
				f := newFlaky(map[string]int{"7": 2, "8": 1, "50": -1})
				cfg := retrying(once, 2, time.Millisecond)
				cfg.State = map[string]host.StateConfig{"ids": {Scope: "state"}}
				cfg.Plugin = map[string]host.PluginConfig{"dedup": {Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "key", "window": "0s"}}}
				chain := host.ChainConfig{Topics: []string{"clean"}, OnConsume: []string{"dedup", "j"}}
				j := judge{consume: f.judge}
				if hook == "on_send" {
					chain.OnConsume, chain.OnSend = []string{"dedup"}, []string{"j"}
					j = judge{send: f.judge}
				}
				cfg.Chain = map[string]host.ChainConfig{"c": chain}
				h := newHost(t, b, cfg, host.WithInterceptor("j", j))
				must(t, h.Run(within(t)))
				balanced(t, h.Stats().Pipelines["p"].Counts, 2*n)
				want := numbered(n)
				onceOf(t, "clean", valuesOf(committedRecords(t, b, "clean")), append(want[:50:50], want[51:]...))
				onceOf(t, "dead", valuesOf(committedRecords(t, b, "dead")), []string{"value-50"})
			})
		}
	}
}

// Two pipelines share the ids of dedup. While a record of one waits for the record of
// the other that it duplicates, that one fails, and is tried again: so is the one that
// waits. The id is written once, and neither pipeline stops.
func TestATwinInAnotherPipelineIsTriedAgain(t *testing.T) {
	for _, poison := range []bool{false, true} {
		t.Run(fmt.Sprint("poison ", poison), func(t *testing.T) {
			b := startBroker(t, 1, "raw", "clean", "raw2", "clean2", "dead")
			cfg := retrying(false, 2, time.Millisecond)
			cfg.State = map[string]host.StateConfig{"ids": {Scope: "state"}}
			cfg.Plugin = map[string]host.PluginConfig{"dedup": {Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "key", "window": "0s"}}}
			cfg.Chain = map[string]host.ChainConfig{
				"c":  {Topics: []string{"clean"}, OnSend: []string{"dedup", "j"}},
				"c2": {Topics: []string{"clean2"}, OnSend: []string{"dedup"}, OnConsume: []string{"gate"}},
			}
			two := cfg.Pipeline["p"]
			two.From, two.To = []string{"raw2"}, "clean2"
			cfg.Pipeline["p2"] = two
			const n = 400 // more than a block: a Send judges one, while another goroutine waits in the other chain
			fill(t, b, "raw", 1)
			fill(t, b, "raw2", n)
			f := newFlaky(map[string]int{"0": 1})
			if poison {
				f.left["0"] = -1
			}
			var h *host.Host
			claimed := make(chan struct{})
			waited := sync.OnceFunc(func() {
				close(claimed)
				comes(t, func() bool { s := h.Stats().States; return len(s) > 0 && s[0].Waiters > 0 })
			})
			h = newHost(t, b, cfg, host.WithInterceptor("j", judge{send: func(it *interceptor.Item) { waited(); f.judge(it) }}),
				host.WithInterceptor("gate", judge{consume: func(*interceptor.Item) { <-claimed }}))
			must(t, h.Run(within(t)))
			stats := h.Stats()
			balanced(t, stats.Pipelines["p"].Counts, 1)
			balanced(t, stats.Pipelines["p2"].Counts, n)
			clean, clean2 := valuesOf(committedRecords(t, b, "clean")), valuesOf(committedRecords(t, b, "clean2"))
			dead := valuesOf(committedRecords(t, b, "dead"))
			if poison && len(dead) == 1 { // once that is there another one of its id may pass
				clean2 = slices.DeleteFunc(clean2, func(v string) bool { return v == dead[0] })
			}
			onceOf(t, "all", slices.Concat(clean, clean2, dead), numbered(n))
		})
	}
}
