package guard

import "fmt"

// patience is how many operands of unreachable code are compared one by one in
// a module. Compilers leave little of it; a module made of it would take seconds.
const patience = 20_000_000

// fault is what is wrong in a function. Its name is known later: the name
// section stands behind the code.
type fault struct {
	fn  uint32
	err error
}

// code checks the function bodies. What is wrong inside of one ends the check
// of that function only.
func (c *checker) code(r *reader) {
	n := r.count("bodies", 3, c.l.Functions)
	if declared := len(c.m.funcs) - c.m.imported; r.err == nil && n != declared {
		r.failf("%d functions declared, %d bodies given", declared, n)
		return
	}
	b := body{c: c}
	for range n {
		fn := uint32(c.m.imported + c.m.code)
		size := r.u32()
		b.r = r.sub(size)
		if r.err != nil {
			return
		}
		c.m.code++
		if uint64(size) > uint64(c.l.BodySize) {
			b.r.failf("%d bytes, the limit is %d", size, c.l.BodySize)
		}
		b.function(fn)
		if b.r.err != nil {
			c.fault(fn, b.r.err)
		}
		if c.compileTime > int64(c.l.CompileTime) || c.patience < 0 {
			c.codeSkipped(r, n)
			return
		}
	}
}

// codeSkipped steps over the functions that are left when one has shown that
// the module is made to keep us busy.
func (c *checker) codeSkipped(r *reader, n int) {
	r.pos, c.m.code = r.end, n
}

func (c *checker) fault(fn uint32, err error) {
	if len(c.faults) < maxProblems {
		c.faults = append(c.faults, fault{fn, err})
	} else {
		c.p.dropped++
	}
}

// function checks one body: its locals, then its instructions.
func (b *body) function(fn uint32) {
	t, ok := b.c.m.typeOf(fn)
	if !ok {
		return // the function section says what is wrong
	}
	b.locals = append(b.locals[:0], t.Params...)
	b.declare()
	if b.r.err == nil {
		b.check(t)
	}
	if b.r.err == nil {
		b.compileTime()
	}
}

// compileTime adds the estimate for the function to that of the module.
func (b *body) compileTime() {
	c, limit := b.c, int64(b.c.l.CompileTime)
	if c.compileTime += b.cost.total(); c.compileTime > limit {
		b.r.failf("with %d edges between blocks and %d locals it is one of those that make the compiler take longer than about %s",
			b.cost.now, len(b.locals), c.l.CompileTime)
	}
}

// declare reads the groups of locals. A group costs two bytes however many
// locals it has: 50 million of them fit in a module of 38.
func (b *body) declare() {
	limit, declared := b.c.l.LocalsPerFunc, 0
	for range b.r.count("groups of locals", 2, limit) {
		n := b.r.u32()
		t := b.c.valueType(&b.r)
		if b.r.err != nil {
			return
		}
		if uint64(declared)+uint64(n) > uint64(limit) {
			b.r.failf("more than %d locals", limit)
			return
		}
		declared += int(n)
		if b.c.locals += int(n); b.c.locals > b.c.l.Locals {
			b.r.failf("more than %d locals in all functions together", b.c.l.Locals)
			return
		}
		for range n {
			b.locals = append(b.locals, byte(t))
		}
	}
}

// reportFaults lists what is wrong in functions, by their names as far as the
// module tells them.
func (c *checker) reportFaults() {
	for _, f := range c.faults {
		c.p.addf("%s: %v", c.functionName(f.fn), f.err)
	}
}

func (c *checker) functionName(fn uint32) string {
	if name := c.debugName(fn); name != "" {
		return fmt.Sprintf("function %d %q", fn, name)
	}
	for _, e := range c.m.Exports {
		if e.Kind == KindFunc && e.Index == fn {
			return fmt.Sprintf("function %d %q", fn, e.Name)
		}
	}
	return fmt.Sprintf("function %d", fn)
}
