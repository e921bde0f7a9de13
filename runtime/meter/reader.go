package meter

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// reader walks over a part of a module. The first thing that goes wrong is kept
// in err and moves the reader to its end; from then on every read returns zero.
type reader struct {
	b    []byte // reads stop at its end
	p    int
	base int // of b in the module, for errors
	err  error
}

var (
	errCut  = errors.New("cut off")
	errLEB  = errors.New("number is not valid LEB128")
	errUTF8 = errors.New("name is not valid UTF-8")
)

func (r *reader) left() int { return len(r.b) - r.p }

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: %w", r.base+r.p, err)
	}
	r.p = len(r.b)
}

func (r *reader) failf(format string, args ...any) { r.fail(fmt.Errorf(format, args...)) }

func (r *reader) byte() byte {
	if r.p >= len(r.b) {
		r.fail(errCut)
		return 0
	}
	c := r.b[r.p]
	r.p++
	return c
}

// skip steps over n bytes.
func (r *reader) skip(n int) {
	if n > r.left() {
		r.failf("%d bytes declared, %d left", n, r.left())
		return
	}
	r.p += n
}

// bytes returns the next n bytes, a view of the module.
func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(r.left()) {
		r.failf("%d bytes declared, %d left", n, r.left())
		return nil
	}
	b := r.b[r.p : r.p+int(n)]
	r.p += int(n)
	return b
}

// u32 reads an unsigned LEB128 number, as strictly as engines do, so that both
// see the same number.
func (r *reader) u32() uint32 {
	if r.p < len(r.b) && r.b[r.p] < 0x80 {
		c := r.b[r.p]
		r.p++
		return uint32(c)
	}
	return r.longU32()
}

func (r *reader) longU32() uint32 {
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		if shift == 28 && c > 0x0f {
			break
		}
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.fail(errLEB)
	return 0
}

// skipLEB steps over a LEB128 number of at most n bytes.
func (r *reader) skipLEB(n int) {
	for range n {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail(errLEB)
}

// count reads the length of a vector whose entries take at least least bytes
// each, and refuses it when the bytes left cannot hold it.
func (r *reader) count(what string, least int) int {
	n := r.u32()
	if uint64(n)*uint64(least) > uint64(r.left()) {
		r.failf("%d %s declared, %d bytes left", n, what, r.left())
		return 0
	}
	return int(n)
}

func (r *reader) name() []byte {
	b := r.bytes(r.u32())
	if !utf8.Valid(b) {
		r.fail(errUTF8)
		return nil
	}
	return b
}

// sub returns a reader for the next n bytes and steps over them.
func (r *reader) sub(n uint32) reader {
	base := r.base + r.p
	b := r.bytes(n)
	return reader{b: b, base: base, err: r.err}
}

// done fails when something is left.
func (r *reader) done() {
	if r.err == nil && r.left() > 0 {
		r.failf("%d bytes too many", r.left())
	}
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendName(b []byte, s string) []byte {
	return append(appendU32(b, uint32(len(s))), s...)
}
