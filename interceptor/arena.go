package interceptor

import "github.com/klamm-io/klamm"

const (
	arenaFirst = 4 << 10
	arenaKept  = 4 << 20 // more than that is given back at reset
)

// arena is memory for edited bytes and header lists. It grows by a new chunk,
// twice as large, and forgets the old one, which lives as long as records point
// into it: after a few batches one chunk holds a whole batch's edits.
type arena struct {
	bytes   []byte
	headers []klamm.Header
}

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
		a.bytes = make([]byte, 0, max(2*cap(a.bytes), len(src), arenaFirst))
	}
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
		a.headers = make([]klamm.Header, 0, max(2*cap(a.headers), len(src), 64))
	}
	start := len(a.headers)
	a.headers = append(a.headers, src...)
	return a.headers[start:len(a.headers):len(a.headers)]
}

func (a *arena) reset() {
	clear(a.headers)
	a.headers = a.headers[:0]
	a.bytes = a.bytes[:0]
	if cap(a.bytes) > arenaKept {
		a.bytes = nil
	}
}
