package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

func TestVerdictsOfEachKind(t *testing.T) {
	text := func(at int32, s string) []byte { // {len, bytes} at the modification area plus at; leaves nothing
		out := w.Seq(mod(at), w.I32Const(int32(len(s))), w.I32Store(0))
		for i := range len(s) {
			out = append(out, w.Seq(mod(at+4+int32(i)), w.I32Const(int32(s[i])), w.I32Store8(0))...)
		}
		return out
	}
	withArg := func(c abi.Code, reason uint16, at int32) []byte {
		return w.Seq(w.LocalGet(w.Verdict),
			w.LocalGet(w.Ptr), w.I32Load(abi.BatchModOff), w.I32Const(at), w.I32Add, w.I64ExtendU, w.I64Const(32), w.I64Shl,
			w.I64Const(int64(abi.PackVerdict(c, 0, reason, 0))), w.I64Or, w.I64Store(0))
	}
	g := new(w.Guest)
	g.Hook(abi.OnSend, abi.FieldKey|abi.FieldValue,
		text(0, "why"), text(8, "a\xff"),
		w.ForEach(
			w.IfIndex(1, w.Answer(abi.PackVerdict(abi.Drop, 0, 16, 0))),
			w.IfIndex(2, withArg(abi.Fail, 2, 0)),
			w.IfIndex(3, withArg(abi.DeadLetter, 0, 8)),
			w.IfIndex(4, w.Answer(abi.PackVerdict(abi.Route, 0, 0, 2))),
			w.IfIndex(5, w.Answer(abi.PackVerdict(abi.Route, 0, 0, 0xffffffff))),
			w.IfIndex(6, w.LocalGet(w.At), w.LocalGet(w.At), w.I32Load(abi.RecValueOff), w.I32Add, w.I32Const('X'), w.I32Store8(0),
				w.Answer(abi.PackVerdict(abi.ValueInPlace, 0, 0, 0))),
		),
		w.I64Const(16))
	s := seatOf(t, g, PluginConfig{}, newFakeHost())
	b := keyed(7, abi.FieldKey|abi.FieldValue)
	v := judge(t, s, abi.OnSend, b)
	want := []Verdict{
		{},
		{Code: abi.Drop, Reason: 16},
		{Code: abi.Fail, Reason: 2, Text: []byte("why")},
		{Code: abi.DeadLetter, Text: []byte("a\ufffd")},
		{Code: abi.Route, Partition: 2},
		{Code: abi.Route, Partition: -1},
		{Code: abi.ValueInPlace, Value: []byte("X6")},
	}
	if v.Len() != len(want) {
		t.Fatalf("%d verdicts, want %d", v.Len(), len(want))
	}
	for i, x := range want {
		got := v.At(i)
		if fmt.Sprint(got) != fmt.Sprint(x) {
			t.Errorf("record %d: got %v, want %v", i, got, x)
		}
	}
}

// mod pushes the address of the modification area plus at.
func mod(at int32) []byte {
	return w.Seq(w.LocalGet(w.Ptr), w.LocalGet(w.Ptr), w.I32Load(abi.BatchModOff), w.I32Add, w.I32Const(at), w.I32Add)
}

func TestTrapAtEachRecord(t *testing.T) {
	const n = 12
	e := newEngine(t)
	for i := range n {
		g := new(w.Guest)
		g.EachRecord(abi.OnSend, abi.FieldKey,
			w.IfIndex(i, w.LocalGet(w.At), w.I32Load(abi.RecKeyOff), w.LocalGet(w.At), w.I32Add, w.I32Load16U(0), w.I32Const('k'|'x'<<8), w.I32Eq, w.If, w.Unreachable, w.End),
			w.Answer(abi.PackVerdict(abi.Drop, 0, 0, 0)))
		s := sit(t, load(t, e, g, PluginConfig{}), newFakeHost())
		b := keyed(n, abi.FieldKey)
		copy(b.Key(i), "kx")
		_, err := s.Judge(context.Background(), abi.OnSend, b)
		trap := as[*TrapError](t, err)
		if trap.Plugin != "p" || trap.Export != abi.ExportOnSend || trap.Trap != "unreachable" {
			t.Errorf("record %d: got %+v", i, trap)
		}
		if trap.Stack != "$0(i32,i32) i64" {
			t.Errorf("record %d: the stack is %q", i, trap.Stack)
		}
		if !IsFault(err) || FaultKind(err) != "trap" {
			t.Errorf("record %d: %v is no fault", i, err)
		}
		copy(b.Key(i), "k0")
		if v := judge(t, s, abi.OnSend, b); codes(v) != strings.Repeat("1", n) {
			t.Errorf("record %d: after the trap got %s", i, codes(v))
		}
	}
}

func TestTrapsOfEachKind(t *testing.T) {
	e := newEngine(t)
	for _, tc := range []struct {
		name string
		body []byte
		want string
	}{
		{"unreachable", w.Unreachable, "unreachable"},
		{"division by zero", w.Seq(w.I32Const(1), w.I32Const(0), w.I32DivU, w.Drop, w.I64Const(0)), "integer divide by zero"},
		{"load outside of the memory", w.Seq(w.I32Const(-8), w.I32Load(0), w.Drop, w.I64Const(0)), "out of bounds memory access"},
		{"endless recursion", w.Seq(w.LocalGet(0), w.LocalGet(1), w.Call(0)), "stack overflow"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := new(w.Guest)
			g.Hook(abi.OnSend, 0, tc.body)
			s := sit(t, load(t, e, g, PluginConfig{Timeout: 5 * time.Second}), newFakeHost())
			for range 2 { // the second call has a new instance
				_, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0))
				if trap := as[*TrapError](t, err); trap.Trap != tc.want {
					t.Errorf("got trap %q, want %q", trap.Trap, tc.want)
				}
			}
		})
	}
}

func TestDeadlineEndsASpinningCall(t *testing.T) {
	g := new(w.Guest)
	g.Hook(abi.OnSend, abi.FieldKey,
		w.LocalGet(w.Ptr), w.I32Load(abi.BatchCount), w.I32Const(2), w.I32Eq, w.If, w.Loop, w.Br(0), w.End, w.End, w.I64Const(0))
	s := seatOf(t, g, PluginConfig{Timeout: 20 * time.Millisecond}, newFakeHost())
	start := time.Now()
	_, err := s.Judge(context.Background(), abi.OnSend, keyed(2, abi.FieldKey))
	late := as[*DeadlineError](t, err)
	if late.Limit != 20*time.Millisecond || late.Export != abi.ExportOnSend {
		t.Errorf("got %+v", late)
	}
	if took := time.Since(start); took < late.Limit || took > time.Minute {
		t.Errorf("the call ended after %s", took)
	}
	if v := judge(t, s, abi.OnSend, keyed(1, abi.FieldKey)); codes(v) != "0" {
		t.Errorf("after the deadline got %s", codes(v))
	}
}

func TestNonsenseIsAFault(t *testing.T) {
	e := newEngine(t)
	answer := func(c abi.Code, flags uint8, arg uint32) []byte {
		return w.Seq(w.ForEach(w.IfIndex(1, w.Answer(abi.PackVerdict(c, flags, 0, arg)))), w.I64Const(0))
	}
	for _, tc := range []struct {
		name string
		hook abi.Hook
		body []byte
		want string
		at   int
	}{
		{"reserved code", abi.OnSend, answer(7, 0, 0), "code 7", 1},
		{"unknown code", abi.OnSend, answer(200, 0, 0), "code 200", 1},
		{"route in on_consume", abi.OnConsume, answer(abi.Route, 0, 0), "not allowed in on_consume", 1},
		{"drop in partition", abi.Partition, answer(abi.Drop, 0, 0), "not allowed in partition", 1},
		{"flags", abi.OnSend, answer(abi.Drop, 1, 0), "unknown flags", 1},
		{"text in the header", abi.OnSend, answer(abi.Fail, 0, 8), "text at 8", 1},
		{"text beyond the end", abi.OnSend, answer(abi.Fail, 0, 0xfffffff8), "outside", 1},
		{"edits in the header", abi.OnSend, answer(abi.Edit, 0, 8), "edit list at 8", 1},
		{"partition below -1", abi.OnSend, answer(abi.Route, 0, 0xfffffffe), "partition -2", 1},
		{"in place without a value", abi.OnSend, answer(abi.ValueInPlace, 0, 0), "not in the block", 1},
		{"too much used", abi.OnSend, w.I64Const(0x7fffffff), "modification area", -1},
		{"unknown result flags", abi.OnSend, w.I64Const(int64(abi.PackCall(0, 0, 2)) - 0), "unknown flags 0x0002", -1},
		{"too many done", abi.OnSend, w.Seq(w.LocalGet(0), w.I32Const(4), w.I32Store(abi.BatchDone), w.I64Const(1<<48)), "4 records done of 3", -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := new(w.Guest)
			g.Hook(tc.hook, abi.FieldKey, tc.body)
			s := sit(t, load(t, e, g, PluginConfig{}), newFakeHost())
			_, err := s.Judge(context.Background(), tc.hook, keyed(3, abi.FieldKey))
			bad := as[*VerdictError](t, err)
			wantProblem(t, err, tc.want)
			if bad.Index != tc.at || bad.Export != tc.hook.Export() {
				t.Errorf("got %+v, want index %d", bad, tc.at)
			}
			if i, ok := Culprit(err); ok != (tc.at >= 0) || ok && i != tc.at {
				t.Errorf("culprit %d, %v", i, ok)
			}
			if FaultKind(err) != "verdict" {
				t.Errorf("kind %q", FaultKind(err))
			}
		})
	}
}

func TestErrorCodeOfTheGuest(t *testing.T) {
	g := new(w.Guest)
	g.Hook(abi.OnSend, 0, w.I64Const(int64(abi.PackCall(0, 42, 0))))
	s := seatOf(t, g, PluginConfig{}, newFakeHost())
	_, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0))
	if e := as[*GuestError](t, err); e.Code != 42 || !IsFault(err) || FaultKind(err) != "guest_error" {
		t.Errorf("got %+v", e)
	}
	if s.cur.in == nil {
		t.Error("an error code needs no new instance")
	}
}

// partialAt answers DROP for the records before the first of which the index
// is at least stop, and says that the area was full, while the area is smaller than
// room.
func partialAt(stop int, room int32) *w.Guest {
	g := new(w.Guest)
	g.Hook(abi.OnSend, abi.FieldKey,
		w.ForEach(w.LocalGet(w.Index), w.I32Const(int32(stop)), w.I32LtU, w.If, w.Answer(abi.PackVerdict(abi.Drop, 0, 0, 0)), w.End),
		w.LocalGet(w.Ptr), w.I32Load(abi.BatchModCap), w.I32Const(room), w.I32LtU, w.If,
		w.LocalGet(w.Ptr), w.I32Const(int32(stop)), w.I32Store(abi.BatchDone), w.I64Const(int64(abi.CallPartial)<<48), w.Return, w.End,
		w.I64Const(0))
	return g
}

func TestFullModificationAreaAtEachRecord(t *testing.T) {
	const n = 9
	e := newEngine(t)
	for stop := range n {
		t.Run(fmt.Sprint(stop), func(t *testing.T) {
			h := newFakeHost()
			s := sit(t, load(t, e, partialAt(stop, 200<<10), PluginConfig{}), h)
			b := keyed(n, abi.FieldKey)
			v := judge(t, s, abi.OnSend, b)
			if want := strings.Repeat("1", stop) + strings.Repeat("0", n-stop); codes(v) != want {
				t.Errorf("got %s, want %s", codes(v), want)
			}
			if h.rewinds == 0 {
				t.Error("the host was not told that the call was made again")
			}
			before := h.rewinds
			if judge(t, s, abi.OnSend, b); h.rewinds != before {
				t.Error("the next block was called for twice: the area did not stay large")
			}
		})
	}
}

func TestFullModificationAreaThatCannotGrow(t *testing.T) {
	e := newEngine(t)
	for _, stop := range []int{0, 1, 8} {
		t.Run(fmt.Sprint(stop), func(t *testing.T) {
			s := sit(t, load(t, e, partialAt(stop, 1<<30), PluginConfig{OutputMax: 128 << 10}), newFakeHost())
			v, err := s.Judge(context.Background(), abi.OnSend, keyed(9, abi.FieldKey))
			if stop == 0 {
				wantProblem(t, err, "edit too large", "131072")
				if i, ok := Culprit(err); !ok || i != 0 {
					t.Errorf("culprit %d, %v", i, ok)
				}
				return
			}
			if err != nil || v.Len() != stop || codes(v) != strings.Repeat("1", stop) {
				t.Errorf("got %v, %v", v, err)
			}
		})
	}
}

func TestAllocContract(t *testing.T) {
	e := newEngine(t)
	for _, tc := range []struct {
		name  string
		alloc []byte
		want  string
	}{
		{"null", w.I32Const(0), "0 for a block of 65536"},
		{"not aligned", w.Seq(w.FreshPages(), w.I32Const(4), w.I32Add), "8-aligned"},
		{"outside of the memory", w.I32Const(1 << 20), "inside"},
		{"end outside of the memory", w.Seq(w.FreshPages(), w.I32Const(8), w.I32Add), "inside"},
		{"end over 4 GiB", w.I32Const(-8), "inside"},
		{"trap", w.Unreachable, "trap: unreachable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := dropAll()
			g.Alloc = tc.alloc
			p := e.NewPlugin(PluginConfig{Name: "p"})
			err := p.Load(context.Background(), g.Bytes())
			as[*LoadError](t, err)
			wantProblem(t, err, abi.ExportAlloc, tc.want)
			if p.Active() != nil {
				t.Error("a module that cannot allocate became active")
			}
		})
	}
}

func TestBlockGrowsBetweenCalls(t *testing.T) {
	g := dropAll()
	s := seatOf(t, g, PluginConfig{}, newFakeHost())
	judge(t, s, abi.OnSend, keyed(1, abi.FieldKey))
	small := s.cur.in.blockCap
	b := new(Block)
	b.Reset(abi.FieldKey, 0, false)
	topic := b.AddTopic("t", 1, 1, nil, nil)
	for b.Fits(10_000) {
		b.Add(Head{Topic: topic, Key: make([]byte, 10_000)})
	}
	if v := judge(t, s, abi.OnSend, b); codes(v) != strings.Repeat("1", b.Len()) || b.Len() < 90 {
		t.Errorf("%d records, got %s", b.Len(), codes(v))
	}
	if s.cur.in.blockCap <= small || s.cur.in.blockCap > abi.BlockMax {
		t.Errorf("block of %d bytes after one of %d", s.cur.in.blockCap, small)
	}
}

func TestGuestThatGrowsItsMemoryInACall(t *testing.T) {
	g := new(w.Guest)
	g.Hook(abi.OnSend, abi.FieldKey, w.I32Const(3), w.MemoryGrow, w.Drop,
		w.ForEach(w.Answer(abi.PackVerdict(abi.Drop, 0, 0, 0))), w.I64Const(0))
	s := seatOf(t, g, PluginConfig{MemoryMax: 1 << 20}, newFakeHost())
	base := &s.cur.in.mem.reserved[0]
	for range 20 { // far beyond the limit: memory.grow answers -1 then
		if v := judge(t, s, abi.OnSend, keyed(3, abi.FieldKey)); codes(v) != "111" {
			t.Fatalf("got %s", codes(v))
		}
	}
	if n := s.cur.in.mem.length; n != 14*pageSize { // of 16, as the 15th and 16th are less than 3
		t.Errorf("memory of %d pages", n/pageSize)
	}
	if &s.cur.in.mem.reserved[0] != base {
		t.Error("the memory moved")
	}
}

func TestVerdictsSurviveTheNextNotify(t *testing.T) {
	g := new(w.Guest)
	g.EachRecord(abi.OnSend, abi.FieldValue,
		w.LocalGet(w.At), w.LocalGet(w.At), w.I32Load(abi.RecValueOff), w.I32Add, w.I32Const('A'), w.I32Store8(0),
		w.Answer(abi.PackVerdict(abi.ValueInPlace, 0, 0, 0)))
	g.EachRecord(abi.OnAcknowledgement, 0)
	s := seatOf(t, g, PluginConfig{}, newFakeHost())
	b := keyed(2, abi.FieldValue)
	v := judge(t, s, abi.OnSend, b)
	ack := new(Block)
	ack.Reset(0, 0, true)
	topic := ack.AddTopic("t", 0, 0, nil, nil)
	for range 50 {
		ack.Add(Head{Topic: topic})
	}
	if err := s.Notify(context.Background(), abi.OnAcknowledgement, ack); err != nil {
		t.Fatal(err)
	}
	if got := v.At(1).Value; string(got) != "A1" {
		t.Errorf("got %q", got)
	}
	if !bytes.Contains(b.recs, []byte("v1")) {
		t.Error("the host's block was written to")
	}
}

func TestHookThatThePluginDoesNotHave(t *testing.T) {
	s := seatOf(t, dropAll(abi.OnConsume), PluginConfig{}, newFakeHost())
	if v := judge(t, s, abi.OnSend, keyed(3, abi.FieldKey)); codes(v) != "000" {
		t.Errorf("got %s", codes(v))
	}
	if err := s.Notify(context.Background(), abi.OnAcknowledgement, keyed(3, abi.FieldKey)); err != nil {
		t.Error(err)
	}
}

func TestEmptyBlockIsNoCall(t *testing.T) {
	g := new(w.Guest)
	g.Hook(abi.OnSend, 0, w.Unreachable)
	s := seatOf(t, g, PluginConfig{}, newFakeHost())
	if v := judge(t, s, abi.OnSend, keyed(0, 0)); v.Len() != 0 {
		t.Errorf("%d verdicts", v.Len())
	}
}

func TestPartialAnswerToANotification(t *testing.T) {
	g := new(w.Guest)
	g.Hook(abi.OnCommit, 0, w.I64Const(int64(abi.CallPartial)<<48))
	s := seatOf(t, g, PluginConfig{}, newFakeHost())
	b := new(Block)
	b.Reset(0, 0, true)
	b.Add(Head{Topic: b.AddTopic("t", 0, 0, nil, nil), Offset: 5})
	err := s.Notify(context.Background(), abi.OnCommit, b)
	wantProblem(t, err, "partial answer to on_commit")
}

func TestCancelledContextIsNoCall(t *testing.T) {
	s := seatOf(t, dropAll(), PluginConfig{}, newFakeHost())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Judge(ctx, abi.OnSend, keyed(1, abi.FieldKey))
	if !errors.Is(err, context.Canceled) || IsFault(err) {
		t.Errorf("got %v", err)
	}
}
