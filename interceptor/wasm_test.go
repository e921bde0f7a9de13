package interceptor

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// A few WebAssembly instructions, enough to write one guest by hand.
type ops []byte

const (
	i32, i64 = 0x7f, 0x7e

	opUnreachable = 0x00
	opBlock       = 0x02
	opLoop        = 0x03
	opIf          = 0x04
	opElse        = 0x05
	opEnd         = 0x0b
	opReturn      = 0x0f
	opDrop        = 0x1a
	opEq          = 0x46
	opGtU         = 0x4b
	opGeU         = 0x4f
	opAdd         = 0x6a
	opAnd         = 0x71
	opShl         = 0x74
	opShrU        = 0x76
	opOr64        = 0x84
	opShl64       = 0x86
	opExtend      = 0xad
	noResult      = 0x40
)

func uleb(v int) []byte { return binary.AppendUvarint(nil, uint64(v)) }

func sleb(v int64) []byte {
	var b []byte
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func (o *ops) op(codes ...byte)        { *o = append(*o, codes...) }
func (o *ops) get(local int)           { *o = append(append(*o, 0x20), uleb(local)...) }
func (o *ops) set(local int)           { *o = append(append(*o, 0x21), uleb(local)...) }
func (o *ops) num(v int64)             { *o = append(append(*o, 0x41), sleb(v)...) }
func (o *ops) num64(v int64)           { *o = append(append(*o, 0x42), sleb(v)...) }
func (o *ops) call(f int)              { *o = append(append(*o, 0x10), uleb(f)...) }
func (o *ops) memory(op byte, off int) { *o = append(append(*o, op, 0), uleb(off)...) }
func (o *ops) load(off int)            { o.memory(0x28, off) }
func (o *ops) load8(off int)           { o.memory(0x2d, off) }
func (o *ops) store(off int)           { o.memory(0x36, off) }
func (o *ops) store64(off int)         { o.memory(0x37, off) }

// inRecord pushes at + the offset that stands in the record's header.
func (o *ops) inRecord(at, field int) {
	o.get(at)
	o.get(at)
	o.load(field)
	o.op(opAdd)
}

// step adds what is on the stack to a local.
func (o *ops) step(local int, by func()) {
	o.get(local)
	by()
	o.op(opAdd)
	o.set(local)
}

// Locals of the sieve's on_send.
const (
	blk = iota // parameters
	_
	index
	verdict
	at
	used
	answer
	first // byte of the value
	p
	failed
	locals = failed + 1 - index
)

// sieveMask is where a sieve has the answers of claim_batch put, behind the name
// of its metric.
const sieveMask = 64

// sieveOptions choose what the guest does with records that it passes.
type sieveOptions struct {
	edit int  // bytes of the value that it sets; 0 passes
	lot  bool // all keys are claimed together, before anything else
}

// sieve is a plugin that drops records whose key it has seen and counts them.
// The value's first byte makes it fail: T traps before the claim, U after it, N
// answers nonsense, E ends the call with an error.
func sieve(o sieveOptions) []byte {
	m := module{}
	claim := m.imports("claim", []byte{i32, i32, i32, i64}, []byte{i32})
	if o.lot {
		claim = m.imports("claim_batch", []byte{i32, i64}, []byte{i32})
	}
	add := m.imports("metric_add", []byte{i32, i64}, nil)
	def := m.imports("metric_def", []byte{i32, i32, i32}, []byte{i32})
	m.function(abi.ExportMarker, nil, nil, 0, nil)
	m.function(abi.ExportAlloc, []byte{i32}, []byte{i32}, 0, freshPages())
	m.function(abi.ExportInit, []byte{i32, i32}, []byte{i64}, 0, sieveInit(def))
	m.function(abi.ExportOnSend, []byte{i32, i32}, []byte{i64}, locals, sieveSend(o, claim, add))
	m.function(abi.ExportOnConsume, []byte{i32, i32}, []byte{i64}, locals, sieveSend(o, claim, add))
	m.function(abi.ExportOnAck, []byte{i32, i32}, []byte{i64}, 0, sieveAck(add))
	return m.bytes("dropped_total")
}

func freshPages() (o ops) {
	o.get(0)
	o.num(65535)
	o.op(opAdd)
	o.num(16)
	o.op(opShrU, 0x40, 0) // memory.grow
	o.num(16)
	o.op(opShl)
	return o
}

func sieveInit(def int) (o ops) {
	o.num(int64(abi.MetricCounter))
	o.num(8) // the name's address
	o.num(int64(len("dropped_total")))
	o.call(def)
	o.op(opDrop)
	fields := [abi.HookCount]abi.Fields{
		abi.OnSend: abi.FieldKey | abi.FieldValue, abi.OnConsume: abi.FieldKey | abi.FieldValue, abi.OnAcknowledgement: 0,
	}
	hooks := abi.OnSend.Mask() | abi.OnConsume.Mask() | abi.OnAcknowledgement.Mask()
	o.num64(int64(abi.PackInit(hooks, fields, 0)))
	return o
}

// sieveAck counts acknowledgements into the same counter, a thousand each.
func sieveAck(add int) (o ops) {
	o.num(0)
	o.get(blk)
	o.load(abi.BatchCount)
	o.op(opExtend)
	o.num64(1000)
	o.op(0x7e) // i64.mul
	o.call(add)
	o.num64(0)
	return o
}

func sieveSend(opt sieveOptions, claim, add int) (o ops) {
	if opt.lot {
		o.num(sieveMask)
		o.num64(60_000)
		o.call(claim)
		o.op(opDrop)
	}
	o.inRecord(blk, abi.BatchVerdictOff)
	o.set(verdict)
	o.inRecord(blk, abi.BatchRecOff)
	o.set(at)
	o.op(opBlock, noResult, opLoop, noResult)
	o.get(index)
	o.get(blk)
	o.load(abi.BatchCount)
	o.op(opGeU, 0x0d, 1) // br_if 1

	o.inRecord(at, abi.RecValueOff)
	o.load8(0)
	o.set(first)
	o.trapOn('T')
	o.claimed(opt, claim)
	o.set(answer)
	o.trapOn('U')
	o.when('E', func() { o.num(1); o.set(failed) })
	o.when('N', func() { o.get(verdict); o.num64(99); o.store64(0) })
	o.get(answer)
	o.num(int64(abi.ClaimNew))
	o.op(opEq, opIf, noResult)
	o.passed(opt)
	o.op(opElse)
	o.num(0)
	o.num64(1)
	o.call(add)
	o.get(verdict)
	o.num64(int64(abi.PackVerdict(abi.Drop, 0, abi.ReasonDuplicate, 0)))
	o.store64(0)
	o.op(opEnd)

	o.step(index, func() { o.num(1) })
	o.step(verdict, func() { o.num(abi.VerdictSize) })
	o.step(at, func() { o.get(at); o.load(abi.RecSize) })
	o.op(0x0c, 0, opEnd, opEnd) // br 0
	o.get(failed)
	o.op(opExtend)
	o.num64(32)
	o.op(opShl64)
	o.get(used)
	o.op(opExtend, opOr64)
	return o
}

// claimed pushes abi.ClaimNew where the record at index has its key, and another
// number where it has not.
func (o *ops) claimed(opt sieveOptions, claim int) {
	o.get(index)
	if opt.lot {
		o.num(3)
		o.op(opShrU)
		o.load8(sieveMask)
		o.get(index)
		o.num(7)
		o.op(opAnd, opShrU)
		o.num(int64(abi.ClaimNew))
		o.op(opAnd)
		return
	}
	o.inRecord(at, abi.RecKeyOff)
	o.get(at)
	o.load(abi.RecKeyLen)
	o.num64(60_000)
	o.call(claim)
}

func (o *ops) when(c byte, then func()) {
	o.get(first)
	o.num(int64(c))
	o.op(opEq, opIf, noResult)
	then()
	o.op(opEnd)
}

func (o *ops) trapOn(c byte) { o.when(c, func() { o.op(opUnreachable) }) }

// passed sets a value of opt.edit zero bytes, or says that there is no room.
func (o *ops) passed(opt sieveOptions) {
	if opt.edit == 0 {
		return
	}
	size := int64(abi.EditHeaderSize + abi.EditEntrySize + abi.Align8(opt.edit))
	o.get(used)
	o.num(size)
	o.op(opAdd)
	o.get(blk)
	o.load(abi.BatchModCap)
	o.op(opGtU, opIf, noResult)
	o.get(blk)
	o.get(index)
	o.store(abi.BatchDone)
	o.get(used)
	o.op(opExtend)
	o.num64(int64(abi.PackCall(0, 0, abi.CallPartial)))
	o.op(opOr64, opReturn, opEnd)

	o.inRecord(blk, abi.BatchModOff)
	o.get(used)
	o.op(opAdd)
	o.set(p)
	for off, v := range map[int]int64{
		0: 1, 4: size - abi.EditHeaderSize,
		abi.EditHeaderSize + abi.EditOp:    int64(abi.OpSetValue), // and flags 0
		abi.EditHeaderSize + abi.EditKLen:  -1,
		abi.EditHeaderSize + abi.EditVLen:  int64(opt.edit),
		abi.EditHeaderSize + abi.EditTotal: size - abi.EditHeaderSize,
	} {
		o.get(p)
		o.num(v)
		o.store(off)
	}
	o.get(verdict)
	o.num64(int64(abi.PackVerdict(abi.Edit, 0, 0, 0)))
	o.get(blk)
	o.load(abi.BatchModOff)
	o.get(used)
	o.op(opAdd, opExtend)
	o.num64(32)
	o.op(opShl64, opOr64)
	o.store64(0)
	o.step(used, func() { o.num(size) })
}

// module is a module under construction, with one memory of one page.
type module struct {
	types, imported, declared, exports, code [][]byte
}

func vec(b []byte) []byte { return append(uleb(len(b)), b...) }

func list(items [][]byte) []byte { return append(uleb(len(items)), slices.Concat(items...)...) }

func (m *module) typeOf(params, results []byte) []byte {
	m.types = append(m.types, slices.Concat([]byte{0x60}, vec(params), vec(results)))
	return uleb(len(m.types) - 1)
}

func (m *module) imports(name string, params, results []byte) int {
	m.imported = append(m.imported, slices.Concat(vec([]byte(abi.ImportModule)), vec([]byte(name)), []byte{0}, m.typeOf(params, results)))
	return len(m.imported) - 1
}

func (m *module) function(export string, params, results []byte, locals int, body ops) {
	m.declared = append(m.declared, m.typeOf(params, results))
	m.exports = append(m.exports, slices.Concat(vec([]byte(export)), []byte{0}, uleb(len(m.imported)+len(m.declared)-1)))
	groups := uleb(0)
	if locals > 0 {
		groups = slices.Concat(uleb(1), uleb(locals), []byte{i32})
	}
	m.code = append(m.code, vec(slices.Concat(groups, body, []byte{opEnd})))
}

// bytes encodes the module, with text at address 8.
func (m *module) bytes(text string) []byte {
	m.exports = append(m.exports, slices.Concat(vec([]byte(abi.ExportMemory)), []byte{2, 0}))
	var out bytes.Buffer
	out.WriteString("\x00asm\x01\x00\x00\x00")
	section := func(id byte, body []byte) {
		out.WriteByte(id)
		out.Write(vec(body))
	}
	section(1, list(m.types))
	section(2, list(m.imported))
	section(3, list(m.declared))
	section(5, []byte{1, 0, 1})
	section(7, list(m.exports))
	section(10, list(m.code))
	section(11, slices.Concat([]byte{1, 0, 0x41, 8, opEnd}, vec([]byte(text))))
	return out.Bytes()
}

// engineOf returns an engine that compiles each module once.
func engineOf(t testing.TB) *runtime.Engine {
	t.Helper()
	e, err := runtime.NewEngine(context.Background(), runtime.EngineConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// pluginOf loads a module as a plugin.
func pluginOf(t testing.TB, e *runtime.Engine, name string, wasm []byte) *runtime.Plugin {
	t.Helper()
	p := e.NewPlugin(runtime.PluginConfig{Name: name, Grants: runtime.GrantAll, Timeout: longTime})
	if err := p.Load(context.Background(), wasm); err != nil {
		t.Fatal(fmt.Errorf("load the guest: %w", err))
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}
