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
	locals := uint64(len(t.params))
	for range r.count("groups of locals", 2) {
		locals += uint64(r.u32())
		valueType(&r)
	}
	if r.err != nil {
		return r.err
	}
	head := r.p
	if err := m.scan.body(r); err != nil {
		return err
	}
	m.body = append(m.body[:0], r.b[:head]...)
	if m.scan.calls {
		m.writeNesting(t, r.b, head, depthWeight(locals, len(r.b)))
	} else {
		m.writeEdited(r.b, head, false)
	}
	m.code = append(appendU32(m.code, uint32(len(m.body))), m.body...)
	return nil
}

// writeNesting writes the body of a function that calls others. It stands in a
// block of its own, so that all ways out of it pass the instructions that give
// the depth back.
func (m *module) writeNesting(t funcType, b []byte, head int, weight int64) {
	m.body = m.appendEnter(m.body, weight)
	m.body = m.appendBlockType(append(m.body, opBlock), t.results)
	m.writeEdited(b, head, true)
	m.body = m.appendLeave(m.body, weight)
	m.body = append(m.body, opEnd)
}

// depthWeight estimates the stack that a call of a function takes, in units of
// 128 bytes. What is alive at once within an expression is guessed from the
// body's length: for Go's code that is too much, for hostile code up to 8 times
// too little.
func depthWeight(locals uint64, size int) int64 {
	return 1 + int64(min(locals, 1<<24))/16 + int64(size)/256
}

// writeEdited copies a body's instructions from head on with the scanner's
// edits.
func (m *module) writeEdited(b []byte, head int, nesting bool) {
	copied := head
	edits := m.scan.edits
	if m.scan.light() {
		edits = edits[1:]
	}
	for i := range edits {
		e := &edits[i]
		if e.kind == editReturn && !nesting {
			continue
		}
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
		}
	}
	m.body = append(m.body, b[copied:]...)
}
