package plugintest

import (
	"context"
	"errors"
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
// .wasm file, or builtin:NAME. With "" they run natively alone.
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

// kit is a plugin that is ready to run cases: as a module, natively, or both.
type kit struct {
	wasm   *guest
	native *native
}

func open(ctx context.Context, ref string, o options) (*kit, error) {
	k := &kit{}
	if o.native {
		k.native = &native{o.register}
	}
	if ref == "" {
		if k.native == nil {
			return nil, errors.New("there is neither a module nor a native plugin to test")
		}
		return k, nil
	}
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
	k.wasm = &guest{engine, m}
	return k, nil
}

func (k *kit) close() {
	if k.wasm != nil {
		_ = k.wasm.engine.Close(context.Background())
	}
}

// problems runs a case in every way and returns what is wrong. The ways of the
// module are held against its first one, those of the native plugin against
// that one's, and the two first ones against each other: so a difference between
// module and native plugin is told once, and not once for each way.
func (k *kit) problems(ctx context.Context, c *Case) (problems []string) {
	if err := c.valid(); err != nil {
		return []string{err.Error()}
	}
	var firsts []played
	for _, ways := range k.ways(c) {
		first := ways[0].run(ctx, c)
		firsts = append(firsts, first)
		problems = append(problems, first.against(firsts[0])...)
		problems = append(problems, first.unwanted(c)...)
		if late := (*runtime.DeadlineError)(nil); errors.As(first.err, &late) {
			continue // the other ways would take as long, and say the same
		}
		for _, w := range ways[1:] {
			problems = append(problems, w.run(ctx, c).against(first)...)
		}
	}
	return problems
}

// played is what came of a way.
type played struct {
	name string
	out  *Outcome
	err  error
}

func (w *way) run(ctx context.Context, c *Case) played {
	out, err := w.player.play(ctx, c, w.shape, w.ends)
	return played{w.name, out, err}
}

func (r played) against(first played) (problems []string) {
	for _, p := range differences(first.out, r.out, first.err, r.err) {
		problems = append(problems, fmt.Sprintf("%s against %s: %s", first.name, r.name, p))
	}
	return problems
}

func (r played) unwanted(c *Case) (problems []string) {
	for _, p := range c.check(r.out, r.err) {
		problems = append(problems, r.name+": "+p)
	}
	return problems
}

func (c *Case) valid() error {
	if c.WantInit == "" && c.WantError == "" && c.judges() && len(c.Want) != len(c.Records) {
		return fmt.Errorf("case %q: %d records and %d wants; each record needs one", c.Name, len(c.Records), len(c.Want))
	}
	return nil
}

// way is a way of running a case. None must make a difference.
type way struct {
	name   string
	player player
	shape  shape
	ends   []int
}

// How many places a case is cut at; an instance natively costs next to nothing.
const (
	cutsNative = 12
	cutsWasm   = 2
)

// smallAreas are modification areas that are full after an edit or two.
var smallAreas = []int{32, 96, 200, 512}

// ways returns those of the module, and those of the native plugin. The first of
// each is the one that is held against what the case wants.
func (k *kit) ways(c *Case) (ways [][]way) {
	n := len(c.Records)
	if k.wasm != nil {
		ways = append(ways, common("wasm", k.wasm, n, cutsWasm))
	}
	if k.native != nil {
		native := common("native", k.native, n, cutsNative)
		for _, size := range smallAreas {
			s := plainShape
			s.modCap = size
			name := fmt.Sprintf("native, with a modification area of %d bytes", size)
			native = append(native, way{name, k.native, s, []int{n}})
		}
		ways = append(ways, native)
	}
	return ways
}

// common returns the ways that there are both natively and as a module.
func common(name string, p player, n, cuts int) []way {
	whole, singles := []int{n}, []int{}
	for i := range n {
		singles = append(singles, i+1)
	}
	ways := []way{
		{name, p, plainShape, whole},
		{name + ", a second time", p, plainShape, whole},
		{name + ", with stretched headers", p, stretchedShape, whole},
		{name + ", one record a batch", p, plainShape, singles},
	}
	step := max(1, n/cuts)
	for at := step; at < n; at += step {
		ways = append(ways, way{fmt.Sprintf("%s, cut before record %d", name, at), p, plainShape, []int{at, n}})
	}
	return ways
}
