package hostile

import (
	"bytes"
	"slices"

	"github.com/klamm-io/klamm/runtime/guard"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// sound is a plugin with nothing wrong, to be spoilt.
func sound() []byte {
	g := new(w.Guest)
	importer(g, abi.ImportModule, abi.ImportLog)
	g.Custom(abi.ManifestSection, []byte(`{"name":"sound"}`))
	g.Global(0)
	g.Data(16, []byte("data"))
	g.EachRecord(abi.OnSend, abi.FieldKey, w.Answer(abi.PackVerdict(abi.Drop, 0, 1, 0)))
	return g.Bytes()
}

func raw(sections ...[]byte) []byte { return slices.Concat(w.Header(), slices.Concat(sections...)) }

// malformed are files that are no modules.
func (c *corpus) malformed() {
	wasm := sound()
	for i := range 20 {
		n := i * len(wasm) / 20
		c.add("W1", Refused, wasm[:n], "cut off after %d bytes", n)
	}
	for i := range 40 {
		at := 8 + (i*7919)%(len(wasm)-8)
		flipped := bytes.Clone(wasm)
		flipped[at] ^= 1 << (i % 8)
		c.add("W1", Any, flipped, "bit %d of byte %d flipped", i%8, at)
	}
	for _, f := range []struct {
		name string
		b    []byte
	}{
		{"wrong magic", append([]byte("\x00ASM"), wasm[4:]...)},
		{"version 2", append([]byte("\x00asm\x02\x00\x00\x00"), wasm[8:]...)},
		{"a component", append([]byte("\x00asm\x0d\x00\x01\x00"), wasm[8:]...)},
		{"text", []byte("(module (memory 1))")},
		{"a native program", []byte("\x7fELF\x02\x01\x01\x00")},
		{"zeros", make([]byte, 4096)},
		{"ones", bytes.Repeat([]byte{0xff}, 4096)},
		{"17 MiB", append(bytes.Clone(wasm), make([]byte, 17<<20)...)},
		{"the same module twice", append(bytes.Clone(wasm), wasm...)},
		{"bytes behind the end", append(bytes.Clone(wasm), 0)},
		{"a section of 4 GiB", raw([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})},
		{"a section twice", raw(w.Section(1, []byte{0}), w.Section(1, []byte{0}))},
		{"sections out of order", raw(w.Section(3, []byte{0}), w.Section(1, []byte{0}))},
		{"a name that is no UTF-8", raw(w.Section(2, []byte{1, 1, 0xff, 1, 'a', 0, 0}))},
		{"a number of ten bytes", raw(w.Section(1, bytes.Repeat([]byte{0x80}, 10)))},
	} {
		c.add("W1", Refused, f.b, "%s", f.name)
	}
	for _, body := range []struct {
		name string
		code []byte
	}{
		{"an i32 for an i64", i32(1)},
		{"no result", nil},
		{"two results", w.Seq(w.I64Const(1), w.I64Const(1))},
		{"a stack that runs out", w.Seq(drop, w.I64Const(1))},
		{"a local that is none", w.Seq(w.LocalGet(99), drop, w.I64Const(1))},
		{"a branch to nowhere", w.Seq(w.Br(9), w.I64Const(1))},
		{"a call of nothing", w.Seq(w.Call(999), w.I64Const(1))},
		{"a global that is none", w.Seq(w.GlobalGet(9), drop, w.I64Const(1))},
		{"a block without end", w.Seq(w.Block, w.I64Const(1))},
		{"an end too many", w.Seq(w.I64Const(1), w.End)},
		{"an unknown instruction", w.Seq(op(0xff), w.I64Const(1))},
	} {
		g := new(w.Guest)
		g.Hook(abi.OnSend, 0, body.code)
		c.add("W1", Refused, g.Bytes(), "function with %s", body.name)
	}
}

// contract are modules, but no plugins.
func (c *corpus) contract() {
	add := func(name string, change func(g *w.Guest)) {
		g := new(w.Guest)
		change(g)
		g.EachRecord(abi.OnSend, 0)
		c.add("W1", Refused, g.Bytes(), "%s", name)
	}
	for _, im := range [][2]string{
		{"env", "abort"}, {"env", "memory"}, {"gojs", "runtime.wasmExit"}, {"wasi_unstable", "fd_write"}, {"wasi:io/streams", "f"},
		{"klamm", "exec"}, {"klamm", "yield"}, {"klamm", "__klamm_x"}, {"", ""}, {guard.WASIModule, "path_exec"}, {"klamm.x", "log"},
	} {
		add("import of "+im[0]+"."+im[1], func(g *w.Guest) { g.Import(im[0], im[1], nil, nil) })
	}
	for _, name := range []string{abi.ImportLog, abi.ImportClaim, abi.ImportStatePut, abi.ImportHMAC} {
		add("import of "+name+" with another type", func(g *w.Guest) { g.Import(abi.ImportModule, name, w.Types{w.F64}, w.Types{w.I64}) })
	}
	for _, h := range hooks[1:] {
		add("export of "+h.Export()+" with another type", func(g *w.Guest) { g.Func(h.Export(), nil, nil, nil) })
	}
	for _, name := range []string{"klamm_abi_2", "klamm_abi_99999999999", "klamm_abi_", "__klamm_fuel", "__klamm_depth", "klamm.internal"} {
		add("export of "+name, func(g *w.Guest) { g.Func(name, nil, nil, nil) })
	}
	for _, m := range []string{
		`{`, `[]`, `{"capabilities":["root"]}`, `{"state":"everywhere"}`, `{"min_minor":99}`, "\xff", string(bytes.Repeat([]byte{'['}, 100_000)),
	} {
		g := new(w.Guest)
		g.Custom(abi.ManifestSection, []byte(m))
		g.EachRecord(abi.OnSend, 0)
		c.add("W1", Any, g.Bytes(), "manifest %.40q", m)
	}
	add("two manifests", func(g *w.Guest) {
		g.Custom(abi.ManifestSection, []byte("{}"))
		g.Custom(abi.ManifestSection, []byte("{}"))
	})
	c.add("W1", Refused, raw(), "empty module")
	c.add("W1", Refused, raw(w.Section(5, []byte{1, 0, 1}), w.Section(7, append([]byte{1, 6}, "memory\x02\x00"...))), "memory and nothing else")
}

// bombs declare much in few bytes, or cost the compiler more than they look.
func (c *corpus) bombs() {
	most := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	for id, name := range []string{1: "types", "imports", "functions", "tables", "memories", "globals", "exports", 9: "elements", "bodies", "data", "announced data"} {
		if name != "" {
			c.add("W2", Refused, raw(w.Section(byte(id), most)), "4 G %s in 17 bytes", name)
		}
	}
	name := func(sub byte, b ...byte) []byte {
		return raw(w.Section(0, slices.Concat([]byte{4}, []byte("name"), []byte{sub}, w.ULEB(uint64(len(b))), b)))
	}
	c.add("W2", Refused, name(1, most...), "4 G function names")
	c.add("W2", Refused, name(2, append([]byte{1, 0}, most...)...), "4 G local names")
	c.add("W2", Refused, name(0, most...), "module name of 4 GiB")
	c.add("W2", Refused, raw(w.Section(1, append([]byte{1, 0x60}, most...))), "4 G parameters")
	body := func(locals []byte, code ...[]byte) []byte {
		b := slices.Concat(locals, slices.Concat(code...), w.End)
		b = append(w.ULEB(uint64(len(b))), b...)
		return raw(w.Section(1, []byte{2, 0x60, 0, 0, 0x60, 1, w.I32, 1, w.I32}), w.Section(3, []byte{1, 0}), w.Section(5, []byte{1, 0, 1}), w.Section(10, append([]byte{1}, b...)))
	}
	group := func(n uint64) []byte { return slices.Concat([]byte{1}, w.ULEB(n), []byte{w.I32}) }
	times := func(n int, b ...byte) []byte { return bytes.Repeat(b, n) }
	c.add("W2", Refused, body(group(50_000_000)), "50 M locals in 38 bytes")
	c.add("W2", Refused, body(group(1<<32-1)), "4 G locals")
	c.add("W2", Refused, body(slices.Concat(w.ULEB(3), times(3, 0xff, 0xff, 0xff, 0xff, 0x0f, w.I32))), "three times 4 G locals")
	zero := []byte{0}
	c.add("W2", Refused, body(zero, i32(0), op(0x0e), most), "br_table of 4 G targets")
	c.add("W2", Refused, body(zero, i32(0), op(0x0e), w.ULEB(200_000), times(200_001, 0)), "br_table of 200,000 targets")
	c.add("W2", Refused, body(zero, times(200_000, 0x02, 0x40), times(200_000, 0x0b)), "200,000 nested blocks")
	c.add("W2", Refused, body(zero, times(1<<20, 0x01)), "function of 1 MiB")
	c.add("W2", Refused, body(zero, times(20_000, 0x41, 0), times(20_000, 0x1a)), "20,000 operands")
	reads := func(n int) (b []byte) {
		for i := range n {
			b = append(b, w.Seq(w.LocalGet(i), drop)...)
		}
		return b
	}
	turn := []byte{0x20, 0, 0x0d, 0, 0x0b}
	c.add("W2", Refused, body(group(1000), times(1000, 0x03, 0x40), reads(1000), times(1000, turn...)), "1,000 nested loops over 1,000 locals")
	c.add("W2", Refused, body(group(5000), times(100, 0x03, 0x40), reads(5000), times(100, turn...)), "100 nested loops over 5,000 locals")
	c.add("W2", Refused, body(group(1), times(50_000, 0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b)), "50,000 loops in a row")
	c.add("W2", Refused, body(group(1), times(50_000, 0x20, 0, 0x04, 0x40, 0x0b)), "50,000 ifs in a row")
	c.add("W2", Refused, body(group(1), times(19_000, 0x03, 0x40), times(19_000, turn...)), "19,000 nested loops")
	c.add("W2", Refused, body(group(1), times(40, slices.Concat([]byte{0x20, 0, 0x0e}, w.ULEB(4000), times(4001, 0))...)), "40 br_tables of 4,000 targets in the shade")
	c.add("W2", Refused, body(group(1), w.Block, times(20, slices.Concat([]byte{0x02, 0x40, 0x20, 0, 0x0e}, w.ULEB(5000), times(5001, 0), []byte{0x0b})...), w.End), "20 br_tables of 5,000 targets")
	c.add("W2", Refused, body(group(1), times(40_000, 0x20, 0, 0x20, 0, 0x20, 0, 0xfc, 10, 0, 0)), "40,000 memory.copy")
	c.add("W2", Refused, body(group(1), times(5_000, 0x20, 0, 0x20, 0, 0x20, 0, 0xfc, 11, 0)), "5,000 memory.fill")
}

// proposals are features that are not enabled.
func (c *corpus) proposals() {
	code := func(b ...byte) []byte {
		b = slices.Concat([]byte{0}, b, w.End)
		return raw(w.Section(1, []byte{1, 0x60, 0, 0}), w.Section(3, []byte{1, 0}), w.Section(5, []byte{1, 0, 1}), w.Section(10, slices.Concat([]byte{1}, w.ULEB(uint64(len(b))), b)))
	}
	for _, p := range []struct {
		name string
		wasm []byte
	}{
		{"tail call", code(0x12, 0)},
		{"indirect tail call", code(0x13, 0, 0)},
		{"try", code(0x06, 0x40, 0x0b)},
		{"throw", code(0x08, 0)},
		{"try_table", code(0x1f, 0x40, 0, 0x0b)},
		{"tags", raw(w.Section(13, []byte{1, 0, 0}))},
		{"call_ref", code(0x14, 0)},
		{"struct.new", code(0xfb, 0, 0)},
		{"structures", raw(w.Section(1, []byte{1, 0x5f, 0}))},
		{"recursive types", raw(w.Section(1, []byte{1, 0x4e, 0}))},
		{"atomics", code(0xfe, 0x03, 0)},
		{"shared memory", raw(w.Section(5, []byte{1, 3, 1, 1}))},
		{"memory of 64 bits", raw(w.Section(5, []byte{1, 4, 1}))},
		{"two memories", raw(w.Section(5, []byte{2, 0, 1, 0, 1}))},
		{"relaxed SIMD", code(0xfd, 0x80, 2)},
		{"extended constants", raw(w.Section(6, []byte{1, w.I32, 0, 0x41, 1, 0x41, 1, 0x6a, 0x0b}))},
		{"wide arithmetic", code(0xfc, 19)},
		{"anyref", raw(w.Section(1, []byte{1, 0x60, 1, 0x6e, 0}))},
		{"exnref", raw(w.Section(1, []byte{1, 0x60, 1, 0x69, 0}))},
		{"custom page sizes", raw(w.Section(5, []byte{1, 8, 1, 0}))},
		{"stack switching", raw(w.Section(1, []byte{1, 0x5d, 0, 0}))},
	} {
		c.add("W1", Refused, p.wasm, "proposal: %s", p.name)
	}
}
