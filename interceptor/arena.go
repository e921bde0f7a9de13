package interceptor

import (
	"unsafe"

	"github.com/klamm-io/klamm"
)

const (
	arenaFirst = 4 << 10
	arenaKept  = 4 << 20 // more than that is given back at reset
	// arenaMost is what all edits of a batch may take. A plugin returns a few MiB a
	// call, but it is called again for the rest of the batch, and many records may
	// share what it returned.
	arenaMost = 32 << 20
)

// arena is memory for edited bytes and header lists. It grows by a new chunk,
// twice as large, and forgets the old one, which lives as long as records point
// into it: after a few batches one chunk holds a whole batch's edits.
type arena struct {
	bytes   []byte
	headers []klamm.Header
	used    int // bytes, of all chunks, since the last reset
}

const headerSize = int(unsafe.Sizeof(klamm.Header{}))

// room reports whether the batch's edits may take n bytes more.
func (a *arena) room(n int) bool { return a.used+n <= arenaMost }

var emptyBytes = []byte{}

// copy returns a copy of src. Nil stays nil, empty stays empty.
func (a *arena) copy(src []byte) []byte {
	if src == nil {
		return nil
	}
	if len(src) == 0 {
		return emptyBytes
	}
	if len(a.bytes)+len(src) > cap(a.bytes) {
		a.bytes = make([]byte, 0, max(min(2*cap(a.bytes), arenaKept), len(src), arenaFirst))
	}
	a.used += len(src)
	start := len(a.bytes)
	a.bytes = append(a.bytes, src...)
	return a.bytes[start:len(a.bytes):len(a.bytes)]
}

// list returns a copy of a header list. Its keys and values are not copied.
func (a *arena) list(src []klamm.Header) []klamm.Header {
	if len(src) == 0 {
		return nil
	}
	if len(a.headers)+len(src) > cap(a.headers) {
		a.headers = make([]klamm.Header, 0, max(min(2*cap(a.headers), arenaKept/headerSize), len(src), 64))
	}
	a.used += len(src) * headerSize
	start := len(a.headers)
	a.headers = append(a.headers, src...)
	return a.headers[start:len(a.headers):len(a.headers)]
}

func (a *arena) reset() {
	clear(a.headers)
	a.headers = a.headers[:0]
	a.bytes, a.used = a.bytes[:0], 0
	if cap(a.bytes) > arenaKept {
		a.bytes = nil
	}
	if cap(a.headers)*headerSize > arenaKept {
		a.headers = nil
	}
}
