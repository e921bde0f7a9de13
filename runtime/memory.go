package runtime

import (
	"fmt"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

const pageSize = 64 << 10

// linearMemory is the memory of one instance. The address space for its
// largest size is reserved at once, outside of the Go heap where the system
// allows, so that growing copies nothing, views stay valid, and the collector
// does not count it. Fresh pages are zero: what is given back is never used for
// another instance.
type linearMemory struct {
	reservation
	length  int
	pages   *pageTable
	counter *atomic.Int64
}

// reservation is zeroed memory. Pages that nobody has touched cost nothing.
type reservation struct {
	reserved []byte
	release  func([]byte)
	mapped   bool // outside of the Go heap
}

var (
	_ experimental.MemoryAllocator = (*linearMemory)(nil)
	_ experimental.LinearMemory    = (*linearMemory)(nil)
)

// newMemory reserves max bytes, which count as used until Free.
func (e *Engine) newMemory(max int64) (*linearMemory, error) {
	if have, ok := e.count(&e.memory, max); !ok {
		return nil, fmt.Errorf("memory of all instances would be %d bytes, the limit is %d", have+max, e.cfg.MemoryTotal)
	}
	r, err := reserve(int(max))
	if err != nil {
		e.memory.Add(-max)
		return nil, fmt.Errorf("reserve %d bytes of memory: %w", max, err)
	}
	return &linearMemory{reservation: r, pages: e.pages, counter: &e.memory}, nil
}

// count adds n bytes to one of the engine's counters, unless all of them would
// be beyond the limit then. It returns what was there before.
func (e *Engine) count(counter *atomic.Int64, n int64) (before int64, ok bool) {
	counter.Add(n)
	total := e.memory.Load() + e.snapshots.Load()
	if e.cfg.MemoryTotal > 0 && total > e.cfg.MemoryTotal {
		counter.Add(-n)
		return total - n, false
	}
	return total - n, true
}

// reserveHeap is what reserve does where the system knows no better.
func reserveHeap(n int) (reservation, error) {
	return reservation{reserved: make([]byte, n), release: func([]byte) {}}, nil
}

// Allocate hands the reservation to the engine, which asks once: a module has
// at most one memory.
func (m *linearMemory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate grows the memory in place, nil above the limit.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.reserved)) {
		return nil
	}
	m.length = int(size)
	return m.reserved[:size:size]
}

// Free gives the reservation back. It may be called twice.
func (m *linearMemory) Free() {
	if m.reserved == nil {
		return
	}
	m.counter.Add(-int64(len(m.reserved)))
	m.release(m.reserved)
	m.reserved, m.length = nil, 0
}

// view returns n bytes at off, or false when they do not lie inside of the
// memory.
func (m *linearMemory) view(off, n uint32) ([]byte, bool) {
	end := uint64(off) + uint64(n)
	if end > uint64(m.length) {
		return nil, false
	}
	return m.reserved[off:end:end], true
}
