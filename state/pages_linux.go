package state

import (
	"syscall"
	"unsafe"
)

const adviseHuge = 14 // MADV_HUGEPAGE

// mapHuge returns n bytes that begin at a huge page, and the mapping that they
// are part of. It returns nil where the system gives none.
func mapHuge(n int) (huge, mapping []byte) {
	b, err := syscall.Mmap(-1, 0, n+hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil
	}
	// What lies before and behind is never touched, and so takes no memory.
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (hugePage - 1))
	huge = b[skip : skip+n]
	_ = syscall.Madvise(huge, adviseHuge) // where there are none, small pages do
	return huge, b
}

func unmap(mapping []byte) {
	if err := syscall.Munmap(mapping); err != nil {
		panic("state: unmap pages: " + err.Error())
	}
}
