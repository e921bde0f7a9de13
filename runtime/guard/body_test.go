package guard_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/runtime/guard"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
)

// module has a memory, two tables, globals, an element and a data segment, and
// one function () -> i32 with the given body and ten locals.
func module(code ...[]byte) []byte {
	body := slices.Concat([]byte{1, 10, w.I32}, slices.Concat(code...), w.End)
	body = append(w.ULEB(uint64(len(body))), body...)
	return raw(
		sec(1, 3, 0x60, 0, 1, w.I32, 0x60, 0, 0, 0x60, 2, w.I32, w.I64, 1, w.I32),
		sec(3, 1, 0),
		sec(4, 2, 0x70, 0, 1, 0x6f, 0, 1),
		sec(5, 1, 0, 1),
		sec(6, 2, w.I32, 0, 0x41, 0, 0x0b, w.I64, 1, 0x42, 0, 0x0b),
		sec(9, 1, 1, 0, 0),
		sec(12, 1),
		sec(10, append([]byte{1}, body...)...),
		sec(11, 1, 1, 0),
	)
}

func TestBodies(t *testing.T) {
	one := w.I32Const(1)
	for _, tc := range []struct {
		name string
		code []byte
		want string // "" accepts
	}{
		{"constant", one, ""},
		{"no result", nil, "end: operands i32 are missing"},
		{"two results", w.Seq(one, one), "end: 1 operands too many"},
		{"another result", w.I64Const(1), "end: operands i64, must be i32"},
		{"operand of another type", w.Seq(one, w.I64Const(1), w.I32Add), "i32.add: operand of type i64, must be i32"},
		{"unreachable code takes anything", w.Seq(w.Unreachable, w.I32Add), ""},
		{"unreachable code is checked", w.Seq(w.Unreachable, w.I64Const(1), w.I32Add), "i32.add: operand of type i64"},
		{"block with a result", w.Seq([]byte{0x02, w.I32}, one, w.End), ""},
		{"block of a type", w.Seq(one, w.I64Const(1), []byte{0x02, 2}, w.Seq([]byte{0x1a}), w.End), ""},
		{"block of no type", w.Seq([]byte{0x02, 9}, one, w.End), "block: block of type 9, there are 3"},
		{"block's parameters", w.Seq(one, []byte{0x02, 2}, w.End), "block: operands (i32, i64) are missing, there are i32"},
		{"else without if", w.Seq(w.Block, w.Else, w.End, one), "else: there is no if"},
		{"if without else", w.Seq(one, []byte{0x04, w.I32}, one, w.End), "end: an if without else from () to i32"},
		{"if with else", w.Seq(one, []byte{0x04, w.I32}, one, w.Else, one, w.End), ""},
		{"branch out of range", w.Seq(one, w.Br(1)), "br: branch to block 1, there are 1"},
		{"branch without its operand", w.Br(0), "br: operands i32 are missing"},
		{"table of branches that differ", w.Seq(w.Block, one, one, []byte{0x0e, 1, 0, 1}, w.End, one), "br_table: targets that take () and i32"},
		{"local", w.LocalGet(9), ""},
		{"local out of range", w.LocalGet(10), "local.get: local 10, there are 10"},
		{"global that is constant", w.Seq(one, w.GlobalSet(0), one), "global.set: global 0 is immutable"},
		{"alignment", w.Seq(one, []byte{0x28, 3, 0}), "i32.load: alignment of 2**3"},
		{"untyped select of references", w.Seq([]byte{0xd0, 0x70, 0xd0, 0x70}, one, []byte{0x1b, 0x1a}, one), "select: references need"},
		{"typed select", w.Seq([]byte{0xd0, 0x70, 0xd0, 0x70}, one, []byte{0x1c, 1, 0x70, 0x1a}, one), ""},
		{"function that may not be referenced", w.Seq([]byte{0xd2, 1, 0x1a}, one), "ref.func: function 1, there are 1"},
		{"table of other references", w.Seq(one, one, one, []byte{0xfc, 14, 0, 1}, one), "table.copy: externref into a table of funcref"},
		{"segment out of range", w.Seq(one, one, one, []byte{0xfc, 8, 1, 0}, one), "memory.init: data segment 1, there are 1"},
		{"call through a table of others", w.Seq(one, []byte{0x11, 0, 1}), "call_indirect: table 1 holds externref"},
		{"lane", w.Seq(one, []byte{0xfd, 0x11, 0xfd, 0x1b, 4}), "vector instruction 0x1b: lane 4 of 4"},
		{"vector", w.Seq(one, []byte{0xfd, 0x11, 0xfd, 0x1b, 3}), ""},
		{"no such instruction", []byte{0xff}, "instruction 0xff: there is no such"},
		{"tail call", []byte{0x12, 0}, "belongs to tail calls"},
		{"atomics", []byte{0xfe, 0x10, 2, 0}, "belongs to threads"},
		{"relaxed SIMD", []byte{0xfd, 0x80, 2}, "belongs to relaxed SIMD"},
		{"second memory", w.Seq(one, []byte{0x28, 0x40, 1, 0}), "belongs to multiple memories"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := guard.Validate("m", module(tc.code), guard.Limits{})
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, tc.want)
		})
	}
}

func TestBodyLimits(t *testing.T) {
	turns := func(n int) []byte {
		return slices.Concat(bytes.Repeat(w.Loop, n), bytes.Repeat(w.Seq(w.LocalGet(0), w.BrIf(0), w.End), n))
	}
	for _, tc := range []struct {
		limits guard.Limits
		code   []byte
		want   string
	}{
		{guard.Limits{Nesting: 3}, w.Seq(turns(4), w.I32Const(1)), "loop: blocks are nested deeper than 3"},
		{guard.Limits{Operands: 3}, bytes.Repeat(w.I32Const(1), 4), "more than 3 operands"},
		{guard.Limits{BranchTargets: 2}, w.Seq(w.I32Const(1), w.I32Const(1), []byte{0x0e, 3, 0, 0, 0, 0}), "3 targets declared, the limit is 2"},
		{guard.Limits{CompileTime: time.Millisecond}, w.Seq(turns(1000), w.I32Const(1)), "make the compiler take longer than about 1ms"},
		{guard.Limits{}, w.Seq(turns(15_000), w.I32Const(1)), "make the compiler take longer than about 5s"},
	} {
		t.Run(tc.want, func(t *testing.T) {
			wasm := module(tc.code)
			_, err := guard.Validate("m", wasm, tc.limits)
			refused(t, err, tc.want)
		})
	}
	if _, err := guard.Validate("m", module(turns(1000), w.I32Const(1)), guard.Limits{}); err != nil {
		t.Error(err)
	}
}

// Each function's first problem is told, with the function's name.
func TestEveryBadFunctionIsNamed(t *testing.T) {
	g := new(w.Module)
	for i := range 3 {
		name := ""
		if i == 1 {
			name = "exported"
		}
		g.Func(name, nil, nil, nil, w.I32Const(1))
	}
	g.Func("good", nil, nil, nil)
	g.Custom("name", slices.Concat([]byte{1, 7, 1, 2, 4}, []byte("debg")))
	_, err := guard.Validate("m", g.Bytes(), guard.Limits{})
	refused(t, err, "function 0: byte ", `function 1 "exported": byte `, `function 2 "debg": byte `)
	if n := strings.Count(err.Error(), "function "); n != 3 {
		t.Errorf("%d problems: %v", n, err)
	}
}

func TestManyBadFunctionsAreCounted(t *testing.T) {
	g := new(w.Module)
	for range 200 {
		g.Func("", nil, nil, nil, w.Drop)
	}
	_, err := guard.Validate("m", g.Bytes(), guard.Limits{})
	refused(t, err, fmt.Sprintf("and %d more", 150))
}

func TestConstantExpressions(t *testing.T) {
	global := func(typ byte, code ...byte) []byte {
		return raw(sec(2, 2, 1, 'a', 1, 'b', 3, w.I32, 0, 1, 'a', 1, 'c', 3, w.I32, 1),
			sec(6, slices.Concat([]byte{1, typ, 0}, code, w.End)...))
	}
	for _, tc := range []struct {
		name string
		wasm []byte
		want string
	}{
		{"imported global", global(w.I32, 0x23, 0), ""},
		{"mutable global", global(w.I32, 0x23, 1), "global 1, which is mutable"},
		{"its own global", global(w.I32, 0x23, 2), "reads global 2, there are 2 imported ones"},
		{"another type", global(w.I64, 0x41, 0), "constant expression of type i32, must be i64"},
		{"null", global(0x70, 0xd0, 0x70), ""},
		{"null of another kind", global(0x70, 0xd0, 0x6f), "of type externref, must be funcref"},
		{"arithmetic", global(w.I32, 0x41, 1, 0x41, 1, 0x6a), "extended constant expressions"},
		{"offset of another type", raw(sec(5, 1, 0, 1), sec(11, 1, 0, 0x42, 0, 0x0b, 0)), "of type i64, must be i32"},
		{"elements of another type", raw(sec(4, 1, 0x6f, 0, 1), sec(9, 1, 0, 0x41, 0, 0x0b, 0)), "element segment of funcref for a table of externref"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := guard.Validate("m", tc.wasm, guard.Limits{})
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, tc.want)
		})
	}
}
