package meter

import (
	"fmt"
	"strconv"
)

// Subsections of the custom section "name" that are looked into.
const (
	nameModule = iota
	nameFunctions
	nameLocals
	nameLabels
)

// nameSection is a subsection of the custom section "name".
type nameSection struct {
	id   byte
	body reader
}

// surveyNames finds the subsections.
func (m *module) surveyNames(r *reader) {
	if m.names != nil {
		r.failf("section name stands twice")
		return
	}
	m.names = []nameSection{}
	for r.left() > 0 {
		id := r.byte()
		body := r.sub(r.u32())
		if r.err != nil {
			return
		}
		m.names = append(m.names, nameSection{id, body})
	}
}

// functionNames returns the names of functions by their old numbers, nil for
// one without.
func (m *module) functionNames() ([][]byte, error) {
	names := make([][]byte, int(m.imported)+len(m.funcs))
	for _, s := range m.names {
		if s.id != nameFunctions {
			continue
		}
		r := s.body
		for range r.count("names", 2) {
			fn, name := r.u32(), r.name()
			if r.err == nil && uint64(fn) < uint64(len(names)) {
				names[fn] = name
			}
		}
		if r.done(); r.err != nil {
			return nil, r.err
		}
	}
	return names, nil
}

// writeNames writes the custom section "name", behind all other sections. Every
// function has a name in it, so that a stack never shows the new numbers.
func (m *module) writeNames() error {
	names, err := m.functionNames()
	if err != nil {
		return err
	}
	m.begin(secCustom, func() {
		m.out = appendName(m.out, "name")
		err = m.writeNameSections(func(id byte) bool { return id == nameModule })
		m.writeSized(nameFunctions, m.nameMap(names))
		if err == nil {
			err = m.writeNameSections(func(id byte) bool { return id > nameFunctions })
		}
	})
	return err
}

func (m *module) writeSized(id byte, body []byte) {
	m.out = append(appendU32(append(m.out, id), uint32(len(body))), body...)
}

// nameMap encodes the names of all functions by their new numbers.
func (m *module) nameMap(names [][]byte) []byte {
	all := len(names) + 1 + len(m.helpers)
	b := appendU32(make([]byte, 0, 32*all), uint32(all))
	for fn, name := range names {
		if uint32(fn) == m.imported {
			b = appendName(appendU32(b, m.yieldFunc()), YieldModule+"."+YieldName)
		}
		if name == nil {
			name = strconv.AppendInt([]byte("$"), int64(fn), 10)
		}
		b = append(appendU32(appendU32(b, m.renumber(uint32(fn))), uint32(len(name))), name...)
	}
	if len(m.funcs) == 0 {
		b = appendName(appendU32(b, m.yieldFunc()), YieldModule+"."+YieldName)
	}
	for i, h := range m.helperList {
		b = appendName(appendU32(b, m.firstHelper()+uint32(i)), h.name())
	}
	return b
}

// writeNameSections writes the subsections that were asked for, in their order.
func (m *module) writeNameSections(wanted func(id byte) bool) error {
	for _, s := range m.names {
		if !wanted(s.id) {
			continue
		}
		body, r := s.body.b, s.body
		switch s.id {
		case nameModule:
			r.name()
			r.done()
		case nameLocals, nameLabels:
			body = m.localNames(&r)
		}
		if r.err != nil {
			return fmt.Errorf("section name: %w", r.err)
		}
		m.writeSized(s.id, body)
	}
	return nil
}

// localNames renumbers the functions that names of locals or labels belong to.
func (m *module) localNames(r *reader) []byte {
	n := r.count("functions", 2)
	b := appendU32(make([]byte, 0, len(r.b)+n+8), uint32(n))
	for range n {
		fn := r.u32()
		if fn >= 1<<31 {
			r.failf("name for a local of function %d", fn)
		}
		b = appendU32(b, m.renumber(fn))
		from := r.p
		for range r.count("names", 2) {
			r.u32()
			r.name()
		}
		if r.err != nil {
			return nil
		}
		b = append(b, r.b[from:r.p]...)
	}
	r.done()
	return b
}
