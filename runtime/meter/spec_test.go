package meter_test

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/tetratelabs/wazero/api"
)

// The WebAssembly specification's test suite, as the engine's module carries it.
type specScript struct {
	Commands []specCommand
}

type specCommand struct {
	Type     string
	Line     int
	Name     string
	Filename string
	As       string
	Action   specAction
	Text     string
	Module   string `json:"module_type"`
}

type specAction struct {
	Type   string
	Field  string
	Module string
	Args   []specValue
}

type specValue struct {
	Type  string
	Lane  string `json:"lane_type"`
	Value any
}

func specDir(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
	if _, statErr := os.Stat(filepath.Join(dir, "v2", "testdata")); err != nil || statErr != nil {
		t.Skipf("the module cache has no WebAssembly specification suite (%v, %v)", err, statErr)
	}
	return dir
}

// TestSpecificationSuite runs the suite's scripts unmetered and metered, with
// slices so small that yield is called all the time, and compares everything that
// scripts can see.
func TestSpecificationSuite(t *testing.T) {
	dir := specDir(t)
	var total specCounts
	for version, features := range map[string]api.CoreFeatures{"v1": api.CoreFeaturesV1, "v2": api.CoreFeaturesV2} {
		scripts, err := filepath.Glob(filepath.Join(dir, version, "testdata", "*.json"))
		if err != nil || len(scripts) == 0 {
			t.Fatalf("no scripts: %v", err)
		}
		for _, script := range scripts {
			name := strings.TrimSuffix(filepath.Base(script), ".json")
			t.Run(version+"/"+name, func(t *testing.T) {
				r := newSpecRun(t, dir, script, features)
				r.run()
				total.add(r.counts)
			})
		}
	}
	t.Logf("%+v", total)
	if total.Modules < 1000 || total.Calls < 30_000 || total.Traps < 1000 || total.Refused < 1000 || total.Yields < 10_000 {
		t.Errorf("not all of the suite ran: %+v", total)
	}
}

type specCounts struct{ Modules, Calls, Traps, Refused, Yields int }

func (c *specCounts) add(o specCounts) {
	c.Modules += o.Modules
	c.Calls += o.Calls
	c.Traps += o.Traps
	c.Refused += o.Refused
	c.Yields += o.Yields
}

// specRun is a script running on two machines.
type specRun struct {
	t       *testing.T
	dir     string
	script  specScript
	plain   *machine
	metered *machine
	last    [2]api.Module
	named   map[string][2]api.Module
	all     [][2]api.Module
	counts  specCounts
}

func newSpecRun(t *testing.T, dir, script string, features api.CoreFeatures) *specRun {
	t.Helper()
	r := &specRun{
		t: t, dir: filepath.Dir(script), plain: newMachineOf(t, features, false), metered: newMachineOf(t, features, true),
		named: map[string][2]api.Module{},
	}
	r.metered.options.Slice = 40
	r.metered.refuel = 40
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r.script); err != nil {
		t.Fatal(err)
	}
	host, err := os.ReadFile(filepath.Join(dir, "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*machine{r.plain, r.metered} {
		if _, err := m.rt.Instantiate(ctx, host); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *specRun) run() {
	for i := 0; i < len(r.script.Commands); i++ {
		c := &r.script.Commands[i]
		switch c.Type {
		case "module":
			as := ""
			if n := i + 1; n < len(r.script.Commands) && r.script.Commands[n].Type == "register" {
				as = r.script.Commands[n].As
				i++
			}
			r.module(c, as)
		case "assert_return", "action", "assert_trap", "assert_exhaustion":
			r.action(c)
		case "assert_invalid", "assert_malformed":
			r.refused(c)
		case "assert_unlinkable", "assert_uninstantiable":
			r.notStarted(c)
		case "register":
			r.t.Errorf("line %d: register without a module before it", c.Line)
		default:
			r.t.Errorf("line %d: unknown command %q", c.Line, c.Type)
		}
	}
	for _, m := range r.all {
		r.compareState(m)
	}
	r.counts.Yields = int(r.metered.yields)
}

func (r *specRun) read(c *specCommand) []byte {
	r.t.Helper()
	wasm, err := os.ReadFile(filepath.Join(r.dir, c.Filename))
	if err != nil {
		r.t.Fatalf("line %d: %v", c.Line, err)
	}
	return wasm
}

func (r *specRun) module(c *specCommand, as string) {
	r.t.Helper()
	wasm := r.read(c)
	plain, err := r.plain.start(wasm, as)
	if err != nil {
		r.t.Fatalf("line %d: unmetered: %v", c.Line, err)
	}
	metered, err := r.metered.start(wasm, as)
	if err != nil {
		r.t.Fatalf("line %d: metered: %v", c.Line, err)
	}
	r.last = [2]api.Module{plain, metered}
	r.all = append(r.all, r.last)
	if c.Name != "" {
		r.named[c.Name] = r.last
	}
	r.counts.Modules++
}

func (r *specRun) action(c *specCommand) {
	r.t.Helper()
	mods := r.last
	if c.Action.Module != "" {
		mods = r.named[c.Action.Module]
	}
	if mods[0] == nil {
		r.t.Fatalf("line %d: no module %q", c.Line, c.Action.Module)
	}
	if c.Action.Type == "get" {
		a, b := mods[0].ExportedGlobal(c.Action.Field).Get(), mods[1].ExportedGlobal(c.Action.Field).Get()
		if a != b {
			r.t.Errorf("line %d: global %q is %x unmetered, %x metered", c.Line, c.Action.Field, a, b)
		}
		return
	}
	depth(mods[1]).Set(1 << 16)
	args := specArgs(r.t, c.Action.Args)
	want, wantErr := mods[0].ExportedFunction(c.Action.Field).Call(ctx, args...)
	got, gotErr := mods[1].ExportedFunction(c.Action.Field).Call(ctx, args...)
	r.counts.Calls++
	switch {
	case c.Type == "assert_exhaustion":
		if wantErr == nil || gotErr == nil {
			r.t.Errorf("line %d: exhaustion: unmetered %v, metered %v", c.Line, wantErr, gotErr)
		}
	case trap(wantErr) != trap(gotErr):
		r.t.Errorf("line %d: %s(%x): unmetered %q, metered %q", c.Line, c.Action.Field, args, trap(wantErr), trap(gotErr))
	case wantErr != nil:
		r.counts.Traps++
	case !slices.Equal(want, got) && !refResult(mods[0], c.Action.Field):
		r.t.Errorf("line %d: %s(%x) = %x unmetered, %x metered", c.Line, c.Action.Field, args, want, got)
	}
	if gotErr == nil && int32(depth(mods[1]).Get()) != 1<<16 {
		r.t.Errorf("line %d: %s: depth is %d afterwards", c.Line, c.Action.Field, int32(depth(mods[1]).Get()))
	}
}

// refResult reports whether a function returns references, which are addresses.
func refResult(mod api.Module, name string) bool {
	const funcref = 0x70
	return slices.Contains(mod.ExportedFunction(name).Definition().ResultTypes(), funcref)
}

// refused checks that metering makes no invalid module valid.
func (r *specRun) refused(c *specCommand) {
	r.t.Helper()
	if c.Module != "binary" {
		return
	}
	wasm := r.read(c)
	if _, err := r.plain.rt.CompileModule(ctx, wasm); err == nil {
		return // the engine is more lenient here
	}
	r.counts.Refused++
	res, err := meter.Rewrite(wasm, meter.Options{})
	if err != nil {
		return
	}
	if _, err := r.metered.rt.CompileModule(ctx, res.Wasm); err == nil {
		r.t.Errorf("line %d: %s: %s: the metered module is accepted", c.Line, c.Filename, c.Text)
	}
}

func (r *specRun) notStarted(c *specCommand) {
	r.t.Helper()
	wasm := r.read(c)
	_, want := r.plain.start(wasm, "")
	_, got := r.metered.start(wasm, "")
	if (want == nil) != (got == nil) {
		r.t.Errorf("line %d: unmetered %v, metered %v", c.Line, want, got)
	}
}

func (r *specRun) compareState(mods [2]api.Module) {
	r.t.Helper()
	compareMemory(r.t, mods)
}

func compareMemory(t *testing.T, mods [2]api.Module) {
	t.Helper()
	if len(mods[0].ExportedMemoryDefinitions()) == 0 {
		return
	}
	a, b := mods[0].Memory(), mods[1].Memory()
	if a.Size() != b.Size() {
		t.Errorf("memory of %d bytes unmetered, %d metered", a.Size(), b.Size())
		return
	}
	x, _ := a.Read(0, a.Size())
	y, _ := b.Read(0, b.Size())
	for i := range x {
		if x[i] != y[i] {
			t.Errorf("memory differs from byte %d on", i)
			return
		}
	}
}

func specArgs(t *testing.T, values []specValue) []uint64 {
	t.Helper()
	var args []uint64
	for _, v := range values {
		if v.Type == "v128" {
			args = append(args, vectorArg(t, v)...)
			continue
		}
		args = append(args, scalarArg(t, v.Type, v.Value))
	}
	return args
}

func scalarArg(t *testing.T, typ string, value any) uint64 {
	t.Helper()
	text, ok := value.(string)
	switch {
	case !ok || text == "null":
		return 0
	case strings.HasPrefix(text, "nan"):
		if typ == "f32" {
			return uint64(math.Float32bits(float32(math.NaN())))
		}
		return math.Float64bits(math.NaN())
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		var signed int64
		signed, err = strconv.ParseInt(text, 10, 64)
		v = uint64(signed)
	}
	if err != nil {
		t.Fatalf("value %q of type %s", text, typ)
	}
	switch typ {
	case "externref":
		return v + 1 // 0 is null
	case "i32", "f32":
		return uint64(uint32(v))
	}
	return v
}

func vectorArg(t *testing.T, v specValue) []uint64 {
	t.Helper()
	lanes, ok := v.Value.([]any)
	if !ok {
		t.Fatalf("vector %v", v.Value)
	}
	width := 128 / len(lanes)
	words := make([]uint64, 2)
	for i, lane := range lanes {
		x := scalarArg(t, v.Lane, lane)
		if width < 64 {
			x &= 1<<width - 1
		}
		words[i*width/64] |= x << (i * width % 64)
	}
	return words
}
