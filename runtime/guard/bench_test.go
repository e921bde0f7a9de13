package guard_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"testing"

	"github.com/klamm-io/klamm/runtime/guard"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
)

// function is a module of type 0, which is t, with functions of that type whose
// bodies are all body, as many as size bytes hold.
func functions(t []byte, locals int, body []byte, size int) []byte {
	if len(t) == 0 {
		t = []byte{0x60, 0, 0}
	}
	groups := []byte{0}
	if locals > 0 {
		groups = slices.Concat([]byte{1}, w.ULEB(uint64(locals)), []byte{w.I32})
	}
	body = slices.Concat(groups, body, w.End)
	body = append(w.ULEB(uint64(len(body))), body...)
	n := size / len(body)
	return raw(
		sec(1, append([]byte{1}, t...)...),
		sec(3, append(w.ULEB(uint64(n)), make([]byte, n)...)...),
		sec(5, 1, 0, 1),
		sec(10, slices.Concat(w.ULEB(uint64(n)), bytes.Repeat(body, n))...),
	)
}

// wide is the type of 256 parameters and as many results.
func wide() []byte {
	list := append(w.ULEB(256), bytes.Repeat([]byte{w.I32}, 256)...)
	return slices.Concat([]byte{0x60}, list, list)
}

func times(n int, b ...byte) []byte { return bytes.Repeat(b, n) }

// worst are modules made to keep the guard busy for as long as their size
// allows.
func worst(size int) map[string][]byte {
	const body = 400 << 10
	all := times(256, 0x20, 0)
	names := slices.Concat([]byte{4}, []byte("name"), []byte{1})
	n := min(size/3, 100_000)
	list := append(w.ULEB(uint64(n)), times(n, 0, 0)...)
	names = append(append(names, w.ULEB(uint64(len(list)))...), list...)
	return map[string][]byte{
		"small instructions":  functions(nil, 1, times(body/4, 0x20, 0, 0x1a, 0x01), size),
		"long numbers":        functions(nil, 1, times(body/11, 0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0x1a), size),
		"calls of 256":        functions(wide(), 0, slices.Concat(all, times(body/2, 0x10, 0)), size),
		"blocks of 256":       functions(wide(), 0, slices.Concat(all, times(1000, 0x02, 0, 0x0b)), size),
		"branches of 256":     functions(wide(), 0, slices.Concat(all, times(1000, 0x20, 0, 0x0d, 0)), size),
		"tables of branches":  functions(nil, 1, slices.Concat([]byte{0x20, 0, 0x0e}, w.ULEB(90_000), times(90_001, 0)), size),
		"tables, unreachable": functions(wide(), 0, slices.Concat(w.Unreachable, times(256, 0x1b), []byte{0x41, 0, 0x0e}, w.ULEB(50_000), times(50_001, 0)), size),
		"loops":               functions(nil, 1000, times(1000, 0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b), size),
		"nested loops":        functions(nil, 100, slices.Concat(times(10_000, 0x03, 0x40), times(10_000, 0x0b)), size),
		"locals":              functions(nil, 10_000, nil, 399*8),
		"empty functions":     functions(nil, 0, times(150, 0x01), size),
		"bad functions":       functions(nil, 0, append(times(150, 0x01), w.Drop...), size),
		"names":               raw(sec(0, names...)),
		"many bad names":      functions(nil, 0, times(body, 0x1b), size),
	}
}

// goPlugin is a plugin compiled by Go, the largest kind there is.
func goPlugin(tb testing.TB) []byte {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "plugin.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "../../plugins/mask/wasm")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if b, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, b)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return wasm
}

func BenchmarkCheck(b *testing.B) {
	modules := worst(16<<20 - 512<<10)
	modules["Go plugin"] = goPlugin(b)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range modules {
			if !yield(n) {
				return
			}
		}
	}) {
		wasm := modules[name]
		b.Run(fmt.Sprintf("%s/%d KiB", name, len(wasm)>>10), func(b *testing.B) {
			b.SetBytes(int64(len(wasm)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = guard.Validate("m", wasm, guard.Limits{})
			}
		})
	}
}

// The verdict on any module comes in bounded memory. How long it takes is
// BenchmarkCheck's matter.
func TestVerdictIsBounded(t *testing.T) {
	for name, wasm := range worst(4 << 20) {
		t.Run(name, func(t *testing.T) {
			var before, after goruntime.MemStats
			goruntime.ReadMemStats(&before)
			_, err := guard.Validate("m", wasm, guard.Limits{})
			goruntime.ReadMemStats(&after)
			allocated := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d KiB, %d KiB allocated: %.120v", len(wasm)>>10, allocated>>10, err)
			if allocated > 64<<20 {
				t.Errorf("%d bytes allocated", allocated)
			}
		})
	}
}

func TestGoPluginIsAccepted(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a plugin")
	}
	if _, err := guard.Check("mask", goPlugin(t), guard.Limits{}); err != nil {
		t.Error(err)
	}
}
