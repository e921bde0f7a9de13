package guard

// special checks an instruction with rules of its own.
func (b *body) special(op byte) {
	switch op {
	case opLocalGet, opLocalSet, opLocalTee:
		b.local(op)
	case opI32Const:
		b.r.leb(32, true)
		b.push(I32)
	case opI64Const:
		b.r.leb(64, true)
		b.push(I64)
	case opF32Const:
		b.r.bytes(4)
		b.push(F32)
	case opF64Const:
		b.r.bytes(8)
		b.push(F64)
	case opUnreachable:
		b.unreachable()
	case opBlock, opLoop, opIf, opElse, opEnd:
		b.structure(op)
	case opBr, opBrIf, opBrTable, opReturn:
		b.branch(op)
	case opCall, opCallIndirect:
		b.calls(op)
	case opDrop:
		b.pop(unknown)
	case opSelect, opSelectTyped:
		b.selects(op)
	case opGlobalGet, opGlobalSet:
		b.global(op)
	case opTableGet, opTableSet:
		b.tableAccess(op)
	case opMemorySize, opMemoryGrow:
		b.memorySize(op)
	case opRefNull, opRefIsNull, opRefFunc:
		b.reference(op)
	case opMisc:
		b.misc()
	case opVector:
		b.vector()
	}
}

func (b *body) structure(op byte) {
	switch op {
	case opElse:
		b.otherwise()
	case opEnd:
		b.end()
	default:
		t := b.blockType()
		if op == opIf {
			b.pop(I32)
		}
		b.open(op, t)
	}
}

// singles are the block types of one result.
var singles = func() (s [256]string) {
	for t := range valueTypeNames {
		s[t] = string([]byte{byte(t)})
	}
	return s
}()

// blockType reads nothing, one result, or the index of a type. An index is a
// signed number of 33 bits, so that no other one looks like it.
func (b *body) blockType() FuncType {
	if b.r.err != nil || b.r.left() == 0 {
		b.r.byte()
		return FuncType{}
	}
	const empty = 0x40
	switch c := b.r.b[b.r.pos]; {
	case c == empty:
		b.r.pos++
		return FuncType{}
	case singles[c] != "":
		b.r.pos++
		return FuncType{Results: singles[c]}
	case c&0xc0 == 0x40 && typeFeature(c) != "":
		b.fail(notEnabled("the block's type", typeFeature(c)))
		return FuncType{}
	}
	i := int64(b.r.leb(33, true)<<31) >> 31
	if b.r.err != nil {
		return FuncType{}
	}
	if i < 0 || i >= int64(len(b.c.m.Types)) {
		b.failf("block of type %d, there are %d", i, len(b.c.m.Types))
		return FuncType{}
	}
	return b.c.m.Types[i]
}

func (b *body) branch(op byte) {
	switch op {
	case opReturn:
		b.popAll(b.frames[0].results)
		b.frames[0].edges++
		b.cost.edges(1)
		b.unreachable()
	case opBr:
		if types, ok := b.label(b.r.u32()); ok {
			b.popAll(types)
			b.unreachable()
		}
	case opBrIf:
		depth := b.r.u32()
		b.pop(I32)
		if types, ok := b.label(depth); ok {
			b.popAll(types)
			b.pushAll(types)
		}
	case opBrTable:
		b.branchTable()
	}
}

// branchTable checks each of its targets, and the default, against the operands
// as they lie. Targets of the same types are one check.
func (b *body) branchTable() {
	b.pop(I32)
	n := b.r.count("targets", 1, b.c.l.BranchTargets)
	checked, first := "", true
	for range n + 1 {
		types, ok := b.label(b.r.u32())
		if !ok || b.r.err != nil {
			return
		}
		if !first && types == checked {
			continue
		}
		if !first && len(types) != len(checked) {
			b.failf("targets that take %s and %s", typeList(checked), typeList(types))
			return
		}
		if !b.fits(types) {
			return
		}
		checked, first = types, false
	}
	b.unreachable()
}

func (b *body) calls(op byte) {
	if op == opCall {
		fn := b.r.u32()
		if t, ok := b.c.m.typeOf(fn); ok {
			b.popAll(t.Params)
			b.pushAll(t.Results)
		} else {
			b.failf("function %d, there are %d", fn, len(b.c.m.funcs))
		}
		return
	}
	typ, table := b.r.u32(), b.r.u32()
	if t, ok := b.table(table); ok && t != FuncRef {
		b.failf("table %d holds %s", table, valueTypeNames[t])
	}
	if uint64(typ) >= uint64(len(b.c.m.Types)) {
		b.failf("type %d, there are %d", typ, len(b.c.m.Types))
		return
	}
	b.pop(I32)
	b.popAll(b.c.m.Types[typ].Params)
	b.pushAll(b.c.m.Types[typ].Results)
}

func (b *body) selects(op byte) {
	if op == opSelectTyped {
		if n := b.r.u32(); n != 1 {
			b.failf("%d results, must be 1", n)
		}
		t := b.c.valueType(&b.r)
		b.pop(I32)
		b.pop(t)
		b.pop(t)
		b.push(t)
		return
	}
	b.pop(I32)
	x, y := b.pop(unknown), b.pop(unknown)
	switch {
	case x == FuncRef || x == ExternRef || y == FuncRef || y == ExternRef:
		b.failf("references need a select that names their type")
	case x != y && x != unknown && y != unknown:
		b.failf("operands of types %s and %s", valueTypeNames[y], valueTypeNames[x])
	}
	b.push(max(x, y)) // unknown is 0
}

func (b *body) local(op byte) {
	i := b.r.u32()
	if uint64(i) >= uint64(len(b.locals)) {
		b.failf("local %d, there are %d", i, len(b.locals))
		return
	}
	t := ValueType(b.locals[i])
	b.cost.use(i, op != opLocalGet)
	if op != opLocalGet {
		b.pop(t)
	}
	if op != opLocalSet {
		b.push(t)
	}
}

func (b *body) global(op byte) {
	i := b.r.u32()
	if uint64(i) >= uint64(len(b.c.m.globals)) {
		b.failf("global %d, there are %d", i, len(b.c.m.globals))
		return
	}
	switch g := b.c.m.globals[i]; {
	case op == opGlobalGet:
		b.push(g.typ)
	case !g.mutable:
		b.failf("global %d is immutable", i)
	default:
		b.pop(g.typ)
	}
}

func (b *body) table(i uint32) (ValueType, bool) {
	if uint64(i) >= uint64(len(b.c.m.tables)) {
		b.failf("table %d, there are %d", i, len(b.c.m.tables))
		return 0, false
	}
	return b.c.m.tables[i], true
}

func (b *body) tableAccess(op byte) {
	t, ok := b.table(b.r.u32())
	switch {
	case !ok:
	case op == opTableGet:
		b.pop(I32)
		b.push(t)
	default:
		b.pop(t)
		b.pop(I32)
	}
}

// memoryIndex reads the byte that stands for the only memory.
func (b *body) memoryIndex() {
	switch i := b.r.byte(); {
	case b.r.err != nil:
	case i != 0:
		b.fail(notEnabled("a memory by its index", multiMemory))
	case b.c.m.memories == 0:
		b.failf("there is no memory")
	}
}

func (b *body) memorySize(op byte) {
	b.memoryIndex()
	if op == opMemoryGrow {
		b.pop(I32)
	}
	b.push(I32)
}

func (b *body) reference(op byte) {
	switch op {
	case opRefNull:
		b.push(b.c.refType(&b.r))
	case opRefIsNull:
		if t := b.pop(unknown); t != FuncRef && t != ExternRef && t != unknown {
			b.failf("operand of type %s is no reference", valueTypeNames[t])
		}
		b.push(I32)
	case opRefFunc:
		fn := b.r.u32()
		switch {
		case uint64(fn) >= uint64(len(b.c.m.funcs)):
			b.failf("function %d, there are %d", fn, len(b.c.m.funcs))
		case !b.c.declared.has(fn):
			b.failf("function %d is in no export, element segment or global", fn)
		}
		b.push(FuncRef)
	}
}

// vector checks an instruction behind the prefix 0xfd.
func (b *body) vector() {
	op := b.r.u32()
	switch {
	case b.r.err != nil:
	case op >= 1<<8 && op < 1<<9:
		b.fail(notEnabled("the instruction", relaxedSIMD))
	case op >= 1<<8 || vectorShapes[op].imm == immUnknown:
		b.failf("there is no such instruction")
	default:
		b.plain(&vectorShapes[op], opVector)
	}
}
