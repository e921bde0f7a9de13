package meter_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/tetratelabs/wazero/api"
)

var errStop = errors.New("stopped by the test")

// largestCharge bounds how far below zero one charge can take the fuel: straight
// code, or a memory.grow.
const largestCharge = 1<<22 + 1<<17

func TestStopped(t *testing.T) {
	const i32 = tI32
	for _, tc := range []struct {
		name string
		make func(m *wasmModule)
	}{
		{"empty loop", func(m *wasmModule) { m.fn("f", nil, nil, nil, loop, br(0), end) }},
		{"loop that is left and entered again", func(m *wasmModule) {
			m.fn("f", nil, nil, nil, loop, block, loop, i32c(1), brIf(1), end, end, br(0), end)
		}},
		{"loop with a parameter", func(m *wasmModule) {
			one := m.typ([]byte{i32}, []byte{i32})
			m.fn("f", nil, nil, nil, i32c(1), op(0x03), uleb(uint64(one)), br(0), end, drop)
		}},
		{"br_table", func(m *wasmModule) {
			m.fn("f", nil, nil, []byte{i32}, loop, block, block, block,
				get(0), i32c(1), op(0x6a), op(0x22, 0), i32c(3), op(0x70),
				num(0x0e, 3, 0, 1, 2, 3), end, br(2), end, br(1), end, br(0), end)
		}},
		{"br_table to the loop itself", func(m *wasmModule) {
			m.fn("f", nil, nil, nil, loop, i32c(0), num(0x0e, 1, 0, 0), end)
		}},
		{"calls of a small function", func(m *wasmModule) {
			leaf := m.fn("", nil, nil, nil)
			m.fn("f", nil, nil, nil, loop, bytes.Repeat(call(leaf), 100), br(0), end)
		}},
		{"tree of calls without a loop", func(m *wasmModule) {
			// 2^40 calls, none deeper than 40.
			fn := m.fn("", nil, nil, nil)
			for range 40 {
				fn = m.fn("", nil, nil, nil, call(fn), call(fn))
			}
			m.export("f", 0, fn)
		}},
		{"tree of calls through loops", func(m *wasmModule) {
			fn := m.fn("", nil, nil, nil)
			for range 40 {
				fn = m.fn("", nil, nil, nil, loop, call(fn), call(fn), end)
			}
			m.export("f", 0, fn)
		}},
		{"tree of indirect calls", func(m *wasmModule) {
			typ := m.typ(nil, nil)
			m.table(41)
			m.declare(typ)
			m.body(nil)
			for i := range 40 {
				m.declare(typ)
				next := cat(i32c(int32(i)), num(0x11, typ, 0))
				m.body(nil, next, next)
			}
			var all []byte
			for i := range 41 {
				all = append(all, uleb(uint64(i))...)
			}
			m.elems.add(op(0), i32c(0), end, uleb(41), all)
			m.export("f", 0, 40)
		}},
		{"straight fills of all memory", func(m *wasmModule) {
			m.memory(1024)
			m.fn("f", nil, nil, nil, bytes.Repeat(cat(i32c(0), i32c(7), i32c(64<<20), memFill), 500))
		}},
		{"straight copies of half the memory", func(m *wasmModule) {
			m.memory(1024)
			up := cat(i32c(32<<20), i32c(0), i32c(32<<20), memCopy)
			m.fn("f", nil, nil, nil, bytes.Repeat(cat(up, i32c(1), i32c(2), i32c(60<<20), memCopy), 200))
		}},
		{"small fills", func(m *wasmModule) {
			m.memory(1)
			m.fn("f", nil, nil, nil, loop, i32c(0), i32c(7), i32c(1000), memFill, br(0), end)
		}},
		{"memory.grow that fails", func(m *wasmModule) {
			m.memory(1)
			m.fn("f", nil, nil, nil, loop, i32c(-1), op(0x40, 0), drop, br(0), end)
		}},
		{"memory.grow by nothing", func(m *wasmModule) {
			m.memory(1)
			m.fn("f", nil, nil, nil, loop, i32c(0), op(0x40, 0), drop, br(0), end)
		}},
		{"table.grow", func(m *wasmModule) {
			m.table(1)
			m.fn("f", nil, nil, nil, loop, op(0xd0, tFuncref), i32c(1000), misc(15, 0), drop, br(0), end)
		}},
		{"table.fill and table.copy", func(m *wasmModule) {
			m.table(60000)
			m.fn("f", nil, nil, nil, loop, i32c(0), op(0xd0, tFuncref), i32c(60000), misc(17, 0),
				i32c(0), i32c(1), i32c(59999), misc(14, 0, 0), br(0), end)
		}},
		{"straight code", func(m *wasmModule) {
			m.fn("f", nil, nil, []byte{i32}, loop, bytes.Repeat(cat(get(0), i32c(3), op(0x6a), set(0)), 50_000), br(0), end)
		}},
		{"references to functions", func(m *wasmModule) {
			fn := m.fn("g", nil, nil, nil)
			m.fn("f", nil, nil, nil, loop, bytes.Repeat(cat(num(0xd2, fn), drop), 100), br(0), end)
		}},
		{"endless start function", func(m *wasmModule) {
			fn := m.fn("f", nil, nil, nil, loop, br(0), end)
			m.start = uleb(uint64(fn))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := new(wasmModule)
			tc.make(m)
			m.fn("well", nil, []byte{i32}, nil, i32c(42))
			stopAfter(t, m, 20)
		})
	}
}

// stopAfter calls f, which does not end, until it has yielded so often. The
// instance must be callable afterwards.
func stopAfter(t *testing.T, m *wasmModule, yields int64) {
	t.Helper()
	host := newMachine(t, true)
	var gaps []time.Duration
	var last time.Time
	host.yielded = func(mod api.Module) {
		gaps = append(gaps, time.Since(last))
		if left := int64(fuel(mod).Get()); left >= 0 || left < -largestCharge {
			panic(fmt.Sprintf("yield with %d units of fuel left", left))
		}
		if host.yields == yields {
			panic(errStop)
		}
		last = time.Now()
	}
	hasStart := m.start != nil
	m.start = nil // called as f
	mod := host.mustStart(m.bytes())
	last = time.Now()
	_, err := mod.ExportedFunction("f").Call(ctx)
	if !errors.Is(err, errStop) {
		t.Fatalf("got %v after %d yields", err, host.yields)
	}
	slices.Sort(gaps)
	t.Logf("time between two yields: %s, longest %s", gaps[len(gaps)/2], gaps[len(gaps)-1])
	got, err := mod.ExportedFunction("well").Call(ctx)
	if err != nil || got[0] != 42 {
		t.Errorf("afterwards: %v, %v", got, err)
	}
	if hasStart {
		m.start = uleb(0)
		host.yields = 0
		if _, err := host.start(m.bytes(), ""); !errors.Is(err, errStop) {
			t.Errorf("start function: %v", err)
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(m *wasmModule)
	}{
		{"recursion", func(m *wasmModule) { m.fn("f", nil, nil, nil, call(0)) }},
		{"recursion in a loop", func(m *wasmModule) { m.fn("f", nil, nil, nil, loop, call(0), end) }},
		{"mutual recursion", func(m *wasmModule) {
			m.fn("f", nil, nil, nil, call(1))
			m.fn("g", nil, nil, nil, call(0))
		}},
		{"indirect recursion", func(m *wasmModule) {
			m.table(1)
			m.elems.add(op(0), i32c(0), end, op(1, 0))
			m.fn("f", nil, nil, nil, i32c(0), num(0x11, 0, 0))
		}},
		{"recursion with many locals", func(m *wasmModule) {
			m.fn("f", nil, nil, bytes.Repeat([]byte{tI64}, 4000), call(0))
		}},
		{"recursion with results", func(m *wasmModule) {
			m.fn("f", nil, []byte{tI32, tI64, tI32}, nil, call(0), ret)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := new(wasmModule)
			tc.make(m)
			m.fn("well", nil, []byte{tI32}, nil, i32c(42))
			host := newMachine(t, true)
			mod := host.mustStart(m.bytes())
			for range 2 {
				depth(mod).Set(1 << 16)
				_, err := mod.ExportedFunction("f").Call(ctx)
				if trap(err) != "wasm error: unreachable" || int32(depth(mod).Get()) >= 0 {
					t.Fatalf("got %v, depth %d", trap(err), int32(depth(mod).Get()))
				}
				if !strings.Contains(err.Error(), "more than 30 frames") && strings.Count(err.Error(), "\n\t") < 10 {
					t.Errorf("no stack: %v", err)
				}
			}
			depth(mod).Set(1 << 16)
			if got, err := mod.ExportedFunction("well").Call(ctx); err != nil || got[0] != 42 {
				t.Errorf("afterwards: %v, %v", got, err)
			}
		})
	}
}

// Each call takes a unit and gives it back, on all ways out.
func TestDepthIsGivenBack(t *testing.T) {
	m := new(wasmModule)
	leaf := m.fn("", nil, nil, nil)
	m.fn("f", []byte{tI32}, []byte{tI32, tI32}, nil,
		call(leaf),
		get(0), op(0x45), ifThen, i32c(1), i32c(2), ret, end,
		block, block, i32c(3), i32c(4), get(0), i32c(1), op(0x46), brIf(2), drop, drop, end, end,
		i32c(5), i32c(6), get(0), i32c(2), op(0x46), brIf(0),
		drop, drop, i32c(7), i32c(8))
	mod := newMachine(t, true).mustStart(m.bytes())
	for arg, want := range [][2]uint64{{1, 2}, {3, 4}, {5, 6}, {7, 8}} {
		got, err := mod.ExportedFunction("f").Call(ctx, uint64(arg))
		if err != nil || got[0] != want[0] || got[1] != want[1] {
			t.Errorf("f(%d) = %v, %v; want %v", arg, got, err, want)
		}
		if d := depth(mod).Get(); d != 1<<16 {
			t.Errorf("f(%d): depth is %d afterwards", arg, d)
		}
	}
}

func TestTablesGrowToTheLimitOnly(t *testing.T) {
	m := new(wasmModule)
	m.table(10)
	m.fn("grow", []byte{tI32}, []byte{tI32}, nil, op(0xd0, tFuncref), get(0), misc(15, 0))
	host := newMachine(t, true)
	host.options = meter.Options{TableElements: 100}
	mod := host.mustStart(m.bytes())
	for _, step := range []struct{ by, want uint32 }{
		{0, 10}, {90, 10}, {1, 0xffffffff}, {0xffffffff, 0xffffffff}, {0, 100},
	} {
		got, err := mod.ExportedFunction("grow").Call(ctx, uint64(step.by))
		if err != nil || uint32(got[0]) != step.want {
			t.Errorf("grow by %d: %v, %v; want %d", step.by, got, err, step.want)
		}
	}
}
