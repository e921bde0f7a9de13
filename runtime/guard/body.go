package guard

import "fmt"

// body checks the instructions of one function after another by the algorithm
// of the specification, which goes over them once with a stack of operand types
// and a stack of open blocks:
// https://www.w3.org/TR/wasm-core-2/#validation-algorithm
//
// A type is one byte and block types are strings of them, so that the operands
// of a call or a branch are compared as one string.
type body struct {
	c      *checker
	r      reader
	at     int    // where the running instruction starts
	locals []byte // types
	stack  []byte // types
	frames []frame
	height int // of stack at the start of the innermost block
	// dead says that the rest of the innermost block cannot be reached: below
	// height the stack holds whatever is asked for.
	dead bool
	cost cost
}

// frame is an open block. dead and height of the innermost one are kept in body.
type frame struct {
	op              byte
	dead            bool
	height          int
	params, results string

	start, sets, edges int32 // see cost
}

// unknown is the type of an operand that unreachable code conjures up.
const unknown ValueType = 0

// branchArgs is what a branch to the block takes along.
func (f *frame) branchArgs() string {
	if f.op == opLoop {
		return f.params
	}
	return f.results
}

// check reads the instructions of a function of type t up to its end, the
// locals being read already.
func (b *body) check(t FuncType) {
	b.stack, b.frames, b.height, b.dead = b.stack[:0], b.frames[:0], 0, false
	b.frames = append(b.frames, frame{op: opBlock, results: t.Results})
	b.cost.begin(len(t.Params), len(b.locals))
	b.cost.open(&b.frames[0])
	for b.r.err == nil && len(b.frames) > 0 {
		b.instruction()
	}
	if b.r.err == nil && b.r.left() > 0 {
		b.r.failf("%d bytes behind the end of the function", b.r.left())
	}
}

func (b *body) instruction() {
	b.at = b.r.pos
	op := b.r.byte()
	s := &shapes[op]
	if s.imm == immSpecial {
		b.special(op)
	} else {
		b.plain(s, op)
	}
	if len(b.stack) > b.c.l.Operands {
		b.failf("more than %d operands on the stack", b.c.l.Operands)
	}
}

// failf reports a problem of the running instruction.
func (b *body) failf(format string, args ...any) { b.fail(fmt.Errorf(format, args...)) }

func (b *body) fail(err error) {
	if b.r.err == nil {
		b.r.err = fmt.Errorf("byte %d: %s: %w", b.at, opName(b.r.b[b.at:b.r.end]), err)
	}
}

// plain checks an instruction that its shape tells all about.
func (b *body) plain(s *shape, op byte) {
	if s.imm != immNone {
		b.immediates(s, op)
	}
	n := len(b.stack)
	switch s.pops {
	case 1:
		if n > b.height && ValueType(b.stack[n-1]) == s.in[0] && s.out != 0 {
			b.stack[n-1] = byte(s.out)
			return
		}
	case 2:
		if n-1 > b.height && ValueType(b.stack[n-1]) == s.in[1] && ValueType(b.stack[n-2]) == s.in[0] && s.out != 0 {
			b.stack[n-2] = byte(s.out)
			b.stack = b.stack[:n-1]
			return
		}
	}
	for i := int(s.pops) - 1; i >= 0; i-- {
		b.pop(s.in[i])
	}
	if s.out != 0 {
		b.push(s.out)
	}
}

func (b *body) immediates(s *shape, op byte) {
	switch s.imm {
	case immMemory:
		b.memoryArg(s.arg)
	case immLane:
		b.lane(s.arg)
	case immMemoryLane:
		b.memoryArg(s.arg)
		b.lane(s.lane)
	case immBytes:
		b.r.bytes(16)
	case immShuffle:
		for range 16 {
			b.lane(s.arg)
		}
	default:
		if feature := opFeature(op); b.r.err == nil && feature != "" {
			b.r.err = fmt.Errorf("byte %d: %w", b.at, notEnabled(fmt.Sprintf("instruction 0x%02x", op), feature))
		} else {
			b.failf("there is no such instruction")
		}
	}
}

// memoryArg reads alignment and offset of an access of 1<<most bytes.
func (b *body) memoryArg(most byte) {
	align := b.r.u32()
	b.r.u32()
	switch {
	case b.c.m.memories == 0:
		b.failf("there is no memory")
	case align >= 1<<6 && align < 1<<7:
		b.fail(notEnabled("an access to a memory by its index", multiMemory))
	case align > uint32(most):
		b.failf("alignment of 2**%d for an access of 2**%d bytes", align, most)
	}
}

func (b *body) lane(lanes byte) {
	if i := b.r.byte(); i >= lanes {
		b.failf("lane %d of %d", i, lanes)
	}
}

func (b *body) push(t ValueType) { b.stack = append(b.stack, byte(t)) }

// pop takes the operand on top, which must have type want unless that is
// unknown, and returns its type.
func (b *body) pop(want ValueType) ValueType {
	n := len(b.stack) - 1
	if n < b.height {
		if !b.dead {
			b.failf("an operand%s is missing", ofType(want))
		}
		return unknown
	}
	have := ValueType(b.stack[n])
	b.stack = b.stack[:n]
	if have != want && have != unknown && want != unknown {
		b.failf("operand of type %s, must be %s", valueTypeNames[have], valueTypeNames[want])
	}
	return have
}

func ofType(t ValueType) string {
	if t == unknown {
		return ""
	}
	return " of type " + valueTypeNames[t]
}

func (b *body) pushAll(types string) { b.stack = append(b.stack, types...) }

// popAll takes operands of the given types, the last one being on top.
func (b *body) popAll(types string) {
	if b.fits(types) {
		b.stack = b.stack[:max(len(b.stack)-len(types), b.height)]
	}
}

// fits checks that operands of the given types lie on top of the stack.
func (b *body) fits(types string) bool {
	have := b.stack[max(len(b.stack)-len(types), b.height):]
	if len(have) < len(types) && !b.dead {
		b.failf("operands %s are missing, there are %s", typeList(types), typeList(string(have)))
		return false
	}
	want := types[len(types)-len(have):]
	return string(have) == want || b.fitsLoosely(have, want)
}

// fitsLoosely compares where some operands are unknown. Only code that cannot
// be reached has those, so a module that spends much work here is made for that.
func (b *body) fitsLoosely(have []byte, want string) bool {
	if b.c.patience -= len(have); b.c.patience < 0 {
		b.failf("the unreachable code of this module takes too long to check")
		return false
	}
	for i, t := range have {
		if ValueType(t) != unknown && t != want[i] {
			b.failf("operands %s, must be %s", typeList(string(have)), typeList(want))
			return false
		}
	}
	return true
}

// unreachable says that what follows in the innermost block is never reached.
func (b *body) unreachable() {
	b.stack = b.stack[:b.height]
	b.dead = true
}

// open begins a block, whose parameters are on the stack.
func (b *body) open(op byte, t FuncType) {
	if len(b.frames) > b.c.l.Nesting {
		b.failf("blocks are nested deeper than %d", b.c.l.Nesting)
		return
	}
	b.popAll(t.Params)
	outer := &b.frames[len(b.frames)-1]
	outer.dead, outer.height = b.dead, b.height
	b.frames = append(b.frames, frame{op: op, params: t.Params, results: t.Results})
	b.enter(t.Params)
	b.cost.open(&b.frames[len(b.frames)-1])
}

func (b *body) enter(params string) {
	b.height, b.dead = len(b.stack), false
	b.pushAll(params)
}

// close ends the innermost block's instructions and leaves its results off the
// stack.
func (b *body) close() *frame {
	f := &b.frames[len(b.frames)-1]
	b.popAll(f.results)
	if len(b.stack) != b.height {
		b.failf("%d operands too many at the end of the block: %s", len(b.stack)-b.height, typeList(string(b.stack[b.height:])))
	}
	return f
}

func (b *body) end() {
	f := b.close()
	if f.op == opIf && f.params != f.results {
		b.failf("an if without else from %s to %s", typeList(f.params), typeList(f.results))
	}
	b.cost.end(f)
	b.frames = b.frames[:len(b.frames)-1]
	if len(b.frames) == 0 || b.r.err != nil {
		return
	}
	outer := &b.frames[len(b.frames)-1]
	b.height, b.dead = outer.height, outer.dead
	b.pushAll(f.results)
}

func (b *body) otherwise() {
	f := b.close()
	if f.op != opIf {
		b.failf("there is no if that it belongs to")
		return
	}
	f.op = opElse
	b.cost.edges(1)
	b.stack = b.stack[:b.height]
	b.enter(f.params)
}

// label returns the types that a branch to the block of that depth takes.
func (b *body) label(depth uint32) (string, bool) {
	if uint64(depth) >= uint64(len(b.frames)) {
		b.failf("branch to block %d, there are %d", depth, len(b.frames))
		return "", false
	}
	f := &b.frames[len(b.frames)-1-int(depth)]
	f.edges++
	b.cost.edges(1)
	return f.branchArgs(), true
}
