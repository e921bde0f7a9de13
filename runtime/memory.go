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
// does not count it. Fresh pages are zero.
type linearMemory struct {
	reserved []byte
	length   int
	release  func([]byte)
	counter  *atomic.Int64
}

var (
	_ experimental.MemoryAllocator = (*linearMemory)(nil)
	_ experimental.LinearMemory    = (*linearMemory)(nil)
)

// newMemory reserves max bytes, which count as used until Free.
func (e *Engine) newMemory(max int64) (*linearMemory, error) {
	if total := e.memory.Add(max); e.cfg.MemoryTotal > 0 && total > e.cfg.MemoryTotal {
		e.memory.Add(-max)
		return nil, fmt.Errorf("memory of all instances would be %d bytes, the limit is %d", total, e.cfg.MemoryTotal)
	}
	b, release, err := reserve(int(max))
	if err != nil {
		e.memory.Add(-max)
		return nil, fmt.Errorf("reserve %d bytes of memory: %w", max, err)
	}
	return &linearMemory{reserved: b, release: release, counter: &e.memory}, nil
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
