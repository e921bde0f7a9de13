package guard

// shape is what an instruction needs to be checked: its immediates, the
// operands that it pops and the value that it pushes.
type shape struct {
	imm  immediate
	arg  byte // largest alignment as a power of two, or number of lanes
	pops byte // operands
	in   [3]ValueType
	out  ValueType // 0 none
	lane byte      // lanes of immMemoryLane
}

type immediate byte

const (
	immUnknown    immediate = iota // no such instruction
	immSpecial                     // has a method of its own
	immNone                        //
	immMemory                      // alignment and offset
	immLane                        // index of a lane
	immMemoryLane                  // both
	immBytes                       // 16 bytes
	immShuffle                     // 16 indexes of lanes
)

// shapes and vectorShapes hold the instructions by opcode. Tables of the
// specification: https://www.w3.org/TR/wasm-core-2/#binary-instr
var shapes, vectorShapes = plainShapes(), simdShapes()

type row struct {
	from, to int
	in, out  string // letters as in sig; V is v128
}

func fill(t *[256]shape, rows []row) {
	for _, r := range rows {
		for op := r.from; op <= r.to; op++ {
			t[op] = makeShape(immNone, 0, r.in, r.out)
		}
	}
}

func makeShape(imm immediate, arg byte, in, out string) shape {
	s := shape{imm: imm, arg: arg, pops: byte(len(in))}
	for i, t := range []byte(decodeSig(in)) {
		s.in[i] = ValueType(t)
	}
	if out != "" {
		s.out = ValueType(decodeSig(out)[0])
	}
	return s
}

func plainShapes() *[256]shape {
	t := new([256]shape)
	fill(t, []row{
		{0x01, 0x01, "", ""}, // nop
		{0x45, 0x45, "i", "i"}, {0x46, 0x4f, "ii", "i"},
		{0x50, 0x50, "I", "i"}, {0x51, 0x5a, "II", "i"},
		{0x5b, 0x60, "ff", "i"}, {0x61, 0x66, "FF", "i"},
		{0x67, 0x69, "i", "i"}, {0x6a, 0x78, "ii", "i"},
		{0x79, 0x7b, "I", "I"}, {0x7c, 0x8a, "II", "I"},
		{0x8b, 0x91, "f", "f"}, {0x92, 0x98, "ff", "f"},
		{0x99, 0x9f, "F", "F"}, {0xa0, 0xa6, "FF", "F"},
		{0xa7, 0xa7, "I", "i"}, {0xa8, 0xa9, "f", "i"}, {0xaa, 0xab, "F", "i"},
		{0xac, 0xad, "i", "I"}, {0xae, 0xaf, "f", "I"}, {0xb0, 0xb1, "F", "I"},
		{0xb2, 0xb3, "i", "f"}, {0xb4, 0xb5, "I", "f"}, {0xb6, 0xb6, "F", "f"},
		{0xb7, 0xb8, "i", "F"}, {0xb9, 0xba, "I", "F"}, {0xbb, 0xbb, "f", "F"},
		{0xbc, 0xbc, "f", "i"}, {0xbd, 0xbd, "F", "I"}, {0xbe, 0xbe, "i", "f"}, {0xbf, 0xbf, "I", "F"},
		{0xc0, 0xc1, "i", "i"}, {0xc2, 0xc4, "I", "I"},
	})
	for i, align := range []byte{2, 3, 2, 3, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2} {
		t[0x28+i] = makeShape(immMemory, align, "i", "iIfFiiiiIIIIII"[i:i+1])
	}
	for i, align := range []byte{2, 3, 2, 3, 0, 1, 0, 1, 2} {
		t[0x36+i] = makeShape(immMemory, align, "i"+"iIfFiiIII"[i:i+1], "")
	}
	for _, op := range []byte{
		opUnreachable, opBlock, opLoop, opIf, opElse, opEnd, opBr, opBrIf, opBrTable, opReturn, opCall,
		opCallIndirect, opDrop, opSelect, opSelectTyped, opLocalGet, opLocalSet, opLocalTee, opGlobalGet,
		opGlobalSet, opTableGet, opTableSet, opMemorySize, opMemoryGrow, opI32Const, opI64Const, opF32Const,
		opF64Const, opRefNull, opRefIsNull, opRefFunc, opMisc, opVector,
	} {
		t[op] = shape{imm: immSpecial}
	}
	return t
}

func simdShapes() *[256]shape {
	t := new([256]shape)
	fill(t, []row{
		{0x0e, 0x0e, "VV", "V"},                        // swizzle
		{0x0f, 0x11, "i", "V"}, {0x12, 0x12, "I", "V"}, // splat
		{0x13, 0x13, "f", "V"}, {0x14, 0x14, "F", "V"}, //
		{0x23, 0x4c, "VV", "V"}, {0x4d, 0x4d, "V", "V"}, // comparisons, not
		{0x4e, 0x51, "VV", "V"}, {0x52, 0x52, "VVV", "V"}, // bitwise
		{0x53, 0x53, "V", "i"}, {0x5e, 0x5f, "V", "V"}, // any_true, demote, promote
		{0x60, 0x62, "V", "V"}, {0x63, 0x64, "V", "i"}, // i8x16
		{0x65, 0x66, "VV", "V"}, {0x67, 0x6a, "V", "V"}, //
		{0x6b, 0x6d, "Vi", "V"}, {0x6e, 0x73, "VV", "V"}, //
		{0x74, 0x75, "V", "V"}, {0x76, 0x79, "VV", "V"}, //
		{0x7a, 0x7a, "V", "V"}, {0x7b, 0x7b, "VV", "V"}, //
		{0x7c, 0x81, "V", "V"}, {0x82, 0x82, "VV", "V"}, // i16x8
		{0x83, 0x84, "V", "i"}, {0x85, 0x86, "VV", "V"}, //
		{0x87, 0x8a, "V", "V"}, {0x8b, 0x8d, "Vi", "V"}, //
		{0x8e, 0x93, "VV", "V"}, {0x94, 0x94, "V", "V"}, //
		{0x95, 0x99, "VV", "V"}, {0x9b, 0x9f, "VV", "V"}, //
		{0xa0, 0xa1, "V", "V"}, {0xa3, 0xa4, "V", "i"}, // i32x4
		{0xa7, 0xaa, "V", "V"}, {0xab, 0xad, "Vi", "V"}, //
		{0xae, 0xae, "VV", "V"}, {0xb1, 0xb1, "VV", "V"}, //
		{0xb5, 0xba, "VV", "V"}, {0xbc, 0xbf, "VV", "V"}, //
		{0xc0, 0xc1, "V", "V"}, {0xc3, 0xc4, "V", "i"}, // i64x2
		{0xc7, 0xca, "V", "V"}, {0xcb, 0xcd, "Vi", "V"}, //
		{0xce, 0xce, "VV", "V"}, {0xd1, 0xd1, "VV", "V"}, //
		{0xd5, 0xdf, "VV", "V"},                        //
		{0xe0, 0xe1, "V", "V"}, {0xe3, 0xe3, "V", "V"}, // f32x4
		{0xe4, 0xeb, "VV", "V"}, {0xec, 0xed, "V", "V"}, // f64x2
		{0xef, 0xef, "V", "V"}, {0xf0, 0xf7, "VV", "V"}, //
		{0xf8, 0xff, "V", "V"}, // conversions
	})
	for op, align := range []byte{4, 3, 3, 3, 3, 3, 3, 0, 1, 2, 3} { // loads
		t[op] = makeShape(immMemory, align, "i", "V")
	}
	t[0x0b] = makeShape(immMemory, 4, "iV", "") // store
	t[0x0c] = makeShape(immBytes, 0, "", "V")   // const
	t[0x0d] = makeShape(immShuffle, 32, "VV", "V")
	t[0x5c] = makeShape(immMemory, 2, "i", "V") // load_zero
	t[0x5d] = makeShape(immMemory, 3, "i", "V")
	for i := range byte(4) { // load_lane, store_lane
		t[0x54+i], t[0x58+i] = makeShape(immMemoryLane, i, "iV", "V"), makeShape(immMemoryLane, i, "iV", "")
		t[0x54+i].lane, t[0x58+i].lane = 16>>i, 16>>i
	}
	for i, lanes := range []byte{16, 16, 16, 8, 8, 8, 4, 4, 2, 2, 4, 4, 2, 2} { // extract, replace
		t[0x15+i] = makeShape(immLane, lanes, []string{"V", "V", "Vi", "V", "V", "Vi", "V", "Vi", "V", "VI", "V", "Vf", "V", "VF"}[i],
			"iiViiViVIVfVFV"[i:i+1])
	}
	return t
}
