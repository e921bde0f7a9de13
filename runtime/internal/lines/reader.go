package lines

import (
	"bytes"
	"encoding/binary"
)

// reader walks over bytes. Reading beyond the end yields zeros and sets bad.
type reader struct {
	b   []byte
	p   int
	bad bool
}

func (r *reader) left() int { return len(r.b) - r.p }

// bytes returns the next n bytes, nil when there are fewer.
func (r *reader) bytes(n int) []byte {
	if n < 0 || n > r.left() {
		r.bad = true
		r.p = len(r.b)
		return nil
	}
	r.p += n
	return r.b[r.p-n : r.p]
}

func (r *reader) skip(n uint64) {
	if n > uint64(r.left()) {
		n = uint64(r.left())
		r.bad = true
	}
	r.p += int(n)
}

func (r *reader) u8() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// uleb reads an unsigned LEB128 number; what is beyond 64 bits is lost.
func (r *reader) uleb() (v uint64) {
	for shift := 0; ; shift += 7 {
		c := r.u8()
		if shift < 64 {
			v |= uint64(c&0x7f) << shift
		}
		if c < 0x80 {
			return v
		}
	}
}

func (r *reader) sleb() (v int64) {
	for shift := 0; ; shift += 7 {
		c := r.u8()
		if shift < 64 {
			v |= int64(c&0x7f) << shift
		}
		if c < 0x80 {
			if c&0x40 != 0 && shift < 57 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
}

// text returns the bytes up to the next zero, and steps over it.
func (r *reader) text() []byte {
	n := bytes.IndexByte(r.b[r.p:], 0)
	if n < 0 {
		r.bad = true
		r.p = len(r.b)
		return nil
	}
	r.p += n + 1
	return r.b[r.p-n-1 : r.p-1]
}

// textAt is the text at an offset of a section of strings, nil if it is longer
// than 1 KiB: many references to one long text must not take long.
func textAt(section []byte, off uint32) []byte {
	const window = 1 << 10
	if uint64(off) >= uint64(len(section)) {
		return nil
	}
	r := reader{b: section[off:min(int(off)+window, len(section))]}
	return r.text()
}
