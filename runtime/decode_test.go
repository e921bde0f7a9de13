package runtime

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/klamm-io/klamm/sdk/abi"
)

// answered is a block of n records with an answer in it.
type answered struct {
	b   *Block
	l   layout
	mem []byte
}

func answer(n int, fields abi.Fields) answered {
	b := keyed(n, fields)
	b.seal()
	mem := make([]byte, b.size()+4096)
	l := b.layout(len(mem), 4096)
	b.encode(mem, l)
	return answered{b, l, mem}
}

func (a answered) verdict(i int, v abi.Verdict) {
	le.PutUint64(a.mem[a.l.verdicts+i*abi.VerdictSize:], uint64(v))
}

// entry encodes an edit.
func entry(op abi.Op, key, value []byte) []byte {
	e := make([]byte, abi.EditEntrySize, 64)
	le.PutUint16(e[abi.EditOp:], uint16(op))
	le.PutUint32(e[abi.EditKLen:], uint32(lenOrNull(key)))
	le.PutUint32(e[abi.EditVLen:], uint32(lenOrNull(value)))
	e = append(append(e, key...), value...)
	e = append(e, make([]byte, abi.Align8(len(e))-len(e))...)
	le.PutUint32(e[abi.EditTotal:], uint32(len(e)))
	return e
}

func editList(entries ...[]byte) []byte {
	out := le.AppendUint32(nil, uint32(len(entries)))
	out = le.AppendUint32(out, 0)
	for _, e := range entries {
		out = append(out, e...)
	}
	le.PutUint32(out[4:], uint32(len(out)-abi.EditHeaderSize))
	return out
}

func TestEditLists(t *testing.T) {
	a := answer(2, abi.FieldKey)
	list := editList(
		entry(abi.OpAddHeader, []byte("h"), nil),
		entry(abi.OpRemoveHeaders, []byte("gone"), nil),
		entry(abi.OpSetKey, nil, []byte{}),
		entry(abi.OpSetValue, nil, nil),
		entry(abi.OpSetTopic, nil, []byte("other")),
		entry(abi.OpSetTimestamp, nil, make([]byte, 8)),
		entry(abi.OpSetPartition, nil, make([]byte, 4)),
		entry(abi.OpRemoveHeader, nil, make([]byte, 4)),
	)
	used := copy(a.mem[a.l.mod:], list)
	a.verdict(1, abi.PackVerdict(abi.Edit, 0, 0, uint32(a.l.mod)))
	var v Verdicts
	if p := v.take(a.mem, a.l, abi.OnSend, a.b, 2, used); p != nil {
		t.Fatal(p.problem)
	}
	v.finish()
	var got string
	for _, e := range v.At(1).Edits {
		got += fmt.Sprintf("%d %s %s; ", e.Op, quoted(e.Key), quoted(e.Value))
	}
	want := `1 "h" null; 2 "gone" null; 3 null ""; 4 null null; 5 null "other"; 6 null "\x00\x00\x00\x00\x00\x00\x00\x00"; 7 null "\x00\x00\x00\x00"; 8 null "\x00\x00\x00\x00"; `
	if got != want || v.At(0).Edits != nil {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBadEditLists(t *testing.T) {
	change := func(b []byte, off int, v uint32) []byte { le.PutUint32(b[off:], v); return b }
	key := entry(abi.OpSetKey, nil, []byte("key"))
	for name, tc := range map[string]struct {
		list []byte
		want string
	}{
		"more entries than bytes":  {change(editList(key), 0, 1<<31), "entries in"},
		"more bytes than area":     {change(editList(key), 4, 1<<31), "runs out"},
		"bytes not aligned":        {change(editList(key), 4, 20), "not 8-aligned"},
		"too few entries":          {change(editList(key, key), 0, 1), "behind its last entry"},
		"too many entries":         {change(editList(key), 0, 2), "entries in 24 bytes"},
		"cut off entry":            {change(editList(entry(abi.OpSetKey, nil, make([]byte, 32))), 0, 2), "cut off"},
		"size zero":                {change(editList(key), 8+abi.EditTotal, 0), "in an entry of 0"},
		"size not aligned":         {change(editList(key), 8+abi.EditTotal, 20), "size of 20"},
		"size beyond the list":     {change(editList(key), 8+abi.EditTotal, 1<<31), "24 left"},
		"value longer than entry":  {change(editList(key), 8+abi.EditVLen, 9), "in an entry of 24"},
		"huge value":               {change(editList(key), 8+abi.EditVLen, 0x7fffffff), "in an entry of 24"},
		"negative length":          {change(editList(key), 8+abi.EditVLen, 0xfffffffe), "value length -2"},
		"flags":                    {change(editList(key), 8+abi.EditOp, uint32(abi.OpSetKey)|1<<16), "unknown flags"},
		"unknown operation":        {editList(entry(9, nil, nil)), "unknown operation 9"},
		"operation zero":           {editList(entry(0, nil, nil)), "unknown operation 0"},
		"header without a key":     {editList(entry(abi.OpAddHeader, nil, nil)), "needs a key"},
		"removal without a key":    {editList(entry(abi.OpRemoveHeaders, nil, nil)), "needs a key"},
		"topic without a name":     {editList(entry(abi.OpSetTopic, nil, nil)), "needs a name"},
		"timestamp of 4 bytes":     {editList(entry(abi.OpSetTimestamp, nil, make([]byte, 4))), "4 bytes"},
		"partition of 8 bytes":     {editList(entry(abi.OpSetPartition, nil, make([]byte, 8))), "8 bytes"},
		"index that is null":       {editList(entry(abi.OpRemoveHeader, nil, nil)), "-1 bytes"},
		"second entry is nonsense": {editList(key, entry(99, nil, nil)), "edit 1 of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			a := answer(1, 0)
			used := copy(a.mem[a.l.mod:], tc.list)
			a.verdict(0, abi.PackVerdict(abi.Edit, 0, 0, uint32(a.l.mod)))
			var v Verdicts
			p := v.take(a.mem, a.l, abi.OnSend, a.b, 1, used)
			if p == nil {
				t.Fatal("accepted")
			}
			wantProblem(t, fmt.Errorf("%s", p.problem), tc.want)
		})
	}
}

// Records may share a list; the sum is bounded all the same.
func TestManyRecordsThatShareALongList(t *testing.T) {
	a := answer(512, 0)
	a.mem = append(a.mem, make([]byte, 1<<20)...)
	a.l.modCap = 1 << 20
	entries := make([][]byte, 1000)
	for i := range entries {
		entries[i] = entry(abi.OpSetKey, nil, nil)
	}
	used := copy(a.mem[a.l.mod:], editList(entries...))
	for i := range 512 {
		a.verdict(i, abi.PackVerdict(abi.Edit, 0, 0, uint32(a.l.mod)))
	}
	var v Verdicts
	p := v.take(a.mem, a.l, abi.OnSend, a.b, 512, used)
	if p == nil || p.index != 65 {
		t.Errorf("got %+v", p)
	}
}

func TestTextIsEscaped(t *testing.T) {
	text := "\x1b[2J\nforged\xff\u202e"
	a := answer(1, 0)
	le.PutUint32(a.mem[a.l.mod:], uint32(len(text)))
	copy(a.mem[a.l.mod+4:], text)
	a.verdict(0, abi.PackVerdict(abi.Fail, 0, 0, uint32(a.l.mod)))
	var v Verdicts
	if p := v.take(a.mem, a.l, abi.OnSend, a.b, 1, 4+len(text)); p != nil {
		t.Fatal(p)
	}
	if got, want := string(v.At(0).Text), "\\u{1b}[2J\\nforged\ufffd\\u{202e}"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTextOfTheLargestSize(t *testing.T) {
	for n, ok := range map[int]bool{0: true, abi.TextMax: true, abi.TextMax + 1: false} {
		a := answer(1, 0)
		le.PutUint32(a.mem[a.l.mod:], uint32(n))
		copy(a.mem[a.l.mod+4:], bytes.Repeat([]byte("x"), n))
		a.verdict(0, abi.PackVerdict(abi.Fail, 0, 0, uint32(a.l.mod)))
		var v Verdicts
		p := v.take(a.mem, a.l, abi.OnSend, a.b, 1, 4+n)
		if (p == nil) != ok {
			t.Errorf("%d bytes: %+v", n, p)
		}
		if ok && len(v.At(0).Text) != n {
			t.Errorf("%d bytes came as %d", n, len(v.At(0).Text))
		}
		if p := new(Verdicts).take(a.mem, a.l, abi.OnSend, a.b, 1, 3+n); p == nil {
			t.Errorf("%d bytes: a text that is cut off was accepted", n)
		}
	}
}

// Whatever a guest leaves in its memory, decoding ends without a panic, within
// the block, with verdicts that the hook may give.
func FuzzVerdicts(f *testing.F) {
	const records, fields = 3, abi.FieldKey | abi.FieldValue
	mod := uint32(answer(records, fields).l.mod)
	list := editList(entry(abi.OpAddHeader, []byte("k"), []byte("v")))
	for code := range abi.Code(8) {
		verdict := le.AppendUint64(nil, uint64(abi.PackVerdict(code, 0, 0, mod)))
		f.Add(bytes.Repeat(verdict, records), list, []byte{}, uint32(0), uint8(0), uint64(abi.PackCall(64, 0, 0)))
	}
	f.Add([]byte{}, []byte{}, []byte("value"), uint32(2), uint8(2), uint64(abi.PackCall(4096, 0, abi.CallPartial)))
	f.Fuzz(func(t *testing.T, verdicts, area, data []byte, done uint32, hook uint8, result uint64) {
		h := abi.Hook(hook % abi.HookCount)
		a := answer(records, fields)
		copy(a.mem[a.l.verdicts:a.l.topics], verdicts)
		copy(a.mem[a.l.records:a.l.mod], data)
		copy(a.mem[a.l.mod:], area)
		le.PutUint32(a.mem[abi.BatchDone:], done)
		res := abi.CallResult(result)
		judged, p := checkResult(a.mem, a.l, a.b.Len(), res)
		if p != nil {
			return
		}
		var v Verdicts
		if p := v.take(a.mem, a.l, h, a.b, judged, int(res.ModUsed())); p != nil {
			if p.index < 0 || p.index >= judged {
				t.Fatalf("culprit %d of %d", p.index, judged)
			}
			return
		}
		v.finish()
		for i := range v.Len() {
			got := v.At(i)
			if !got.Code.Allowed(h) && got.Code != abi.Pass || len(got.Text) > 3*abi.TextMax || got.Partition < -1 {
				t.Fatalf("record %d: %+v", i, got)
			}
			for _, e := range got.Edits {
				if len(e.Key)+len(e.Value) > len(a.mem) {
					t.Fatalf("record %d: edit of %d bytes", i, len(e.Key)+len(e.Value))
				}
			}
		}
	})
}
