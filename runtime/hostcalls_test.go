package runtime

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/runtime/guard"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// hostImport adds an import of module klamm with the type that it has.
func hostImport(g *w.Guest, name string) int { return importOf(g, abi.ImportModule, name) }

func importOf(g *w.Guest, module, name string) int {
	t := guard.HostFunctions[module][name]
	return g.Import(module, name, w.Types(t.Params), w.Types(t.Results))
}

// consts pushes numbers.
func consts(v ...int32) []byte {
	var out []byte
	for _, n := range v {
		out = append(out, w.I32Const(n)...)
	}
	return out
}

// kept stores the i32 on the stack at an address.
func kept(at int32, value ...[]byte) []byte {
	return w.Seq(w.I32Const(at), w.Seq(value...), w.I32Store(0))
}

// peek reads guest memory.
func peek(t *testing.T, s *Seat, at, n uint32) []byte {
	t.Helper()
	b, ok := s.cur.in.mem.view(at, n)
	if !ok {
		t.Fatalf("guest memory has no %d bytes at %d", n, at)
	}
	return slices.Clone(b)
}

func peek32(t *testing.T, s *Seat, at uint32) int32 {
	t.Helper()
	return int32(le.Uint32(peek(t, s, at, 4)))
}

func TestEveryImportHasAFunction(t *testing.T) {
	for name := range guard.HostFunctions[abi.ImportModule] {
		if klammFunctions[name] == nil {
			t.Errorf("klamm.%s has no function", name)
		}
	}
	for name := range klammFunctions {
		if _, ok := guard.HostFunctions[abi.ImportModule][name]; !ok {
			t.Errorf("klamm.%s has no type", name)
		}
	}
	for name := range wasiFunctions {
		if _, ok := guard.HostFunctions[guard.WASIModule][name]; !ok {
			t.Errorf("wasi %s has no type", name)
		}
	}
	for name := range importGrants {
		if klammFunctions[name] == nil {
			t.Errorf("the grant for %q is for nothing", name)
		}
	}
}

func TestLog(t *testing.T) {
	long := strings.Repeat("x", 2000)
	g := new(w.Guest)
	log := hostImport(g, abi.ImportLog)
	g.Data(100, []byte("hello\x1b[31m\nworld\xff\u202e"))
	g.Data(1000, []byte(long))
	g.Hook(abi.OnSend, 0,
		consts(1, 100, 20), w.Call(log), consts(9, 1000, 2000), w.Call(log), consts(-5, 100, 0), w.Call(log), w.I64Const(0))
	h := newFakeHost()
	s := seatOf(t, g, PluginConfig{Grants: GrantLog}, h)
	judge(t, s, abi.OnSend, keyed(1, 0))
	want := []string{`1 hello\u{1b}[31m\nworld\xff\u{202e}`, "3 " + long[:abi.LogLineMax-3] + "...", "0 "}
	if !slices.Equal(h.logs, want) {
		t.Errorf("got %q, want %q", h.logs, want)
	}
}

func TestMetrics(t *testing.T) {
	g := new(w.Guest)
	def, add, observe := hostImport(g, abi.ImportMetricDef), hostImport(g, abi.ImportMetricAdd), hostImport(g, abi.ImportMetricObserve)
	g.Data(100, []byte("hits_totalsizes"))
	g.Init = w.Seq(kept(200, consts(0, 100, 10), w.Call(def)), kept(204, consts(1, 110, 5), w.Call(def)),
		w.I64Const(int64(abi.PackInit(abi.OnSend.Mask(), [abi.HookCount]abi.Fields{}, 0))))
	g.Hook(abi.OnSend, 0,
		w.I32Const(200), w.I32Load(0), w.I64Const(5), w.Call(add),
		w.I32Const(200), w.I32Load(0), w.I64Const(-2), w.Call(add),
		w.I32Const(204), w.I32Load(0), w.I32Const(7), w.F64ConvertU, w.Call(observe), w.I64Const(0))
	h := newFakeHost()
	s := seatOf(t, g, PluginConfig{Grants: GrantMetrics}, h)
	judge(t, s, abi.OnSend, keyed(1, 0))
	if !slices.Equal(h.metrics, []string{"0 hits_total", "1 sizes"}) {
		t.Errorf("declared %q", h.metrics)
	}
	if h.counts[100] != 3 || len(h.seen) != 1 || h.seen[0] != 7 {
		t.Errorf("counted %v, observed %v", h.counts, h.seen)
	}
}

func TestDeclarationsThatTrap(t *testing.T) {
	e := newEngine(t)
	const metric, reason = abi.ImportMetricDef, abi.ImportReasonDef
	many := func(f int, first int32) []byte { // calls it 65 times with first, first+1, ...
		var out []byte
		for i := range int32(65) {
			out = append(out, w.Seq(consts(first+i, 100, 2), w.Call(f))...)
			if first == 0 {
				out = append(out, w.Drop...)
			}
		}
		return out
	}
	for _, tc := range []struct {
		name string
		in   string
		body func(f int) []byte
		want string
	}{
		{"bad name of a metric", metric, func(f int) []byte { return w.Seq(consts(0, 102, 2), w.Call(f), w.Drop) }, `name "A "`},
		{"empty name", metric, func(f int) []byte { return w.Seq(consts(0, 102, 0), w.Call(f), w.Drop) }, `name ""`},
		{"long name", metric, func(f int) []byte { return w.Seq(consts(0, 300, 5000), w.Call(f), w.Drop) }, "up to 64"},
		{"unknown kind", metric, func(f int) []byte { return w.Seq(consts(2, 100, 2), w.Call(f), w.Drop) }, "unknown kind 2"},
		{"reason of the ABI", reason, func(f int) []byte { return w.Seq(consts(1, 100, 2), w.Call(f)) }, "count from 16"},
		{"reason over 16 bits", reason, func(f int) []byte { return w.Seq(consts(65536, 100, 2), w.Call(f)) }, "code 65536"},
		{"reason twice", reason, func(f int) []byte { return w.Seq(consts(16, 100, 2), w.Call(f), consts(16, 100, 1), w.Call(f)) }, "is that of"},
		{"too many reasons", reason, func(f int) []byte { return many(f, 16) }, "more than 64 reasons"},
		{"name outside of the memory", reason, func(f int) []byte { return w.Seq(consts(16, -4, 8), w.Call(f)) }, "outside of the memory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := dropAllWith(func(g *w.Guest) []byte { return tc.body(hostImport(g, tc.in)) })
			g.Data(100, []byte("okA b"))
			g.Data(300, []byte(strings.Repeat("a", 100)))
			err := e.NewPlugin(PluginConfig{Name: "p", Grants: GrantAll}).Load(context.Background(), g.Bytes())
			as[*LoadError](t, err)
			wantProblem(t, err, abi.ExportInit, tc.want)
		})
	}
}

// dropAllWith is a guest whose klamm_init runs what body returns. body may add
// imports.
func dropAllWith(body func(g *w.Guest) []byte) *w.Guest {
	g := new(w.Guest)
	init := body(g)
	g.EachRecord(abi.OnSend, 0, w.Answer(abi.PackVerdict(abi.Drop, 0, 16, 0)))
	g.Init = w.Seq(init, w.I64Const(int64(abi.PackInit(g.Hooks, g.Fields, 0))))
	return g
}

func TestTooManyMetrics(t *testing.T) {
	g := dropAllWith(func(g *w.Guest) []byte {
		def := hostImport(g, abi.ImportMetricDef)
		var out []byte
		for range 65 {
			out = append(out, w.Seq(consts(0, 100, 1), w.Call(def), w.Drop)...)
		}
		return out
	})
	g.Data(100, []byte("a"))
	err := newEngine(t).NewPlugin(PluginConfig{Name: "p", Grants: GrantAll}).Load(context.Background(), g.Bytes())
	wantProblem(t, err, "more than 64 metrics")
}

func TestDeclarationOutsideOfInit(t *testing.T) {
	e := newEngine(t)
	for name, args := range map[string][]byte{
		abi.ImportReasonDef: consts(16, 100, 1), abi.ImportMetricDef: consts(0, 100, 1),
	} {
		g := new(w.Guest)
		f := hostImport(g, name)
		body := w.Seq(args, w.Call(f))
		if name == abi.ImportMetricDef {
			body = w.Seq(body, w.Drop)
		}
		g.Hook(abi.OnSend, 0, body, w.I64Const(0))
		s := sit(t, load(t, e, g, PluginConfig{Grants: GrantAll}), newFakeHost())
		_, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0))
		if trap := as[*TrapError](t, err); !strings.Contains(trap.Trap, "only klamm_init") {
			t.Errorf("%s: got %q", name, trap.Trap)
		}
	}
}

func TestReasonsOfAGeneration(t *testing.T) {
	g := dropAllWith(func(g *w.Guest) []byte {
		return w.Seq(consts(16, 100, 5), w.Call(hostImport(g, abi.ImportReasonDef)))
	})
	g.Data(100, []byte("stale"))
	gen := load(t, newEngine(t), g, PluginConfig{}).Active()
	for code, want := range map[uint16]string{0: "other", 1: "duplicate", 2: "invalid", 3: "filtered", 4: "missing", 16: "stale", 17: "other"} {
		if got := gen.Reason(code); got != want {
			t.Errorf("reason %d is %q, want %q", code, got, want)
		}
	}
}

func TestMetricThatWasNotDeclared(t *testing.T) {
	g := new(w.Guest)
	add := hostImport(g, abi.ImportMetricAdd)
	g.Hook(abi.OnSend, 0, w.I32Const(-1), w.I64Const(1), w.Call(add), w.I64Const(0))
	s := seatOf(t, g, PluginConfig{Grants: GrantAll}, newFakeHost())
	_, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0))
	wantProblem(t, err, "metric_add: metric -1 of 0")
}

func claimer(hook abi.Hook, index int32) *w.Guest {
	g := new(w.Guest)
	claim := hostImport(g, abi.ImportClaim)
	g.Data(100, []byte("id7"))
	g.Hook(hook, abi.FieldKey, kept(200, consts(index, 100, 3), w.I64Const(60_000), w.Call(claim)), w.I64Const(0))
	return g
}

func TestClaim(t *testing.T) {
	e := newEngine(t)
	for _, tc := range []struct {
		name   string
		hook   abi.Hook
		answer int32
		want   int32
		calls  int
	}{
		{"new", abi.OnSend, abi.ClaimNew, abi.ClaimNew, 1},
		{"pending", abi.OnConsume, abi.ClaimPending, abi.ClaimPending, 1},
		{"a partitioner has no state", abi.Partition, abi.ClaimNew, abi.ClaimRefused, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newFakeHost()
			h.answer = tc.answer
			s := sit(t, load(t, e, claimer(tc.hook, 1), PluginConfig{Grants: GrantState}), h)
			judge(t, s, tc.hook, keyed(2, abi.FieldKey))
			if got := peek32(t, s, 200); got != tc.want || len(h.claims) != tc.calls {
				t.Errorf("answer %d after claims %q", got, h.claims)
			}
			if tc.calls > 0 && h.claims[0] != "1/id7/60000" {
				t.Errorf("claimed %q", h.claims)
			}
		})
	}
	t.Run("index outside of the call", func(t *testing.T) {
		s := sit(t, load(t, e, claimer(abi.OnSend, 2), PluginConfig{Grants: GrantState}), newFakeHost())
		_, err := s.Judge(context.Background(), abi.OnSend, keyed(2, abi.FieldKey))
		wantProblem(t, err, "claim: record 2 of 2")
	})
}

func batchClaimer(hook abi.Hook, fields abi.Fields) *w.Guest {
	g := new(w.Guest)
	claim := hostImport(g, abi.ImportClaimBatch)
	g.Data(208, []byte{0xee, 0xee, 0xee})
	g.Hook(hook, fields, kept(200, w.I32Const(208), w.I64Const(5), w.Call(claim)), w.I64Const(0))
	return g
}

func TestClaimBatch(t *testing.T) {
	e := newEngine(t)
	h := newFakeHost()
	h.owned = map[string]bool{"k1": true, "k9": true}
	s := sit(t, load(t, e, batchClaimer(abi.OnSend, abi.FieldKey), PluginConfig{Grants: GrantState}), h)
	b := keyed(0, abi.FieldKey)
	for i := range 10 {
		key := []byte{'k', byte('0' + i)}
		if i == 4 {
			key = nil
		}
		b.Add(Head{Key: key})
	}
	judge(t, s, abi.OnSend, b)
	if fresh, mask := peek32(t, s, 200), peek(t, s, 208, 3); fresh != 7 || mask[0] != 0b11101101 || mask[1] != 0b01 || mask[2] != 0xee {
		t.Errorf("%d fresh, mask %08b", fresh, mask)
	}
	if want := "0/k0/5"; len(h.claims) != 9 || h.claims[0] != want || h.claims[4] != "5/k5/5" {
		t.Errorf("claimed %q", h.claims)
	}
	for name, g := range map[string]*w.Guest{
		"a partitioner has no state": batchClaimer(abi.Partition, abi.FieldKey),
		"keys were not asked for":    batchClaimer(abi.Partition, 0),
	} {
		s := sit(t, load(t, e, g, PluginConfig{Grants: GrantState}), newFakeHost())
		judge(t, s, abi.Partition, keyed(2, abi.FieldKey))
		if got := peek32(t, s, 200); got != abi.ClaimRefused {
			t.Errorf("%s: answer %d", name, got)
		}
	}
}

func TestClaimBatchThatTheHostRefuses(t *testing.T) {
	h := newFakeHost()
	h.answer = abi.ClaimRefused
	s := seatOf(t, batchClaimer(abi.OnSend, abi.FieldKey), PluginConfig{Grants: GrantState}, h)
	judge(t, s, abi.OnSend, keyed(2, abi.FieldKey))
	if got := peek32(t, s, 200); got != abi.ClaimRefused || len(h.claims) != 1 {
		t.Errorf("answer %d after %q", got, h.claims)
	}
}

func stateGuest(hook abi.Hook) *w.Guest {
	g := new(w.Guest)
	get, put := hostImport(g, abi.ImportStateGet), hostImport(g, abi.ImportStatePut)
	g.Data(100, []byte("absentstoredvalue"))
	g.Hook(hook, 0,
		kept(200, consts(100, 6, 300, 50), w.Call(get)),
		kept(204, consts(106, 6, 112, 5), w.I64Const(9), w.Call(put)),
		kept(208, consts(106, 6, 300, 50), w.Call(get)),
		kept(212, consts(106, 6, 300, 3), w.Call(get)),
		w.I64Const(0))
	return g
}

func TestState(t *testing.T) {
	e := newEngine(t)
	answers := func(hook abi.Hook, h *fakeHost) (*Seat, [4]int32) {
		s := sit(t, load(t, e, stateGuest(hook), PluginConfig{Grants: GrantState}), h)
		judge(t, s, hook, keyed(1, 0))
		return s, [4]int32{peek32(t, s, 200), peek32(t, s, 204), peek32(t, s, 208), peek32(t, s, 212)}
	}
	s, got := answers(abi.OnSend, newFakeHost())
	if want := [4]int32{abi.StateNone, 0, 11, abi.StateTooSmall}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if v := string(peek(t, s, 300, 11)); v != "value ttl=9" {
		t.Errorf("read %q", v)
	}
	_, got = answers(abi.Partition, newFakeHost())
	if r := abi.StateRefused; got != [4]int32{r, r, r, r} {
		t.Errorf("a partitioner got %v", got)
	}
	h := newFakeHost()
	h.refuse = errors.New("full")
	if _, got = answers(abi.OnSend, h); got[1] != abi.StateRefused {
		t.Errorf("put that the host refuses: %d", got[1])
	}
}

func TestClockRandomAndHMAC(t *testing.T) {
	g := new(w.Guest)
	now, random, mac := hostImport(g, abi.ImportNowNS), hostImport(g, abi.ImportRandom), hostImport(g, abi.ImportHMAC)
	g.Data(100, []byte("saltmessagenone"))
	g.Hook(abi.OnSend, 0,
		w.I32Const(200), w.Call(now), w.I64Store(0),
		consts(208, 16), w.Call(random),
		kept(300, consts(100, 4, 104, 7, 304), w.Call(mac)),
		kept(340, consts(111, 4, 104, 7, 344), w.Call(mac)),
		w.I64Const(0))
	s := seatOf(t, g, PluginConfig{Grants: GrantAll, Secrets: map[string][]byte{"salt": []byte("not-for-guests")}}, newFakeHost())
	before := time.Now()
	for range 2 { // the second call reuses the hash
		judge(t, s, abi.OnSend, keyed(1, 0))
		want := hmac.New(sha256.New, []byte("not-for-guests"))
		want.Write([]byte("message"))
		if got := hex.EncodeToString(peek(t, s, 304, 32)); got != hex.EncodeToString(want.Sum(nil)) || peek32(t, s, 300) != 32 {
			t.Errorf("hmac %s, answer %d", got, peek32(t, s, 300))
		}
	}
	if got := time.Unix(0, int64(le.Uint64(peek(t, s, 200, 8)))); got.Before(before) || got.After(time.Now()) {
		t.Errorf("now_ns is %s", got)
	}
	if string(peek(t, s, 208, 16)) == string(make([]byte, 16)) {
		t.Error("random bytes are zero")
	}
	if got := peek32(t, s, 340); got != -1 {
		t.Errorf("unknown secret: answer %d", got)
	}
	if strings.Contains(string(peek(t, s, 0, uint32(s.cur.in.mem.length))), "not-for-guests") {
		t.Error("the secret is in guest memory")
	}
}

func TestPullOfWhatWasLeftOut(t *testing.T) {
	g := new(w.Guest)
	value, headers := hostImport(g, abi.ImportValue), hostImport(g, abi.ImportHeaders)
	g.Hook(abi.OnSend, abi.FieldKey,
		kept(200, consts(0, 0, 0), w.Call(value)),
		kept(204, consts(0, 300, 8), w.Call(value)),
		kept(208, consts(1, 0, 0), w.Call(value)),
		kept(212, consts(0, 0, 0), w.Call(headers)),
		kept(216, consts(0, 400, 100), w.Call(headers)),
		w.I64Const(0))
	h := newFakeHost()
	h.values = [][]byte{[]byte("value"), nil}
	h.headers = [][]Edit{{{Key: []byte("a"), Value: []byte("xy")}, {Key: []byte("bc")}}}
	s := seatOf(t, g, PluginConfig{}, h)
	judge(t, s, abi.OnSend, keyed(2, abi.FieldKey))
	for at, want := range map[uint32]int32{200: 5, 204: 5, 208: -1, 212: 37, 216: 37} {
		if got := peek32(t, s, at); got != want {
			t.Errorf("answer at %d is %d, want %d", at, got, want)
		}
	}
	if v := string(peek(t, s, 300, 8)); v != "value\x00\x00\x00" {
		t.Errorf("pulled %q", v)
	}
	table := peek(t, s, 400, 37)
	if got := readHeaders(table, table, 2); got != `a="xy" bc=null ` {
		t.Errorf("pulled headers %s", got)
	}
}

func TestPullOfARecordOutsideOfTheCall(t *testing.T) {
	g := new(w.Guest)
	value := hostImport(g, abi.ImportValue)
	g.Hook(abi.OnSend, 0, consts(1, 0, 0), w.Call(value), w.Drop, w.I64Const(0))
	s := seatOf(t, g, PluginConfig{}, newFakeHost())
	_, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0))
	wantProblem(t, err, "value: record 1 of 1")
}

func TestLengthsAboveTheOutputLimit(t *testing.T) {
	e := newEngine(t)
	g := new(w.Guest)
	g.Pages = 4
	random := hostImport(g, abi.ImportRandom)
	g.Hook(abi.OnSend, 0, consts(0, 64<<10), w.Call(random), w.I64Const(0))
	s := sit(t, load(t, e, g, PluginConfig{Grants: GrantAll, OutputMax: 32 << 10}), newFakeHost())
	_, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0))
	wantProblem(t, err, "random: 65536 bytes, the limit is 32768")
}
