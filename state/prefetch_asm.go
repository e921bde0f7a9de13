//go:build amd64 || arm64

package state

import "unsafe"

// prefetch asks for lines of memory. It does nothing for a nil pointer.
//
//go:noescape
func prefetch(at *[aheadLines]unsafe.Pointer)

var _ [8]unsafe.Pointer = [aheadLines]unsafe.Pointer{} // as many as the assembly reads
