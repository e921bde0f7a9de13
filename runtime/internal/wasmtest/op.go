package wasmtest

// Instructions.
var (
	Unreachable = []byte{0x00}
	Nop         = []byte{0x01}
	End         = []byte{0x0b}
	Else        = []byte{0x05}
	Return      = []byte{0x0f}
	Drop        = []byte{0x1a}
	I32Eqz      = []byte{0x45}
	I32Eq       = []byte{0x46}
	I32LtS      = []byte{0x48}
	I32LtU      = []byte{0x49}
	I32GeU      = []byte{0x4f}
	I32Add      = []byte{0x6a}
	I32Sub      = []byte{0x6b}
	I32Mul      = []byte{0x6c}
	I32DivU     = []byte{0x6e}
	I32Shl      = []byte{0x74}
	I32ShrU     = []byte{0x76}
	I64Add      = []byte{0x7c}
	I64Or       = []byte{0x84}
	I64Shl      = []byte{0x86}
	I64ExtendU  = []byte{0xad}
	I32WrapI64  = []byte{0xa7}
	F64ConvertU = []byte{0xb8} // from i32
	MemorySize  = []byte{0x3f, 0}
	MemoryGrow  = []byte{0x40, 0}
	Loop        = []byte{0x03, 0x40}
	Block       = []byte{0x02, 0x40}
	If          = []byte{0x04, 0x40}
)

// Seq joins instructions.
func Seq(parts ...[]byte) []byte { return cat(parts...) }

// I32Const pushes v.
func I32Const(v int32) []byte { return cat([]byte{0x41}, SLEB(int64(v))) }

// I64Const pushes v.
func I64Const(v int64) []byte { return cat([]byte{0x42}, SLEB(v)) }

// LocalGet pushes a local.
func LocalGet(i int) []byte { return cat([]byte{0x20}, ULEB(uint64(i))) }

// LocalSet pops into a local.
func LocalSet(i int) []byte { return cat([]byte{0x21}, ULEB(uint64(i))) }

// GlobalGet pushes a global.
func GlobalGet(i int) []byte { return cat([]byte{0x23}, ULEB(uint64(i))) }

// GlobalSet pops into a global.
func GlobalSet(i int) []byte { return cat([]byte{0x24}, ULEB(uint64(i))) }

// Call calls a function.
func Call(i int) []byte { return cat([]byte{0x10}, ULEB(uint64(i))) }

// Br leaves, or repeats, the block of that depth.
func Br(depth int) []byte { return cat([]byte{0x0c}, ULEB(uint64(depth))) }

// BrIf is Br if the popped i32 is not zero.
func BrIf(depth int) []byte { return cat([]byte{0x0d}, ULEB(uint64(depth))) }

// I32Load pushes the u32 at the popped address plus off.
func I32Load(off int) []byte { return cat([]byte{0x28, 0}, ULEB(uint64(off))) }

// I32Load16U pushes the u16 at the popped address plus off.
func I32Load16U(off int) []byte { return cat([]byte{0x2f, 0}, ULEB(uint64(off))) }

// I64Load pushes the u64 at the popped address plus off.
func I64Load(off int) []byte { return cat([]byte{0x29, 0}, ULEB(uint64(off))) }

// I32Store pops a value and an address.
func I32Store(off int) []byte { return cat([]byte{0x36, 0}, ULEB(uint64(off))) }

// I32Store8 pops a value and an address.
func I32Store8(off int) []byte { return cat([]byte{0x3a, 0}, ULEB(uint64(off))) }

// I64Store pops a value and an address.
func I64Store(off int) []byte { return cat([]byte{0x37, 0}, ULEB(uint64(off))) }
