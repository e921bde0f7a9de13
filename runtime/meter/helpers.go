package meter

import "fmt"

// helper is a function that does the work of an instruction whose cost depends
// on operands: op and the instruction's own numbers, such as a table's.
type helper struct {
	op   byte // of the miscellaneous instructions, or memory.grow
	a, b uint32
}

const (
	// A unit of fuel pays for 2^unitShift bytes. A table's element takes 8.
	unitShift     = 4
	elemUnitShift = unitShift - 3
	// More than a piece is worked on piece by piece.
	pieceBytes    = 256 << 10
	pieceElements = pieceBytes / 8
	pieceUnits    = pieceBytes >> unitShift
	// growMax is the number of pages that memory.grow is charged for at most.
	growMax = 1 << 10
	// helperFree is what is not charged by operand.
	helperFree = 32
	// helperUnits is charged on top of what operands cost.
	helperUnits = 16
)

// firstHelper is the number of the first helper: they stand behind all
// functions.
func (m *module) firstHelper() uint32 { return m.yieldFunc() + 1 + uint32(len(m.funcs)) }

// helper returns the number of the function that does h.
func (m *module) helper(h helper) uint32 {
	i, ok := m.helpers[h]
	if !ok {
		i = m.firstHelper() + uint32(len(m.helperList))
		m.helpers[h] = i
		m.helperList = append(m.helperList, h)
	}
	return i
}

var threeI32 = []byte{typeI32, typeI32, typeI32}

// helperType returns the number of the helper's type.
func (m *module) helperType(h helper) uint32 {
	switch h.op {
	case opMemoryGrow:
		return m.typeOf(threeI32[:1], threeI32[:1])
	case miscTableGrow:
		return m.typeOf([]byte{m.tables[h.a], typeI32}, threeI32[:1])
	case miscTableFill:
		return m.typeOf([]byte{typeI32, m.tables[h.a], typeI32}, nil)
	}
	return m.typeOf(threeI32, nil)
}

// name is how the helper is called in a stack.
func (h helper) name() string {
	switch h.op {
	case opMemoryGrow:
		return "memory.grow"
	case miscMemoryInit:
		return fmt.Sprintf("memory.init %d", h.a)
	case miscMemoryCopy:
		return "memory.copy"
	case miscMemoryFill:
		return "memory.fill"
	case miscTableInit:
		return fmt.Sprintf("table.init %d %d", h.b, h.a)
	case miscTableCopy:
		return fmt.Sprintf("table.copy %d %d", h.a, h.b)
	case miscTableGrow:
		return fmt.Sprintf("table.grow %d", h.a)
	}
	return fmt.Sprintf("table.fill %d", h.a)
}
