//go:build wasip1

package plugin

import "unsafe"

// In a module each of these is an instruction or two, and small enough to be part
// of its callers: calls are what is dear in Go's WebAssembly. Nothing is checked,
// since the host lays the blocks out, and the sandbox bounds what an offset can
// reach. Compiled natively, for tests, all of it is checked.

func at(b []byte, off uint32) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), off)
}

func u16(b []byte, off uint32) uint16 { return *(*uint16)(at(b, off)) }
func u32(b []byte, off uint32) uint32 { return *(*uint32)(at(b, off)) }
func i32(b []byte, off uint32) int32  { return *(*int32)(at(b, off)) }
func u64(b []byte, off uint32) uint64 { return *(*uint64)(at(b, off)) }
func i64(b []byte, off uint32) int64  { return *(*int64)(at(b, off)) }

func putU16(b []byte, off uint32, v uint16) { *(*uint16)(at(b, off)) = v }
func putU32(b []byte, off uint32, v uint32) { *(*uint32)(at(b, off)) = v }
func putU64(b []byte, off uint32, v uint64) { *(*uint64)(at(b, off)) = v }

// view returns n bytes at off, nil for a negative n.
func view(b []byte, off uint32, n int32) []byte {
	if n < 0 {
		return nil
	}
	return (*[memoryMax]byte)(at(b, off))[:n:n]
}
