package produce

import (
	"math/bits"
	"sync"
)

// Buffers come in powers of two, so that a partition with one small record
// holds half a KiB and not a whole batch_size.
const (
	minBufferBits = 9  // 512 B
	maxBufferBits = 21 // 2 MiB; larger ones are not kept
)

// buffer is memory for one batch. b is empty, with the capacity of its class.
type buffer struct {
	b     []byte
	class int // -1: not pooled
}

// buffers is a pool of them by size.
type buffers struct {
	pools  [maxBufferBits - minBufferBits + 1]sync.Pool
	poison bool // tests: overwrite what is given back, so that late readers are caught
}

// get returns an empty buffer for at least n bytes.
func (p *buffers) get(n int) *buffer {
	class := max(bits.Len(uint(n-1)), minBufferBits) - minBufferBits
	if class >= len(p.pools) {
		return &buffer{b: make([]byte, 0, n), class: -1}
	}
	if b, ok := p.pools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 0, 1<<(class+minBufferBits)), class: class}
}

// put gives b back. Nothing may read or write it afterwards.
func (p *buffers) put(b *buffer) {
	if p.poison {
		for i := range b.b[:cap(b.b)] {
			b.b[:cap(b.b)][i] = 0xDB
		}
	}
	if b.class < 0 {
		return
	}
	b.b = b.b[:0]
	p.pools[b.class].Put(b)
}
