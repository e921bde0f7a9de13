package meter

// assembly is a helper's body under construction.
type assembly struct {
	m *module
	h helper
	b []byte
}

// helperBody returns the helper's body behind its size.
func (m *module) helperBody(h helper) []byte {
	a := &assembly{m: m, h: h}
	a.op(0) // no groups of locals
	switch h.op {
	case opMemoryGrow:
		a.memoryGrow()
	case miscTableGrow:
		a.tableGrow()
	default:
		a.pieces()
	}
	a.op(opEnd)
	return append(appendU32(nil, uint32(len(a.b))), a.b...)
}

func (a *assembly) op(codes ...byte) { a.b = append(a.b, codes...) }

func (a *assembly) get(locals ...byte) {
	for _, l := range locals {
		a.b = append(a.b, opLocalGet, l)
	}
}

func (a *assembly) i32(c int64) { a.b = appendS64(append(a.b, opI32Const), c) }
func (a *assembly) i64(c int64) { a.b = appendS64(append(a.b, opI64Const), c) }

// misc writes the instruction sub with its numbers.
func (a *assembly) misc(sub byte, numbers ...uint32) {
	a.op(opMisc, sub)
	for _, n := range numbers {
		a.b = appendU32(a.b, n)
	}
}

// work writes the instruction that this is the helper of.
func (a *assembly) work() {
	switch a.h.op {
	case opMemoryGrow:
		a.op(opMemoryGrow, 0)
	case miscMemoryFill:
		a.misc(a.h.op, 0)
	case miscTableGrow, miscTableFill:
		a.misc(a.h.op, a.h.a)
	default:
		a.misc(a.h.op, a.h.a, a.h.b)
	}
}

// charge spends the smaller one of a parameter and limit, in units of 2^shift,
// negative for several units each, and something for the call.
func (a *assembly) charge(local byte, limit int64, shift int) {
	a.m.res.Checks++
	a.b = appendU32(append(a.b, opGlobalGet), a.m.fuelGlobal())
	a.get(local)
	a.i32(limit)
	a.get(local)
	a.i32(limit)
	a.op(opI32LtU, opSelect, opI64Ext)
	if shift >= 0 {
		a.i64(int64(shift))
		a.op(opI64ShrU)
	} else {
		a.i64(int64(-shift))
		a.op(opI64Shl)
	}
	a.i64(helperUnits)
	a.op(opI64Add)
	a.b = a.m.appendSpend(a.b)
}

func (a *assembly) memoryGrow() {
	const delta, pageShift = 0, 16
	a.charge(delta, growMax, unitShift-pageShift)
	a.get(delta)
	a.work()
}

// tableGrow refuses what would grow beyond the limit: engines keep tables
// outside of the memory whose size is limited. Growing by nothing succeeds at any
// size.
func (a *assembly) tableGrow() {
	const value, delta = 0, 1
	limit := int64(a.m.o.TableElements)
	a.charge(delta, limit, elemUnitShift)
	a.get(delta)
	a.op(opIf, typeEmpty)
	a.beyond(delta, func() { a.misc(miscTableSize, a.h.a); a.op(opI64Ext) }, func() { a.i64(limit) })
	a.op(opIf, typeEmpty)
	a.i32(-1)
	a.op(opReturn, opEnd, opEnd)
	a.get(value, delta)
	a.work()
}

// beyond pushes whether a parameter plus from is more than limit.
func (a *assembly) beyond(local byte, from, limit func()) {
	a.get(local)
	a.op(opI64Ext)
	from()
	a.op(opI64Add)
	limit()
	a.op(opI64GtU)
}

// Parameters of what pieces writes: where to, where from or the value to fill
// with, how much.
const (
	parTo = iota
	parFrom
	parN
)

// pieces does the work of fill, copy and init. What is small, and what will
// trap, is done as it stands: it traps before it has done anything.
func (a *assembly) pieces() {
	piece, shift := int64(pieceBytes), unitShift
	if a.onTable() {
		piece, shift = pieceElements, elemUnitShift
	}
	a.charge(parN, piece, shift)
	if length, ok := a.segment(); !ok || int64(length) > piece {
		a.whole(piece)
		a.split(piece)
	}
	a.get(parTo, parFrom, parN)
	a.work()
}

func (a *assembly) onTable() bool { return a.h.op >= miscTableInit }

// segment returns the length of the segment that init reads.
func (a *assembly) segment() (length uint32, ok bool) {
	switch a.h.op {
	case miscMemoryInit:
		return a.m.data[a.h.a], true
	case miscTableInit:
		return a.m.elems[a.h.a], true
	}
	return 0, false
}

// whole does it in one if it fits in a piece or goes beyond an end. A segment
// may have been dropped, so for init the last piece comes first, which traps then.
func (a *assembly) whole(piece int64) {
	a.get(parN)
	a.i32(piece)
	a.op(opI32LeU)
	a.beyondEnd(parTo, a.sizeTo)
	a.op(opI32Or)
	if a.h.op != miscMemoryFill && a.h.op != miscTableFill {
		a.beyondEnd(parFrom, a.sizeFrom)
		a.op(opI32Or)
	}
	a.op(opIf, typeEmpty)
	a.get(parTo, parFrom, parN)
	a.work()
	a.op(opReturn, opEnd)
}

func (a *assembly) beyondEnd(local byte, size func()) {
	a.beyond(local, func() { a.get(parN); a.op(opI64Ext) }, size)
}

// sizeTo pushes the size of what is written to.
func (a *assembly) sizeTo() {
	if a.onTable() {
		table := a.h.a
		if a.h.op == miscTableInit {
			table = a.h.b
		}
		a.misc(miscTableSize, table)
		a.op(opI64Ext)
		return
	}
	const pageShift = 16
	a.op(opMemorySize, 0, opI64Ext)
	a.i64(pageShift)
	a.op(opI64Shl)
}

// sizeFrom pushes the size of what is read.
func (a *assembly) sizeFrom() {
	switch length, ok := a.segment(); {
	case ok:
		a.i64(int64(length))
	case a.onTable():
		a.misc(miscTableSize, a.h.b)
		a.op(opI64Ext)
	default:
		a.sizeTo()
	}
}

// split does all but a last piece. What overlaps is copied from the end at
// which nothing is overwritten before it is read.
func (a *assembly) split(piece int64) {
	switch a.h.op {
	case miscMemoryFill, miscTableFill:
		a.forward(piece)
	case miscMemoryInit, miscTableInit:
		a.backward(piece)
	default:
		a.get(parTo, parFrom)
		a.op(opI32LeU, opIf, typeEmpty)
		a.forward(piece)
		a.op(opElse)
		a.backward(piece)
		a.op(opEnd)
	}
}

func (a *assembly) forward(piece int64) {
	a.op(opLoop, typeEmpty)
	a.get(parTo, parFrom)
	a.i32(piece)
	a.work()
	a.move(parTo, piece, opI32Add)
	if a.h.op == miscMemoryCopy || a.h.op == miscTableCopy {
		a.move(parFrom, piece, opI32Add)
	}
	a.move(parN, piece, opI32Sub)
	a.again(piece)
}

func (a *assembly) backward(piece int64) {
	a.op(opLoop, typeEmpty)
	a.move(parN, piece, opI32Sub)
	for _, start := range []byte{parTo, parFrom} {
		a.get(start, parN)
		a.op(opI32Add)
	}
	a.i32(piece)
	a.work()
	a.again(piece)
}

func (a *assembly) move(local byte, by int64, op byte) {
	a.get(local)
	a.i32(by)
	a.op(op, opLocalSet, local)
}

// again ends a loop: it charges for the next piece, and repeats while there is
// more than one.
func (a *assembly) again(piece int64) {
	a.b = a.m.appendCharge(a.b, pieceUnits+helperUnits)
	a.get(parN)
	a.i32(piece)
	a.op(opI32GtU, opBrIf, 0, opEnd)
}
