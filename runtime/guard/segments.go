package guard

// constExpr reads a constant expression, one instruction and end, whose value
// must have type want.
func (c *checker) constExpr(r *reader, want ValueType) {
	start := r.pos
	have := c.constant(r)
	if r.err != nil {
		return
	}
	if end := r.byte(); r.err == nil && end != opEnd {
		if end == 0x6a || end == 0x6b || end == 0x6c || end == 0x7c || end == 0x7d || end == 0x7e || c.startsConstant(end) {
			r.fail(notEnabled("a constant expression of more than one instruction", extendedConst))
		} else {
			r.failf("%s in a constant expression", opName(r.b[r.pos-1:r.end]))
		}
		return
	}
	if r.err == nil && have != want {
		c.p.addf("byte %d: constant expression of type %s, must be %s", start, valueTypeNames[have], valueTypeNames[want])
	}
}

func (c *checker) startsConstant(op byte) bool {
	return op >= opI32Const && op <= opF64Const || op == opGlobalGet || op == opRefNull || op == opRefFunc || op == opVector
}

// constant reads the instruction of a constant expression.
func (c *checker) constant(r *reader) ValueType {
	start := r.pos
	switch op := r.byte(); {
	case r.err != nil:
	case op == opI32Const:
		r.leb(32, true)
		return I32
	case op == opI64Const:
		r.leb(64, true)
		return I64
	case op == opF32Const:
		r.bytes(4)
		return F32
	case op == opF64Const:
		r.bytes(8)
		return F64
	case op == opVector:
		if sub := r.u32(); r.err == nil && sub != vectorConst {
			r.failf("%s in a constant expression", opName(r.b[start:r.end]))
		}
		r.bytes(16)
		return V128
	case op == opGlobalGet:
		return c.constGlobal(r)
	case op == opRefNull:
		return c.refType(r)
	case op == opRefFunc:
		c.funcIndex(r)
		return FuncRef
	default:
		r.failf("%s in a constant expression", opName(r.b[start:r.end]))
	}
	return unknown
}

// constGlobal reads the global that a constant expression takes its value from:
// an imported one that never changes.
func (c *checker) constGlobal(r *reader) ValueType {
	i := r.u32()
	switch {
	case r.err != nil:
		return unknown
	case uint64(i) >= uint64(c.m.foreign):
		r.failf("constant expression reads global %d, there are %d imported ones", i, c.m.foreign)
		return unknown
	case c.m.globals[i].mutable:
		r.failf("constant expression reads global %d, which is mutable", i)
	}
	return c.m.globals[i].typ
}

// funcIndex reads the index of a function that a reference names.
func (c *checker) funcIndex(r *reader) {
	fn := r.u32()
	if r.err == nil && uint64(fn) >= uint64(len(c.m.funcs)) {
		r.failf("function %d, there are %d", fn, len(c.m.funcs))
		return
	}
	c.declared.add(fn)
}

// elements reads element segments. Bits of the flags: 1 not active, 2 names a
// table or is declarative, 4 items are expressions.
func (c *checker) elements(r *reader) {
	for range r.count("element segments", 2, c.l.Elements) {
		flags := r.u32()
		if r.err == nil && flags > 7 {
			r.failf("element segment with flags %d", flags)
		}
		start := r.pos
		active := flags&1 == 0
		table := unknown
		if active {
			table = c.activeTable(r, flags)
			c.constExpr(r, I32)
		}
		exprs, typ := flags&4 != 0, FuncRef
		if flags&3 != 0 {
			typ = c.elementKind(r, exprs)
		}
		if r.err == nil && active && table != typ {
			c.p.addf("byte %d: element segment of %s for a table of %s", start, valueTypeNames[typ], valueTypeNames[table])
		}
		c.elementItems(r, exprs, typ)
		if r.err != nil {
			return
		}
		c.m.elements = append(c.m.elements, typ)
	}
}

func (c *checker) activeTable(r *reader, flags uint32) ValueType {
	table := uint32(0)
	if flags&2 != 0 {
		table = r.u32()
	}
	if r.err == nil && uint64(table) >= uint64(len(c.m.tables)) {
		r.failf("element segment for table %d, there are %d", table, len(c.m.tables))
	}
	if r.err != nil {
		return unknown
	}
	return c.m.tables[table]
}

func (c *checker) elementKind(r *reader, exprs bool) ValueType {
	if exprs {
		return c.refType(r)
	}
	if kind := r.byte(); r.err == nil && kind != 0 {
		r.failf("element segment of kind %d", kind)
	}
	return FuncRef
}

func (c *checker) elementItems(r *reader, exprs bool, typ ValueType) {
	n := r.count("elements", 1, c.l.ElementItems-c.elemItems)
	c.elemItems += n
	for range n {
		if exprs {
			c.constExpr(r, typ)
		} else {
			c.funcIndex(r)
		}
		if r.err != nil {
			return
		}
	}
}

// data reads data segments: 0 active, 1 passive, 2 active with a memory index.
func (c *checker) data(r *reader) {
	for range r.count("data segments", 2, c.l.Data) {
		flags := r.u32()
		switch {
		case r.err != nil:
			return
		case flags > 2:
			r.failf("data segment with flags %d", flags)
		case flags != 1:
			memory := uint32(0)
			if flags == 2 {
				memory = r.u32()
			}
			if r.err == nil && uint64(memory) >= uint64(c.m.memories) {
				r.failf("data segment for memory %d, there are %d", memory, c.m.memories)
			}
			c.constExpr(r, I32)
		}
		size := r.u32()
		r.bytes(size)
		if c.dataBytes += int(size); r.err == nil && c.dataBytes > c.l.DataSize {
			r.failf("more than %d bytes of data", c.l.DataSize)
		}
		if r.err != nil {
			return
		}
		c.m.data++
	}
}
