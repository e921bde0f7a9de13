package meter_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// goGuest builds testdata/goguest, once.
var goGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "goguest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/goguest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(err.Error() + ": " + string(msg))
	}
	return os.ReadFile(out)
})

func cGuest(t testing.TB) []byte {
	t.Helper()
	wasm, err := os.ReadFile("testdata/cguest/guest.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

type workload struct {
	function string
	n        uint64
}

var (
	cWork = []workload{
		{"fnv", 200}, {"crc", 200}, {"murmur", 200}, {"mask", 1024}, {"sort", 512}, {"fib", 15},
		{"copies", 64}, {"indirect", 200},
	}
	goWork = []workload{{"fnv", 200}, {"route", 64}, {"mask", 1024}, {"sort", 512}, {"fib", 15}}
)

// BenchmarkOverhead measures what metering costs. Both modules run by turns and
// the quickest turns count, so that other load on the machine does not.
func BenchmarkOverhead(b *testing.B) {
	for _, guest := range []string{"c", "go"} {
		wasm, work := cGuest(b), cWork
		if guest == "go" {
			var err error
			if wasm, err = goGuest(); err != nil {
				b.Fatal(err)
			}
			work = goWork
		}
		mods := [2]api.Module{guestModule(b, wasm, false), guestModule(b, wasm, true)}
		for _, w := range append([]workload{{"noop", 0}}, work...) {
			b.Run(guest+"/"+w.function, func(b *testing.B) { compare(b, mods, w) })
		}
	}
}

func guestModule(b *testing.B, wasm []byte, metered bool) api.Module {
	b.Helper()
	m := newMachine(b, metered)
	wasi_snapshot_preview1.MustInstantiate(ctx, m.rt)
	mod := m.mustStart(wasm)
	for _, name := range []string{"_initialize", "setup"} {
		if f := mod.ExportedFunction(name); f != nil {
			if _, err := f.Call(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
	return mod
}

func compare(b *testing.B, mods [2]api.Module, w workload) {
	b.Helper()
	var fns [2]api.Function
	for i, mod := range mods {
		fns[i] = mod.ExportedFunction(w.function)
	}
	stack := make([]uint64, 1)
	turn := func(i, calls int) time.Duration {
		begin := time.Now()
		for range calls {
			stack[0] = w.n
			if err := fns[i].CallWithStack(ctx, stack); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(begin)
	}
	calls := 1
	for turn(0, calls) < 50*time.Microsecond {
		calls *= 2
	}
	best := [2]time.Duration{time.Hour, time.Hour}
	for b.Loop() {
		for i := range best {
			best[i] = min(best[i], turn(i, calls))
		}
	}
	per := func(i int) float64 { return float64(best[i]) / float64(calls) }
	b.ReportMetric(per(0), "plain-ns")
	b.ReportMetric(per(1), "metered-ns")
	b.ReportMetric(per(1)/per(0), "ratio")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkRewrite(b *testing.B) {
	goWasm, err := goGuest()
	if err != nil {
		b.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		wasm []byte
	}{{"go", goWasm}, {"c", cGuest(b)}} {
		b.Run(tc.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(tc.wasm)))
			var res *meter.Result
			for b.Loop() {
				if res, err = meter.Rewrite(tc.wasm, meter.Options{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(res.Checks), "checks")
			b.ReportMetric(100*float64(res.Added)/float64(len(tc.wasm)), "%added")
		})
	}
}
