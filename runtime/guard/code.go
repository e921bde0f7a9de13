package guard

// code reads the function bodies. Instructions are left to the engine's own
// validation; what it allocates by before that is bounded here.
func (c *checker) code(r *reader) {
	for range r.count("bodies", 3, c.l.Functions) {
		size := r.u32()
		if r.err == nil && uint64(size) > uint64(c.l.BodySize) && uint64(size) <= uint64(r.left()) {
			r.failf("function %d has %d bytes, the limit is %d", c.m.imported+c.m.code, size, c.l.BodySize)
			return
		}
		body := r.sub(size)
		if r.err != nil {
			return
		}
		if c.body(&body); body.err != nil {
			r.err = body.err
			return
		}
		c.m.code++
	}
}

func (c *checker) body(r *reader) {
	locals := 0
	for range r.count("groups of locals", 2, c.l.LocalsPerFunc) {
		n := r.u32()
		c.valueType(r)
		if r.err != nil {
			return
		}
		// Groups of n locals cost two bytes: 50 million of them fit in a module of 38.
		if uint64(locals)+uint64(n) > uint64(c.l.LocalsPerFunc) {
			r.failf("function %d declares more than %d locals", c.m.imported+c.m.code, c.l.LocalsPerFunc)
			return
		}
		locals += int(n)
	}
	if c.locals += locals; r.err == nil && c.locals > c.l.Locals {
		r.failf("functions declare more than %d locals together", c.l.Locals)
	}
	if r.err == nil && (r.left() == 0 || r.b[r.end-1] != opEnd) {
		r.failf("function %d does not end with end", c.m.imported+c.m.code)
	}
}
