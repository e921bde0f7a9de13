package meter

import (
	"fmt"
	"slices"
)

// write assembles the metered module. Code is written first, as it tells which
// types and helpers are needed.
func (m *module) write() error {
	m.scan.m = m
	if err := m.writeBodies(); err != nil {
		return fmt.Errorf("section code: %w", err)
	}
	own := len(m.code)
	m.prepareHelpers()
	m.res.Offsets = m.offsets.finish(own, len(appendU32(nil, uint32(len(m.funcs)+len(m.helperList)))))
	m.out = make([]byte, 0, len(m.in)+len(m.in)/8+4096)
	m.out = append(m.out, m.in[:preambleSize]...)
	next := secType
	for i := range m.sections {
		s := &m.sections[i]
		if s.id == secCustom {
			m.writeCustom(s)
			continue
		}
		// Sections that the module lacks and that now have something in them.
		for ; next < sectionOrder[s.id]; next++ {
			m.writeSection(sectionAt(next), nil)
		}
		m.writeSection(s.id, &s.body)
		next = sectionOrder[s.id] + 1
	}
	for ; next < len(sectionOrder); next++ {
		m.writeSection(sectionAt(next), nil)
	}
	m.writeOffsets()
	return m.writeNames()
}

// sectionAt returns the section whose place is order.
func sectionAt(order int) byte { return byte(slices.Index(sectionOrder[:], order)) }

// writeSection writes the section with what is added to it. body is nil where
// the module has none.
func (m *module) writeSection(id byte, body *reader) {
	switch id {
	case secType:
		m.extend(id, body, uint32(1+len(m.added)), m.addTypes)
	case secImport:
		m.extend(id, body, 1, m.addImport)
	case secFunction:
		m.extend(id, body, uint32(len(m.helperList)), m.addFunctions)
	case secGlobal:
		m.writeGlobals(body)
	case secExport:
		m.writeExports(body)
	case secElement:
		m.writeElements(body)
	case secCode:
		m.writeCode()
	case secStart: // an export now
	default:
		if body != nil {
			m.begin(id, func() { m.out = append(m.out, body.b...) })
		}
	}
}

// begin writes a section whose content content appends.
func (m *module) begin(id byte, content func()) {
	const sizeLen = 5
	m.out = append(m.out, id, 0x80, 0x80, 0x80, 0x80, 0)
	from := len(m.out)
	content()
	size := uint32(len(m.out) - from)
	for i := range sizeLen - 1 {
		m.out[from-sizeLen+i] |= byte(size>>(7*i)) & 0x7f
	}
	m.out[from-1] = byte(size >> 28)
}

// extend writes a section that is a vector with n entries more, which add
// appends. Without any entries it is left out.
func (m *module) extend(id byte, body *reader, n uint32, add func()) {
	var rest []byte
	if body != nil {
		r := *body
		n += r.u32()
		rest = r.b[r.p:]
	}
	if n == 0 {
		return
	}
	m.begin(id, func() {
		m.out = append(appendU32(m.out, n), rest...)
		add()
	})
}

// yieldType is the number of the type () -> (), behind the module's own types.
func (m *module) yieldType() uint32 { return uint32(len(m.types)) }

// typeOf returns the number of an added function type.
func (m *module) typeOf(params, results []byte) uint32 {
	enc := append(appendU32([]byte{0x60}, uint32(len(params))), params...)
	enc = append(appendU32(enc, uint32(len(results))), results...)
	t, ok := m.added[string(enc)]
	if !ok {
		t = m.yieldType() + 1 + uint32(len(m.added))
		m.added[string(enc)] = t
		m.addedTypes = append(m.addedTypes, enc...)
	}
	return t
}

// appendBlockType writes the type of a block with these results.
func (m *module) appendBlockType(b, results []byte) []byte {
	switch len(results) {
	case 0:
		return append(b, typeEmpty)
	case 1:
		return append(b, results[0])
	}
	return appendS64(b, int64(m.typeOf(nil, results)))
}

func (m *module) addTypes() {
	m.out = append(m.out, 0x60, 0, 0)
	m.out = append(m.out, m.addedTypes...)
}

// yieldFunc is the number of klamm.yield: the last import.
func (m *module) yieldFunc() uint32 { return m.imported }

func (m *module) addImport() {
	m.out = appendName(appendName(m.out, YieldModule), YieldName)
	m.out = appendU32(append(m.out, kindFunc), m.yieldType())
}

// prepareHelpers writes the helpers behind the module's own bodies.
func (m *module) prepareHelpers() {
	for _, h := range m.helperList {
		m.helperTypes = append(m.helperTypes, m.helperType(h))
		m.code = append(m.code, m.helperBody(h)...)
	}
}

func (m *module) addFunctions() {
	for _, t := range m.helperTypes {
		m.out = appendU32(m.out, t)
	}
}

func (m *module) writeCode() {
	n := len(m.funcs) + len(m.helperList)
	if n == 0 {
		return
	}
	m.begin(secCode, func() { m.out = append(appendU32(m.out, uint32(n)), m.code...) })
}

// fuelGlobal and depthGlobal stand behind the module's own globals.
func (m *module) fuelGlobal() uint32 { return m.globals }

func (m *module) depthGlobal() uint32 { return m.globals + 1 }

// writeGlobals renumbers the functions that globals start with.
func (m *module) writeGlobals(body *reader) {
	const mutable = 1
	var r reader
	own := 0
	if body != nil {
		r = *body
		own = r.count("globals", 4)
	}
	m.begin(secGlobal, func() {
		m.out = appendU32(m.out, uint32(own)+2)
		for range own {
			m.out = append(m.out, r.byte(), r.byte())
			m.constExpr(&r, &m.out)
		}
		m.out = appendS64(append(m.out, typeI64, mutable, opI64Const), m.o.Slice)
		m.out = appendS64(append(m.out, opEnd, typeI32, mutable, opI32Const), int64(m.o.Depth))
		m.out = append(m.out, opEnd)
	})
}

func (m *module) writeExports(body *reader) {
	n := uint32(2 + len(m.res.Globals))
	if m.res.HasStart {
		n++
	}
	var r reader
	own := 0
	if body != nil {
		r = *body
		own = r.count("exports", 3)
	}
	m.begin(secExport, func() {
		m.out = appendU32(m.out, n+uint32(own))
		for range own {
			from := r.p
			r.name()
			kind := r.byte()
			m.out = append(m.out, r.b[from:r.p]...)
			index := r.u32()
			if kind == kindFunc {
				index = m.renumber(index)
			}
			m.out = appendU32(m.out, index)
		}
		m.addExport(FuelExport, kindGlobal, m.fuelGlobal())
		m.addExport(DepthExport, kindGlobal, m.depthGlobal())
		for _, g := range m.res.Globals {
			m.addExport(g.Name, kindGlobal, g.Index)
		}
		if m.res.HasStart {
			m.addExport(StartExport, kindFunc, m.renumber(m.startFunc))
		}
	})
}

func (m *module) addExport(name string, kind byte, index uint32) {
	m.out = appendU32(append(appendName(m.out, name), kind), index)
}

func (m *module) writeElements(body *reader) {
	if body == nil {
		return
	}
	m.begin(secElement, func() {
		r := *body
		n := r.u32()
		m.out = appendU32(m.out, n)
		for range n {
			m.element(&r, &m.out)
		}
	})
}

func (m *module) writeCustom(s *section) {
	switch {
	case dropped(s.name), s.name == "name":
		return
	}
	m.begin(secCustom, func() { m.out = append(m.out, s.body.b...) })
}
