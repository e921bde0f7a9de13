package interceptor

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/plugins"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

const benchRecords = 64

// benchBatch fills b as a host does: with records of 200 bytes.
func benchBatch(b *Batch, keys, values [][]byte, ref uint64) {
	b.Reset()
	b.NowMS = nowMS
	for i := range keys {
		b.Items = append(b.Items, Item{Ref: ref + uint64(i), Record: klamm.Record{
			Topic: "orders", Key: keys[i], Value: values[i], Timestamp: time.UnixMilli(nowMS),
		}})
	}
}

func benchLane(b *testing.B, l *Lane, after func(*Batch)) {
	keys, values := make([][]byte, benchRecords), make([][]byte, benchRecords)
	for i := range keys {
		keys[i], values[i] = fmt.Appendf(nil, "key-%08d", i), make([]byte, 200)
	}
	var batch Batch
	ctx := context.Background()
	ref := uint64(1)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += benchRecords {
		benchBatch(&batch, keys, values, ref)
		l.OnSend(ctx, &batch)
		if after != nil {
			after(&batch)
		}
		ref += benchRecords
	}
}

func BenchmarkBatch(b *testing.B) {
	benchLane(b, chainOf(b, ChainConfig{}), nil)
}

func BenchmarkNative(b *testing.B) {
	for links := 1; links <= 2; links++ {
		b.Run(fmt.Sprint(links), func(b *testing.B) {
			var list []Link
			for i := range links {
				list = append(list, Link{Name: fmt.Sprint(i), Native: sends(func([]*Item) error { return nil })})
			}
			benchLane(b, chainOf(b, ChainConfig{OnSend: list}), nil)
		})
	}
}

// chainLengths are how many plugins stand in the chains of benchmarks.
var chainLengths = []int{1, 2, 4}

// BenchmarkGuest is the sieve, written by hand, with ids that are all new.
func BenchmarkGuest(b *testing.B) {
	for _, links := range chainLengths {
		b.Run(fmt.Sprint(links), func(b *testing.B) {
			e := engineOf(b)
			var list []Link
			ledger := benchLedger(b)
			for i := range links {
				name := fmt.Sprint("sieve", i)
				list = append(list, Link{Name: name, Plugin: pluginOf(b, e, name, sieve(sieveOptions{})), Space: benchSpace(b, ledger, name)})
			}
			benchLane(b, chainOf(b, ChainConfig{OnSend: list}), release(ledger))
		})
	}
}

// BenchmarkBuiltin is the embedded dedup, which claims all keys at once.
func BenchmarkBuiltin(b *testing.B) {
	for _, links := range chainLengths {
		b.Run(fmt.Sprint(links), func(b *testing.B) {
			e := engineOf(b)
			var list []Link
			ledger := benchLedger(b)
			for i := range links {
				name := fmt.Sprint("dedup", i)
				list = append(list, Link{Name: name, Plugin: builtin(b, e, "dedup", name), Space: benchSpace(b, ledger, name)})
			}
			benchLane(b, chainOf(b, ChainConfig{OnSend: list}), release(ledger))
		})
	}
}

// BenchmarkPassing is a chain of plugins that touch nothing: what a block and its
// verdicts cost for each plugin more.
func BenchmarkPassing(b *testing.B) {
	for _, links := range chainLengths {
		b.Run(fmt.Sprint(links), func(b *testing.B) {
			e := engineOf(b)
			var list []Link
			for i := range links {
				name := fmt.Sprint("pass", i)
				list = append(list, Link{Name: name, Plugin: pluginOf(b, e, name, passing())})
			}
			benchLane(b, chainOf(b, ChainConfig{OnSend: list}), nil)
		})
	}
}

// passing is a plugin that sees keys and values and does nothing.
func passing() []byte {
	var start, send ops
	start.num64(int64(abi.PackInit(abi.OnSend.Mask(), [abi.HookCount]abi.Fields{abi.OnSend: abi.FieldKey | abi.FieldValue}, 0)))
	send.num64(0)
	m := module{}
	m.function(abi.ExportMarker, nil, nil, 0, nil)
	m.function(abi.ExportAlloc, []byte{i32}, []byte{i32}, 0, freshPages())
	m.function(abi.ExportInit, []byte{i32, i32}, []byte{i64}, 0, start)
	m.function(abi.ExportOnSend, []byte{i32, i32}, []byte{i64}, 0, send)
	return m.bytes("")
}

func builtin(b *testing.B, e *runtime.Engine, plugin, name string) *runtime.Plugin {
	b.Helper()
	wasm, env, _ := plugins.Builtin(plugin)
	p := e.NewPlugin(runtime.PluginConfig{Name: name, Config: []byte("{}"), Env: env, Grants: runtime.GrantAll})
	if err := p.Load(context.Background(), wasm); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return p
}

func benchLedger(b *testing.B) *state.Ledger {
	b.Helper()
	l := state.NewLedger(state.Options{})
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := l.Open("ids", state.StoreConfig{Backend: "memory", MaxEntries: 1 << 20, MaxBytes: 1 << 20, ScopeTopic: true}); err != nil {
		b.Fatal(err)
	}
	return l
}

func benchSpace(b *testing.B, l *state.Ledger, plugin string) *state.Space {
	b.Helper()
	s, err := l.Space("ids", plugin, state.SpaceOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// release settles records as failed, all of a batch at once, so that their ids
// are new again.
func release(l *state.Ledger) func(*Batch) {
	var refs []state.Ref
	var fates []state.Settlement
	return func(b *Batch) {
		refs, fates = refs[:0], fates[:0]
		for i := range b.Items {
			it := &b.Items[i]
			if !it.Claimed {
				panic("the benchmark's records are no new ones")
			}
			refs = append(refs, state.Ref(it.Ref))
			fates = append(fates, state.Settlement{Outcome: klamm.Failed, NowMS: nowMS})
		}
		l.SettleAll(refs, fates, nil)
	}
}
