package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"

	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// verdicts are nonsense in the verdict of each record, and in the answer as a
// whole.
func (c *corpus) verdicts() {
	answer := func(fate Fate, h abi.Hook, v abi.Verdict, name string, args ...any) {
		c.add("P1", fate, guest(h, func(*w.Guest) []byte { return w.Answer(v) }), "verdict: %s", fmt.Sprintf(name, args...))
	}
	for _, code := range []abi.Code{7, 8, 15, 100, 255} {
		answer(Faulted, abi.OnSend, abi.PackVerdict(code, 0, 0, 0), "unknown code %d", code)
	}
	for _, flags := range []uint8{1, 2, 0x80, 0xff} {
		answer(Faulted, abi.OnSend, abi.PackVerdict(abi.Drop, flags, 0, 0), "unknown flags 0x%02x", flags)
	}
	for _, reason := range []uint16{5, 16, 64, 0xffff} {
		answer(Harmless, abi.OnSend, abi.PackVerdict(abi.Drop, 0, reason, 0), "undeclared reason %d", reason)
	}
	for _, code := range []abi.Code{abi.Drop, abi.Edit, abi.DeadLetter, abi.Fail} {
		for _, off := range []uint32{1, 64, 0x1000, 0x7fffffff, 0x80000000, 0xffffffff} {
			answer(Faulted, abi.OnSend, abi.PackVerdict(code, 0, 0, off), "%s with an offset of 0x%x", code, off)
		}
	}
	for _, p := range []int32{-2, -5, -1 << 31, 1_000_000_000, 1<<31 - 1} {
		answer(Any, abi.OnSend, abi.PackVerdict(abi.Route, 0, 0, uint32(p)), "route to partition %d", p)
		answer(Any, abi.Partition, abi.PackVerdict(abi.Route, 0, 0, uint32(p)), "partition %d", p)
	}
	answer(Faulted, abi.OnConsume, abi.PackVerdict(abi.Route, 0, 0, 0), "route of a record that was read")
	for _, code := range []abi.Code{abi.Drop, abi.ValueInPlace, abi.Edit, abi.DeadLetter} {
		answer(Faulted, abi.Partition, abi.PackVerdict(code, 0, 0, 0), "%s in partition", code)
	}
	answer(Any, abi.OnAcknowledgement, abi.PackVerdict(abi.Drop, 0, 0, 0), "drop of an acknowledgement")
	answer(Harmless, abi.OnSend, abi.PackVerdict(abi.ValueInPlace, 0, 0, 0xffffffff), "value in place with an argument")
	g := new(w.Guest)
	g.EachRecord(abi.OnSend, abi.FieldKey, w.Answer(abi.PackVerdict(abi.ValueInPlace, 0, 0, 0)))
	c.add("P1", Faulted, g.Bytes(), "verdict: value in place of a value that was not asked for")
	c.add("P1", Faulted, onSend(w.LocalGet(w.Verdict), w.I64Const(-1), w.I64Store(0)), "verdict: all ones")
	c.results()
}

func (c *corpus) results() {
	for _, r := range []struct {
		name string
		fate Fate
		v    abi.CallResult
	}{
		{"4 GiB of edits", Faulted, abi.PackCall(0xffffffff, 0, 0)},
		{"100 MiB of edits", Faulted, abi.PackCall(100<<20, 0, 0)},
		{"1 MiB of edits in a smaller area", Faulted, abi.PackCall(1<<20, 0, 0)},
		{"error 1", Faulted, abi.PackCall(0, 1, 0)},
		{"error 65535", Faulted, abi.PackCall(0, 0xffff, 0)},
		{"unknown flag 2", Faulted, abi.PackCall(0, 0, 2)},
		{"all flags", Faulted, abi.PackCall(0, 0, 0xffff)},
		{"all ones", Faulted, abi.CallResult(1<<64 - 1)},
		{"partial, none done, for ever", Faulted, abi.PackCall(0, 0, abi.CallPartial)},
	} {
		for _, h := range []abi.Hook{abi.OnSend, abi.OnAcknowledgement} {
			c.add("P6", r.fate, whole(h, func(*w.Guest) []byte { return w.I64Const(int64(r.v)) }), "answer of %s: %s", h, r.name)
		}
	}
	for _, done := range []int64{9, 1000, 0x7fffffff, -1} {
		c.add("P6", Faulted, whole(abi.OnSend, func(*w.Guest) []byte {
			return w.Seq(w.LocalGet(w.Ptr), i32(done), w.I32Store(abi.BatchDone), w.I64Const(int64(abi.PackCall(0, 0, abi.CallPartial))))
		}), "answer: %d records done", done)
	}
	c.add("P6", Any, whole(abi.OnSend, func(*w.Guest) []byte {
		return w.Seq(w.LocalGet(w.Ptr), i32(1), w.I32Store(abi.BatchDone), w.I64Const(int64(abi.PackCall(0, 0, abi.CallPartial))))
	}), "answer: one record done each time").Records = 64
}

// verdictAtArea answers with code and the offset of the modification area.
func verdictAtArea(code abi.Code) []byte {
	return w.Seq(w.LocalGet(w.Verdict),
		w.LocalGet(w.Ptr), w.I32Load(abi.BatchModOff), w.I64ExtendU, w.I64Const(32), w.I64Shl, w.I64Const(int64(code)), w.I64Or,
		w.I64Store(0))
}

const listAt = 1024

// withArea is a plugin that copies area into the modification area, says that
// it used that many bytes, and answers each record with code and its offset.
func withArea(h abi.Hook, code abi.Code, area []byte) []byte {
	g := &w.Guest{Pages: 2 + len(area)>>16}
	g.Data(listAt, area)
	used := abi.Align8(len(area))
	g.Hook(h, abi.FieldKey|abi.FieldValue|abi.FieldHeaders,
		// Without the room it asks for more, as it should.
		w.LocalGet(w.Ptr), w.I32Load(abi.BatchModCap), i32(int64(used)), w.I32LtU, w.If,
		w.LocalGet(w.Ptr), i32(0), w.I32Store(abi.BatchDone), w.I64Const(int64(abi.PackCall(0, 0, abi.CallPartial))), w.Return, w.End,
		w.LocalGet(w.Ptr), w.LocalGet(w.Ptr), w.I32Load(abi.BatchModOff), w.I32Add, i32(listAt), i32(int64(len(area))), misc(10, 0, 0),
		w.ForEach(verdictAtArea(code)), w.I64Const(int64(abi.PackCall(uint32(used), 0, 0))))
	return g.Bytes()
}

var le = binary.LittleEndian

// edit is one entry of an edit list. klen and vlen are what it says, key and
// value what it holds.
func edit(op abi.Op, key, value []byte) []byte {
	klen, vlen := len(key), len(value)
	if key == nil {
		klen = -1
	}
	if value == nil {
		vlen = -1
	}
	return lyingEdit(uint16(op), 0, int32(klen), int32(vlen), uint32(abi.Align8(abi.EditEntrySize+len(key)+len(value))), append(key, value...))
}

func lyingEdit(op, flags uint16, klen, vlen int32, total uint32, content []byte) []byte {
	b := le.AppendUint16(nil, op)
	b = le.AppendUint16(b, flags)
	b = le.AppendUint32(b, uint32(klen))
	b = le.AppendUint32(b, uint32(vlen))
	b = le.AppendUint32(b, total)
	b = append(b, content...)
	return append(b, make([]byte, abi.Align8(len(b))-len(b))...)
}

// list is an edit list with its header.
func list(edits ...[]byte) []byte {
	body := w.Seq(edits...)
	return append(le.AppendUint32(le.AppendUint32(nil, uint32(len(edits))), uint32(len(body))), body...)
}

func (c *corpus) edits() {
	add := func(fate Fate, area []byte, name string, args ...any) *Case {
		return c.add("P6", fate, withArea(abi.OnSend, abi.Edit, area), "edits: %s", fmt.Sprintf(name, args...))
	}
	header := func(n, size uint32, rest ...byte) []byte {
		return append(le.AppendUint32(le.AppendUint32(nil, n), size), rest...)
	}
	good := edit(abi.OpSetValue, nil, []byte("new"))
	add(Faulted, header(0xffffffff, 0), "4 G of them in nothing")
	add(Faulted, header(1, 0xfffffff8), "a list of 4 GiB")
	add(Faulted, header(1, 4), "a list of 4 bytes")
	add(Faulted, header(2, uint32(len(good)), good...), "two, one given")
	add(Faulted, header(0, uint32(len(good)), good...), "none, one given")
	add(Harmless, header(0, 0), "none")
	for _, n := range []int32{-2, -1 << 31, 1<<31 - 1, 1 << 20} {
		add(Faulted, list(lyingEdit(3, 0, n, 0, 32, make([]byte, 16))), "key of %d bytes", n)
		add(Faulted, list(lyingEdit(4, 0, -1, n, 32, make([]byte, 16))), "value of %d bytes", n)
	}
	add(Faulted, list(lyingEdit(1, 0, 1<<31-1, 1<<31-1, 32, make([]byte, 16))), "key and value that overflow together")
	for _, total := range []uint32{0, 8, 17, 31, 0x7ffffff8, 0xfffffff8, 0xffffffff} {
		add(Faulted, list(lyingEdit(4, 0, -1, 8, total, make([]byte, 16))), "entry of %d bytes", total)
	}
	add(Faulted, list(lyingEdit(4, 0, -1, 16, 24, make([]byte, 16))), "value over the entry's end")
	add(Faulted, list(lyingEdit(4, 0, 8, 16, 32, make([]byte, 16)), good), "value into the next entry")
	for _, o := range []uint16{0, 9, 100, 0xffff} {
		add(Faulted, list(lyingEdit(o, 0, -1, 0, 16, nil)), "unknown operation %d", o)
	}
	add(Faulted, list(lyingEdit(4, 1, -1, 0, 16, nil)), "unknown flags")
	add(Faulted, list(lyingEdit(1, 0, -1, 0, 16, nil)), "header without a key")
	for _, n := range []int{0, 3, 7, 9, 16} {
		add(Faulted, list(edit(abi.OpSetTimestamp, nil, make([]byte, n))), "timestamp of %d bytes", n)
		add(Faulted, list(edit(abi.OpSetPartition, nil, make([]byte, n))), "partition of %d bytes", n)
	}
	for _, ts := range []uint64{1 << 63, 1<<63 - 1, 1<<64 - 1} {
		add(Any, list(edit(abi.OpSetTimestamp, nil, le.AppendUint64(nil, ts))), "timestamp 0x%x", ts)
	}
	for _, p := range []uint32{0xfffffffb, 0xffffffff, 1_000_000_000, 1 << 31} {
		add(Any, list(edit(abi.OpSetPartition, nil, le.AppendUint32(nil, p))), "partition %d", int32(p))
	}
	for _, i := range []uint32{0, 5, 1 << 31, 0xffffffff} {
		add(Any, list(edit(abi.OpRemoveHeader, nil, le.AppendUint32(nil, i))), "removal of header %d", i)
	}
	add(Harmless, list(edit(abi.OpSetKey, nil, nil), edit(abi.OpSetValue, nil, nil)), "null key and value")
	add(Harmless, list(edit(abi.OpSetKey, nil, []byte{}), edit(abi.OpSetValue, nil, []byte{})), "empty key and value")
	add(Harmless, list(edit(abi.OpAddHeader, []byte("h"), nil), edit(abi.OpAddHeader, []byte{}, []byte{})), "null and empty headers")
	add(Any, list(edit(abi.OpAddHeader, []byte("\xff\xfe\x00"), []byte("v"))), "header key that is no UTF-8")
	add(Harmless, list(edit(abi.OpSetKey, nil, []byte("\xff\xfe\x00")), edit(abi.OpSetValue, nil, []byte("\xff"))), "key and value that are no UTF-8")
	c.largeEdits(add)
}

// oneByOne is a plugin that judges one record in each call, with area as its
// edit list, and says that the room is used up.
func oneByOne(area []byte) []byte {
	g := &w.Guest{Pages: 2 + len(area)>>16}
	g.Data(listAt, area)
	used := abi.Align8(len(area))
	partial := w.I64Const(int64(abi.PackCall(uint32(used), 0, abi.CallPartial)))
	g.Hook(abi.OnSend, abi.FieldKey,
		w.LocalGet(w.Ptr), w.I32Load(abi.BatchModCap), i32(int64(used)), w.I32LtU, w.If,
		w.LocalGet(w.Ptr), i32(0), w.I32Store(abi.BatchDone), w.I64Const(int64(abi.PackCall(0, 0, abi.CallPartial))), w.Return, w.End,
		w.LocalGet(w.Ptr), w.LocalGet(w.Ptr), w.I32Load(abi.BatchModOff), w.I32Add, i32(listAt), i32(int64(len(area))), misc(10, 0, 0),
		w.ForEach(verdictAtArea(abi.Edit)), w.LocalGet(w.Ptr), i32(1), w.I32Store(abi.BatchDone), partial)
	return g.Bytes()
}

func (c *corpus) largeEdits(add func(fate Fate, area []byte, name string, args ...any) *Case) {
	tiny := edit(abi.OpAddHeader, []byte{}, []byte{})
	many := func(n int) []byte {
		b := make([]byte, 0, n*len(tiny))
		for range n {
			b = append(b, tiny...)
		}
		return append(le.AppendUint32(le.AppendUint32(nil, uint32(n)), uint32(len(b))), b...)
	}
	add(Any, many(5_000), "5,000 headers for each record")
	add(Faulted, many(100_000), "100,000 headers for each record")
	turns := bytes.Clone(many(60_000))
	for i := 30_000; i < 60_000; i++ {
		le.PutUint16(turns[abi.EditHeaderSize+16*i:], uint16(abi.OpRemoveHeaders))
		le.PutUint32(turns[abi.EditHeaderSize+16*i+abi.EditKLen:], 0)
	}
	for i := range 30_000 {
		le.PutUint32(turns[abi.EditHeaderSize+16*i+abi.EditVLen:], 0xffffffff) // null
	}
	add(Any, turns, "30,000 headers added and 30,000 removed")
	add(Any, list(edit(abi.OpSetValue, nil, make([]byte, 1<<20))), "value of 1 MiB")
	add(Any, list(edit(abi.OpAddHeader, make([]byte, 3<<20), nil)), "header key of 3 MiB for each of 512 records").Records = 512
	add(Any, list(edit(abi.OpSetValue, nil, make([]byte, 3<<20))), "value of 3 MiB, shared by 512 records").Records = 512
	add(Faulted, list(edit(abi.OpSetValue, nil, make([]byte, 5<<20))), "value of 5 MiB, above the output limit")
	add(Any, list(edit(abi.OpAddHeader, make([]byte, 1<<20), make([]byte, 1<<20))), "header of 2 MiB")
	add(Any, list(edit(abi.OpAddHeader, []byte("h"), make([]byte, 1<<20))), "header of 1 MiB for each of 512 records").Records = 512
	c.add("P6", Any, oneByOne(list(edit(abi.OpSetValue, nil, make([]byte, 3<<20)))), "edits: value of 3 MiB for each of 512 records, one a call").Records = 512
	for _, n := range []uint32{0, 1024, 1025, 1 << 20, 0x7fffffff, 0xffffffff} {
		area := append(le.AppendUint32(nil, n), make([]byte, 1100)...)
		fate := Faulted
		if n <= abi.TextMax {
			fate = Harmless
		}
		c.add("P6", fate, withArea(abi.OnSend, abi.Drop, area), "text of %d bytes", n)
	}
	c.add("P8", Any, withArea(abi.OnSend, abi.Fail, append(le.AppendUint32(nil, 12), "\x1b[2J\r\n\x00\xff\x1b]0;x"...)), "text with escapes")
}

// topics are changes of the topic, none of which is allowed.
func (c *corpus) topics() {
	long := make([]byte, 300)
	for i := range long {
		long[i] = 'a'
	}
	for _, t := range []string{
		"__consumer_offsets", "__transaction_state", "other", "../x", "..", ".", "a/b", "a\x00b", "\xff\xfe", " ", "t ", "T",
		string(long), "\u202et", "t\n", "*", "dead",
	} {
		c.add("P9", Faulted, withArea(abi.OnSend, abi.Edit, list(edit(abi.OpSetTopic, nil, []byte(t)))), "topic %.20q", t)
	}
	c.add("P9", Faulted, withArea(abi.OnSend, abi.Edit, list(edit(abi.OpSetTopic, nil, []byte{}))), "topic without a name")
	c.add("P9", Faulted, withArea(abi.OnConsume, abi.Edit, list(edit(abi.OpSetTopic, nil, []byte("other")))), "topic of a record that was read")
}

// blocks are guests that write where they should not: into the host's part of
// the exchange block.
func (c *corpus) blocks() {
	for off := 0; off < abi.BatchHeaderSize; off += 4 {
		if off == abi.BatchDone {
			continue
		}
		c.add("P5", Harmless, whole(abi.OnSend, func(*w.Guest) []byte {
			return w.Seq(w.LocalGet(w.Ptr), i32(-1), w.I32Store(off), w.I64Const(0))
		}), "batch header overwritten at %d", off)
	}
	for _, off := range []int{abi.RecSize, abi.RecKeyOff, abi.RecKeyLen, abi.RecValueOff, abi.RecValueLen, abi.RecHeadersOff, abi.RecRef} {
		c.add("P5", Any, guest(abi.OnSend, func(*w.Guest) []byte {
			return w.Seq(w.LocalGet(w.At), i32(-1), w.I32Store(off), w.Answer(abi.PackVerdict(abi.ValueInPlace, 0, 0, 0)),
				i32(0), w.LocalSet(w.Len), w.LocalGet(w.Index), i32(1000), w.I32Add, w.LocalSet(w.Index))
		}), "record header overwritten at %d", off)
	}
	c.add("P5", Any, whole(abi.OnSend, func(*w.Guest) []byte {
		return w.Seq(w.LocalGet(w.Ptr), i32(0xff), w.LocalGet(w.Len), misc(11, 0), w.I64Const(0))
	}), "whole block filled with ones")
	c.add("P5", Harmless, whole(abi.OnSend, func(*w.Guest) []byte {
		return w.Seq(w.LocalGet(w.Ptr), i32(0), w.LocalGet(w.Len), misc(11, 0), w.I64Const(0))
	}), "whole block filled with zeros")
	c.add("P10", Any, whole(abi.OnSend, func(*w.Guest) []byte {
		return w.Seq(i32(0), i32(0xff), w.MemorySize, i32(16), w.I32Shl, misc(11, 0), w.I64Const(0))
	}), "whole memory filled with ones")
	c.add("P10", Any, whole(abi.OnSend, func(g *w.Guest) []byte {
		return w.Seq(i32(10), w.MemoryGrow, drop, w.LocalGet(w.Ptr), i32(1), w.I32Add, w.I64Load(0))
	}), "answer read from the block at random")
}
