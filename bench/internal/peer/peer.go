// Package peer runs the operations of the benchmark on each implementation that
// is compared: Klamm's own runtime, plain Go, and other ways to call a
// WebAssembly plugin from Go.
package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/klamm-io/klamm/bench/internal/guests"
	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/workload"
	"github.com/klamm-io/klamm/internal/unmetered"
	"github.com/tetratelabs/wazero"
)

// Judge does one operation on records. It serves one goroutine.
type Judge interface {
	// Judge fills out, one result for each record. Values are valid until the
	// next call.
	Judge(records []workload.Record, out []ops.Result) error
	Close() error
}

// Contender is an implementation with a guest for an operation.
type Contender struct {
	Impl, Guest string // as in rows
	Op          ops.Op
	Open        func(ctx context.Context) (Judge, error)
}

// topic is what all records are of.
const topic = "quakes"

// guestEnv is what Klamm tells Go guests about their collector. The peers' Go
// guests get it too, where the peer can hand it on.
var guestEnv = [][2]string{{"GOGC", "off"}, {"GOMEMLIMIT", "50331648"}}

func withGuestEnv(c wazero.ModuleConfig) wazero.ModuleConfig {
	for _, e := range guestEnv {
		c = c.WithEnv(e[0], e[1])
	}
	return c
}

// Field is all contenders, and what they share.
type Field struct {
	cache     wazero.CompilationCache
	klamm     *klammEngine
	unmetered *klammEngine
	all       []Contender
}

// NewField returns the contenders for which set has a guest. In cacheDir, with
// mode 0700, compiled code is kept; "" keeps none.
func NewField(ctx context.Context, set *guests.Set, cacheDir string) (*Field, error) {
	cache, klammDir, err := caches(cacheDir)
	if err != nil {
		return nil, err
	}
	f := &Field{cache: cache}
	if f.klamm, err = newKlammEngine(ctx, klammDir); err == nil {
		f.unmetered, err = newKlammEngine(unmetered.With(ctx), klammDir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(ctx))
	}
	for _, op := range ops.All() {
		f.add("native", "go", op, func(context.Context) (Judge, error) { return openNative(op), nil })
		for _, lang := range guests.Languages {
			if g, ok := set.Klamm(lang, op); ok {
				f.add("klamm", lang, op, func(ctx context.Context) (Judge, error) { return f.klamm.open(ctx, g) })
				f.add("klamm-unmetered", lang, op, func(ctx context.Context) (Judge, error) { return f.unmetered.open(ctx, g) })
				f.add("close-on-done", lang, op, func(ctx context.Context) (Judge, error) { return openCloseOnDone(ctx, f.cache, g) })
			}
			if wasm, ok := set.Peer("extism", lang); ok {
				f.add("extism", lang, op, func(ctx context.Context) (Judge, error) { return openExtism(ctx, f.cache, wasm, op) })
			}
			if wasm, ok := set.Peer("reflection", lang); ok {
				f.add("reflection", lang, op, func(ctx context.Context) (Judge, error) { return openReflection(ctx, f.cache, wasm, op) })
			}
			if wasm, ok := set.Peer("goplugin", lang); ok {
				f.add("go-plugin", lang, op, func(ctx context.Context) (Judge, error) { return openGoPlugin(ctx, f.cache, wasm, op) })
			}
		}
	}
	return f, nil
}

// caches gives the peers and Klamm a folder each, as Klamm trusts its own only.
func caches(dir string) (peers wazero.CompilationCache, klamm string, err error) {
	if dir == "" {
		return wazero.NewCompilationCache(), "", nil
	}
	klamm = filepath.Join(dir, "compiled-klamm")
	if err := os.MkdirAll(klamm, 0o700); err != nil {
		return nil, "", err
	}
	peers, err = wazero.NewCompilationCacheWithDir(filepath.Join(dir, "compiled-peers"))
	return peers, klamm, err
}

func (f *Field) add(impl, guest string, op ops.Op, open func(context.Context) (Judge, error)) {
	f.all = append(f.all, Contender{impl, guest, op, open})
}

// Contenders returns those for one operation.
func (f *Field) Contenders(op ops.Op) []Contender {
	var out []Contender
	for _, c := range f.all {
		if c.Op == op {
			out = append(out, c)
		}
	}
	return out
}

// Close releases compiled code. Close the judges first.
func (f *Field) Close(ctx context.Context) error {
	var errs []error
	for _, k := range []*klammEngine{f.klamm, f.unmetered} {
		if k != nil {
			errs = append(errs, k.close(ctx))
		}
	}
	return errors.Join(append(errs, f.cache.Close(ctx))...)
}

// Check has j judge the whole ring in batches and compares every result with the
// right one.
func Check(j Judge, op ops.Op, ring *workload.Ring, batch int) error {
	claims := workload.NewClaims()
	out := make([]ops.Result, batch)
	for n := range workload.RingLen / batch {
		records := ring.Batch(n, batch)
		for i := range out { // what is not answered must not look right
			out[i] = ops.Result{Code: 255, Partition: -1}
		}
		if err := j.Judge(records, out); err != nil {
			return err
		}
		for i, want := range workload.Expect(op, claims, records) {
			if err := compare(out[i], want); err != nil {
				return fmt.Errorf("%s of record %d in batches of %d, values of %d B: %w", op, n*batch+i, batch, ring.Size, err)
			}
		}
	}
	return nil
}

func compare(got, want ops.Result) error {
	switch {
	case got.Code != want.Code:
		return fmt.Errorf("verdict %d, want %d", got.Code, want.Code)
	case want.Code == ops.Routed && got.Partition != want.Partition:
		return fmt.Errorf("partition %d, want %d", got.Partition, want.Partition)
	case want.Code == ops.Replaced && !bytes.Equal(got.Value, want.Value):
		return fmt.Errorf("value %.60q..., want %.60q...", got.Value, want.Value)
	}
	return nil
}
