package state

import (
	goruntime "runtime"
	"unsafe"
)

// pages is memory outside of the Go heap, on huge pages where the system has
// them. A window of a million ids takes 52 MB that are read all over the place: on
// small pages the processor would spend as much time to find where a page is as
// to read it. What is handed out holds no pointers, is zero, and lives as long
// as the memory that it was made for.
type pages struct {
	of   *memory
	rest []byte
	used int64 // bytes handed out
}

const (
	hugePage = 2 << 20
	// region is what is asked of the system at a time, 153 chunks of entries.
	region = 3 * hugePage
	// heapChunks is how many chunks of entries are of the Go heap: small windows
	// take no huge page.
	heapChunks = 32
)

// take returns n bytes, nil where the system has none.
func (p *pages) take(n int) unsafe.Pointer {
	n = (n + 63) &^ 63
	if n > region {
		return nil
	}
	if len(p.rest) < n {
		var mapping []byte
		if p.rest, mapping = mapHuge(region); mapping == nil {
			return nil
		}
		goruntime.AddCleanup(p.of, unmap, mapping)
	}
	got := unsafe.Pointer(unsafe.SliceData(p.rest))
	p.rest = p.rest[n:]
	p.used += int64(n)
	return got
}

// chunk returns room for entries.
func (p *pages) chunk(number int) *chunk {
	if number >= heapChunks {
		if at := p.take(int(unsafe.Sizeof(chunk{}))); at != nil {
			return (*chunk)(at)
		}
	}
	return new(chunk)
}

// lines returns room for the lines of one part of an index, for good.
func (p *pages) lines(n int) []line {
	if size := n * int(unsafe.Sizeof(line{})); size >= hugePage/256 {
		if at := p.take(size); at != nil {
			return unsafe.Slice((*line)(at), n)
		}
	}
	return make([]line, n)
}
