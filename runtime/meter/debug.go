package meter

import "encoding/binary"

// Custom sections with line tables.
const (
	debugLine    = ".debug_line"
	debugLineStr = ".debug_line_str"
	debugStr     = ".debug_str"
)

// debugMax is how much of them is kept; of a module with more, nothing is.
const debugMax = 8 << 20

// surveyDebug keeps a section of debug information.
func (m *module) surveyDebug(name string, r *reader) {
	if m.debugSize += r.left(); m.debugSize > debugMax {
		m.res.Debug = nil
		return
	}
	if m.res.Debug == nil {
		m.res.Debug = map[string][]byte{}
	}
	m.res.Debug[name] = append([]byte(nil), r.b[r.p:]...)
}

// writeOffsets writes debug information that says one thing: that all code is of
// line 1 of a file. Engines that find such information tell the offsets of the
// instructions in a stack with it; without, they do not keep them. So what a
// module brings along is never given to the engine. DWARF 4.
func (m *module) writeOffsets() {
	if !m.offsets.wanted {
		return
	}
	const first = 1 // at 0 stands the number of bodies
	le := binary.LittleEndian
	size := uint32(len(m.code) + 5)
	m.custom(".debug_abbrev", []byte{
		1, 0x11, 0, // a compilation unit without children, which has
		0x10, 0x17, // its line table's offset
		0x11, 0x01, // the first address
		0x12, 0x06, // the size of its code
		0, 0, 0,
	})
	unit := []byte{4, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0}
	unit = le.AppendUint32(le.AppendUint32(unit, first), size)
	m.custom(".debug_info", sized(unit))

	header := []byte{1, 1, 1, 0xfb, 14, 10, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 'c', 0, 0, 0, 0, 0}
	table := append(le.AppendUint32([]byte{4, 0}, uint32(len(header))), header...)
	table = append(table, 0, 5, 2, first, 0, 0, 0, 1) // address, row
	table = append(appendU32(append(table, 2), size), 0, 1, 1)
	m.custom(debugLine, sized(table))
}

func sized(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func (m *module) custom(name string, b []byte) {
	m.begin(secCustom, func() { m.out = append(appendName(m.out, name), b...) })
}
