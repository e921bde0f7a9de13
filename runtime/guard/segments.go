package guard

// Opcodes of constant expressions.
const (
	opEnd      = 0x0b
	opGetGlob  = 0x23
	opI32Const = 0x41
	opI64Const = 0x42
	opF32Const = 0x43
	opF64Const = 0x44
	opRefNull  = 0xd0
	opRefFunc  = 0xd2
	opVector   = 0xfd
	opV128     = 0x0c
)

// constExpr reads a constant expression: one instruction and end.
func (c *checker) constExpr(r *reader) {
	switch op := r.byte(); {
	case r.err != nil:
		return
	case op == opI32Const:
		r.leb(32, true)
	case op == opI64Const:
		r.leb(64, true)
	case op == opF32Const:
		r.bytes(4)
	case op == opF64Const:
		r.bytes(8)
	case op == opVector:
		if sub := r.u32(); r.err == nil && sub != opV128 {
			r.failf("vector instruction %d in a constant expression", sub)
		}
		r.bytes(16)
	case op == opGetGlob:
		if g := r.u32(); r.err == nil && uint64(g) >= uint64(c.m.globals) {
			r.failf("constant expression reads global %d, there are %d", g, c.m.globals)
		}
	case op == opRefNull:
		c.refType(r)
	case op == opRefFunc:
		c.funcIndex(r)
	default:
		r.failf("instruction 0x%02x in a constant expression", op)
	}
	if end := r.byte(); r.err == nil && end != opEnd {
		r.failf("constant expression of more than one instruction")
	}
}

func (c *checker) funcIndex(r *reader) {
	if fn := r.u32(); r.err == nil && uint64(fn) >= uint64(len(c.m.funcs)) {
		r.failf("function %d, there are %d", fn, len(c.m.funcs))
	}
}

// elements reads element segments. Bits of the flags: 1 not active, 2 names a
// table or is declarative, 4 items are expressions.
func (c *checker) elements(r *reader) {
	for range r.count("element segments", 2, c.l.Elements) {
		flags := r.u32()
		if r.err == nil && flags > 7 {
			r.failf("element segment with flags %d", flags)
		}
		if active := flags&1 == 0; active {
			c.activeTable(r, flags)
			c.constExpr(r)
		}
		exprs := flags&4 != 0
		if flags&3 != 0 {
			c.elementKind(r, exprs)
		}
		c.elementItems(r, exprs)
		if r.err != nil {
			return
		}
	}
}

func (c *checker) activeTable(r *reader, flags uint32) {
	table := uint32(0)
	if flags&2 != 0 {
		table = r.u32()
	}
	if r.err == nil && uint64(table) >= uint64(c.m.tables) {
		r.failf("element segment for table %d, there are %d", table, c.m.tables)
	}
}

func (c *checker) elementKind(r *reader, exprs bool) {
	if exprs {
		c.refType(r)
	} else if kind := r.byte(); r.err == nil && kind != 0 {
		r.failf("element segment of kind %d", kind)
	}
}

func (c *checker) elementItems(r *reader, exprs bool) {
	n := r.count("elements", 1, c.l.ElementItems-c.elemItems)
	c.elemItems += n
	for range n {
		if exprs {
			c.constExpr(r)
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
			c.constExpr(r)
		}
		r.bytes(r.u32())
		if r.err != nil {
			return
		}
		c.m.data++
	}
}
