package guard

// conversions are the saturating ones, 0 to 7 behind the prefix 0xfc.
var conversions = func() (s [8]shape) {
	for i := range s {
		s[i] = makeShape(immNone, 0, "ffFFffFF"[i:i+1], "iiiiIIII"[i:i+1])
	}
	return s
}()

// misc checks an instruction behind the prefix 0xfc.
func (b *body) misc() {
	op := b.r.u32()
	switch {
	case b.r.err != nil:
	case op < uint32(len(conversions)):
		b.plain(&conversions[op], opMisc)
	case op <= miscMemoryFill:
		b.bulkMemory(op)
	case op <= miscTableFill:
		b.bulkTable(op)
	case miscFeature(op) != "":
		b.fail(notEnabled("the instruction", miscFeature(op)))
	default:
		b.failf("there is no such instruction")
	}
}

// bulkEdges is how many edges the compiler makes of a bulk instruction once it
// is metered.
const bulkEdges = 8

func (b *body) bulkMemory(op uint32) {
	b.cost.edges(bulkEdges)
	switch op {
	case miscMemoryInit:
		b.dataIndex()
		b.memoryIndex()
	case miscDataDrop:
		b.dataIndex()
		return
	case miscMemoryCopy:
		b.memoryIndex()
		b.memoryIndex()
	case miscMemoryFill:
		b.memoryIndex()
	}
	b.pop3(I32)
}

// pop3 takes an i32, an operand of type middle, and an i32.
func (b *body) pop3(middle ValueType) {
	b.pop(I32)
	b.pop(middle)
	b.pop(I32)
}

// dataIndex reads the index of a segment that comes only behind the code: how
// many there are is known from the data count section.
func (b *body) dataIndex() {
	i := b.r.u32()
	switch {
	case b.c.m.dataSaid < 0:
		b.failf("there is no data count section")
	case int64(i) >= int64(b.c.m.dataSaid):
		b.failf("data segment %d, there are %d", i, b.c.m.dataSaid)
	}
}

func (b *body) elementIndex() ValueType {
	i := b.r.u32()
	if uint64(i) >= uint64(len(b.c.m.elements)) {
		b.failf("element segment %d, there are %d", i, len(b.c.m.elements))
		return 0
	}
	return b.c.m.elements[i]
}

func (b *body) bulkTable(op uint32) {
	b.cost.edges(bulkEdges)
	switch op {
	case miscTableInit:
		from := b.elementIndex()
		b.sameType(b.tableType(), from)
		b.pop3(I32)
	case miscElemDrop:
		b.elementIndex()
	case miscTableCopy:
		to := b.tableType()
		b.sameType(to, b.tableType())
		b.pop3(I32)
	case miscTableGrow:
		t := b.tableType()
		b.pop(I32)
		b.pop(t)
		b.push(I32)
	case miscTableSize:
		b.tableType()
		b.push(I32)
	case miscTableFill:
		b.pop3(b.tableType())
	}
}

func (b *body) tableType() ValueType {
	t, _ := b.table(b.r.u32())
	return t
}

func (b *body) sameType(to, from ValueType) {
	if to != from {
		b.failf("%s into a table of %s", valueTypeNames[from], valueTypeNames[to])
	}
}
