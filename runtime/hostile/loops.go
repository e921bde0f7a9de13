package hostile

import (
	"github.com/klamm-io/klamm/runtime/guard"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// importer adds an import by its name, of the type that the host gives it.
func importer(g *w.Guest, module, name string) int {
	t := guard.HostFunctions[module][name]
	return g.Import(module, name, w.Types(t.Params), w.Types(t.Results))
}

var loopBodies = []struct {
	name string
	make func(g *w.Guest) []byte
}{
	{"br", func(*w.Guest) []byte { return forever }},
	{"br_if of a constant", func(*w.Guest) []byte { return w.Seq(w.Loop, i32(1), w.BrIf(0), w.End) }},
	{"br_if and an endless trail", func(*w.Guest) []byte {
		return w.Seq(w.Loop, w.LocalGet(w.Scratch), w.I64Const(1), w.I64Add, w.LocalSet(w.Scratch), w.Br(0), w.End)
	}},
	{"br_table", func(*w.Guest) []byte { return w.Seq(w.Loop, i32(1), op(0x0e, 2, 0, 0, 0), w.End) }},
	{"loop in a block", func(*w.Guest) []byte { return w.Seq(w.Block, w.Loop, w.Br(0), w.End, w.End) }},
	{"block in a loop", func(*w.Guest) []byte { return w.Seq(w.Loop, w.Block, w.Br(1), w.End, w.End) }},
	{"two loops, the outer one turns", func(*w.Guest) []byte { return w.Seq(w.Loop, w.Loop, w.Br(1), w.End, w.End) }},
	{"ten loops, each turns", func(*w.Guest) []byte {
		var b []byte
		for range 10 {
			b = append(b, w.Loop...)
		}
		for i := range 10 {
			b = append(b, w.Seq(i32(1), w.BrIf(i%2), w.End)...)
		}
		return b
	}},
	{"loop in if", func(*w.Guest) []byte { return w.Seq(i32(1), w.If, forever, w.End) }},
	{"loop in else", func(*w.Guest) []byte { return w.Seq(i32(0), w.If, w.Else, forever, w.End) }},
	{"if in a loop", func(*w.Guest) []byte { return w.Seq(w.Loop, i32(1), w.If, w.Br(1), w.Else, w.Br(1), w.End, w.End) }},
	{"loop with a value", func(*w.Guest) []byte { return w.Seq(op(0x03, 0x7f), w.Br(0), w.End, drop) }},
	{"2**63 turns", func(*w.Guest) []byte {
		return w.Seq(w.I64Const(-1<<63), w.LocalSet(w.Scratch), w.Loop,
			w.LocalGet(w.Scratch), w.I64Const(1), op(0x7d), w.LocalSet(w.Scratch),
			w.LocalGet(w.Scratch), w.I64Const(0), op(0x52), w.BrIf(0), w.End)
	}},
	{"calls of an empty function", func(g *w.Guest) []byte {
		f := g.Func("", nil, nil, nil)
		return w.Seq(w.Loop, w.Call(f), w.Br(0), w.End)
	}},
	{"in a function that is called", func(g *w.Guest) []byte { return w.Call(g.Func("", nil, nil, nil, forever)) }},
	{"in a function of the table", func(g *w.Guest) []byte {
		t := g.Type(nil, nil)
		f := g.Func("", nil, nil, nil, forever)
		g.Table(1)
		g.Elem(0, f)
		return w.Seq(i32(0), op(0x11, byte(t), 0))
	}},
	{"calls through the table", func(g *w.Guest) []byte {
		t := g.Type(nil, nil)
		f := g.Func("", nil, nil, nil)
		g.Table(1)
		g.Elem(0, f)
		return w.Seq(w.Loop, i32(0), op(0x11, byte(t), 0), w.Br(0), w.End)
	}},
	{"loads and stores", func(*w.Guest) []byte {
		return w.Seq(w.Loop, i32(64), i32(64), w.I32Load(0), w.I32Store(0), w.Br(0), w.End)
	}},
	{"memory.size", func(*w.Guest) []byte { return w.Seq(w.Loop, w.MemorySize, drop, w.Br(0), w.End) }},
	{"memory.grow by nothing", func(*w.Guest) []byte { return w.Seq(w.Loop, i32(0), w.MemoryGrow, drop, w.Br(0), w.End) }},
	{"memory.grow that fails", func(*w.Guest) []byte { return w.Seq(w.Loop, i32(-1), w.MemoryGrow, drop, w.Br(0), w.End) }},
	{"memory.fill of a page", func(*w.Guest) []byte {
		return w.Seq(w.Loop, i32(0), i32(1), i32(65536), misc(11, 0), w.Br(0), w.End)
	}},
	{"memory.copy of a page", func(*w.Guest) []byte {
		return w.Seq(w.Loop, i32(0), i32(1), i32(65535), misc(10, 0, 0), w.Br(0), w.End)
	}},
	{"table.grow by nothing", func(g *w.Guest) []byte {
		g.Table(1)
		return w.Seq(w.Loop, op(0xd0, 0x70), i32(0), misc(15, 0), drop, w.Br(0), w.End)
	}},
	{"table.fill", func(g *w.Guest) []byte {
		g.Table(1000)
		return w.Seq(w.Loop, i32(0), op(0xd0, 0x70), i32(1000), misc(17, 0), w.Br(0), w.End)
	}},
	{"globals", func(g *w.Guest) []byte {
		n := g.Global(0)
		return w.Seq(w.Loop, w.GlobalGet(n), w.I64Const(1), w.I64Add, w.GlobalSet(n), w.Br(0), w.End)
	}},
	{"divisions", func(*w.Guest) []byte {
		return w.Seq(w.Loop, w.I64Const(-1), w.I64Const(3), op(0x80), drop, w.Br(0), w.End)
	}},
	{"square roots", func(*w.Guest) []byte {
		return w.Seq(w.Loop, op(0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f), op(0x9f), drop, w.Br(0), w.End)
	}},
	{"vectors", func(*w.Guest) []byte {
		return w.Seq(w.Loop, i32(0), i32(0), op(0xfd, 0, 0, 0), op(0xfd, 0x4d), op(0xfd, 0x0b, 0, 0), w.Br(0), w.End)
	}},
	{"at each second record", func(*w.Guest) []byte {
		return w.Seq(w.LocalGet(w.Index), i32(1), op(0x71), w.If, forever, w.End)
	}},
	{"100,000 instructions a turn", func(*w.Guest) []byte {
		b := append([]byte{}, w.Loop...)
		for range 25_000 {
			b = append(b, w.Seq(i32(1), drop, w.Nop)...)
		}
		return w.Seq(b, w.Br(0), w.End)
	}},
}

// hostLoops call an import for ever, with zeros.
var hostLoops = []struct{ module, name string }{
	{abi.ImportModule, abi.ImportLog},
	{abi.ImportModule, abi.ImportNowNS},
	{abi.ImportModule, abi.ImportRandom},
	{abi.ImportModule, abi.ImportClaim},
	{abi.ImportModule, abi.ImportClaimBatch},
	{abi.ImportModule, abi.ImportStateGet},
	{abi.ImportModule, abi.ImportStatePut},
	{abi.ImportModule, abi.ImportValue},
	{abi.ImportModule, abi.ImportHeaders},
	{guard.WASIModule, "clock_time_get"},
	{guard.WASIModule, "random_get"},
	{guard.WASIModule, "sched_yield"},
	{guard.WASIModule, "fd_write"},
	{guard.WASIModule, "poll_oneoff"},
	{guard.WASIModule, "fd_read"},
	{guard.WASIModule, "path_open"},
}

func (c *corpus) loops() {
	for _, l := range loopBodies {
		c.add("P2", Faulted, guest(abi.OnSend, l.make), "endless loop: %s", l.name)
	}
	// Judged again in smaller batches its records stand elsewhere, and pass.
	c.add("P2", Any, onSend(w.IfIndex(7, forever)), "endless loop: at the last record only")
	for _, h := range hooks[1:] {
		c.add("P2", Faulted, guest(h, loopBodies[0].make), "endless loop in %s", h)
	}
	for _, l := range hostLoops {
		c.add("P2", Faulted, guest(abi.OnSend, func(g *w.Guest) []byte {
			return w.Seq(w.Loop, callWith(g, l.module, l.name, func(int, byte) []byte { return nil }), w.Br(0), w.End)
		}), "endless loop of %s", l.name)
	}
	c.add("P2", Faulted, guest(abi.OnSend, exponential), "2**60 calls without a loop")
	c.add("P7", Any, guest(abi.OnSend, func(*w.Guest) []byte {
		return w.Seq(w.I64Const(100_000), w.LocalSet(w.Scratch), w.Loop,
			w.LocalGet(w.Scratch), w.I64Const(1), op(0x7d), w.LocalSet(w.Scratch),
			w.LocalGet(w.Scratch), w.I64Const(0), op(0x52), w.BrIf(0), w.End)
	}), "slow but not too slow")
	for _, size := range []struct {
		name  string
		pages int64
		n     int
	}{{"16 MiB", 200, 500}, {"256 KiB", 4, 1_000}} {
		c.add("P2", Any, guest(abi.OnSend, func(g *w.Guest) []byte {
			b := w.Seq(i32(size.pages), w.MemoryGrow, drop)
			for range size.n {
				b = append(b, w.Seq(i32(0), i32(1), i32(size.pages<<16), misc(11, 0))...)
			}
			return b
		}), "%d memory.fill of %s in a row", size.n, size.name)
		c.add("P2", Any, guest(abi.OnSend, func(g *w.Guest) []byte {
			b := w.Seq(i32(size.pages), w.MemoryGrow, drop)
			for range size.n {
				b = append(b, w.Seq(i32(0), i32(1), i32(size.pages<<16-1), misc(10, 0, 0))...)
			}
			return b
		}), "%d memory.copy of %s in a row", size.n, size.name)
	}
	c.add("P2", Any, guest(abi.OnSend, func(g *w.Guest) []byte {
		g.Table(900_000)
		var b []byte
		for range 2000 {
			b = append(b, w.Seq(i32(0), op(0xd0, 0x70), i32(900_000), misc(17, 0))...)
		}
		return b
	}), "2,000 table.fill of 900,000 in a row")
}

// exponential is a function that calls itself twice, 60 deep.
func exponential(g *w.Guest) []byte {
	f := g.Func("", w.Types{w.I32}, nil, nil,
		w.LocalGet(0), w.If,
		w.LocalGet(0), i32(1), w.I32Sub, op(0x10, 0),
		w.LocalGet(0), i32(1), w.I32Sub, op(0x10, 0),
		w.End)
	return w.Seq(i32(60), w.Call(f))
}

// callWith imports a function and calls it. arg gives the code for the i-th
// parameter; nil stands for a zero of its type. A result is dropped.
func callWith(g *w.Guest, module, name string, arg func(i int, typ byte) []byte) []byte {
	t := guard.HostFunctions[module][name]
	f := importer(g, module, name)
	var b []byte
	for i := range len(t.Params) {
		code := arg(i, t.Params[i])
		if code == nil {
			code = zero(t.Params[i])
		}
		b = append(b, code...)
	}
	b = append(b, w.Call(f)...)
	if t.Results != "" {
		b = append(b, drop...)
	}
	return b
}

func zero(typ byte) []byte {
	switch typ {
	case w.I64:
		return w.I64Const(0)
	case w.F64:
		return op(0x44, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	return i32(0)
}
