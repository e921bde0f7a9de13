package meter

// Opcodes that the rewriter looks at or writes.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opSelectT      = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opRefNull      = 0xd0
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd

	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17

	vectorConst = 12
)

// Value types and the empty block type.
const (
	typeI32       = 0x7f
	typeI64       = 0x7e
	typeV128      = 0x7b
	typeFuncref   = 0x70
	typeExternref = 0x6f
	typeEmpty     = 0x40
)

func isValueType(c byte) bool { return c >= typeV128 && c <= typeI32 || isRefType(c) }

func isRefType(c byte) bool { return c == typeFuncref || c == typeExternref }

// shape says what follows an opcode.
type shape uint8

const (
	unknown  shape = iota // not in core 2.0
	plain                 // nothing
	special               // scan.control or a method of its own
	localNum              // a local's number
	memarg                // alignment and offset
	leb5                  // a number of at most 5 bytes
	leb10
	fixed4
	fixed8
	lane       // a lane's number
	fixed16    // 16 bytes
	memargLane // both
)

// op is what the rewriter knows of an instruction without operands of interest.
type op struct {
	shape  shape
	weight uint8
}

// Weights are about what instructions cost in units of a simple one: roughly
// 0.3 ns.
const (
	weightDiv      = 10
	weightFloatDiv = 5
	weightVector   = 4
	weightTable    = 4
	weightBrTable  = 4
	weightLeave    = 200 // instructions that engines carry out outside of compiled code
	// A call pays, besides for itself, for the uncharged beginning of what it calls.
	weightCall     = 8 + lightMax
	weightIndirect = 16 + lightMax
	weightImport   = weightLeave
	// A check has its price too.
	weightCharge = 2
	weightHelper = 8 + helperFree
)

var (
	ops       = makeOps()
	vectorOps = makeVectorOps()
)

func makeOps() (t [256]op) {
	set := func(from, to int, s shape, weight uint8) {
		for c := from; c <= to; c++ {
			t[c] = op{s, weight}
		}
	}
	set(0x00, 0x05, special, 1)
	set(0x01, 0x01, plain, 1)
	set(0x0b, 0x11, special, 1)
	set(0x1a, 0x1b, plain, 1)
	set(0x1c, 0x1c, special, 1)
	set(0x20, 0x22, localNum, 1)
	set(0x23, 0x26, special, 1)
	set(0x28, 0x3e, memarg, 1)
	set(0x3f, 0x40, special, 1)
	set(0x41, 0x41, leb5, 1)
	set(0x42, 0x42, leb10, 1)
	set(0x43, 0x43, fixed4, 1)
	set(0x44, 0x44, fixed8, 1)
	set(0x45, 0xc4, plain, 1)
	set(0x6d, 0x70, plain, weightDiv) // i32.div_s to i32.rem_u
	set(0x7f, 0x82, plain, weightDiv) // i64.div_s to i64.rem_u
	for _, c := range []int{0x91, 0x95, 0x9f, 0xa3} {
		set(c, c, plain, weightFloatDiv) // sqrt, div
	}
	set(0xa8, 0xbf, plain, 2) // conversions between floats and integers
	set(0xd0, 0xd0, special, 1)
	set(0xd1, 0xd1, plain, 1)
	set(0xd2, 0xd2, special, weightLeave)
	set(0xfc, 0xfd, special, 1)
	return t
}

func makeVectorOps() (t [256]op) {
	set := func(from, to int, s shape) {
		for c := from; c <= to; c++ {
			t[c] = op{s, weightVector}
		}
	}
	set(0x00, 0xff, plain)
	set(0x00, 0x0b, memarg)     // loads and stores
	set(0x0c, 0x0d, fixed16)    // v128.const, i8x16.shuffle
	set(0x15, 0x22, lane)       // extract and replace
	set(0x54, 0x5b, memargLane) // load and store one lane
	set(0x5c, 0x5d, memarg)     // load zero
	for _, c := range []int{
		0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5,
		0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee,
	} {
		set(c, c, unknown)
	}
	for _, c := range []int{0xe3, 0xe7, 0xef, 0xf3} {
		t[c].weight = 4 * weightFloatDiv // sqrt, div
	}
	return t
}

// proposal names what an instruction that core 2.0 does not have belongs to.
func proposal(c byte) string {
	switch {
	case c >= 0x06 && c <= 0x0a || c == 0x18 || c == 0x19 || c == 0x1f:
		return "exception handling"
	case c == 0x12 || c == 0x13:
		return "tail calls"
	case c == 0x14 || c == 0x15 || c >= 0xd3 && c <= 0xd6:
		return "typed function references"
	case c == 0xfb:
		return "garbage collection"
	case c == 0xfe:
		return "threads"
	}
	return ""
}
