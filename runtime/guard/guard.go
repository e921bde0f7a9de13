package guard

import (
	"bytes"
	"encoding/binary"
)

// Check reads wasm and returns what it found, or an *Error with every problem.
// name is used in the error only. The returned Module holds views of wasm.
func Check(name string, wasm []byte, l Limits) (*Module, error) {
	return check(name, wasm, l, (*checker).contract)
}

// Validate is Check for a module that need not be a plugin: it says whether
// wasm is a valid module of the enabled features within the limits.
func Validate(name string, wasm []byte, l Limits) (*Module, error) {
	return check(name, wasm, l, func(*checker, bool) {})
}

func check(name string, wasm []byte, l Limits, contract func(c *checker, whole bool)) (*Module, error) {
	c := checker{
		l: l.withDefaults(), m: &Module{dataSaid: -1, byName: map[string]int{}}, patience: patience,
	}
	if c.preamble(wasm) {
		// Rules about what the module means are checked even when its structure is
		// broken further on: an author wants to see all of it at once. What a part
		// that was not reached would say is left out.
		whole := c.sections(wasm)
		c.reportFaults()
		contract(&c, whole)
	}
	if err := c.p.err(name); err != nil {
		return nil, err
	}
	return c.m, nil
}

type checker struct {
	l Limits
	m *Module
	p problems

	declared  set // functions that a reference may name
	faults    []fault
	funcNames reader // the name map of functions

	// Used up so far, of all functions, tables and segments together.
	locals     int
	tableItems int
	elemItems  int
	dataBytes  int
	customs    int
	nameCount  int
	patience   int // left

	compileTime int64 // estimate in nanoseconds
}

// set is a set of function indexes.
type set []uint64

func (s *set) add(i uint32) {
	for int(i/64) >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[i/64] |= 1 << (i % 64)
}

func (s set) has(i uint32) bool { return int(i/64) < len(s) && s[i/64]>>(i%64)&1 != 0 }

const preambleSize = 8

var magic = []byte("\x00asm")

// preamble checks magic number and version, and tells what it is that we were
// given instead of a module.
func (c *checker) preamble(wasm []byte) bool {
	switch {
	case len(wasm) > c.l.Size:
		c.p.addf("the module has %d bytes, the limit is %d", len(wasm), c.l.Size)
	case len(wasm) == 0:
		c.p.addf("the file is empty")
	case !bytes.HasPrefix(wasm, magic):
		c.p.addf("%s", notWasm(wasm))
	case len(wasm) < preambleSize:
		c.p.addf("the module is cut off in its first %d bytes", preambleSize)
	case binary.LittleEndian.Uint32(wasm[4:]) == 0x1000d:
		c.p.addf("this is a component; Klamm runs core modules (build for wasip1, not wasip2)")
	case binary.LittleEndian.Uint32(wasm[4:]) != 1:
		c.p.addf("WebAssembly version %d; only version 1 is known", binary.LittleEndian.Uint32(wasm[4:]))
	default:
		return true
	}
	return false
}

// notWasm guesses what a file is that is no module.
func notWasm(b []byte) string {
	const no = "this is no WebAssembly module"
	for _, f := range []struct{ magic, what string }{
		{"\x7fELF", "a native program; build with GOOS=wasip1 GOARCH=wasm, or your compiler's wasm32 target"},
		{"\x1f\x8b", "a gzip file; unpack it first"},
		{"PK\x03\x04", "a zip file; unpack it first"},
		{"!<arch>", "an archive of object files; link it, for Go with -buildmode=c-shared"},
		{"(module", "WebAssembly text; translate it with wat2wasm first"},
		{"package ", "Go source; name its folder, or build it first"},
	} {
		if bytes.HasPrefix(b, []byte(f.magic)) {
			return no + " but " + f.what
		}
	}
	return no + ": it does not start with \\0asm"
}
