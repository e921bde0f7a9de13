package hostile

import (
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

func (c *corpus) memory() {
	growAll := w.Seq(w.Loop, i32(1), w.MemoryGrow, i32(-1), op(0x47), w.BrIf(0), w.End)
	touchAll := w.Seq(i32(0), i32(0xaa), w.MemorySize, i32(16), w.I32Shl, misc(11, 0))
	c.add("P3", Any, onSend(growAll), "memory grown page by page to the limit")
	c.add("P3", Any, onSend(growAll, i32(0), i32(1), i32(64), misc(11, 0)), "memory grown to the limit, block overwritten")
	c.add("P3", Any, onSend(growAll, touchAll), "memory grown to the limit and written all over")
	c.add("P3", Harmless, onSend(i32(65535), w.MemoryGrow, drop), "memory.grow by 4 GiB")
	c.add("P3", Harmless, onSend(i32(-1), w.MemoryGrow, drop), "memory.grow by -1")
	for _, pages := range []int{256, 257, 1024, 1025, 65536} {
		g := &w.Guest{Pages: pages}
		g.EachRecord(abi.OnSend, 0)
		c.add("P3", Refused, g.Bytes(), "memory of %d pages to begin with", pages)
	}
	c.add("P3", Any, guest(abi.OnSend, func(g *w.Guest) []byte {
		for range 1000 {
			g.Global(-1)
		}
		return nil
	}), "1,000 globals")
	c.add("W2", Refused, guest(abi.OnSend, func(g *w.Guest) []byte {
		for range 10_001 {
			g.Global(-1)
		}
		return nil
	}), "10,001 globals")
	c.add("P3", Harmless, guest(abi.OnSend, func(g *w.Guest) []byte {
		g.Table(1_000_000)
		return nil
	}), "table of a million elements")
	c.add("W2", Refused, guest(abi.OnSend, func(g *w.Guest) []byte {
		g.Table(900_000)
		g.Table(900_000)
		return nil
	}), "two tables of 900,000 elements")
	for _, n := range []int64{1 << 20, 1 << 27, -1} {
		c.add("P3", Any, guest(abi.OnSend, func(g *w.Guest) []byte {
			g.Table(1)
			return w.Seq(op(0xd0, 0x70), i32(n), misc(15, 0), drop)
		}), "table.grow by %d", n)
	}
	c.add("P3", Any, guest(abi.OnSend, func(g *w.Guest) []byte {
		g.Table(1)
		return w.Seq(w.Loop, op(0xd0, 0x70), i32(100_000), misc(15, 0), i32(-1), op(0x47), w.BrIf(0), w.End)
	}), "table grown without end")
}

func (c *corpus) stacks() {
	wide := make(w.Types, 200)
	for i := range wide {
		wide[i] = w.I64
	}
	var args []byte
	for i := range wide {
		args = append(args, w.LocalGet(i)...)
	}
	for _, s := range []struct {
		name string
		make func(g *w.Guest) []byte
	}{
		{"itself", func(g *w.Guest) []byte {
			return w.Call(g.Func("", nil, nil, nil, op(0x10, 0)))
		}},
		{"each other", func(g *w.Guest) []byte {
			g.Func("", nil, nil, nil, op(0x10, 1))
			return w.Call(g.Func("", nil, nil, nil, op(0x10, 0)))
		}},
		{"itself through the table", func(g *w.Guest) []byte {
			t := g.Type(nil, nil)
			f := g.Func("", nil, nil, nil, i32(0), op(0x11, byte(t), 0))
			g.Table(1)
			g.Elem(0, f)
			return w.Call(f)
		}},
		{"itself with 1,000 locals", func(g *w.Guest) []byte {
			locals := make(w.Types, 1000)
			var b []byte
			for i := range locals {
				locals[i] = w.I64
				b = append(b, w.Seq(w.I64Const(int64(i)), i32(0), w.I64Load(0), w.I64Add, w.LocalSet(i))...)
			}
			b = append(b, op(0x10, 0)...)
			for i := range locals {
				b = append(b, w.Seq(i32(0), w.LocalGet(i), w.I64Store(0))...)
			}
			return w.Call(g.Func("", nil, nil, locals, b))
		}},
		{"itself with 200 parameters", func(g *w.Guest) []byte {
			g.Func("", wide, nil, nil, args, op(0x10, 0))
			var zeros []byte
			for range wide {
				zeros = append(zeros, w.I64Const(1)...)
			}
			return w.Seq(zeros, op(0x10, 0))
		}},
		{"itself, from a loop", func(g *w.Guest) []byte {
			return w.Call(g.Func("", nil, nil, nil, w.Loop, op(0x10, 0), w.Br(0), w.End))
		}},
	} {
		for _, h := range []abi.Hook{abi.OnSend, abi.OnAcknowledgement} {
			c.add("P4", Faulted, guest(h, s.make), "function that calls %s, in %s", s.name, h)
		}
	}
}
