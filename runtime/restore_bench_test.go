package runtime

import (
	"context"
	"os"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// touching is a guest that writes into each of its first pages in every call.
func touching(mib int) []byte {
	g := &w.Guest{Pages: mib * 16}
	g.Data(100, []byte("something"))
	g.Hook(abi.OnSend, abi.FieldKey,
		w.Loop,
		w.LocalGet(2), w.I32Const(1), w.I32Store(256),
		w.LocalGet(2), w.I32Const(4096), w.I32Add, w.LocalSet(2),
		w.LocalGet(2), w.I32Const(int32(mib<<20)-4096), w.I32LtU, w.BrIf(0), w.End,
		w.I64Const(0))
	return g.Bytes()
}

// BenchmarkRecovery measures what a fault costs besides itself: to restore the
// instance after a call, and to make another one instead. The median counts.
func BenchmarkRecovery(b *testing.B) {
	c, err := os.ReadFile("../testdata/faulty/faulty.wasm")
	if err != nil {
		b.Fatal(err)
	}
	golang, err := goGuest()
	if err != nil {
		b.Fatal(err)
	}
	for _, g := range []struct {
		name string
		wasm []byte
	}{{"c", c}, {"go", golang}, {"touches-1MiB", touching(1)}, {"touches-8MiB", touching(8)}, {"touches-15MiB", touching(15)}} {
		p := newEngine(b).NewPlugin(PluginConfig{Name: "p", Timeout: 10 * time.Second, Grants: GrantAll})
		b.Cleanup(func() { _ = p.Close(context.Background()) })
		if err := p.Load(context.Background(), g.wasm); err != nil {
			b.Fatal(err)
		}
		s := sit(b, p, newFakeHost())
		keys := withKeys("a", "a", "a", "a")
		call := func() { judge(b, s, abi.OnSend, keys) }
		b.Run("restore/"+g.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				call()
				in := s.cur.in
				in.dead = true
				begun := time.Now()
				if !in.restore() {
					b.Fatal("not restored")
				}
				took = append(took, time.Since(begun))
			}
			b.ReportMetric(float64(s.cur.in.mem.length)/(1<<20), "MiB")
			b.ReportMetric(float64(s.p.e.SnapshotBytes())/(1<<20), "saved-MiB")
			reportMedian(b, took)
		})
		b.Run("anew/"+g.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				begun := time.Now()
				in, err := p.instanceFor(p.Active(), s.at)
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begun))
				in.close()
			}
			reportMedian(b, took)
		})
	}
}

func reportMedian(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e3, "median-us")
	b.ReportMetric(float64(took[len(took)*99/100])/1e3, "p99-us")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMemory compares memory of the system with memory of the Go heap: to
// make an instance, to grow its memory by calls that touch it, and what the
// collector has to do meanwhile.
func BenchmarkMemory(b *testing.B) {
	for _, kind := range []struct {
		name    string
		reserve func(n int) (reservation, error)
	}{{"mapped", reserve}, {"heap", reserveHeap}} {
		b.Run("instance/"+kind.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := kind.reserve(16 << 20)
				if err != nil {
					b.Fatal(err)
				}
				for at := 0; at < 1<<20; at += grain { // what a small guest touches
					r.reserved[at] = 1
				}
				r.release(r.reserved)
			}
		})
		b.Run("collect-with-64-instances/"+kind.name, func(b *testing.B) {
			var all []reservation
			for range 64 {
				r, err := kind.reserve(16 << 20)
				if err != nil {
					b.Fatal(err)
				}
				r.reserved[0] = 1
				all = append(all, r)
			}
			for b.Loop() {
				goruntime.GC()
			}
			var ms goruntime.MemStats
			goruntime.ReadMemStats(&ms)
			b.ReportMetric(float64(ms.HeapAlloc)/(1<<20), "heap-MiB")
			b.ReportMetric(float64(ms.NextGC)/(1<<20), "next-collection-MiB")
			for _, r := range all {
				r.release(r.reserved)
			}
		})
	}
}
