package guard

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// reader walks over a part of a module. The first thing that goes wrong is
// kept in err; from then on every read returns zero, so that callers need to look
// at err only where they loop or store.
type reader struct {
	b   []byte // the whole module
	pos int
	end int // reads stop here
	err error
}

var (
	errLEB  = errors.New("number is not valid LEB128")
	errUTF8 = errors.New("name is not valid UTF-8")
)

func (r *reader) left() int { return r.end - r.pos }

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: %w", r.pos, err)
	}
}

func (r *reader) failf(format string, args ...any) { r.fail(fmt.Errorf(format, args...)) }

func (r *reader) byte() byte {
	if r.err != nil {
		return 0
	}
	if r.pos >= r.end {
		r.fail(errors.New("cut off"))
		return 0
	}
	c := r.b[r.pos]
	r.pos++
	return c
}

// bytes returns the next n bytes, a view of the module.
func (r *reader) bytes(n uint32) []byte {
	if r.err != nil {
		return nil
	}
	if uint64(n) > uint64(r.left()) {
		r.failf("%d bytes declared, %d left", n, r.left())
		return nil
	}
	b := r.b[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b
}

// leb reads a LEB128 number of at most bits bits. Like the engine it refuses
// encodings longer than needed for that width, and unused bits that are no sign
// extension, so that both always see the same number.
func (r *reader) leb(bits uint, signed bool) uint64 {
	var v uint64
	var shift uint
	for {
		c := r.byte()
		if r.err != nil {
			return 0
		}
		v |= uint64(c&0x7f) << shift
		if rest := bits - shift; rest < 7 && !lastByteOK(c, rest, signed) {
			r.fail(errLEB)
			return 0
		}
		shift += 7
		if c < 0x80 {
			return v
		}
		if shift >= bits {
			r.fail(errLEB)
			return 0
		}
	}
}

// lastByteOK reports whether the bits of c above the rest that still count are
// zero, or copies of the sign.
func lastByteOK(c byte, rest uint, signed bool) bool {
	if c >= 0x80 {
		return false
	}
	if !signed {
		return c>>rest == 0
	}
	ones := byte(0x7f) >> (rest - 1)
	high := c >> (rest - 1)
	return high == 0 || high == ones
}

func (r *reader) u32() uint32 {
	if r.err == nil && r.pos < r.end && r.b[r.pos] < 0x80 { // nearly always
		r.pos++
		return uint32(r.b[r.pos-1])
	}
	return uint32(r.leb(32, false))
}

// count reads the length of a vector whose entries take at least least bytes
// each, and refuses it when the bytes left cannot hold it or it exceeds limit.
func (r *reader) count(what string, least, limit int) int {
	n := r.u32()
	if r.err != nil {
		return 0
	}
	if uint64(n)*uint64(least) > uint64(r.left()) {
		r.failf("%d %s declared, %d bytes left", n, what, r.left())
		return 0
	}
	if uint64(n) > uint64(limit) {
		r.failf("%d %s declared, the limit is %d", n, what, limit)
		return 0
	}
	return int(n)
}

// name reads a UTF-8 string of at most limit bytes.
func (r *reader) name(limit int) string {
	n := r.u32()
	if r.err == nil && uint64(n) <= uint64(r.left()) && uint64(n) > uint64(limit) {
		r.failf("name of %d bytes, the limit is %d", n, limit)
	}
	b := r.bytes(n)
	if r.err == nil && !utf8.Valid(b) {
		r.fail(errUTF8)
	}
	if r.err != nil {
		return ""
	}
	return string(b)
}

// sub returns a reader for the next n bytes and steps over them.
func (r *reader) sub(n uint32) reader {
	start := r.pos
	r.bytes(n)
	return reader{b: r.b, pos: start, end: r.pos, err: r.err}
}
