package runtime

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// diarist is a guest that remembers the records it saw, in memory and in
// globals, says in every verdict what it remembers, and fails as keys tell it to.
type diarist struct {
	name   string
	wasm   []byte
	faults map[string]string // keys, and what the error says
	says   func(diary) uint16
}

// diary is the model of what a diarist remembers.
type diary struct{ seen, sum int }

func (d diary) saw(key string) diary { return diary{d.seen + 1, d.sum + int(key[0])} }

// grows has the diarist grow its memory and trap; what it has grown it keeps.
const grows = "g"

// far is an address in a page that nothing else is in.
const far = 3 * pageSize

// byHand is a diarist whose memory is mostly empty and whose globals matter.
func byHand() diarist {
	g := &w.Guest{Pages: 8}
	exit := g.Import("wasi_snapshot_preview1", "proc_exit", w.Types{w.I32}, nil)
	count := g.Global(1000)
	g.Data(100, []byte("something"))
	table := g.Table(4)
	none := g.Type(nil, nil)
	deep := g.Func("", nil, nil, nil, w.Call(exit+1), w.Call(exit+1))
	idle := g.Func("", nil, nil, nil)
	key := w.Seq(w.LocalGet(w.At), w.LocalGet(w.At), w.I32Load(abi.RecKeyOff), w.I32Add, w.I32Load(0), w.I32Const(255), []byte{0x71})
	on := func(c byte, body ...[]byte) []byte {
		return w.Seq(key, w.I32Const(int32(c)), w.I32Eq, w.If, w.Seq(body...), w.End)
	}
	add := func(at int32, v []byte) []byte {
		return w.Seq(w.I32Const(at), w.I32Const(at), w.I32Load(0), v, w.I32Add, w.I32Store(0))
	}
	g.EachRecord(abi.OnSend, abi.FieldKey,
		w.GlobalGet(count), w.I64Const(1), w.I64Add, w.GlobalSet(count), add(far, key), w.Call(idle),
		on('u', w.Unreachable),
		on('d', w.I32Const(1), w.I32Const(0), w.I32DivU, w.Drop),
		on('o', w.I32Const(-16), w.I32Load(0), w.Drop),
		on('i', w.I32Const(1), []byte{0x11, byte(none), byte(table)}),
		on('n', w.Call(deep)),
		on('x', w.I32Const(3), w.Call(exit)),
		on('s', w.Loop, w.Br(0), w.End),
		on(grows[0], w.I32Const(1), w.MemoryGrow, w.Drop, w.Unreachable),
		// code | (count*256 + sum of the keys, 16 bits) << 16
		w.LocalGet(w.Verdict),
		w.GlobalGet(count), w.I64Const(8), w.I64Shl, w.I32Const(far), w.I32Load(0), w.I64ExtendU, w.I64Add,
		w.I64Const(16), w.I64Shl, w.I64Const(0xffff0000), []byte{0x83}, w.I64Const(int64(abi.Drop)), w.I64Or, w.I64Store(0),
		on('b', w.Answer(abi.PackVerdict(99, 0, 0, 0))),
	)
	return diarist{
		name: "by hand", wasm: g.Bytes(),
		faults: map[string]string{
			"u": "unreachable", "d": "divide by zero", "o": "out of bounds", "i": "invalid table access", "n": "stack overflow",
			"x": "proc_exit(3)", "s": "deadline", "b": "unknown verdict", grows: "unreachable",
		},
		says: func(d diary) uint16 { return uint16((1000+d.seen)*256 + d.sum) },
	}
}

// faulty is a diarist that clang has compiled.
func faulty(t testing.TB) diarist {
	t.Helper()
	wasm, err := os.ReadFile("../testdata/faulty/faulty.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return diarist{
		name: "c", wasm: wasm,
		faults: map[string]string{
			"t": "unreachable", "w": "out of bounds", "n": "out of bounds", "x": "proc_exit(3)", "s": "deadline",
			"b": "unknown verdict", grows: "unreachable",
		},
		says: func(d diary) uint16 { return uint16(d.seen*256 + d.sum%256) },
	}
}

// writer is a seat at a diarist beside the model of it.
type writer struct {
	diarist
	s          *Seat
	now, saved diary
}

func (d diarist) sit(t testing.TB, e *Engine) *writer {
	t.Helper()
	p := e.NewPlugin(PluginConfig{Name: d.name, Timeout: 10 * time.Second, Grants: GrantAll})
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	if err := p.Load(context.Background(), d.wasm); err != nil {
		t.Fatal(err)
	}
	return &writer{diarist: d, s: sit(t, p, newFakeHost())}
}

// judge has a batch judged and returns how the guest differs from the model.
func (wr *writer) judge(keys ...string) error {
	fault, wants := "", []uint16(nil)
	before := wr.now
	for _, k := range keys {
		wr.now = wr.now.saw(k)
		wants = append(wants, wr.says(wr.now))
		if f := wr.faults[k]; f != "" {
			fault = f
			break
		}
	}
	wr.s.p.cfg.Timeout = 10 * time.Second
	if fault == "deadline" {
		wr.s.p.cfg.Timeout = 5 * time.Millisecond
	}
	was, in := wr.savedAt(), wr.s.cur.in
	v, err := wr.s.Judge(context.Background(), abi.OnSend, withKeys(keys...))
	if in == nil { // made anew for this call, in which it got its block
		wr.saved = before
	} else if at := wr.savedAt(); at != nil && at != was { // a block, before the hook was called
		wr.saved = before
	}
	if fault != "" {
		return wr.afterFault(fault, err)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", keys, err)
	}
	for i := range wants {
		if got := v.At(i); got.Code != abi.Drop || got.Reason != wants[i] {
			return fmt.Errorf("%q: record %d says %d, should say %d", keys, i, got.Reason, wants[i])
		}
	}
	return nil
}

func (wr *writer) savedAt() *snapshot {
	if wr.s.cur.in == nil {
		return nil
	}
	return wr.s.cur.in.saved
}

func (wr *writer) afterFault(want string, err error) error {
	if !IsFault(err) || !bytes.Contains([]byte(err.Error()), []byte(want)) {
		return fmt.Errorf("got %v, want a fault that says %q", err, want)
	}
	if wr.now = wr.saved; wr.s.cur.in == nil {
		wr.now, wr.saved = diary{}, diary{}
	}
	return nil
}

// batch returns good keys, with one of them another.
func batch(n, at int, key string) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%0*d", n, i)
	}
	if key != "" {
		keys[at] = key
	}
	return keys
}

// Every fault at every record of a batch: what it did is undone, and the next
// batches are judged right.
func TestFaultsAreUndone(t *testing.T) {
	const records = 4
	for _, d := range []diarist{byHand(), faulty(t)} {
		t.Run(d.name, func(t *testing.T) {
			wr := d.sit(t, newEngine(t))
			for key := range d.faults {
				for at := range records {
					before, remade := wr.s.p.Recoveries()
					for _, keys := range [][]string{batch(records, 0, ""), batch(records, at, key), batch(records, 0, ""), batch(1, 0, "")} {
						if err := wr.judge(keys...); err != nil {
							t.Fatalf("%q at record %d: %v", key, at, err)
						}
					}
					after, remadeNow := wr.s.p.Recoveries()
					if wantRemade := key == grows; after-before != b2i(!wantRemade) || remadeNow-remade != b2i(wantRemade) {
						t.Errorf("%q at record %d: %d instances restored, %d made anew", key, at, after-before, remadeNow-remade)
					}
				}
			}
		})
	}
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// random judges batches of any size, with faults in some.
func (wr *writer) random(rnd *rand.Rand, batches int, planted func(in *instance)) error {
	var keys []string
	for k := range wr.faults {
		if k != "s" || planted == nil {
			keys = append(keys, k)
		}
	}
	for i := range batches {
		n, key := 1+rnd.IntN(6), ""
		if rnd.IntN(20) == 0 {
			n = 100 + rnd.IntN(400) // a larger block
		}
		if rnd.IntN(2) == 0 {
			key = keys[rnd.IntN(len(keys))]
		}
		if err := wr.judge(batch(n, rnd.IntN(n), key)...); err != nil {
			return fmt.Errorf("batch %d: %w", i, err)
		}
		if in := wr.s.cur.in; in != nil && planted != nil {
			planted(in)
		}
	}
	return nil
}

func TestAnyCallsAgainstTheModel(t *testing.T) {
	e := newEngine(t)
	for _, d := range []diarist{byHand(), faulty(t)} {
		for seed := range uint64(4) {
			if err := d.sit(t, e).random(rand.New(rand.NewPCG(seed, 1)), 150, nil); err != nil {
				t.Errorf("%s, seed %d: %v", d.name, seed, err)
			}
		}
	}
}

// The test above notices what restoring might forget.
func TestModelFindsPlantedBugs(t *testing.T) {
	for name, plant := range map[string]func(in *instance){
		"globals are not restored":          func(in *instance) { in.globals = nil },
		"depth is not restored":             func(in *instance) { in.watch.deepest = 1 },
		"memory is not cleared":             notCleared,
		"a page of the snapshot is damaged": func(in *instance) { in.saved.content.reserved[100] ^= 1; in.saved.globals[0]++ },
	} {
		t.Run(name, func(t *testing.T) {
			if err := byHand().sit(t, newEngine(t)).random(rand.New(rand.NewPCG(1, 1)), 300, plant); err == nil {
				t.Error("the model saw nothing")
			} else {
				t.Log(err)
			}
		})
	}
}

// notCleared has the snapshot cover the memory up to its end with what is in it
// now.
func notCleared(in *instance) {
	in.dropSnapshot()
	in.saved = &snapshot{
		length: in.mem.length, runs: []span{{0, in.mem.length}}, blockPtr: in.blockPtr, blockCap: in.blockCap, room: in.room,
		content: reservation{reserved: bytes.Clone(in.mem.reserved[:in.mem.length]), release: func([]byte) {}},
	}
	for _, g := range in.globals {
		in.saved.globals = append(in.saved.globals, g.Get())
	}
	in.e.snapshots.Add(int64(in.mem.length))
}

// An instance that is restored is what one that is made anew would be.
func TestRestoredIsAsMadeAnew(t *testing.T) {
	e := newEngine(t)
	for _, d := range []diarist{byHand(), faulty(t)} {
		for seed := range uint64(4) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			restored, remade := d.sit(t, e), d.sit(t, e)
			remade.s.p.Active().Module.restores = false
			remade.s.cur.in.keeps = false
			remade.s.cur.in.dropSnapshot()
			var keys []string
			for k := range d.faults {
				keys = append(keys, k)
			}
			for range 60 {
				b := batch(4, rnd.IntN(4), []string{"", keys[rnd.IntN(len(keys))]}[rnd.IntN(2)])
				a, aErr := answers(restored.s, b)
				c, cErr := answers(remade.s, b)
				if a != c || aErr != cErr {
					t.Fatalf("%s, seed %d: %q: restored %q %q, made anew %q %q", d.name, seed, b, a, aErr, c, cErr)
				}
			}
			if n, _ := restored.s.p.Recoveries(); n == 0 {
				t.Errorf("%s: nothing was restored", d.name)
			}
			if n, m := remade.s.p.Recoveries(); n != 0 || m == 0 {
				t.Errorf("%s: %d restored, %d made anew", d.name, n, m)
			}
		}
	}
}

// answers judges a batch and returns its verdicts or its fault, as text.
func answers(s *Seat, keys []string) (verdicts, fault string) {
	s.p.cfg.Timeout = 10 * time.Second
	for _, k := range keys {
		if k == "s" {
			s.p.cfg.Timeout = 5 * time.Millisecond
		}
	}
	v, err := s.Judge(context.Background(), abi.OnSend, withKeys(keys...))
	if err != nil {
		return "", err.Error()
	}
	for i := range v.Len() {
		verdicts += fmt.Sprintf("%d/%d ", v.At(i).Code, v.At(i).Reason)
	}
	return verdicts, ""
}

// What cannot be set from outside makes a new instance necessary.
func TestWhatIsMadeAnew(t *testing.T) {
	trap := w.Seq(w.LocalGet(0), w.I32Load(abi.BatchCount), w.I32Const(1), w.I32Eq, w.If, w.Unreachable, w.End, w.I64Const(0))
	for _, tc := range []struct {
		name string
		body func(g *w.Guest) []byte
		kept bool
	}{
		{"a plain module", func(*w.Guest) []byte { return nil }, true},
		{"element segments that stay", func(g *w.Guest) []byte { g.Table(2); g.PassiveElem(0); return nil }, true},
		{"table.init", func(g *w.Guest) []byte {
			g.Table(2)
			g.PassiveElem(0)
			return w.Seq(w.I32Const(0), w.I32Const(0), w.I32Const(0), []byte{0xfc, 12, 0, 0})
		}, false},
		{"elem.drop", func(g *w.Guest) []byte { g.PassiveElem(0); return []byte{0xfc, 13, 0} }, false},
		{"data.drop", func(g *w.Guest) []byte { g.PassiveData([]byte("x")); return []byte{0xfc, 9, 0} }, false},
		{"table.set", func(g *w.Guest) []byte {
			g.Table(2)
			return w.Seq(w.I32Const(0), []byte{0xd0, 0x70}, []byte{0x26, 0})
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := new(w.Guest)
			body := tc.body(g)
			g.Hook(abi.OnSend, 0, body, trap)
			s := seatOf(t, g, PluginConfig{}, newFakeHost())
			for range 3 {
				if _, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0)); !IsFault(err) {
					t.Fatalf("got %v", err)
				}
				judge(t, s, abi.OnSend, keyed(2, 0))
			}
			if restored, remade := s.p.Recoveries(); restored != 3*b2i(tc.kept) || remade != 3*b2i(!tc.kept) {
				t.Errorf("%d restored, %d made anew", restored, remade)
			}
		})
	}
}

// Snapshots count, are bounded, and end with their instances.
func TestSnapshotsAreCounted(t *testing.T) {
	e := engineOf(t, EngineConfig{MemoryTotal: 40 << 20})
	full := func(pages int) *w.Guest {
		g := &w.Guest{Pages: pages + 2}
		g.Init = w.Seq(w.I32Const(0), w.I32Const(1), w.I32Const(int32(pages)*pageSize), []byte{0xfc, 11, 0},
			w.I64Const(int64(abi.PackInit(abi.OnSend.Mask(), [abi.HookCount]abi.Fields{}, 0))))
		g.Hook(abi.OnSend, 0, w.Unreachable)
		return g
	}
	for _, tc := range []struct {
		pages int
		want  int64
	}{{16, 1 << 20}, {257, 0}, {200, 0}} { // small; too large for one; too large with the memory
		p := load(t, e, full(tc.pages), PluginConfig{MemoryMax: 32 << 20})
		s := sit(t, p, newFakeHost())
		if n := e.SnapshotBytes(); n < tc.want || n > tc.want+4*int64(grain) {
			t.Errorf("%d pages: %d bytes of snapshots, want %d", tc.pages, n, tc.want)
		}
		_, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0))
		if restored, _ := p.Recoveries(); !IsFault(err) || restored != b2i(tc.want > 0) {
			t.Errorf("%d pages: %v, %d restored", tc.pages, err, restored)
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if n, m := e.SnapshotBytes(), e.MemoryReserved(); n != 0 || m != 0 {
			t.Errorf("%d pages: %d bytes of snapshots, %d of memory left", tc.pages, n, m)
		}
	}
}

// What one instance wrote no other one reads, and nothing that a failed call
// wrote is there for the next.
func TestMemoryIsZeroedOnReuse(t *testing.T) {
	const canary = 0x5a
	for _, kind := range []struct {
		name    string
		reserve func(n int) (reservation, error)
	}{{"of the system", reserve}, {"of the Go heap", reserveHeap}} {
		t.Run(kind.name, func(t *testing.T) {
			e := newEngine(t)
			for range 3 {
				r, err := kind.reserve(8 << 20)
				if err != nil {
					t.Fatal(err)
				}
				m := &linearMemory{reservation: r, pages: e.pages, counter: &e.memory}
				e.memory.Add(8 << 20)
				m.Reallocate(8 << 20)
				if n := bytes.Count(m.reserved, []byte{0}); n != 8<<20 {
					t.Fatalf("%d bytes of a new memory are not zero", 8<<20-n)
				}
				copy(m.reserved[3*grain:], "kept")
				s := &snapshot{length: m.length, runs: m.filled()}
				s.content, _ = reserveHeap(grain)
				copy(s.content.reserved, m.reserved[3*grain:])
				for _, part := range []int{grain, 1 << 20, 8 << 20} {
					for i := range part {
						m.reserved[i] = canary
					}
					m.rewind(s)
					if n := bytes.Count(m.reserved, []byte{0}); n != 8<<20-len("kept") || !bytes.HasPrefix(m.reserved[3*grain:], []byte("kept")) {
						t.Fatalf("%d bytes written: %d are not zero afterwards", part, 8<<20-n)
					}
				}
				m.reserved[5] = canary
				m.Free()
			}
		})
	}
}

// A Go guest's panic leaves its runtime in the middle of one.
func TestGoGuestIsRestored(t *testing.T) {
	s := goSeat(t, PluginConfig{}, newFakeHost())
	count := 0
	for _, fault := range []string{"panic", "exit", "spin", "panic", "header", "panic", "panic"} {
		for at := range 4 {
			s.p.cfg.Timeout = 20 * time.Second
			for range 2 {
				v := judge(t, s, abi.OnSend, withKeys("a", "count", "count"))
				count += 2
				if codes(v) != "022" || int(v.At(2).Partition) != count {
					t.Fatalf("after %q: %s, counted %d, want %d", fault, codes(v), v.At(2).Partition, count)
				}
			}
			if fault == "header" {
				continue // no fault
			}
			if fault == "spin" {
				s.p.cfg.Timeout = 20 * time.Millisecond
			}
			keys := []string{"a", "count", "b", "c"}
			keys[at] = fault
			if _, err := s.Judge(context.Background(), abi.OnSend, withKeys(keys...)); !IsFault(err) {
				t.Fatalf("%s: %v", fault, err)
			}
			count = 0
		}
	}
	if restored, remade := s.p.Recoveries(); restored < 20 || remade > 4 {
		t.Errorf("%d restored, %d made anew", restored, remade)
	}
}
