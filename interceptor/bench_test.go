package interceptor

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/plugins"
	"github.com/klamm-io/klamm/runtime"
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

// BenchmarkGuest is the sieve, written by hand, with ids that are all new.
func BenchmarkGuest(b *testing.B) {
	for links := 1; links <= 2; links++ {
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

// BenchmarkBuiltin is the embedded plugins.
func BenchmarkBuiltin(b *testing.B) {
	for _, names := range [][]string{{"dedup"}, {"dedup", "dedup"}} {
		b.Run(fmt.Sprint(len(names)), func(b *testing.B) {
			e := engineOf(b)
			var list []Link
			ledger := benchLedger(b)
			for i, name := range names {
				wasm, env, _ := plugins.Builtin(name)
				name = fmt.Sprint(name, i)
				cfg, err := json.Marshal(map[string]any{})
				if err != nil {
					b.Fatal(err)
				}
				p := e.NewPlugin(runtime.PluginConfig{Name: name, Config: cfg, Env: env, Grants: runtime.GrantAll})
				if err := p.Load(context.Background(), wasm); err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() {
					if err := p.Close(context.Background()); err != nil {
						b.Error(err)
					}
				})
				list = append(list, Link{Name: name, Plugin: p, Space: benchSpace(b, ledger, name)})
			}
			benchLane(b, chainOf(b, ChainConfig{OnSend: list}), release(ledger))
		})
	}
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

// release settles records as failed, so that their ids are new again.
func release(l *state.Ledger) func(*Batch) {
	return func(b *Batch) {
		for i := range b.Items {
			if it := &b.Items[i]; it.Claimed {
				l.Settle(state.Ref(it.Ref), state.Settlement{Outcome: klamm.Failed, NowMS: nowMS})
			} else {
				panic("the benchmark's records are no new ones")
			}
		}
	}
}
