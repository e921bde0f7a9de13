package hostile

import (
	"strings"

	"github.com/klamm-io/klamm/runtime/guard"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// logs flood the log, or try to write over its lines.
func (c *corpus) logs() {
	for _, l := range []struct{ name, text string }{
		{"escape sequences", "\x1b[2J\x1b[31mred\x1b]0;title\x07"},
		{"line breaks", "one\nlevel=ERROR msg=forged\r\ntwo"},
		{"no UTF-8", "\xff\xfe\x80"},
		{"zeros", "\x00\x00\x00"},
		{"directions", "\u202e\u2066abc"},
		{"a line of 60 KiB", strings.Repeat("x", 60<<10)},
		{"nothing", ""},
	} {
		for _, level := range []int64{0, 3, -1, 4, 1 << 30} {
			if level != 3 && l.name != "nothing" && l.name != "line breaks" {
				continue
			}
			c.add("P8", Any, guest(abi.OnSend, func(g *w.Guest) []byte {
				f := importer(g, abi.ImportModule, abi.ImportLog)
				g.Data(1024, []byte(l.text))
				return w.Seq(i32(level), i32(1024), i32(int64(len(l.text))), w.Call(f))
			}), "log of %s at level %d", l.name, level)
		}
		for _, fd := range []int64{1, 2} {
			c.add("P8", Harmless, guest(abi.OnSend, func(g *w.Guest) []byte {
				f := importer(g, guard.WASIModule, "fd_write")
				g.Data(0, le.AppendUint32(le.AppendUint32(nil, 1024), uint32(len(l.text))))
				g.Data(1024, []byte(l.text))
				return w.Seq(i32(fd), i32(0), i32(1), i32(64), w.Call(f), drop)
			}), "descriptor %d written: %s", fd, l.name)
		}
	}
	c.add("P8", Any, guest(abi.OnSend, func(g *w.Guest) []byte {
		f := importer(g, abi.ImportModule, abi.ImportLog)
		return w.Seq(i32(170), w.MemoryGrow, drop, i32(3), i32(0), i32(10<<20), w.Call(f))
	}), "log line of 10 MiB")
	c.add("P8", Any, guest(abi.OnSend, func(g *w.Guest) []byte {
		f := importer(g, abi.ImportModule, abi.ImportLog)
		return w.Seq(w.I64Const(1_000_000), w.LocalSet(w.Scratch), w.Loop, i32(1), i32(0), i32(100), w.Call(f),
			w.LocalGet(w.Scratch), w.I64Const(1), op(0x7d), w.LocalSet(w.Scratch), w.LocalGet(w.Scratch), w.I64Const(0), op(0x52), w.BrIf(0), w.End)
	}), "a million log lines")
	c.add("P8", Any, guest(abi.OnSend, func(g *w.Guest) []byte {
		f := importer(g, guard.WASIModule, "fd_write")
		var iovs []byte
		for range 1024 {
			iovs = le.AppendUint32(le.AppendUint32(iovs, 0), 60<<10)
		}
		g.Data(1024, iovs)
		return w.Seq(i32(2), i32(1024), i32(-1), i32(0), w.Call(f), drop)
	}), "descriptor 2 written with 4 G buffers")
}

// starts do harm before the first record.
func (c *corpus) starts() {
	begin := []struct {
		name string
		make func(g *w.Guest, body []byte)
	}{
		{"start function", func(g *w.Guest, body []byte) { g.Start(g.Func("", nil, nil, nil, body)) }},
		{"_initialize", func(g *w.Guest, body []byte) { g.Func(abi.ExportInitialize, nil, nil, nil, body) }},
		{"klamm_init", func(g *w.Guest, body []byte) { g.Init = w.Seq(body, w.I64Const(0)) }},
		{"klamm_alloc", func(g *w.Guest, body []byte) { g.Alloc = w.Seq(body, i32(0)) }},
	}
	deeds := []struct {
		name string
		slow bool
		make func(g *w.Guest) []byte
	}{
		{"traps", false, func(*w.Guest) []byte { return w.Unreachable }},
		{"loops", true, func(*w.Guest) []byte { return forever }},
		{"calls itself", false, func(g *w.Guest) []byte { return w.Call(g.Func("", nil, nil, nil, op(0x10, 0))) }},
		{"exits with 0", false, func(g *w.Guest) []byte { return callWith(g, guard.WASIModule, "proc_exit", none) }},
		{"exits with 1", false, func(g *w.Guest) []byte { return callWith(g, guard.WASIModule, "proc_exit", ones) }},
		{"raises a signal", false, func(g *w.Guest) []byte { return callWith(g, guard.WASIModule, "proc_raise", ones) }},
		{"claims", false, func(g *w.Guest) []byte { return callWith(g, abi.ImportModule, abi.ImportClaim, none) }},
		{"pulls a value", false, func(g *w.Guest) []byte { return callWith(g, abi.ImportModule, abi.ImportValue, ones) }},
		{"grows memory to the limit", false, func(*w.Guest) []byte {
			return w.Seq(w.Loop, i32(1), w.MemoryGrow, i32(-1), op(0x47), w.BrIf(0), w.End)
		}},
	}
	for _, b := range begin {
		for _, d := range deeds {
			g := new(w.Guest)
			body := d.make(g)
			b.make(g, body)
			g.EachRecord(abi.OnSend, 0)
			fate := Refused
			if d.name == "claims" || d.name == "pulls a value" || d.name == "grows memory to the limit" {
				fate = Any
			}
			c.add("P11", fate, g.Bytes(), "%s that %s", b.name, d.name).Slow = d.slow && b.name != "klamm_alloc"
		}
	}
	for _, d := range deeds {
		g := new(w.Guest)
		body := d.make(g)
		g.Func(abi.ExportClose, nil, nil, nil, body)
		g.EachRecord(abi.OnSend, 0)
		c.add("P11", Harmless, g.Bytes(), "klamm_close that %s", d.name)
	}
}

func none(int, byte) []byte { return nil }

func ones(_ int, typ byte) []byte {
	if typ == w.I32 {
		return i32(1)
	}
	return nil
}

// allocs answer the demand for the exchange block with nonsense.
func (c *corpus) allocs() {
	for _, p := range []int64{0, 1, 2, 4, 7, 12, -1, -8, -1 << 31, 0x7ffffff8, 65536, 65528, 1 << 20} {
		g := new(w.Guest)
		g.Alloc = i32(p)
		g.EachRecord(abi.OnSend, 0)
		c.add("P11", Refused, g.Bytes(), "klamm_alloc that answers %d", p)
	}
	for _, a := range []struct {
		name string
		fate Fate
		body []byte
	}{
		{"the same pointer each time, of a memory that suffices", Harmless, w.Seq(i32(80), w.MemoryGrow, drop, i32(8))},
		{"the same pointer each time, of a memory that does not", Refused, i32(8)},
		{"the end of the memory", Refused, w.Seq(w.MemorySize, i32(16), w.I32Shl)},
		{"the end less one block", Any, w.Seq(i32(1), w.MemoryGrow, drop, w.MemorySize, i32(16), w.I32Shl, w.LocalGet(0), w.I32Sub)},
		{"the size", Refused, w.LocalGet(0)},
		{"memory.grow's -1", Refused, w.Seq(i32(65535), w.MemoryGrow)},
	} {
		g := new(w.Guest)
		g.Alloc = a.body
		g.EachRecord(abi.OnSend, abi.FieldValue)
		c.add("P11", a.fate, g.Bytes(), "klamm_alloc that answers %s", a.name)
	}
	second := func(then []byte) []byte {
		g := new(w.Guest)
		n := g.Global(0)
		g.Alloc = w.Seq(w.GlobalGet(n), w.I64Const(1), w.I64Add, w.GlobalSet(n),
			w.GlobalGet(n), w.I32WrapI64, i32(2), w.I32GeU, op(0x04, 0x7f), then, w.Else, w.FreshPages(), w.End)
		g.Hook(abi.OnSend, 0, w.LocalGet(w.Ptr), i32(0), w.I32Store(abi.BatchDone), w.I64Const(int64(abi.PackCall(0, 0, abi.CallPartial))))
		return g.Bytes()
	}
	c.add("P11", Faulted, second(w.Unreachable), "klamm_alloc that traps the second time")
	c.add("P11", Faulted, second(i32(0)), "klamm_alloc that answers 0 the second time")
	c.add("P11", Faulted, second(i32(8)), "klamm_alloc that answers less the second time")
	c.add("P11", Faulted, second(w.Seq(forever, i32(8))), "klamm_alloc that hangs the second time")
	for _, name := range []string{abi.ImportLog, abi.ImportClaimBatch, abi.ImportValue, abi.ImportMetricDef, abi.ImportStatePut} {
		g := new(w.Guest)
		g.Alloc = w.Seq(callWith(g, abi.ImportModule, name, none), w.FreshPages())
		g.EachRecord(abi.OnSend, 0)
		c.add("P11", Any, g.Bytes(), "klamm_alloc that calls %s", name)
	}
	g := new(w.Guest)
	g.EachRecord(abi.OnSend, 0, i32(65536), op(0x10, 3), drop) // its own klamm_alloc
	g.Alloc = w.FreshPages()
	g.Hook(abi.OnConsume, 0, w.LocalGet(0), w.LocalGet(1), op(0x10, 0)) // on_send
	c.add("P11", Any, g.Bytes(), "hooks that call each other")
}

// inits lie about what the plugin is.
func (c *corpus) inits() {
	answer := func(fate Fate, v abi.InitResult, name string) {
		g := new(w.Guest)
		g.Init = w.I64Const(int64(v))
		g.EachRecord(abi.OnSend, 0)
		c.add("P11", fate, g.Bytes(), "klamm_init answers %s", name)
	}
	fields := [abi.HookCount]abi.Fields{}
	answer(Refused, 0, "nothing")
	answer(Refused, abi.PackInit(abi.OnConsume.Mask(), fields, 0), "a hook that is not exported")
	answer(Refused, abi.PackInit(abi.OnSend.Mask()|1<<5, fields, 0), "an unknown hook")
	answer(Refused, abi.PackInit(0xffff, fields, 0), "all hooks")
	answer(Refused, abi.PackInit(abi.OnSend.Mask(), fields, 1), "error 1")
	answer(Refused, abi.PackInit(abi.OnSend.Mask(), fields, 0xffff), "error 65535")
	answer(Harmless, abi.PackInit(abi.OnSend.Mask(), fields, 0)|1<<30-1, "all fields of all hooks")
	answer(Any, abi.PackInit(abi.OnSend.Mask(), fields, 0)|3<<30, "bits 30 and 31")
	answer(Refused, 1<<64-1, "all ones")
	define := func(fate Fate, fn string, first int64, name string, times int, what string) {
		g := new(w.Guest)
		f := importer(g, abi.ImportModule, fn)
		g.Data(1024, []byte(name))
		var b []byte
		for i := range times {
			b = append(b, w.Seq(i32(first+int64(i)), i32(1024), i32(int64(len(name))), w.Call(f))...)
			if fn == abi.ImportMetricDef {
				b = append(b, drop...)
			}
		}
		g.Init = w.Seq(b, w.I64Const(int64(abi.PackInit(abi.OnSend.Mask(), fields, 0))))
		g.EachRecord(abi.OnSend, 0)
		c.add("P11", fate, g.Bytes(), "%s of %s", fn, what)
	}
	for _, n := range []struct{ name, what string }{
		{"", "no name"}, {"A", "a capital"}, {"a\x1b", "an escape"}, {"a\n", "a line break"}, {strings.Repeat("a", 65), "65 bytes"}, {"\xff", "no UTF-8"},
	} {
		define(Refused, abi.ImportReasonDef, 16, n.name, 1, n.what)
		define(Refused, abi.ImportMetricDef, 0, n.name, 1, n.what)
	}
	define(Refused, abi.ImportReasonDef, 1, "mine", 1, "a reserved code")
	define(Refused, abi.ImportReasonDef, 0x10000, "mine", 1, "code 65536")
	define(Refused, abi.ImportReasonDef, 16, "mine", 65, "65 reasons")
	define(Refused, abi.ImportMetricDef, 2, "mine", 1, "an unknown kind")
	define(Refused, abi.ImportMetricDef, -40, "mine", 1, "kind -40")
	g := new(w.Guest)
	random := importer(g, abi.ImportModule, abi.ImportRandom)
	g.Init = w.Seq(i32(0), i32(1), w.Call(random), i32(0), w.I32Load(0), w.I64ExtendU, w.I64Const(1), op(0x83),
		w.I64Const(int64(abi.PackInit(abi.OnSend.Mask(), fields, 0))), w.I64Or)
	g.EachRecord(abi.OnSend, 0)
	c.add("P11", Any, g.Bytes(), "klamm_init answers another thing each time")
}

// wasi asks for what a plugin has no business with.
func (c *corpus) wasi() {
	for _, code := range []int64{0, 1, 255, -1} {
		c.add("P12", Faulted, guest(abi.OnSend, func(g *w.Guest) []byte {
			return callWith(g, guard.WASIModule, "proc_exit", func(int, byte) []byte { return i32(code) })
		}), "proc_exit(%d)", code)
	}
	for _, signal := range []int64{0, 9, 11} {
		c.add("P12", Faulted, guest(abi.OnSend, func(g *w.Guest) []byte {
			return callWith(g, guard.WASIModule, "proc_raise", func(int, byte) []byte { return i32(signal) })
		}), "proc_raise(%d)", signal)
	}
	for _, name := range []string{
		"path_open", "path_unlink_file", "path_create_directory", "path_symlink", "path_rename", "path_readlink",
		"fd_prestat_get", "fd_readdir", "fd_pread", "fd_pwrite", "fd_allocate", "sock_accept", "sock_send", "sock_recv", "args_get",
	} {
		for fd := range int64(4) {
			if fd > 0 && fd != 3 {
				continue
			}
			c.add("P12", Harmless, guest(abi.OnSend, func(g *w.Guest) []byte {
				g.Data(1024, []byte("/etc/passwd\x00"))
				return callWith(g, guard.WASIModule, name, func(i int, typ byte) []byte {
					switch {
					case typ != w.I32:
						return nil
					case i == 0:
						return i32(fd)
					case i%2 == 0:
						return i32(11)
					}
					return i32(1024)
				})
			}), "%s of descriptor %d", name, fd)
		}
	}
	for _, s := range []struct {
		name string
		ns   uint64
		n    int64
	}{{"for ever", 1<<64 - 1, 1}, {"an hour", 3600e9, 1}, {"1,024 times for an hour", 3600e9, 1024}} {
		c.add("P12", Faulted, guest(abi.OnSend, func(g *w.Guest) []byte {
			sub := make([]byte, 48)
			le.PutUint64(sub[24:], s.ns)
			f := importer(g, guard.WASIModule, "poll_oneoff")
			for i := range int(s.n) {
				g.Data(1024+48*i, sub)
			}
			g.Pages = 4
			return w.Seq(i32(1024), i32(100_000), i32(s.n), i32(0), w.Call(f), drop)
		}), "poll_oneoff that sleeps %s", s.name)
	}
}
