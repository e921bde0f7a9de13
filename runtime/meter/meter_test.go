package meter_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/plugins"
	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

func rewrite(t *testing.T, wasm []byte) *meter.Result {
	t.Helper()
	before := bytes.Clone(wasm)
	res, err := meter.Rewrite(wasm, meter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, wasm) {
		t.Fatal("the input was changed")
	}
	again, err := meter.Rewrite(wasm, meter.Options{})
	if err != nil || !bytes.Equal(again.Wasm, res.Wasm) {
		t.Fatalf("the second result differs (%v)", err)
	}
	if res.Added != len(res.Wasm)-len(wasm) {
		t.Errorf("%d bytes added, says %d", len(res.Wasm)-len(wasm), res.Added)
	}
	return res
}

func TestFacts(t *testing.T) {
	null := op(0xd0, tFuncref)
	for _, tc := range []struct {
		name                 string
		code                 []byte
		grows, tables, drops bool
	}{
		{"nothing", nil, false, false, false},
		{"memory.size", cat(op(0x3f, 0), drop), false, false, false},
		{"memory.fill", cat(i32c(0), i32c(0), i32c(0), memFill), false, false, false},
		{"memory.init", cat(i32c(0), i32c(0), i32c(0), misc(8, 0, 0)), false, false, false},
		{"table.get", cat(i32c(0), num(0x25, 0), drop), false, false, false},
		{"memory.grow", cat(i32c(0), op(0x40, 0), drop), true, false, false},
		{"table.set", cat(i32c(0), null, num(0x26, 0)), false, true, false},
		{"table.grow", cat(null, i32c(0), misc(15, 0), drop), false, true, false},
		{"table.fill", cat(i32c(0), null, i32c(0), misc(17, 0)), false, true, false},
		{"table.copy", cat(i32c(0), i32c(0), i32c(0), misc(14, 0, 0)), false, true, false},
		{"table.init", cat(i32c(0), i32c(0), i32c(0), misc(12, 0, 0)), false, true, false},
		{"data.drop", misc(9, 0), false, false, true},
		{"elem.drop", misc(13, 0), false, false, true},
		{"in code that is never reached", cat(trapNow, misc(13, 0)), false, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := new(wasmModule)
			m.memory(1)
			m.table(1)
			m.data.add(op(1), vec([]byte("x")))
			m.elems.add(op(1, 0), uleb(0))
			m.fn("f", nil, nil, nil, tc.code)
			res := rewrite(t, m.bytes())
			if res.GrowsMemory != tc.grows || res.ChangesTables != tc.tables || res.DropsSegments != tc.drops {
				t.Errorf("grows memory %v, changes tables %v, drops segments %v", res.GrowsMemory, res.ChangesTables, res.DropsSegments)
			}
			mod := newMachine(t, true).mustStart(m.bytes())
			if _, err := mod.ExportedFunction("f").Call(ctx); err != nil && tc.name[:2] != "in" {
				t.Error(err)
			}
		})
	}
}

func TestMutableGlobalsAreExported(t *testing.T) {
	m := new(wasmModule)
	m.global(tI32, true, i32c(7))
	m.global(tI32, false, i32c(8))
	m.global(tI64, true, i64c(9))
	m.global(tV128, true, append([]byte{0xfd, 12}, make([]byte, 16)...))
	m.global(tFuncref, true, op(0xd0, tFuncref))
	m.export("mine", 3, 2)
	res := rewrite(t, m.bytes())
	want := []meter.Global{
		{Index: 0, Name: "__klamm_g0", Type: tI32},
		{Index: 2, Name: "__klamm_g2", Type: tI64},
		{Index: 3, Name: "__klamm_g3", Type: tV128},
		{Index: 4, Name: "__klamm_g4", Type: tFuncref},
	}
	if !slices.Equal(res.Globals, want) {
		t.Fatalf("got %+v", res.Globals)
	}
	mod := newMachine(t, true).mustStart(m.bytes())
	if v := mod.ExportedGlobal("__klamm_g2").Get(); v != 9 || mod.ExportedGlobal("mine").Get() != 9 {
		t.Errorf("global 2 is %d", v)
	}
	if v := fuel(mod).Get(); v != 1_000_000 {
		t.Errorf("fuel at the beginning: %d", v)
	}
}

func TestStartFunctionIsAnExport(t *testing.T) {
	m := new(wasmModule)
	m.global(tI32, true, i32c(1))
	fn := m.fn("", nil, nil, nil, num(0x23, 0), i32c(10), op(0x6c), num(0x24, 0))
	m.export("g", 3, 0)
	if rewrite(t, m.bytes()).HasStart {
		t.Error("there is no start function yet")
	}
	m.start = uleb(uint64(fn))
	res := rewrite(t, m.bytes())
	if !res.HasStart {
		t.Fatal("no start function")
	}
	host := newMachine(t, true)
	mod, err := host.rt.Instantiate(ctx, res.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	if v := mod.ExportedGlobal("g").Get(); v != 1 {
		t.Errorf("it ran before it was called: %d", v)
	}
	if _, err := mod.ExportedFunction(meter.StartExport).Call(ctx); err != nil || mod.ExportedGlobal("g").Get() != 10 {
		t.Errorf("after the call: %d, %v", mod.ExportedGlobal("g").Get(), err)
	}
}

func TestRefused(t *testing.T) {
	with := func(change func(m *wasmModule)) []byte {
		m := new(wasmModule)
		change(m)
		return m.bytes()
	}
	code := func(b ...[]byte) []byte {
		return with(func(m *wasmModule) {
			m.memory(1)
			m.table(1)
			m.global(tI32, true, i32c(0))
			m.fn("f", nil, nil, []byte{tI32}, b...)
		})
	}
	for _, tc := range []struct {
		name string
		wasm []byte
		want string
	}{
		{"nothing", nil, "no WebAssembly"},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00"), "version 1"},
		{"a metered module", rewrite(t, code()).Wasm, "reserved"},
		{"the import", with(func(m *wasmModule) { m.importFunc("klamm", "yield", m.typ(nil, nil)) }), "reserved"},
		{"a reserved export", with(func(m *wasmModule) { m.fn("__klamm_x", nil, nil, nil) }), "reserved"},
		{"the fuel global", code(num(0x23, 1), drop), "global 1, there are 1"},
		{"writing the depth global", code(i32c(0), num(0x24, 2)), "global 2, there are 1"},
		{"the local of a bulk instruction", code(get(0), get(1), get(0), memFill), "local 1, there are 1"},
		{"calling yield", code(call(1)), "function 1, there are 1"},
		{"a reference to yield", code(num(0xd2, 1), drop), "function 1, there are 1"},
		{"an undeclared reference to the start function", with(func(m *wasmModule) {
			m.start = uleb(uint64(m.fn("", nil, nil, nil, num(0xd2, 0), drop)))
		}), "not declared"},
		{"a start function with parameters", with(func(m *wasmModule) {
			m.start = uleb(uint64(m.fn("", []byte{tI32}, nil, nil)))
		}), "start function with 1"},
		{"a type behind the module's", code(i32c(0), num(0x11, 1, 0)), "type 1, there are 1"},
		{"a block of such a type", code(num(0x02, 1), end), "block type"},
		{"a block of a negative type", code(op(0x02, 0x64), end), "block type"},
		{"a branch too far", code(br(1)), "branch out of 1"},
		{"else without if", code(otherwise), "else without if"},
		{"code behind the end", code(end, op(0x01)), "too many"},
		{"tail call", code(num(0x12, 0)), "tail calls"},
		{"exception handling", code(op(0x06, 0x40), end), "exception handling"},
		{"typed references", code(op(0x14, 0)), "typed function references"},
		{"garbage collection", code(op(0xfb, 0)), "garbage collection"},
		{"threads", code(op(0xfe, 0x03, 0)), "threads"},
		{"relaxed SIMD", code(op(0xfd), uleb(0x100)), "relaxed SIMD"},
		{"no vector instruction", code(op(0xfd), uleb(0x9a)), "unknown vector instruction"},
		{"no instruction", code(op(0x27)), "unknown instruction 0x27"},
		{"no bulk instruction", code(op(0xfc, 18)), "unknown instruction 0xfc 18"},
		{"a second memory", with(func(m *wasmModule) { m.memory(1); m.memories.add(op(0, 1)) }), "multiple memories"},
		{"memory 1", code(op(0x3f, 1), drop), "multiple memories"},
		{"shared memory", with(func(m *wasmModule) { m.memories.add(op(3, 1, 1)) }), "shared"},
		{"64-bit memory", with(func(m *wasmModule) { m.memories.add(op(4, 1)) }), "64-bit"},
		{"a tag", append([]byte("\x00asm\x01\x00\x00\x00"), 13, 0), "exception handling"},
		{"an extended constant", with(func(m *wasmModule) { m.global(tI32, false, cat(i32c(1), i32c(1), op(0x6a))) }), "extended"},
		{"too many locals", with(func(m *wasmModule) {
			m.declare(m.typ(nil, nil))
			m.code.add(vec(cat(op(1), uleb(1<<32-1), op(tI32), end)))
		}), "locals"},
		{"deep nesting", code(bytes.Repeat(block, 10_001), bytes.Repeat(end, 10_001)), "nested"},
		{"2^32-1 types", append([]byte("\x00asm\x01\x00\x00\x00"), section(1, uleb(1<<32-1))...), "types declared"},
		{"names cut off", with(func(m *wasmModule) { m.custom("name", op(1, 3, 200, 1)) }), "3 bytes declared"},
		{"the module's name cut off", with(func(m *wasmModule) { m.custom("name", op(0, 3, 9, 'm', 'o')) }), "section name"},
		{"more behind the module's name", with(func(m *wasmModule) { m.custom("name", op(0, 3, 1, 'm', 'o')) }), "section name"},
		{"2^32-1 names", with(func(m *wasmModule) { m.custom("name", cat(op(1), vec(uleb(1<<32-1)))) }), "names declared"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := meter.Rewrite(tc.wasm, meter.Options{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestCustomSections(t *testing.T) {
	m := new(wasmModule)
	m.fn("", nil, nil, nil)
	for _, name := range []string{"producers", "klamm.manifest", ".debug_line", "reloc.CODE", "linking", "sourceMappingURL", "target_features"} {
		m.custom(name, []byte("content of "+name))
	}
	res := rewrite(t, m.bytes())
	for name, kept := range map[string]bool{
		"producers": true, "klamm.manifest": true, "target_features": true,
		".debug_line": false, "reloc.CODE": false, "linking": false, "sourceMappingURL": false,
	} {
		if got := bytes.Contains(res.Wasm, []byte("content of "+name)); got != kept {
			t.Errorf("section %s: kept %v", name, got)
		}
	}
}

// nameSection names functions and some locals, the module, and a global.
func nameSection(functions map[int]string) []byte {
	var names, locals entries
	for fn := range 10 {
		if name, ok := functions[fn]; ok {
			names.add(uleb(uint64(fn)), str(name))
			locals.add(uleb(uint64(fn)), op(1, 0), str("local"))
		}
	}
	sub := func(id byte, e entries) []byte { return append([]byte{id}, vec(cat(uleb(uint64(e.n)), e.b))...) }
	return cat(op(0), vec(str("module")), sub(1, names), sub(2, locals), op(7), vec(cat(op(1, 0), str("global"))))
}

// Stacks of traps are the same as without the meter, with names and without.
func TestStacksNameFunctions(t *testing.T) {
	for _, tc := range []struct {
		name  string
		names map[int]string
	}{
		{"no names", nil},
		{"all names", map[int]string{0: "imported", 1: "leaf", 2: "middle", 3: "outer"}},
		{"some names", map[int]string{2: "middle"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := new(wasmModule)
			m.importFunc("host", "h", m.typ(nil, nil))
			leaf := m.fn("", []byte{tI32}, nil, nil, trapNow)
			middle := m.fn("", nil, nil, nil, i32c(1), call(leaf))
			m.fn("f", nil, nil, nil, loop, call(middle), br(0), end)
			if tc.names != nil {
				m.custom("name", nameSection(tc.names))
			}
			var text [2]string
			for i, metered := range []bool{false, true} {
				host := newMachine(t, metered)
				b := host.rt.NewHostModuleBuilder("host")
				b.NewFunctionBuilder().WithFunc(func() {}).Export("h")
				if _, err := b.Instantiate(ctx); err != nil {
					t.Fatal(err)
				}
				_, err := host.mustStart(m.bytes()).ExportedFunction("f").Call(ctx)
				text[i] = err.Error()
			}
			if text[0] != text[1] || strings.Count(text[1], "\n\t") != 3 {
				t.Errorf("unmetered %s\nmetered %s", text[0], text[1])
			}
		})
	}
}

// What names say about locals and globals stays where it belongs.
func TestNamesFollow(t *testing.T) {
	m := new(wasmModule)
	m.importFunc("host", "h", m.typ(nil, nil))
	m.fn("", []byte{tI32}, nil, nil)
	m.custom("name", nameSection(map[int]string{0: "imported", 1: "own"}))
	res := rewrite(t, m.bytes())
	want := cat(
		op(0), vec(str("module")),
		op(1), vec(cat(op(3), op(0), str("imported"), op(1), str("klamm.yield"), op(2), str("own"))),
		op(2), vec(cat(op(2), op(0, 1, 0), str("local"), op(2, 1, 0), str("local"))),
		op(7), vec(cat(op(1, 0), str("global"))),
	)
	if !bytes.HasSuffix(res.Wasm, want) {
		t.Errorf("module ends with %q\nwant %q", res.Wasm[max(0, len(res.Wasm)-len(want)):], want)
	}
}

// The module of the embedded plugins is metered and compiles.
func TestEmbeddedPlugins(t *testing.T) {
	wasm, _, _ := plugins.Builtin("dedup")
	res := rewrite(t, wasm)
	if !res.GrowsMemory || res.Checks < 50 || len(res.Globals) == 0 {
		t.Errorf("grows memory %v, %d checks, globals %v", res.GrowsMemory, res.Checks, res.Globals)
	}
	if res.Added > len(wasm)/4 {
		t.Errorf("%d bytes added to %d", res.Added, len(wasm))
	}
	if _, err := newMachine(t, true).rt.CompileModule(ctx, res.Wasm); err != nil {
		t.Fatal(err)
	}
}

// A Go guest and a C guest give the same results metered.
func TestGuests(t *testing.T) {
	guests := map[string][]byte{"c": cGuest(t)}
	work := map[string][]workload{"c": cWork, "go": goWork}
	if !testing.Short() {
		wasm, err := goGuest()
		if err != nil {
			t.Fatal(err)
		}
		guests["go"] = wasm
	}
	for name, wasm := range guests {
		t.Run(name, func(t *testing.T) {
			plain, metered := newMachine(t, false), newMachine(t, true)
			var mods [2]api.Module
			for i, m := range []*machine{plain, metered} {
				wasi_snapshot_preview1.MustInstantiate(ctx, m.rt)
				mods[i] = m.mustStart(wasm)
				callIf(t, mods[i], "_initialize")
				callIf(t, mods[i], "setup")
			}
			for _, w := range work[name] {
				want, wantErr := mods[0].ExportedFunction(w.function).Call(ctx, w.n)
				got, gotErr := mods[1].ExportedFunction(w.function).Call(ctx, w.n)
				if wantErr != nil || gotErr != nil || !slices.Equal(want, got) {
					t.Errorf("%s(%d): unmetered %v, %v; metered %v, %v", w.function, w.n, want, wantErr, got, gotErr)
				}
			}
			if name == "c" {
				compareMemory(t, mods)
			}
		})
	}
}

func callIf(t *testing.T, mod api.Module, name string) {
	t.Helper()
	if f := mod.ExportedFunction(name); f != nil {
		if _, err := f.Call(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// Two runs of the same burn the same fuel, whatever the slices are.
func TestFuelIsDeterministic(t *testing.T) {
	burn := func(slice int64) int64 {
		m := newMachine(t, true)
		m.options.Slice, m.refuel = slice, slice
		granted := slice
		m.yielded = func(mod api.Module) { granted += slice - int64(fuel(mod).Get()) }
		mod := m.mustStart(cGuest(t))
		for _, w := range append([]workload{{"setup", 0}}, cWork...) {
			args := []uint64{w.n}
			if w.function == "setup" {
				args = nil
			}
			depth(mod).Set(1 << 16)
			if _, err := mod.ExportedFunction(w.function).Call(ctx, args...); err != nil {
				t.Fatal(err)
			}
		}
		return granted - int64(fuel(mod).Get())
	}
	want := burn(1_000_000)
	for _, slice := range []int64{1, 1000, 77_777} {
		if got := burn(slice); got != want {
			t.Errorf("slices of %d: %d units burned, want %d", slice, got, want)
		}
	}
	if want < 100_000 {
		t.Errorf("%d units burned", want)
	}
}

// Rewriting a body that is hostile to it takes time in proportion to its size.
func TestLinear(t *testing.T) {
	big := func(n int, part ...[]byte) []byte {
		m := new(wasmModule)
		m.memory(1)
		m.data.add(op(1), vec(nil))
		m.fn("f", nil, nil, []byte{tI32}, bytes.Repeat(cat(part...), n))
		return m.bytes()
	}
	for _, tc := range []struct {
		name string
		wasm []byte
	}{
		{"loops", big(100_000, loop, end)},
		{"branch tables", big(1000, block, i32c(0), num(0x0e, append([]int{1000}, make([]int, 1001)...)...), end)},
		{"returns", big(200_000, block, ret, end)},
		{"bulk instructions", big(50_000, i32c(0), i32c(0), i32c(0), misc(8, 0, 0))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := rewrite(t, tc.wasm)
			if res.Added > 20*len(tc.wasm) {
				t.Errorf("%d bytes became %d", len(tc.wasm), len(res.Wasm))
			}
		})
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	m := new(wasmModule)
	m.memory(1)
	m.table(2)
	m.global(tI32, true, i32c(0))
	m.data.add(op(1), vec([]byte("x")))
	fn := m.fn("f", []byte{tI32}, []byte{tI32, tI64}, []byte{tI64},
		loop, get(0), ifThen, i32c(0), i32c(0), i32c(9), memFill, otherwise, block, get(0), num(0x0e, 1, 0, 1), end, end, end,
		get(0), get(1))
	m.elems.add(op(0), i32c(0), end, op(1, 0))
	m.custom("name", nameSection(map[int]string{fn: "f"}))
	f.Add(m.bytes())
	bad := new(wasmModule)
	bad.custom("name", []byte{1, 3, 1, 0, 9}) // a name longer than what is left
	f.Add(bad.bytes())
	for seed := range uint64(5) {
		f.Add(newProgram(seed).module.bytes()[:2000])
	}
	plain, metered := newMachine(f, false), newMachine(f, true)
	f.Fuzz(func(t *testing.T, wasm []byte) {
		res, err := meter.Rewrite(wasm, meter.Options{})
		if err != nil || len(wasm) > 1<<16 {
			return
		}
		// Counts are sound now, so that the engine may see it: what it takes, it
		// takes metered, and what it refuses, it refuses metered. It refuses a bad
		// section of names, which the specification says is to be passed over; the
		// rewriter writes a new one.
		_, want := plain.rt.CompileModule(ctx, withoutNames(wasm))
		_, got := metered.rt.CompileModule(ctx, res.Wasm)
		if (want == nil) != (got == nil) {
			t.Fatalf("unmetered: %v; metered: %v", want, got)
		}
	})
}

// withoutNames leaves the sections of names out of a module whose sections are
// known to be sound. Another section takes their place behind all others: the
// engine takes an empty one there for the end.
func withoutNames(wasm []byte) []byte {
	out := slices.Clone(wasm[:8])
	for at := 8; at < len(wasm); {
		size, n := binary.Uvarint(wasm[at+1:])
		body := at + 1 + n
		end := body + int(size)
		length, n := binary.Uvarint(wasm[body:end])
		if wasm[at] != 0 || string(wasm[body+n:body+n+int(length)]) != "name" {
			out = append(out, wasm[at:end]...)
		}
		at = end
	}
	return append(out, 0, 3, 1, 'x', 0)
}
