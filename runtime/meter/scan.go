package meter

// What a function's body needs changed is found in one pass, in which the cost
// of its longest paths becomes known, and then written in another. A charge
// stands where its region begins, and its amount is known at the region's end.

const (
	// lightMax is the most that a function may cost outside of its loops without
	// being charged where it begins: call instructions pay it in advance.
	lightMax = 32
	// straightMax is what may run between two charges.
	straightMax = 1 << 16
	// nestingMax bounds the nesting of blocks.
	nestingMax = 10_000
	// unreached marks code that no path reaches. Any cost may be added to it.
	unreached = -1 << 60
)

type editKind uint8

const (
	editCharge editKind = iota // insert a charge of cost
	editNumber                 // write cost as a number instead
	editCall                   // call function cost instead
	editReturn                 // leave the block around the body, if there is one
	editBulk                   // work on little memory here, else call function cost
)

// edit replaces the bytes from at to end of a body, or inserts at at.
type edit struct {
	at, end int
	cost    int64
	kind    editKind
}

// region is a function, or a loop in it: all that one charge at its beginning
// pays for. Loops within are regions of their own.
type region struct {
	outer int64 // the enclosing region's cost where this one begins
	most  int64 // cost of the longest path that ended so far
	edit  int   // the charge to set
}

// frame is a block, loop, if or function.
type frame struct {
	opcode byte
	region int   // that its label belongs to
	label  int64 // cost of the longest path that jumps behind its end
	els    int64 // cost where the branch of an if begins that was not taken yet
}

// scanner reads one body after the other; it is kept to reuse its memory.
type scanner struct {
	m       *module
	r       reader
	locals  uint64 // with parameters
	cost    int64  // of the longest path from the region's beginning, or its last charge, to here
	frames  []frame
	regions []region
	edits   []edit
	nesting bool // calls a function that is no import
	early   bool // does so outside of all loops
	split   bool // is charged on the way, outside of all loops
	bulk    bool // has an editBulk
}

// body finds the edits of one body with so many locals, which were read.
func (s *scanner) body(r reader, locals uint64) error {
	s.r, s.locals = r, locals
	s.cost, s.nesting, s.early, s.split, s.bulk = 0, false, false, false, false
	s.frames = append(s.frames[:0], frame{opcode: opEnd, label: unreached, els: unreached})
	s.edits = append(s.edits[:0], edit{kind: editCharge, at: r.p, end: r.p})
	s.regions = append(s.regions[:0], region{outer: unreached})
	for s.r.err == nil && len(s.frames) > 0 {
		s.instruction()
	}
	s.r.done()
	if s.r.err != nil {
		return s.r.err
	}
	s.edits[0].cost = s.regions[0].most + weightCharge
	return nil
}

// light reports whether the function needs no charge where it begins. A chain
// of calls then passes a charge in each function: in a loop's head before the call.
func (s *scanner) light() bool { return !s.early && !s.split && s.edits[0].cost <= lightMax }

func (s *scanner) instruction() {
	at := s.r.p
	c := s.r.byte()
	o := ops[c]
	s.cost += int64(o.weight)
	switch o.shape {
	case plain:
	case localNum:
		// The meter has a local of its own.
		if l := s.r.u32(); uint64(l) >= s.locals {
			s.r.failf("local %d, there are %d", l, s.locals)
		}
	case memarg:
		s.memarg()
	case leb5:
		s.r.skipLEB(5)
	case leb10:
		s.r.skipLEB(10)
	case fixed4:
		s.r.skip(4)
	case fixed8:
		s.r.skip(8)
	case special:
		s.special(c, at)
	default:
		s.unknown(c)
	}
	if s.cost > straightMax {
		s.chargeHere()
	}
}

// chargeHere charges what ran since the last charge on this path, so that no
// path is long.
func (s *scanner) chargeHere() {
	if len(s.frames) == 0 {
		return // the path has ended here
	}
	s.edits = append(s.edits, edit{kind: editCharge, at: s.r.p, end: s.r.p, cost: s.cost + weightCharge})
	s.cost = 0
	s.split = s.split || len(s.regions) == 1
}

func (s *scanner) unknown(c byte) {
	if p := proposal(c); p != "" {
		s.r.failf("instruction 0x%02x: %s are not supported", c, p)
		return
	}
	s.r.failf("unknown instruction 0x%02x", c)
}

func (s *scanner) memarg() {
	if align := s.r.u32(); align > 31 {
		s.r.failf("alignment %d; multiple memories are not supported", align)
	}
	s.r.u32()
}

func (s *scanner) special(c byte, at int) {
	switch c {
	case opBlock, opLoop, opIf, opElse, opEnd, opBr, opBrIf, opBrTable, opReturn, opUnreachable:
		s.control(c, at)
	case opCall:
		s.call()
	case opCallIndirect:
		s.m.typeIndex(&s.r)
		s.m.tableIndex(&s.r)
		s.cost += weightIndirect
		s.nests()
	case opSelectT:
		valueTypes(&s.r)
	case opGlobalGet, opGlobalSet:
		if g := s.r.u32(); g >= s.m.globals {
			s.r.failf("global %d, there are %d", g, s.m.globals)
		}
	case opTableGet, opTableSet:
		s.m.tableIndex(&s.r)
		s.cost += weightTable
		s.m.res.ChangesTables = s.m.res.ChangesTables || c == opTableSet
	case opMemorySize:
		s.zero()
	case opMemoryGrow:
		s.zero()
		s.m.res.GrowsMemory = true
		s.help(at, helper{opMemoryGrow, 0, 0})
	case opRefNull:
		refType(&s.r)
	case opRefFunc:
		s.refFunc()
	case opMisc:
		s.misc(at)
	case opVector:
		s.vector()
	default:
		s.unknown(c)
	}
}

// zero reads the number of the only memory.
func (s *scanner) zero() {
	if s.r.byte() != 0 {
		s.r.failf("memory number is not zero; multiple memories are not supported")
	}
}

// number puts fn's new number in place of what was read from p on.
func (s *scanner) number(p int, fn uint32) {
	if fn >= s.m.imported {
		s.edits = append(s.edits, edit{kind: editNumber, at: p, end: s.r.p, cost: int64(s.m.renumber(fn))})
	}
}

func (s *scanner) call() {
	p := s.r.p
	fn := s.m.funcIndex(&s.r)
	s.number(p, fn)
	if fn < s.m.imported {
		s.cost += weightImport
		return
	}
	s.cost += weightCall
	s.nests()
}

func (s *scanner) refFunc() {
	p := s.r.p
	fn := s.m.funcIndex(&s.r)
	if s.r.err == nil && (s.m.declared == nil || !s.m.declared[fn]) {
		s.r.failf("reference to function %d, which is not declared", fn)
	}
	s.number(p, fn)
}

func (s *scanner) nests() {
	s.nesting = true
	s.early = s.early || len(s.regions) == 1
}

// help has the instruction that was read from at on done by a helper.
func (s *scanner) help(at int, h helper) {
	if s.r.err != nil || s.m.o.Off {
		return
	}
	s.cost += weightHelper
	if h.op == opMemoryGrow || h.op == miscTableGrow {
		s.cost += weightLeave
	}
	kind := editCall
	if h.op == miscMemoryCopy || h.op == miscMemoryFill {
		kind, s.bulk = editBulk, true
	}
	s.edits = append(s.edits, edit{kind: kind, at: at, end: s.r.p, cost: int64(s.m.helper(h))})
}

func (s *scanner) misc(at int) {
	c := s.r.u32()
	switch c {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating conversions
		s.cost += 4
	case miscMemoryInit:
		seg := s.segment("data", len(s.m.data))
		s.zero()
		s.help(at, helper{miscMemoryInit, seg, 0})
	case miscMemoryCopy:
		s.zero()
		s.zero()
		s.help(at, helper{miscMemoryCopy, 0, 0})
	case miscMemoryFill:
		s.zero()
		s.help(at, helper{miscMemoryFill, 0, 0})
	case miscDataDrop:
		s.segment("data", len(s.m.data))
		s.drops()
	case miscElemDrop:
		s.segment("element", len(s.m.elems))
		s.drops()
	case miscTableInit:
		seg := s.segment("element", len(s.m.elems))
		s.changesTable(at, helper{miscTableInit, seg, s.m.tableIndex(&s.r)})
	case miscTableCopy:
		to := s.m.tableIndex(&s.r)
		s.changesTable(at, helper{miscTableCopy, to, s.m.tableIndex(&s.r)})
	case miscTableGrow, miscTableFill:
		s.changesTable(at, helper{byte(c), s.m.tableIndex(&s.r), 0})
	case miscTableSize:
		s.m.tableIndex(&s.r)
	default:
		s.r.failf("unknown instruction 0xfc %d", c)
	}
}

func (s *scanner) drops() {
	s.cost += weightLeave
	s.m.res.DropsSegments = true
}

func (s *scanner) changesTable(at int, h helper) {
	s.m.res.ChangesTables = true
	s.help(at, h)
}

func (s *scanner) segment(what string, have int) uint32 {
	i := s.r.u32()
	if uint64(i) >= uint64(have) {
		s.r.failf("%s segment %d, there are %d", what, i, have)
		return 0
	}
	return i
}

func (s *scanner) vector() {
	c := s.r.u32()
	if c >= uint32(len(vectorOps)) {
		s.r.failf("vector instruction %d: relaxed SIMD is not supported", c)
		return
	}
	o := vectorOps[c]
	s.cost += int64(o.weight)
	switch o.shape {
	case memarg:
		s.memarg()
	case lane:
		s.r.skip(1)
	case memargLane:
		s.memarg()
		s.r.skip(1)
	case fixed16:
		s.r.skip(16)
	case unknown:
		s.r.failf("unknown vector instruction %d", c)
	}
}
