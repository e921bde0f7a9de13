//go:build !wasip1

package plugin

// The compiler joins these into one load or store where the machine is little
// endian and takes unaligned addresses, as WebAssembly does.

func u16(b []byte, off uint32) uint16 {
	s := b[off : off+2 : off+2]
	return uint16(s[0]) | uint16(s[1])<<8
}

func u32(b []byte, off uint32) uint32 {
	s := b[off : off+4 : off+4]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func i32(b []byte, off uint32) int32 { return int32(u32(b, off)) }

func u64(b []byte, off uint32) uint64 {
	s := b[off : off+8 : off+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func i64(b []byte, off uint32) int64 { return int64(u64(b, off)) }

func putU16(b []byte, off uint32, v uint16) {
	s := b[off : off+2 : off+2]
	s[0], s[1] = byte(v), byte(v>>8)
}

func putU32(b []byte, off uint32, v uint32) {
	s := b[off : off+4 : off+4]
	s[0], s[1], s[2], s[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

func putU64(b []byte, off uint32, v uint64) {
	s := b[off : off+8 : off+8]
	s[0], s[1], s[2], s[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	s[4], s[5], s[6], s[7] = byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56)
}

// view returns n bytes at off, nil for a negative n.
func view(b []byte, off uint32, n int32) []byte {
	if n < 0 {
		return nil
	}
	end := off + uint32(n)
	return b[off:end:end]
}
