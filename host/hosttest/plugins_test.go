package hosttest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
	"github.com/klamm-io/klamm/internal/module"
)

const dedupConfig = `
[state.ids]

[plugin.dedup]
module = "builtin:dedup"
state = "ids"
timeout = "5s" # a busy test machine
[plugin.dedup.config]
id = ["key"]
window = "1h"

[chain.orders]
topics = ["orders"]
on_send = ["dedup"]
`

func ctxOf(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func producer(t *testing.T, h *hosttest.Host) *host.Producer {
	t.Helper()
	p, err := h.Producer()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDedupDropsWhatWasWritten(t *testing.T) {
	h := hosttest.New(t, dedupConfig)
	first := h.Produce("orders", "a", "1")
	again := h.ExpectDropped("orders", "a", "1")
	if again.Plugin != "dedup" || !strings.Contains(again.Reason, "duplicate") {
		t.Fatalf("dropped by %q because of %q; want \"dedup\", a duplicate", again.Plugin, again.Reason)
	}
	h.Produce("orders", "b", "1")
	if first.Offset < 0 {
		t.Fatalf("the first record has offset %d", first.Offset)
	}
}

// The naive recipe loses here: the id is marked, the send fails, the caller's
// retry is dropped as a duplicate of a record that never arrived.
func TestDedupLetsTheRetryOfAFailedSendPass(t *testing.T) {
	h := hosttest.New(t, dedupConfig)
	h.Produce("orders", "warm", "up")
	var refused atomic.Int32
	h.Broker.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if refused.Add(1) > 1 {
			return nil, nil, false
		}
		in := req.(*kmsg.ProduceRequest)
		out := in.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range in.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, part := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode, rp.BaseOffset = part.Partition, kerr.InvalidRecord.Code, -1
				rt.Partitions = append(rt.Partitions, rp)
			}
			out.Topics = append(out.Topics, rt)
		}
		return out, nil, true
	})
	p := producer(t, h)
	rec := &klamm.Record{Topic: "orders", Key: []byte("a"), Value: []byte("1")}
	// A duplicate that meets the first one in flight shares its fate.
	var twin klamm.Result
	var done sync.WaitGroup
	done.Add(2)
	var first klamm.Result
	for _, r := range []*klamm.Result{&first, &twin} {
		if err := p.SendAsync(ctxOf(t), rec, func(res klamm.Result) { *r = res; done.Done() }); err != nil {
			t.Fatal(err)
		}
	}
	done.Wait()
	if first.Outcome != klamm.Failed || twin.Outcome != klamm.Failed {
		t.Fatalf("outcomes %v and %v, want both failed: nothing was written", first.Outcome, twin.Outcome)
	}
	if res, err := p.Send(ctxOf(t), rec); err != nil || res.Outcome != klamm.Written {
		t.Fatalf("the retry: %+v, error %v; want written", res, err)
	}
	h.ExpectDropped("orders", "a", "1")
}

// Many goroutines send the same ids at the same time: each id is written
// exactly once, and every other copy is dropped.
func TestDedupUnderLoad(t *testing.T) {
	h := hosttest.New(t, dedupConfig)
	p := producer(t, h)
	const ids, copies = 2000, 4
	var written, dropped atomic.Int64
	var all sync.WaitGroup
	for range copies {
		all.Go(func() {
			for i := range ids {
				rec := &klamm.Record{Topic: "orders", Key: strconv.AppendInt(nil, int64(i), 10), Value: []byte("v")}
				err := p.SendAsync(context.Background(), rec, func(r klamm.Result) {
					switch r.Outcome {
					case klamm.Written:
						written.Add(1)
					case klamm.Dropped:
						dropped.Add(1)
					default:
						t.Errorf("record %d: %+v", i, r)
					}
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := p.Flush(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	if written.Load() != ids || dropped.Load() != ids*(copies-1) {
		t.Fatalf("%d written, %d dropped; want %d and %d", written.Load(), dropped.Load(), ids, ids*(copies-1))
	}
	counts := p.Counts()
	if !counts.Balanced() || counts.InFlight != 0 {
		t.Fatalf("counts %+v do not balance", counts)
	}
}

func TestRouteByKeepsATenantOnItsPartitions(t *testing.T) {
	h := hosttest.New(t, `
[cluster.embedded]
partitions = 12
[plugin.tenants]
module = "builtin:route-by"
timeout = "5s"
[plugin.tenants.config]
by = "header:tenant"
spread = 2
[chain.orders]
topics = ["orders"]
partitioner = "tenants"
`)
	p := producer(t, h)
	used := map[string]map[int32]bool{}
	for i := range 600 {
		tenant := fmt.Sprintf("tenant-%d", i%5)
		r, err := p.Send(ctxOf(t), &klamm.Record{
			Topic: "orders", Key: strconv.AppendInt(nil, int64(i), 10),
			Headers: []klamm.Header{{Key: "tenant", Value: []byte(tenant)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if used[tenant] == nil {
			used[tenant] = map[int32]bool{}
		}
		used[tenant][r.Partition] = true
		if i == 60 { // enough for a first look without sending 600 one by one
			break
		}
	}
	for tenant, parts := range used {
		if len(parts) > 2 {
			t.Errorf("%s is on partitions %v, want at most 2 of 12", tenant, parts)
		}
	}
}

func TestMaskChangesTheFieldOnly(t *testing.T) {
	h := hosttest.New(t, `
[plugin.mask]
module = "builtin:mask"
timeout = "5s"
[plugin.mask.config]
fields = ["card.number"]
mode = "fixed"
[chain.orders]
topics = ["orders"]
on_send = ["mask"]
`)
	e, err := h.Explain(ctxOf(t), &klamm.Record{Topic: "orders", Value: []byte(`{"id": 7, "card": {"number": "4111111111111111", "x": [1, 2]}}`)})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Steps) == 0 || len(e.Steps[0].Changes) != 1 || strings.Contains(e.Steps[0].Changes[0][strings.Index(e.Steps[0].Changes[0], "->"):], "4111") {
		t.Fatalf("explained as %+v; want one change without the number", e.Steps)
	}
	if p := producer(t, h).Counts(); p.In != 0 {
		t.Fatalf("explaining sent %d records", p.In)
	}
}

// A swap under load: each record is judged by exactly one generation, nothing is
// lost, a broken module changes nothing.
func TestSwapUnderLoad(t *testing.T) {
	dir := t.TempDir()
	one, two := guest(t, "tag1"), guest(t, "tag2")
	file := filepath.Join(dir, "tag.wasm")
	replace := func(bytes []byte) {
		t.Helper()
		if err := os.WriteFile(file+".new", bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	replace(one)
	h := hosttest.New(t, fmt.Sprintf(`
[plugin.tag]
module = %q
timeout = "5s"
[chain.orders]
topics = ["orders"]
on_send = ["tag"]
`, file))
	p := producer(t, h)
	stop := make(chan struct{})
	var sent atomic.Int64
	var sender sync.WaitGroup
	sender.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := p.SendAsync(context.Background(), &klamm.Record{Topic: "orders", Value: []byte("v")}, func(r klamm.Result) {
				if r.Err != nil {
					t.Error(r.Err)
				}
			}); err != nil {
				t.Error(err)
				return
			}
			sent.Add(1)
		}
	})
	for i, next := range [][]byte{two, []byte("not a module"), one, two} {
		waitFor(t, func() bool { return sent.Load() > int64(1000*(i+1)) })
		replace(next)
		res := h.Reload(ctxOf(t))[0]
		if broken := i == 1; broken != (res.Err != nil) {
			t.Fatalf("reload %d: %+v", i, res)
		}
	}
	waitFor(t, func() bool { return sent.Load() > 6000 })
	close(stop)
	sender.Wait()
	if err := p.Flush(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	versions := map[string]int64{}
	for _, rec := range h.Consumed("orders") {
		if len(rec.Headers) != 1 {
			t.Fatalf("a record has %d headers, want that of exactly one generation", len(rec.Headers))
		}
		versions[string(rec.Headers[0].Value)]++
	}
	if versions["1"]+versions["2"] != sent.Load() || versions["1"] == 0 || versions["2"] == 0 {
		t.Fatalf("records by generation: %v, sent %d", versions, sent.Load())
	}
	if gen := h.Stats().Plugins["tag"].Generation; gen != 4 {
		t.Fatalf("generation %d, want 4: the broken module must not count", gen)
	}
}

// guest builds a plugin of testdata.
func guest(t *testing.T, name string) []byte {
	t.Helper()
	m, err := module.Resolve(ctxOf(t), filepath.Join("testdata", name), ".", "")
	if err != nil {
		t.Fatal(err)
	}
	return m.Wasm
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for a minute in vain")
		}
	}
}

func TestBadModulesAreToldTogether(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(filepath.Join(dir, "bad.wasm"), []byte("\x00asm\x0d\x00\x01\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := `
[plugin.gone]
module = "gone.wasm"
[plugin.bad]
module = "bad.wasm"
[plugin.odd]
module = "builtin:dedpu"
[plugin.stateless]
module = "builtin:dedup"
config = { id = ["key"] }
[chain.orders]
topics = ["orders"]
on_send = ["gone", "bad", "odd", "stateless"]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := host.Open(ctxOf(t), path, host.WithEmbedded(hosttest.Embedded))
	if err == nil {
		t.Fatal("the host started")
	}
	for _, want := range []string{"gone.wasm", "component", "dedpu", "dedup"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %q:\n%v", want, err)
		}
	}
	var perr *klamm.PluginError
	if !errors.As(err, &perr) {
		t.Errorf("%T is no *klamm.PluginError", err)
	}
}
