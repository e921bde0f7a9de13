package runtime

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"unsafe"
)

// pageTable tells which pages of memory were ever touched. What was not is
// zero, and need be neither read nor cleared.
//
// https://docs.kernel.org/admin-guide/mm/pagemap.html
type pageTable struct{ f *os.File }

// openPages returns nil where the process may not see its own page table.
func openPages() *pageTable {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil
	}
	return &pageTable{f}
}

func (p *pageTable) close() error {
	if p == nil {
		return nil
	}
	if err := p.f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

const (
	pageEntrySize = 8
	pagePresent   = 1 << 63
	pageSwapped   = 1 << 62
)

// touched returns for each page of b, which begins at a page, whether it may
// hold anything but zeros. nil stands for all.
func (p *pageTable) touched(b []byte) []bool {
	if p == nil || len(b) == 0 {
		return nil
	}
	entries := make([]byte, len(b)/grain*pageEntrySize)
	first := int64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) / int64(grain)
	if _, err := p.f.ReadAt(entries, first*pageEntrySize); err != nil {
		return nil
	}
	out := make([]bool, len(b)/grain)
	for i := range out {
		e := binary.NativeEndian.Uint64(entries[i*pageEntrySize:])
		out[i] = e&(pagePresent|pageSwapped) != 0
	}
	return out
}

// discard makes whole pages of a mapping zero and gives them back to the system.
func discard(b []byte) bool { return syscall.Madvise(b, syscall.MADV_DONTNEED) == nil }
