package plugintest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/plugin"
)

// Option changes how Run runs.
type Option func(*options)

type options struct {
	register func()
	native   bool
	cacheDir string
}

// Native also runs the cases natively with what register declares. It is not
// needed for a test in the plugin's own package main, whose init functions have
// declared everything already.
func Native(register func()) Option {
	return func(o *options) { o.register, o.native = register, true }
}

// CacheDir keeps built and compiled modules between runs. Run's default is the
// folder klamm in the user's cache folder, RunFile's is none.
func CacheDir(dir string) Option { return func(o *options) { o.cacheDir = dir } }

// Run runs the cases as subtests with the module ref: a folder of Go source, a
// .wasm file, or builtin:NAME.
func Run(t *testing.T, ref string, cases []Case, opts ...Option) {
	t.Helper()
	o := options{native: plugin.NativeRegistered(), cacheDir: userCache()}
	for _, opt := range opts {
		opt(&o)
	}
	k, err := open(t.Context(), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	for i := range cases {
		t.Run(cases[i].Name, func(t *testing.T) {
			for _, p := range k.problems(t.Context(), &cases[i]) {
				t.Error(p)
			}
		})
	}
}

func userCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "klamm")
}

// kit is a module that is ready to run cases.
type kit struct {
	wasm   guest
	native *native
}

func open(ctx context.Context, ref string, o options) (*kit, error) {
	m, err := module.Resolve(ctx, ref, "", o.cacheDir)
	if err != nil {
		return nil, err
	}
	compiled := o.cacheDir
	if compiled != "" {
		compiled = filepath.Join(compiled, "compiled")
		if err := os.MkdirAll(compiled, 0o700); err != nil {
			return nil, err
		}
	}
	engine, err := runtime.NewEngine(ctx, runtime.EngineConfig{CacheDir: compiled})
	if err != nil {
		return nil, err
	}
	k := &kit{wasm: guest{engine, m}}
	if o.native {
		k.native = &native{o.register}
	}
	return k, nil
}

func (k *kit) close() { _ = k.wasm.engine.Close(context.Background()) }

// problems runs a case in every way and returns what is wrong.
func (k *kit) problems(ctx context.Context, c *Case) (problems []string) {
	if err := c.valid(); err != nil {
		return []string{err.Error()}
	}
	whole := []int{len(c.Records)}
	first, errFirst := k.wasm.play(ctx, c, plainShape, whole)
	for _, p := range c.check(first, errFirst) {
		problems = append(problems, "wasm: "+p)
	}
	for _, v := range k.variants(c) {
		out, err := v.player.play(ctx, c, v.shape, v.ends)
		for _, p := range differences(first, out, errFirst, err) {
			problems = append(problems, fmt.Sprintf("wasm against %s: %s", v.name, p))
		}
	}
	if k.native != nil && len(problems) == 0 {
		// Errors were compared as there or not there; their texts count too.
		out, err := k.native.play(ctx, c, plainShape, whole)
		for _, p := range c.check(out, err) {
			problems = append(problems, "native: "+p)
		}
	}
	return problems
}

func (c *Case) valid() error {
	if c.WantInit == "" && c.WantError == "" && c.judges() && len(c.Want) != len(c.Records) {
		return fmt.Errorf("case %q: %d records and %d wants; each record needs one", c.Name, len(c.Records), len(c.Want))
	}
	return nil
}

// variant is a way of running a case that must make no difference.
type variant struct {
	name   string
	player player
	shape  shape
	ends   []int
}

// maxCuts bounds how many places a case is cut at.
const maxCuts = 12

func (k *kit) variants(c *Case) []variant {
	n := len(c.Records)
	whole, singles := []int{n}, []int{}
	for i := range n {
		singles = append(singles, i+1)
	}
	vs := []variant{
		{"a second run", k.wasm, plainShape, whole},
		{"stretched headers", k.wasm, stretchedShape, whole},
	}
	if n > 1 {
		vs = append(vs, variant{"one record a batch", k.wasm, plainShape, singles})
	}
	if k.native == nil {
		return append(vs, cuts(k.wasm, n, 2)...)
	}
	small := plainShape
	small.modCap = 32
	vs = append(vs,
		variant{"native", k.native, plainShape, whole},
		variant{"native, with stretched headers", k.native, stretchedShape, whole},
		variant{"native, one record a batch", k.native, plainShape, singles},
		variant{"native, with a modification area of 32 bytes", k.native, small, whole},
	)
	for _, capacity := range []int{96, 200, 512} {
		s := plainShape
		s.modCap = capacity
		vs = append(vs, variant{fmt.Sprintf("native, with a modification area of %d bytes", capacity), k.native, s, whole})
	}
	return append(vs, cuts(k.native, n, maxCuts)...)
}

// cuts returns variants with two batches, cut at up to limit places.
func cuts(p player, n, limit int) (vs []variant) {
	step := max(1, n/limit)
	for at := step; at < n; at += step {
		vs = append(vs, variant{fmt.Sprintf("a cut before record %d", at), p, plainShape, []int{at, n}})
	}
	return vs
}
