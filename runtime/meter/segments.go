package meter

// constExpr reads a constant expression: one instruction and end. With a sink
// it is copied there, renumbered.
func (m *module) constExpr(r *reader, sink *[]byte) {
	from := r.p
	switch op := r.byte(); op {
	case opI32Const:
		r.skipLEB(5)
	case opI64Const:
		r.skipLEB(10)
	case opF32Const:
		r.skip(4)
	case opF64Const:
		r.skip(8)
	case opVector:
		if sub := r.u32(); sub != vectorConst {
			r.failf("vector instruction %d in a constant expression", sub)
		}
		r.skip(16)
	case opGlobalGet:
		if g := r.u32(); g >= m.globals {
			r.failf("global %d, there are %d", g, m.globals)
		}
	case opRefNull:
		refType(r)
	case opRefFunc:
		fn := m.declaredIndex(r)
		if sink != nil {
			*sink = appendU32(append(*sink, opRefFunc), m.renumber(fn))
			from = r.p
		}
	default:
		r.failf("instruction 0x%02x in a constant expression; extended ones are not supported", op)
	}
	if r.byte() != opEnd {
		r.failf("constant expression of more than one instruction; extended ones are not supported")
	}
	if sink != nil && r.err == nil {
		*sink = append(*sink, r.b[from:r.p]...)
	}
}

// element reads an element segment and returns its number of items. With a sink
// it is copied there, renumbered. Bits of the flags: 1 not active, 2 names a
// table or is declarative, 4 items are expressions.
func (m *module) element(r *reader, sink *[]byte) uint32 {
	from := r.p
	flush := func() {
		if sink != nil && r.err == nil {
			*sink = append(*sink, r.b[from:r.p]...)
		}
		from = r.p
	}
	flags := r.u32()
	if flags > 7 {
		r.failf("element segment with flags %d", flags)
	}
	if flags&1 == 0 {
		if flags&2 != 0 {
			m.tableIndex(r)
		} else if len(m.tables) == 0 {
			r.failf("element segment without a table")
		}
		flush()
		m.constExpr(r, sink)
		from = r.p
	}
	exprs := flags&4 != 0
	if flags&3 != 0 {
		if exprs {
			refType(r)
		} else if kind := r.byte(); kind != 0 {
			r.failf("element segment of kind %d", kind)
		}
	}
	n := r.count("elements", 1)
	flush()
	for range n {
		if exprs {
			m.constExpr(r, sink)
		} else if fn := m.declaredIndex(r); sink != nil {
			*sink = appendU32(*sink, m.renumber(fn))
		}
		if r.err != nil {
			return 0
		}
	}
	return uint32(n)
}

func (m *module) tableIndex(r *reader) uint32 {
	t := r.u32()
	if uint64(t) >= uint64(len(m.tables)) {
		r.failf("table %d, there are %d", t, len(m.tables))
		return 0
	}
	return t
}

// declaredIndex reads the number of a function that is declared by standing
// there.
func (m *module) declaredIndex(r *reader) uint32 {
	fn := m.funcIndex(r)
	if r.err == nil {
		m.declare(fn)
	}
	return fn
}
