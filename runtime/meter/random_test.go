package meter_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// TestRandomPrograms runs programs that a generator makes up, unmetered and
// metered, and compares results, traps, memory and globals. The programs count
// the instructions that they execute, so that the test also sees that none was
// executed without being charged for.
func TestRandomPrograms(t *testing.T) {
	programs := 120
	if testing.Short() {
		programs = 20
	}
	plain, metered := newMachine(t, false), newMachine(t, true)
	var total programCounts
	for seed := range programs {
		p := newProgram(uint64(seed))
		wasm := p.module.bytes()
		metered.options.Slice = 1 + p.rnd.Int64N(5000)
		metered.refuel = metered.options.Slice
		metered.yields = 0
		mods := [2]api.Module{plain.mustStart(wasm), metered.mustStart(wasm)}
		total.add(compareProgram(t, p, mods, metered))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		for _, mod := range mods {
			_ = mod.Close(ctx)
		}
	}
	t.Logf("%+v", total)
	if total.Traps*30 < total.Calls || total.Traps*10 > 9*total.Calls || total.Executed < int64(programs)*1000 {
		t.Errorf("the programs are dull: %+v", total)
	}
}

type programCounts struct {
	Calls, Traps     int
	Executed, Burned int64
}

func (c *programCounts) add(o programCounts) {
	c.Calls += o.Calls
	c.Traps += o.Traps
	c.Executed += o.Executed
	c.Burned += o.Burned
}

func compareProgram(t *testing.T, p *program, mods [2]api.Module, metered *machine) (c programCounts) {
	t.Helper()
	granted := metered.options.Slice
	metered.yielded = func(mod api.Module) { granted += metered.refuel - int64(fuel(mod).Get()) }
	for range 3 {
		for i, f := range p.funcs {
			args := p.arguments(f)
			depth(mods[1]).Set(1 << 16)
			name := fmt.Sprint("f", i)
			want, wantErr := mods[0].ExportedFunction(name).Call(ctx, args...)
			got, gotErr := mods[1].ExportedFunction(name).Call(ctx, args...)
			c.Calls++
			if wantErr != nil {
				c.Traps++
			}
			if trap(wantErr) != trap(gotErr) || !slices.Equal(want, got) {
				t.Errorf("%s(%x): unmetered %x, %q; metered %x, %q", name, args, want, trap(wantErr), got, trap(gotErr))
			}
			c.Executed += p.reset(mods)
		}
	}
	compareMemory(t, mods)
	for _, g := range p.globals {
		if a, b := mods[0].ExportedGlobal(g).Get(), mods[1].ExportedGlobal(g).Get(); a != b {
			t.Errorf("global %s: unmetered %x, metered %x", g, a, b)
		}
	}
	c.Burned = granted - int64(fuel(mods[1]).Get())
	// What is small and called by the host is free.
	const free = 32
	if c.Burned+int64(free*c.Calls) < c.Executed {
		t.Errorf("%d instructions executed, %d units of fuel burned", c.Executed, c.Burned)
	}
	return c
}

// reset gives the program its budget back and returns what it executed.
func (p *program) reset(mods [2]api.Module) (executed int64) {
	for _, mod := range mods {
		mod.ExportedGlobal("budget").(api.MutableGlobal).Set(200)
		count := mod.ExportedGlobal("executed").(api.MutableGlobal)
		executed = int64(count.Get())
		count.Set(0)
	}
	return executed
}

// program is a module under construction and what its functions need to know.
type program struct {
	rnd     *rand.Rand
	module  wasmModule
	funcs   []signature
	globals []string
}

type signature struct {
	typ             int
	params, results []byte
}

const (
	randomPages    = 16
	randomTable    = 40_000 // more than a piece
	passiveData    = 300_000
	passiveElems   = 35_000
	globalBudget   = 0
	globalExecuted = 1
	globalWide     = 2
	globalNarrow   = 3
)

func newProgram(seed uint64) *program {
	p := &program{rnd: rand.New(rand.NewPCG(seed, 17)), globals: []string{"budget", "executed", "wide", "narrow"}}
	m := &p.module
	for range 3 + p.rnd.IntN(4) {
		s := signature{params: p.types(3), results: p.types(2)}
		s.typ = m.typ(s.params, s.results)
		p.funcs = append(p.funcs, s)
	}
	for i, s := range p.funcs {
		m.export(fmt.Sprint("f", i), 0, m.declare(s.typ))
	}
	m.memory(randomPages)
	m.table(randomTable)
	m.table(randomTable / 2)
	m.global(tI32, true, i32c(200))
	m.global(tI64, true, i64c(0))
	m.global(tI64, true, i64c(5))
	m.global(tI32, true, i32c(-7))
	for i, name := range p.globals {
		m.export(name, 3, i)
	}
	p.segments()
	for _, s := range p.funcs {
		newBody(p, s).write()
	}
	return p
}

func (p *program) types(most int) []byte {
	b := make([]byte, p.rnd.IntN(most+1))
	for i := range b {
		b[i] = []byte{tI32, tI64}[p.rnd.IntN(2)]
	}
	return b
}

func (p *program) segments() {
	m := &p.module
	bytes := make([]byte, passiveData)
	for i := range bytes {
		bytes[i] = byte(i * 7)
	}
	m.data.add(op(1), vec(bytes))
	m.data.add(op(0), i32c(100), end, vec(bytes[:1000]))
	items := make([]byte, 0, passiveElems)
	for i := range passiveElems {
		items = append(items, byte(i%len(p.funcs)))
	}
	m.elems.add(op(1, 0), uleb(passiveElems), items)
	m.elems.add(op(0), i32c(0), end, uleb(64), items[:64])
}

func (p *program) arguments(s signature) []uint64 {
	args := make([]uint64, len(s.params))
	for i, t := range s.params {
		args[i] = p.rnd.Uint64() >> p.rnd.IntN(64)
		if t == tI32 {
			args[i] = uint64(uint32(args[i]))
		}
	}
	return args
}

// funcBody makes up one function. Locals behind the parameters: four i32, four
// i64, and one i32 for each nesting of loops.
type funcBody struct {
	p       *program
	s       signature
	b       []byte
	n       int64 // instructions since the last count
	narrow  []int
	wide    []int
	counter int // first local that counts rounds
	loops   int
	labels  []bool // enclosing blocks: true for loops
	size    int
}

const loopNesting = 3

func newBody(p *program, s signature) *funcBody {
	f := &funcBody{p: p, s: s}
	for i, t := range s.params {
		f.declare(i, t)
	}
	for i := range 8 {
		f.declare(len(s.params)+i, f.localTypes()[i])
	}
	f.counter = len(s.params) + 8
	return f
}

func (f *funcBody) localTypes() []byte {
	return []byte{tI32, tI32, tI32, tI32, tI64, tI64, tI64, tI64, tI32, tI32, tI32}
}

func (f *funcBody) declare(local int, t byte) {
	if t == tI32 {
		f.narrow = append(f.narrow, local)
	} else {
		f.wide = append(f.wide, local)
	}
}

func (f *funcBody) rnd(n int) int { return f.p.rnd.IntN(n) }

// emit adds one instruction.
func (f *funcBody) emit(instructions ...[]byte) {
	for _, in := range instructions {
		f.b = append(f.b, in...)
		f.n++
	}
}

// counted makes part, and before it code that counts its instructions. part is
// straight code.
func (f *funcBody) counted(part func()) {
	before := f.b
	f.b, f.n = nil, 0
	part()
	code := f.b
	const own = 4
	f.b = cat(before, num(0x23, globalExecuted), i64c(f.n+own), op(0x7c), num(0x24, globalExecuted), code)
}

func (f *funcBody) write() {
	// A budget ends recursion and loops within loops.
	f.counted(func() {
		f.emit(num(0x23, globalBudget), i32c(1), op(0x6b), num(0x24, globalBudget))
		f.emit(num(0x23, globalBudget), i32c(0), op(0x48), ifThen)
	})
	f.labels = append(f.labels, false)
	f.values(f.s.results)
	f.emit(ret, end)
	f.labels = f.labels[:0]
	f.statements(4)
	f.counted(func() { f.values(f.s.results) })
	f.p.module.body(f.localTypes(), f.b)
}

func (f *funcBody) values(types []byte) {
	for _, t := range types {
		f.value(t, 2)
	}
}

func (f *funcBody) value(t byte, deep int) {
	if t == tI32 {
		f.i32(deep)
	} else {
		f.i64(deep)
	}
}

func (f *funcBody) pick(locals []int) int { return locals[f.rnd(len(locals))] }

func (f *funcBody) i32(deep int) {
	if deep == 0 {
		switch f.rnd(3) {
		case 0:
			f.emit(i32c(int32(f.p.rnd.Uint32()) >> f.rnd(32)))
		case 1:
			f.emit(num(0x23, globalNarrow))
		default:
			f.emit(get(f.pick(f.narrow)))
		}
		return
	}
	switch f.rnd(9) {
	case 0, 1, 2, 3:
		f.i32(deep - 1)
		f.i32(deep - 1)
		f.emit(op([]byte{0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x74, 0x76, 0x77, 0x46, 0x48, 0x4f}[f.rnd(12)]))
	case 4:
		f.i32(deep - 1)
		f.i32(deep - 1)
		f.emit(i32c(1), op(0x72)) // never zero
		f.emit(op([]byte{0x6e, 0x70}[f.rnd(2)]))
	case 5:
		f.address(deep - 1)
		f.emit([][]byte{op(0x28, 2, 4), op(0x2d, 0, 8), op(0x2f, 1, 0)}[f.rnd(3)])
	case 6:
		f.i64(deep - 1)
		f.emit(op(0xa7))
	case 7:
		f.i32(deep - 1)
		f.i32(deep - 1)
		f.i32(deep - 1)
		f.emit(op(0x1b))
	default:
		f.emit([][]byte{op(0x3f, 0), misc(16, f.rnd(2))}[f.rnd(2)])
	}
}

func (f *funcBody) i64(deep int) {
	if deep == 0 {
		switch f.rnd(3) {
		case 0:
			f.emit(i64c(f.p.rnd.Int64() >> f.rnd(64)))
		case 1:
			f.emit(num(0x23, globalWide))
		default:
			if len(f.wide) > 0 {
				f.emit(get(f.pick(f.wide)))
				return
			}
			f.emit(i64c(3))
		}
		return
	}
	switch f.rnd(4) {
	case 0, 1:
		f.i64(deep - 1)
		f.i64(deep - 1)
		f.emit(op([]byte{0x7c, 0x7d, 0x7e, 0x83, 0x84, 0x85, 0x86, 0x88}[f.rnd(8)]))
	case 2:
		f.i32(deep - 1)
		f.emit(op([]byte{0xac, 0xad}[f.rnd(2)]))
	default:
		f.address(deep - 1)
		f.emit(op(0x29, 3, 0))
	}
}

// address makes an i32 that mostly lies inside of the memory.
func (f *funcBody) address(deep int) { f.bounded(deep, randomPages<<16-1024) }

func (f *funcBody) bounded(deep int, below int32) {
	f.i32(deep)
	if f.rnd(150) > 0 {
		f.emit(i32c(below), op(0x70)) // rem_u
	}
}

func (f *funcBody) statements(deep int) {
	for range 1 + f.rnd(4) {
		if f.size++; f.size > 60 {
			return
		}
		f.statement(deep)
	}
}

func (f *funcBody) statement(deep int) {
	kinds := 14
	if deep == 0 {
		kinds = 9
	}
	switch f.rnd(kinds) {
	case 0:
		f.counted(func() { f.i32(3); f.emit(set(f.pick(f.narrow))) })
	case 1:
		f.counted(func() { f.i64(3); f.emit(set(f.pick(f.wide))) })
	case 2:
		f.counted(func() { f.address(2); f.i64(2); f.emit(op(0x37, 3, 0)) })
	case 3:
		f.counted(func() { f.i64(2); f.emit(num(0x24, globalWide)) })
	case 4:
		f.counted(f.call)
	case 5:
		f.counted(f.bulkMemory)
	case 6:
		f.counted(f.bulkTable)
	case 7:
		f.counted(f.leave)
	case 8:
		f.counted(func() { f.i32(1); f.emit(i32c(3), op(0x71), op(0x40, 0), num(0x24, globalNarrow)) })
	case 9, 10:
		f.ifElse(deep - 1)
	case 11, 12:
		f.loop(deep - 1)
	default:
		f.table(deep - 1)
	}
}

// call calls a function, directly or through the table, and keeps its results.
func (f *funcBody) call() {
	i := f.rnd(len(f.p.funcs))
	s := f.p.funcs[i]
	f.values(s.params)
	if f.rnd(3) == 0 {
		if f.rnd(4) > 0 {
			f.emit(i32c(int32(i + len(f.p.funcs)*f.rnd(3))))
		} else {
			f.bounded(1, 90)
		}
		f.emit(num(0x11, s.typ, 0))
	} else {
		f.emit(call(i))
	}
	for _, t := range slices.Backward(s.results) {
		if t == tI32 {
			f.emit(set(f.pick(f.narrow)))
		} else {
			f.emit(num(0x24, globalWide))
		}
	}
}

// length makes an operand of a bulk instruction: little mostly, else more than a
// piece.
func (f *funcBody) length(piece int32) {
	if f.rnd(3) > 0 {
		f.bounded(1, piece/100)
	} else {
		f.bounded(1, 4*piece)
	}
}

func (f *funcBody) bulkMemory() {
	const piece = 256 << 10
	inside := int32(randomPages<<16) / 2
	f.bounded(1, inside)
	switch f.rnd(8) {
	case 0, 1, 2:
		f.i32(1)
		f.length(piece)
		f.emit(memFill)
	case 3, 4, 5:
		f.bounded(1, inside)
		f.length(piece)
		f.emit(memCopy)
	case 6:
		f.bounded(1, passiveData/20)
		f.bounded(1, passiveData)
		f.emit(misc(8, f.rnd(2), 0))
	default:
		if f.emit(drop); f.rnd(20) == 0 {
			f.emit(misc(9, f.rnd(2)))
		}
	}
}

func (f *funcBody) bulkTable() {
	const piece = 32 << 10
	f.bounded(1, randomTable/2)
	switch f.rnd(8) {
	case 0, 1:
		f.emit(op(0xd0, tFuncref))
		f.length(piece / 4)
		f.emit(misc(17, 1))
	case 2, 3:
		f.bounded(1, randomTable/4)
		f.length(piece / 3)
		f.emit(misc(14, f.rnd(2), f.rnd(2)))
	case 4:
		f.bounded(1, passiveElems/20)
		f.bounded(1, passiveElems)
		f.emit(misc(12, 0, 0))
	case 5:
		f.emit(num(0xd2, f.rnd(len(f.p.funcs))), num(0x26, 0))
	case 6:
		f.emit(num(0x25, 0), op(0xd1), set(f.pick(f.narrow)))
	default:
		// Metered, a table does not grow beyond a limit: stay below it.
		f.emit(drop, op(0xd0, tFuncref))
		f.i32(1)
		f.emit(i32c(15), op(0x71), misc(15, 1), set(f.pick(f.narrow)))
	}
}

// leave jumps out of all blocks, or returns, on a condition.
func (f *funcBody) leave() {
	f.values(f.s.results)
	f.i32(2)
	f.emit(i32c(15), op(0x71), op(0x45))
	if f.rnd(2) == 0 {
		f.emit(brIf(len(f.labels)))
	} else {
		f.emit(ifThen)
		f.values(f.s.results)
		f.emit(ret, end)
	}
	for range f.s.results {
		f.emit(drop)
	}
}

func (f *funcBody) nested(isLoop bool, part func()) {
	f.labels = append(f.labels, isLoop)
	part()
	f.labels = f.labels[:len(f.labels)-1]
}

func (f *funcBody) ifElse(deep int) {
	f.counted(func() { f.i32(2); f.emit(ifThen) })
	f.nested(false, func() {
		f.statements(deep)
		if f.rnd(2) == 0 {
			f.emit(otherwise)
			f.statements(deep)
		}
	})
	f.emit(end)
}

// loop runs a few rounds; some are cut short by going on with the next.
func (f *funcBody) loop(deep int) {
	if f.loops == loopNesting {
		return
	}
	counter := f.counter + f.loops
	f.loops++
	f.counted(func() { f.i32(2); f.emit(i32c(15), op(0x71), set(counter), block, loop) })
	f.nested(false, func() {
		f.nested(true, func() {
			f.counted(func() {
				f.emit(get(counter), i32c(1), op(0x6b), num(0x22, counter), i32c(0), op(0x48), brIf(1))
				f.emit(num(0x23, globalBudget), i32c(0), op(0x48), brIf(1))
			})
			f.statements(deep)
			if f.rnd(2) == 0 {
				f.counted(func() { f.i32(1); f.emit(brIf(0)) })
				f.statements(deep)
			}
			f.emit(br(0))
		})
	})
	f.emit(end, end)
	f.loops--
}

// table jumps into one of a few blocks, or back to a loop around them.
func (f *funcBody) table(deep int) {
	cases := 1 + f.rnd(4)
	for range cases {
		f.labels = append(f.labels, false)
	}
	f.counted(func() {
		for range cases {
			f.emit(block)
		}
		f.i32(2)
		f.emit(i32c(7), op(0x71))
		targets := []int{}
		for i := range cases {
			targets = append(targets, i)
		}
		for i, isLoop := range slices.Backward(f.labels) {
			if isLoop {
				targets = append(targets, len(f.labels)-1-i)
			}
		}
		f.emit(cat(num(0x0e, len(targets)), num(byte(targets[0]), targets[1:]...), uleb(0)))
	})
	for range cases {
		f.emit(end)
		f.labels = f.labels[:len(f.labels)-1]
		f.statements(deep)
	}
}
