package hostile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// Mutate returns a copy of a module with one change, or up to four, of the
// kinds that break decoders: bits, bytes, numbers, pieces left out, doubled or
// moved.
func Mutate(r *rand.Rand, wasm []byte) []byte {
	b := bytes.Clone(wasm)
	changes := 1
	if r.IntN(4) == 0 {
		changes += r.IntN(4)
	}
	for range changes {
		if len(b) < 16 {
			return b
		}
		b = mutateOnce(r, b)
	}
	return b
}

func mutateOnce(r *rand.Rand, b []byte) []byte {
	at := 8 + r.IntN(len(b)-8)
	n := 1 + r.IntN(min(32, len(b)-at))
	kind := r.IntN(9)
	if r.IntN(3) > 0 {
		kind = r.IntN(3) // most larger changes are refused for the sizes that they break
	}
	switch kind {
	case 0:
		b[at] ^= 1 << r.IntN(8)
	case 1:
		b[at] = byte(r.Uint32())
	case 2:
		b[at] = []byte{0, 1, 0x7f, 0x80, 0xff, 0x0b, 0x40, 0x70, 0xfc, 0xfd}[r.IntN(10)]
	case 3:
		return b[:at]
	case 4:
		return append(b[:at:at], b[at+n:]...)
	case 5:
		return bytes.Join([][]byte{b[:at+n], b[at:]}, nil)
	case 6:
		return bytes.Join([][]byte{b[:at], binary.AppendUvarint(nil, r.Uint64()>>r.IntN(64)), b[at+n:]}, nil)
	case 7:
		copy(b[8+r.IntN(len(b)-8):], b[at:at+n])
	case 8:
		b[at]++
	}
	return b
}
