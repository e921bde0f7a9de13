package guard

// Subsections of the custom section "name".
const (
	nameModule = iota
	nameFunctions
	nameLocals
)

// names reads the custom section "name", whose counts an engine believes. It
// must be well formed although it means nothing to the module: the engine reads
// it without minding where the section ends.
func (c *checker) names(r *reader) {
	for r.err == nil && r.left() > 0 {
		id := r.byte()
		sub := r.sub(r.u32())
		if r.err != nil {
			return
		}
		switch id {
		case nameModule:
			sub.name(1 << 20)
		case nameFunctions:
			c.funcNames = sub
			c.nameMap(&sub)
		case nameLocals:
			for range sub.count("names", 2, c.l.Functions) {
				sub.u32()
				c.nameMap(&sub)
			}
		default:
			sub.pos = sub.end
		}
		if sub.err == nil && sub.left() > 0 {
			sub.failf("%d bytes too many", sub.left())
		}
		r.err = sub.err
	}
}

func (c *checker) nameMap(r *reader) {
	n := r.count("names", 2, c.l.Functions)
	if c.nameCount += n; r.err == nil && c.nameCount > c.l.Names {
		r.failf("more than %d names", c.l.Names)
	}
	for range n {
		r.u32()
		r.name(1 << 20)
		if r.err != nil {
			return
		}
	}
}

// debugName returns the name of a function as the name section has it.
func (c *checker) debugName(fn uint32) string {
	r := c.funcNames
	for range r.u32() {
		i := r.u32()
		name := r.bytes(r.u32())
		if r.err != nil {
			return ""
		}
		if i == fn {
			return string(name)
		}
	}
	return ""
}
