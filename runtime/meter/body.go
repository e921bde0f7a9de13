package meter

import "fmt"

// writeBodies meters all bodies into m.code.
func (m *module) writeBodies() error {
	for i := range m.sections {
		s := &m.sections[i]
		if s.id != secCode {
			continue
		}
		r := s.body
		m.offsets.origin = s.body.base
		m.offsets.wanted = m.res.Debug[debugLine] != nil
		m.code = make([]byte, 0, len(r.b)+len(r.b)/16)
		for fn := range r.count("bodies", 3) {
			body := r.sub(r.u32())
			if r.err != nil {
				return r.err
			}
			if err := m.writeBody(m.types[m.funcs[fn]], body); err != nil {
				return fmt.Errorf("function %d: %w", int(m.imported)+fn, err)
			}
		}
		r.done()
		return r.err
	}
	return nil
}

// writeBody meters the body of a function of type t.
func (m *module) writeBody(t funcType, r reader) error {
	groups := r.count("groups of locals", 2)
	from := r.p
	locals := uint64(len(t.params))
	for range groups {
		locals += uint64(r.u32())
		valueType(&r)
	}
	if locals > maxLocals {
		r.failf("%d locals", locals)
	}
	if r.err != nil {
		return r.err
	}
	declared := r.b[from:r.p]
	if err := m.scan.body(r, locals); err != nil {
		return err
	}
	f := m.frame(locals, len(r.b))
	m.body = append(appendU32(m.body[:0], uint32(groups)+f.groups()), declared...)
	m.body = f.enter(m.body)
	if f.nesting {
		m.body = m.appendBlockType(append(m.body, opBlock), t.results)
	}
	m.writeEdited(&f, &r)
	if f.nesting {
		m.body = append(f.depth(m.body, opI32Add), opEnd)
	}
	m.code = appendU32(m.code, uint32(len(m.body)))
	m.offsets.placed(len(m.code))
	m.code = append(m.code, m.body...)
	return nil
}

// maxLocals is what engines in browsers allow, parameters included.
const maxLocals = 50_000

// writeEdited copies a body's instructions with the scanner's edits.
func (m *module) writeEdited(f *frameCode, r *reader) {
	b, copied := r.b, r.p
	for i := range m.scan.edits[1:] {
		e := &m.scan.edits[1+i]
		if e.kind == editReturn && !f.nesting {
			continue
		}
		m.offsets.copied(len(m.body), r.base+copied, e.at-copied)
		m.body = append(m.body, b[copied:e.at]...)
		copied = e.end
		switch e.kind {
		case editCharge:
			m.body = m.appendCharge(m.body, e.cost)
		case editNumber:
			m.body = appendU32(m.body, uint32(e.cost))
		case editCall:
			m.body = appendU32(append(m.body, opCall), uint32(e.cost))
		case editReturn:
			m.body = appendU32(append(m.body, opBr), uint32(e.cost))
		case editBulk:
			m.body = f.bulk(m.body, b[e.at:e.end], uint32(e.cost))
		}
	}
	m.offsets.copied(len(m.body), r.base+copied, len(b)-copied)
	m.body = append(m.body, b[copied:]...)
}
