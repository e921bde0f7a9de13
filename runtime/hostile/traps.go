package hostile

import (
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// withTable gives a guest a table of 10 that holds one function of type
// () -> (), and passive segments.
func withTable(g *w.Guest) {
	f := g.Func("", nil, nil, nil)
	g.Table(10)
	g.Elem(0, f)
	g.PassiveElem(f)
	g.PassiveData([]byte("passive"))
	g.Type(w.Types{w.I64}, nil)
}

// trapBodies are one way to trap each, for any hook.
var trapBodies = []struct {
	name string
	body []byte
}{
	{"unreachable", w.Unreachable},
	{"i32 division by zero", w.Seq(i32(1), i32(0), op(0x6d), drop)},
	{"i32 division that overflows", w.Seq(i32(-1<<31), i32(-1), op(0x6d), drop)},
	{"i32 remainder by zero", w.Seq(i32(1), i32(0), op(0x70), drop)},
	{"i64 division by zero", w.Seq(w.I64Const(1), w.I64Const(0), op(0x80), drop)},
	{"i64 division that overflows", w.Seq(w.I64Const(-1<<63), w.I64Const(-1), op(0x7f), drop)},
	{"i32 of NaN", w.Seq(op(0x43, 0, 0, 0xc0, 0x7f), op(0xa8), drop)},
	{"i32 of infinity", w.Seq(op(0x43, 0, 0, 0x80, 0x7f), op(0xa9), drop)},
	{"i64 of 1e300", w.Seq(op(0x44, 0x9c, 0x75, 0, 0x88, 0x3c, 0xe4, 0x37, 0x7e), op(0xb0), drop)},
	{"load behind the memory", w.Seq(i32(-4), w.I32Load(0), drop)},
	{"load at an offset of 4 GiB", w.Seq(i32(-1), op(0x28, 0, 0xff, 0xff, 0xff, 0xff, 0x0f), drop)},
	{"load across the end", w.Seq(w.MemorySize, i32(16), w.I32Shl, i32(1), w.I32Sub, w.I64Load(0), drop)},
	{"store behind the memory", w.Seq(i32(-8), w.I64Const(1), w.I64Store(0))},
	{"store of a byte behind the memory", w.Seq(w.MemorySize, i32(16), w.I32Shl, i32(1), w.I32Store8(0))},
	{"vector load behind the memory", w.Seq(i32(-1), op(0xfd, 0, 0, 0), drop)},
	{"vector store across the end", w.Seq(w.MemorySize, i32(16), w.I32Shl, i32(8), w.I32Sub, op(0xfd, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), op(0xfd, 0x0b, 0, 0))},
	{"call of a null element", w.Seq(i32(5), op(0x11, 0, 0))},
	{"call of element 4 G", w.Seq(i32(-1), op(0x11, 0, 0))},
	{"call of a function of another type", w.Seq(w.I64Const(1), i32(0), op(0x11, 1, 0))},
	{"table.get behind the table", w.Seq(i32(10), op(0x25, 0), drop)},
	{"table.set behind the table", w.Seq(i32(-1), op(0xd0, 0x70), op(0x26, 0))},
	{"table.fill behind the table", w.Seq(i32(9), op(0xd0, 0x70), i32(2), misc(17, 0))},
	{"table.copy behind the table", w.Seq(i32(0), i32(-1), i32(2), misc(14, 0, 0))},
	{"table.init behind the segment", w.Seq(i32(0), i32(0), i32(2), misc(12, 1, 0))},
	{"table.init of a dropped segment", w.Seq(misc(13, 1), i32(0), i32(0), i32(1), misc(12, 1, 0))},
	{"memory.fill behind the memory", w.Seq(i32(-16), i32(0), i32(64), misc(11, 0))},
	{"memory.fill of 4 GiB", w.Seq(i32(0), i32(0), i32(-1), misc(11, 0))},
	{"memory.copy from behind the memory", w.Seq(i32(0), i32(-1), i32(2), misc(10, 0, 0))},
	{"memory.init behind the segment", w.Seq(i32(0), i32(4), i32(8), misc(8, 0, 0))},
	{"memory.init of a dropped segment", w.Seq(misc(9, 0), i32(0), i32(0), i32(1), misc(8, 0, 0))},
}

func (c *corpus) traps() {
	table := func(body []byte) func(g *w.Guest) []byte {
		return func(g *w.Guest) []byte {
			voids := g.Type(nil, nil)
			g.Type(w.Types{w.I64}, nil)
			withTable(g)
			_ = voids // type 0; the one of i64 is type 1
			return body
		}
	}
	for _, t := range trapBodies {
		c.add("P1", Faulted, guest(abi.OnSend, table(t.body)), "trap in on_send: %s", t.name)
	}
	for _, h := range hooks[1:] {
		for _, t := range trapBodies[:4] {
			c.add("P1", Faulted, guest(h, table(t.body)), "trap in %s: %s", h, t.name)
		}
	}
	for _, i := range []int{0, 3, 7} {
		fate := Any // judged again in smaller batches its records stand elsewhere, and pass
		if i == 0 {
			fate = Faulted
		}
		c.add("P1", fate, onSend(w.IfIndex(i, w.Unreachable)), "trap at record %d of a batch", i)
	}
	c.add("P1", Any, onSend(w.Answer(abi.PackVerdict(abi.Drop, 0, 0, 0)), w.IfIndex(5, w.Unreachable)), "trap after verdicts were written")
	c.add("P1", Faulted, guest(abi.OnSend, func(g *w.Guest) []byte {
		n := g.Global(0) // counts calls
		return w.Seq(w.GlobalGet(n), w.I64Const(1), w.I64Add, w.GlobalSet(n),
			w.GlobalGet(n), w.I32WrapI64, i32(3), w.I32GeU, w.If, w.Unreachable, w.End)
	}), "trap from the third record on, by state of its own")
}
