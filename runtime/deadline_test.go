package runtime

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/tetratelabs/wazero/api"
)

// number is a global that belongs to no module.
type number struct {
	api.MutableGlobal
	v uint64
}

func (n *number) Get() uint64  { return n.v }
func (n *number) Set(v uint64) { n.v = v }

// yields runs a guest that yields every millisecond, having burned so much fuel
// in it, and returns when the call was ended.
func yields(wt *watch, burns int64) (took time.Duration) {
	begun := time.Now()
	defer func() {
		if r := recover(); !errors.As(r.(error), new(lateTrap)) {
			panic(r)
		}
		took = time.Since(begun)
	}()
	for {
		wt.yield()
		time.Sleep(time.Millisecond)
		wt.charge(int(burns))
	}
}

func TestDeadlineOfACall(t *testing.T) {
	const limit = 100 * time.Millisecond
	const core = 1_000_000 // units that a processor burns in a millisecond
	for _, tc := range []struct {
		name  string
		burns int64 // in a millisecond
		want  time.Duration
	}{
		{"a guest that spins", core, limit},
		{"a third of a processor", core / 3, limit},
		{"a guest that starves", core / 10, 2 * limit},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wt := &watch{fuel: new(number), rate: core / 1e6, pace: pace{slice: sliceMost}}
				for range 2 { // each call has its own time
					time.Sleep(time.Hour)
					wt.start(limit)
					if took := yields(wt, tc.burns); took != tc.want {
						t.Errorf("ended after %s, want %s", took, tc.want)
					}
				}
			})
		})
	}
}

// A machine that stands still for longer than a call may take is not the guest's
// doing: it has its time anew when the machine goes on, and no more than that.
func TestMachineThatStandsStill(t *testing.T) {
	const limit, core = 100 * time.Millisecond, 1_000_000
	synctest.Test(t, func(t *testing.T) {
		wt := &watch{fuel: new(number), rate: core / 1e6, pace: pace{slice: sliceMost}}
		wt.start(limit)
		wt.yield()
		wt.charge(core)
		time.Sleep(13 * time.Second)
		took := yields(wt, core)
		if least, most := limit, 3*limit; took < least || took > most {
			t.Errorf("ended %s after the machine went on, want between %s and %s", took, least, most)
		}
	})
}

// What others took of the processor is not the time of a guest that has done
// little, within limits; one that spins is not late for it.
func TestCrowdedProcessor(t *testing.T) {
	const limit = 100 * time.Millisecond
	const core = 1_000_000 // units that a processor burns in a millisecond
	for _, tc := range []struct {
		name  string
		away  time.Duration
		burns int64
		want  time.Duration
	}{
		{"nobody else", 0, core / 10, 2 * limit},
		{"others", 30 * time.Millisecond, core / 10, 2*limit + 30*time.Millisecond},
		{"others, for longer than the call may take", 900 * time.Millisecond, core / 10, 3 * limit},
		{"others, and a guest that spins", 30 * time.Millisecond, core, limit},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wt := &watch{fuel: new(number), rate: core / 1e6, pace: pace{slice: sliceMost}}
				for range 2 { // each call has its own time
					wt.start(limit)
					wt.yield()
					wt.away = tc.away
					begun := wt.begun
					yields(wt, tc.burns)
					if took := time.Since(begun); took != tc.want {
						t.Errorf("ended after %s, want %s", took, tc.want)
					}
				}
			})
		})
	}
}

func TestLeftOfACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wt := &watch{fuel: new(number), rate: 1, pace: pace{slice: sliceMost}}
		wt.start(100 * time.Millisecond)
		if left := wt.left(); left != 100*time.Millisecond {
			t.Errorf("%s left at the first look", left)
		}
		time.Sleep(30 * time.Millisecond)
		wt.yield()
		if left := wt.left(); left != 70*time.Millisecond {
			t.Errorf("%s left after 30 ms", left)
		}
	})
}

// A call that ends within its first slice never looks at the clock.
func TestShortCallsReadNoClock(t *testing.T) {
	s := seatOf(t, steady(), PluginConfig{}, newFakeHost())
	judge(t, s, abi.OnSend, keyed(4, everyField))
	if !s.cur.in.watch.begun.IsZero() {
		t.Error("the clock was read")
	}
}

func TestRateIsPlausible(t *testing.T) {
	if rate := newEngine(t).rate; rate < 0.05 || rate > 50 {
		t.Errorf("a processor burns %g units in a nanosecond", rate)
	}
}

// What runs before and between calls has deadlines of its own.
func TestEveryPhaseIsBounded(t *testing.T) {
	spin := w.Seq(w.Loop, w.Br(0), w.End)
	for _, tc := range []struct {
		name string
		make func(g *w.Guest)
		want string
	}{
		{"init", func(g *w.Guest) { g.Init = w.Seq(spin, w.I64Const(0)) }, abi.ExportInit},
		{"alloc", func(g *w.Guest) { g.Alloc = w.Seq(spin, w.I32Const(0)) }, abi.ExportAlloc},
		{"start function", func(g *w.Guest) { g.Start(g.Func("", nil, nil, nil, spin)) }, "start function"},
		{"_initialize", func(g *w.Guest) { g.Func(abi.ExportInitialize, nil, nil, nil, spin) }, abi.ExportInitialize},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := new(w.Guest)
			tc.make(g)
			g.EachRecord(abi.OnSend, 0)
			p := newEngine(t).NewPlugin(PluginConfig{Name: "p", Timeout: time.Second})
			t.Cleanup(func() { _ = p.Close(context.Background()) })
			err := p.Load(context.Background(), g.Bytes())
			wantProblem(t, err, "deadline of")
			wantProblem(t, err, tc.want)
		})
	}
}

func TestEndlessCloseEnds(t *testing.T) {
	g := steady()
	g.Func(abi.ExportClose, nil, nil, nil, w.Loop, w.Br(0), w.End)
	s := seatOf(t, g, PluginConfig{}, newFakeHost())
	begun := time.Now()
	if err := s.Close(context.Background()); err != nil || time.Since(begun) > time.Minute {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
}
