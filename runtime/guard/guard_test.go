package guard_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/runtime/guard"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// plugin is the smallest module that is accepted.
func plugin(change ...func(g *w.Guest)) []byte {
	g := new(w.Guest)
	for _, f := range change {
		f(g)
	}
	g.EachRecord(abi.OnSend, 0)
	return g.Bytes()
}

// raw is a module of sections, written by hand.
func raw(sections ...[]byte) []byte { return slices.Concat(w.Header(), slices.Concat(sections...)) }

func sec(id byte, body ...byte) []byte { return w.Section(id, body) }

var (
	none = sec(1, 1, 0x60, 0, 0) // one type, () -> ()
	one  = sec(3, 1, 0)          // one function of it
	max  = []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
)

func with(b ...[]byte) []byte { return slices.Concat(b...) }

func TestAccepted(t *testing.T) {
	m, err := guard.Check("p", plugin(func(g *w.Guest) {
		g.Import(guard.WASIModule, "fd_write", w.Types{w.I32, w.I32, w.I32, w.I32}, w.Types{w.I32})
		g.Custom(abi.ManifestSection, []byte("{}"))
		g.Custom("name", with([]byte{0, 2, 1, 'm'}, []byte{1, 4, 1, 0, 1, 'f'}, []byte{2, 6, 1, 0, 1, 0, 1, 'l'}, []byte{9, 1, 0xff}))
		g.Custom("producers", []byte{0xff})
		g.Global(-5)
		g.Pages = 3
	}), guard.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Hooks() != abi.OnSend.Mask() || m.Memory != (guard.Memory{Min: 3}) || string(m.Manifest) != "{}" || m.HasStart {
		t.Errorf("got %+v", m)
	}
	if im := m.Imports[0]; im.Name != "fd_write" || im.Type.String() != "(i32, i32, i32, i32) -> i32" {
		t.Errorf("import %+v", im)
	}
	if typ, ok := m.Func(abi.ExportInit); !ok || typ.String() != "(i32, i32) -> i64" {
		t.Errorf("klamm_init is %s", typ)
	}
	if _, ok := m.Func(abi.ExportMemory); ok {
		t.Error("the memory is a function")
	}
}

func TestStructureThatIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		wasm []byte
		want string
	}{
		{"empty", nil, "empty"},
		{"text", []byte("(module)"), "wat2wasm"},
		{"native program", []byte("\x7fELF\x02"), "native program"},
		{"gzip", []byte("\x1f\x8b\x08"), "gzip"},
		{"something", []byte("hello"), `\0asm`},
		{"magic cut off", []byte("\x00as"), `\0asm`},
		{"version cut off", []byte("\x00asm\x01"), "cut off"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), "component"},
		{"version 2", []byte("\x00asm\x02\x00\x00\x00"), "version 2"},
		{"unknown section", raw(sec(15)), "unknown section 15"},
		{"section cut off", raw([]byte{1, 5, 0}), "5 bytes declared, 1 left"},
		{"section size cut off", raw([]byte{1, 0x80}), "cut off"},
		{"section twice", raw(none, none), "stands twice"},
		{"out of order", raw(sec(3, 0), none), "out of order"},
		{"data count after code", raw(sec(10, 0), sec(12, 0)), "out of order"},
		{"bytes too many", raw(sec(1, 0, 0)), "1 bytes too many"},
		{"number of six bytes", raw(sec(1, 0x80, 0x80, 0x80, 0x80, 0x80, 0)), "LEB128"},
		{"number with unused bits", raw(sec(1, 0x80, 0x80, 0x80, 0x80, 0x70)), "LEB128"},
		{"17 bytes that declare 4 G types", raw(sec(1, max...)), "4294967295 types declared, 0 bytes left"},
		{"4 G parameters", raw(sec(1, with([]byte{1, 0x60}, max)...)), "4294967295 parameters declared"},
		{"4 G imports", raw(sec(2, max...)), "4294967295 imports declared"},
		{"4 G functions", raw(sec(3, max...)), "4294967295 functions declared"},
		{"4 G tables", raw(sec(4, max...)), "4294967295 tables declared"},
		{"4 G memories", raw(sec(5, max...)), "4294967295 memories declared"},
		{"4 G globals", raw(sec(6, max...)), "4294967295 globals declared"},
		{"4 G exports", raw(sec(7, max...)), "4294967295 exports declared"},
		{"4 G element segments", raw(sec(9, max...)), "4294967295 element segments declared"},
		{"4 G elements", raw(sec(4, 1, 0x70, 0, 0), sec(9, with([]byte{1, 0, 0x41, 0, 0x0b}, max)...)), "4294967295 elements declared"},
		{"4 G bodies", raw(sec(10, max...)), "4294967295 bodies declared"},
		{"4 G data segments", raw(sec(11, max...)), "4294967295 data segments declared"},
		{"4 G bytes of data", raw(sec(5, 1, 0, 0), sec(11, with([]byte{1, 0, 0x41, 0, 0x0b}, max)...)), "4294967295 bytes declared"},
		{"4 G function names", raw(sec(0, with([]byte{4}, []byte("name"), []byte{1, 5}, max)...)), "4294967295 names declared"},
		{"4 G local names", raw(sec(0, with([]byte{4}, []byte("name"), []byte{2, 7, 1, 0}, max)...)), "4294967295 names declared"},
		{"name subsection over the section", raw(sec(0, with([]byte{4}, []byte("name"), []byte{1, 50, 0})...)), "50 bytes declared, 1 left"},
		{"name subsection with a rest", raw(sec(0, with([]byte{4}, []byte("name"), []byte{1, 2, 0, 0})...)), "too many"},
		{"name section twice", raw(sec(0, with([]byte{4}, []byte("name"))...), sec(0, with([]byte{4}, []byte("name"))...)), "stands twice"},
		{"38 bytes with 50 M locals", raw(none, one, sec(10, 1, 9, 1, 0x80, 0xe1, 0xeb, 0x17, 0x7f, 0x0b, 0, 0x0b)), "more than 10000 locals"},
		{"4 G groups of locals", raw(none, one, sec(10, with([]byte{1, 6}, max, []byte{0x0b})...)), "groups of locals declared"},
		{"body without end", raw(none, one, sec(10, 1, 2, 0, 0x01)), "cut off"},
		{"empty body", raw(none, one, sec(10, 1, 1, 0, 0, 0)), "cut off"},
		{"fewer bodies than functions", raw(none, one), "1 functions declared, 0 bodies"},
		{"data count is wrong", raw(sec(12, 3)), "3 data segments announced, 0 given"},
		{"form of a type", raw(sec(1, 1, 0x5e, 0, 0)), "type form 0x5e"},
		{"unknown value type", raw(sec(1, 1, 0x60, 1, 0x11, 0)), "unknown value type 0x11"},
		{"function of no type", raw(none, sec(3, 1, 7)), "function of type 7, there are 1"},
		{"import of no type", raw(sec(2, 1, 1, 'a', 1, 'b', 0, 0)), "type 0 of 0"},
		{"import of an unknown kind", raw(sec(2, 1, 1, 'a', 1, 'b', 9, 0)), "unknown kind 9"},
		{"name that is no UTF-8", raw(sec(2, 1, 1, 0xff, 1, 'b', 0, 0)), "UTF-8"},
		{"table of numbers", raw(sec(4, 1, 0x7f, 0, 0)), "i32 is no reference type"},
		{"huge table", raw(sec(4, 1, 0x70, 0, 0xc1, 0x84, 0x3d)), "tables of 1000001 elements"},
		{"shared memory", raw(sec(5, 1, 3, 1, 1)), "limits of kind 3"},
		{"two memories", raw(sec(5, 2, 0, 1, 0, 1)), "multiple memories"},
		{"memory over 4 GiB", raw(sec(5, 1, 0, 0x81, 0x80, 0x04)), "more than 65536 pages"},
		{"least above largest", raw(sec(5, 1, 1, 2, 1)), "at least 2 and at most 1"},
		{"large memory", plugin(func(g *w.Guest) { g.Pages = 1025 }), "1025 pages"},
		{"mutability", raw(sec(6, 1, 0x7f, 2, 0x41, 0, 0x0b)), "mutability 2"},
		{"constant that is none", raw(sec(6, 1, 0x7f, 0, 0x6a, 0x0b)), "i32.add in a constant"},
		{"constant of two", raw(sec(6, 1, 0x7f, 0, 0x41, 0, 0x41, 0, 0x0b)), "extended constant expressions"},
		{"constant of a later global", raw(sec(6, 1, 0x7f, 0, 0x23, 0, 0x0b)), "reads global 0, there are 0 imported ones"},
		{"reference to no function", raw(sec(6, 1, 0x70, 0, 0xd2, 0, 0x0b)), "function 0, there are 0"},
		{"export of no function", raw(sec(7, 1, 1, 'a', 0, 0)), "function 0, there are 0"},
		{"export of an unknown kind", raw(sec(7, 1, 1, 'a', 5, 0)), "unknown kind 5"},
		{"export twice", raw(sec(5, 1, 0, 1), sec(7, 2, 1, 'a', 2, 0, 1, 'a', 2, 0)), `export "a" stands twice`},
		{"start of no function", raw(sec(8, 0)), "start function 0, there are 0"},
		{"start with parameters", raw(sec(1, 1, 0x60, 1, 0x7f, 0), one, sec(8, 0)), "start function of type i32 -> ()"},
		{"flags of elements", raw(sec(9, 1, 8, 0)), "flags 8"},
		{"elements of no table", raw(sec(9, 1, 0, 0x41, 0, 0x0b, 0)), "table 0, there are 0"},
		{"kind of elements", raw(sec(9, 1, 1, 7, 0)), "kind 7"},
		{"flags of data", raw(sec(11, 1, 3, 0)), "flags 3"},
		{"data without a memory", raw(sec(11, 1, 0, 0x41, 0, 0x0b, 0)), "memory 0, there are 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := guard.Check("m", tc.wasm, guard.Limits{})
			refused(t, err, tc.want)
		})
	}
}

// refused demands an *Error with a problem about each of want.
func refused(t *testing.T, err error, want ...string) {
	t.Helper()
	var e *guard.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a refusal about %q", err, want)
	}
	for _, s := range want {
		if !slices.ContainsFunc(e.Problems, func(p string) bool { return strings.Contains(p, s) }) {
			t.Errorf("no problem is about %q: %q", s, e.Problems)
		}
	}
}

func TestLimits(t *testing.T) {
	wasm := plugin(func(g *w.Guest) {
		g.Import(guard.WASIModule, "sched_yield", nil, w.Types{w.I32})
		g.Global(1)
		g.Data(0, []byte("a"))
		g.Data(8, []byte("b"))
		g.Pages = 2
	})
	for _, tc := range []struct {
		limits guard.Limits
		want   string
	}{
		{guard.Limits{Size: 100}, "the limit is 100"},
		{guard.Limits{Types: 2}, "types declared, the limit is 2"},
		{guard.Limits{Params: 1}, "parameters declared, the limit is 1"},
		{guard.Limits{Functions: 1}, "functions declared, the limit is 1"},
		{guard.Limits{LocalsPerFunc: 3}, "groups of locals declared, the limit is 3"},
		{guard.Limits{Locals: 3}, "more than 3 locals in all functions together"},
		{guard.Limits{BodySize: 10}, "the limit is 10"},
		{guard.Limits{MemoryPages: 1}, "the limit is 1 pages"},
		{guard.Limits{Exports: 2}, "exports declared, the limit is 2"},
		{guard.Limits{Data: 1}, "data segments declared, the limit is 1"},
		{guard.Limits{NameLength: 5}, "the limit is 5"},
	} {
		_, err := guard.Check("m", wasm, tc.limits)
		refused(t, err, tc.want)
	}
	if _, err := guard.Check("m", wasm, guard.DefaultLimits()); err != nil {
		t.Error(err)
	}
}

func TestContract(t *testing.T) {
	i32 := w.Types{w.I32}
	for _, tc := range []struct {
		name string
		wasm []byte
		want []string
	}{
		{"nothing", raw(), []string{`"klamm_abi_1" is missing`, `"memory" is missing`, `"klamm_alloc" is missing`, `"klamm_init" is missing`, "no hook: export at least one of \"klamm_on_send\""}},
		{"a program", raw(none, one, sec(7, with([]byte{1, 6}, []byte("_start"), []byte{0, 0})...), sec(10, 1, 2, 0, 0x0b)), []string{"a program, not a plugin", "buildmode=c-shared"}},
		{"unknown module", plugin(func(g *w.Guest) { g.Import("env", "abort", nil, nil) }), []string{`"env"."abort"`, "--use abort="}},
		{"preview 2", plugin(func(g *w.Guest) { g.Import("wasi:io/streams", "f", nil, nil) }), []string{"preview 2"}},
		{"js", plugin(func(g *w.Guest) { g.Import("gojs", "f", nil, nil) }), []string{"GOOS=wasip1"}},
		{"unknown function", plugin(func(g *w.Guest) { g.Import("klamm", "fly", nil, nil) }), []string{`"klamm"."fly": the host has no such function`}},
		{"reserved function", plugin(func(g *w.Guest) { g.Import("klamm", "yield", nil, nil) }), []string{"reserved"}},
		{"type of an import", plugin(func(g *w.Guest) { g.Import("klamm", "log", i32, nil) }), []string{"has type i32 -> (), must be (i32, i32, i32) -> ()"}},
		{"memory from the host", raw(sec(2, with([]byte{1, 3}, []byte("env"), []byte{6}, []byte("memory"), []byte{2, 0, 1})...)), []string{"is a memory; a plugin may import functions only"}},
		{"type of an export", plugin(func(g *w.Guest) { g.Func(abi.ExportOnAck, i32, nil, nil) }), []string{`"klamm_on_ack" has type i32 -> (), must be (i32, i32) -> i64`}},
		{"kind of an export", raw(none, one, sec(7, with([]byte{1, 6}, []byte("memory"), []byte{0, 0})...), sec(10, 1, 2, 0, 0x0b)), []string{`"memory" is a function, must be a memory`}},
		{"hook that is a memory", plugin(func(g *w.Guest) { g.Export(abi.ExportOnCommit, 2, 0) }), []string{`"klamm_on_commit" is a memory, must be a function`}},
		{"reserved export", plugin(func(g *w.Guest) { g.Func("__klamm_fuel", nil, nil, nil); g.Func("klamm.x", nil, nil, nil) }), []string{`"__klamm_fuel": the name is reserved`, `"klamm.x": the name is reserved`}},
		{"another version", plugin(func(g *w.Guest) { g.Func("klamm_abi_2", nil, nil, nil) }), []string{`version "2" of the ABI, this host speaks version 1`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := guard.Check("m", tc.wasm, guard.Limits{})
			refused(t, err, tc.want...)
		})
	}
}

// All problems come in one list, even behind a wrong import, and in front of a
// broken section.
func TestAllProblemsAtOnce(t *testing.T) {
	wasm := plugin(func(g *w.Guest) {
		g.Import("env", "a", nil, nil)
		g.Import("klamm", "log", nil, nil)
		g.Func(abi.ExportClose, w.Types{w.I32}, nil, nil)
		g.Pages = 2000
	})
	_, err := guard.Check("m", wasm, guard.Limits{})
	refused(t, err, `"env"."a"`, `"klamm"."log" has type`, `"klamm_close" has type`, "2000 pages")
	_, err = guard.Check("m", append(wasm, 15, 0), guard.Limits{})
	refused(t, err, `"env"."a"`, "unknown section 15")
	if !strings.Contains(err.Error(), "5 problems:\n  ") {
		t.Errorf("got %q", err)
	}
}

func TestLongListsAreCut(t *testing.T) {
	_, err := guard.Check("m", plugin(func(g *w.Guest) {
		for range 200 {
			g.Import("env", "a", nil, nil)
		}
	}), guard.Limits{})
	refused(t, err, "and 150 more")
}

// A module that is cut off anywhere is refused, and nothing panics.
func TestEveryPrefixIsRefused(t *testing.T) {
	wasm := plugin(func(g *w.Guest) {
		g.Import("klamm", "log", w.Types{w.I32, w.I32, w.I32}, nil)
		g.Custom(abi.ManifestSection, []byte("{}"))
		g.Global(0)
	})
	manifest := bytes.Index(wasm, []byte(abi.ManifestSection)) - 3
	for n := range wasm {
		if _, err := guard.Check("m", wasm[:n], guard.Limits{}); err == nil && n != manifest {
			t.Errorf("the first %d of %d bytes were accepted", n, len(wasm))
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(plugin())
	f.Add(plugin(func(g *w.Guest) {
		g.Import("klamm", "claim_batch", w.Types{w.I32, w.I64}, w.Types{w.I32})
		g.Custom("name", with([]byte{1, 4, 1, 0, 1, 'f'}, []byte{2, 6, 1, 0, 1, 0, 1, 'l'}))
		g.Custom(abi.ManifestSection, []byte(`{"name":"x"}`))
		g.Data(16, []byte("data"))
		g.Global(1)
	}))
	f.Add(raw(sec(1, max...)))
	f.Add(raw(none, one, sec(10, 1, 9, 1, 0x80, 0xe1, 0xeb, 0x17, 0x7f, 0x0b, 0, 0x0b)))
	f.Add(raw(sec(4, 1, 0x70, 0, 1), sec(9, 1, 0, 0x41, 0, 0x0b, 0)))
	f.Add(raw(sec(6, 2, 0x7b, 0, 0xfd, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b, 0x70, 1, 0xd0, 0x70, 0x0b)))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		m, err := guard.Check("m", wasm, guard.Limits{})
		if err != nil {
			var e *guard.Error
			if !errors.As(err, &e) || len(e.Problems) == 0 {
				t.Fatalf("got %v", err)
			}
			return
		}
		if m.Hooks() == 0 || len(m.Types)+len(m.Imports)+len(m.Exports) > len(wasm) {
			t.Fatalf("accepted %d bytes with %+v", len(wasm), m)
		}
	})
}
