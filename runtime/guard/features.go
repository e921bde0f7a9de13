package guard

import "fmt"

// Proposals that are not part of core 2.0, by the words that their authors
// use. A module that needs one is refused by that name.
const (
	threads       = "threads"
	tailCalls     = "tail calls"
	exceptions    = "exception handling"
	typedFuncRefs = "typed function references"
	garbage       = "garbage collection"
	memory64      = "memory64"
	multiMemory   = "multiple memories"
	extendedConst = "extended constant expressions"
	relaxedSIMD   = "relaxed SIMD"
	wideMath      = "wide arithmetic"
	memoryControl = "memory control"
	pageSizes     = "custom page sizes"
	stackSwitch   = "stack switching"
	stringRefs    = "reference-typed strings"
)

func notEnabled(what, feature string) error {
	return fmt.Errorf("%s belongs to %s, which is not enabled here", what, feature)
}

// opFeature tells which proposal an opcode of one byte belongs to, "" for none.
func opFeature(op byte) string {
	switch {
	case op >= 0x06 && op <= 0x0a, op == 0x18, op == 0x19, op == 0x1f:
		return exceptions
	case op == 0x12, op == 0x13:
		return tailCalls
	case op == 0x14, op == 0x15, op >= 0xd4 && op <= 0xd6:
		return typedFuncRefs
	case op == 0xd3, op == 0xfb:
		return garbage
	case op >= 0xe0 && op <= 0xe6:
		return stackSwitch
	case op == 0xfe:
		return threads
	}
	return ""
}

// miscFeature is opFeature for the opcodes behind the prefix 0xfc.
func miscFeature(op uint32) string {
	switch {
	case op == 18:
		return memoryControl
	case op >= 19 && op <= 22:
		return wideMath
	}
	return ""
}

// typeFeature tells which proposal a value type belongs to, "" for none.
func typeFeature(t byte) string {
	switch {
	case t == 0x63, t == 0x64:
		return typedFuncRefs
	case t == 0x69, t == 0x74:
		return exceptions
	case t == 0x67, t >= 0x64 && t <= 0x66:
		return stringRefs
	case t == 0x68, t == 0x75:
		return stackSwitch
	case t >= 0x6a && t <= 0x6e, t >= 0x71 && t <= 0x73, t == 0x77, t == 0x78:
		return garbage
	}
	return ""
}

// formFeature tells which proposal a form of type belongs to.
func formFeature(form byte) string {
	switch form {
	case 0x4e, 0x4f, 0x50, 0x5e, 0x5f:
		return garbage
	case 0x5d:
		return stackSwitch
	}
	return ""
}

// sectionFeature tells which proposal a section belongs to.
func sectionFeature(id byte) string {
	switch id {
	case 13:
		return exceptions
	case 14:
		return stringRefs
	}
	return ""
}

// limitsFeature tells which proposal the kind of a table's or memory's limits
// belongs to.
func limitsFeature(kind byte) string {
	switch {
	case kind&8 != 0 && kind < 16:
		return pageSizes
	case kind&4 != 0 && kind < 8:
		return memory64
	case kind&2 != 0 && kind < 4:
		return threads
	}
	return ""
}
