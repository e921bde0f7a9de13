// Package wasmtest builds WebAssembly modules from Go, instruction by
// instruction, so that tests of the sandbox need no compiler: guests that trap at
// a given record, answer nonsense, spin or lie about their memory.
package wasmtest

import "encoding/binary"

// Value types.
const (
	I32 byte = 0x7f
	I64 byte = 0x7e
	F64 byte = 0x7c
)

// Types is a list of value types.
type Types []byte

// Module is a module under construction. Its zero value is an empty one.
type Module struct {
	types   []byte
	nTypes  int
	imports [][]byte
	funcs   []byte
	nFuncs  int
	code    [][]byte
	tables  [][]byte
	elems   [][]byte
	memory  []byte
	globals [][]byte
	exports [][]byte
	data    [][]byte
	customs [][]byte
	start   []byte
	counted bool
}

// ULEB encodes an unsigned number.
func ULEB(v uint64) []byte { return binary.AppendUvarint(nil, v) }

// SLEB encodes a signed number.
func SLEB(v int64) []byte {
	var b []byte
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func vec(b []byte) []byte { return append(ULEB(uint64(len(b))), b...) }

func str(s string) []byte { return vec([]byte(s)) }

func cat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func (m *Module) typ(params, results Types) uint64 {
	m.types = append(m.types, cat([]byte{0x60}, vec(params), vec(results))...)
	m.nTypes++
	return uint64(m.nTypes - 1)
}

// Import adds an imported function and returns its index. Imports come before
// all functions.
func (m *Module) Import(module, name string, params, results Types) int {
	if m.nFuncs > 0 {
		panic("wasmtest: Import after Func")
	}
	m.imports = append(m.imports, cat(str(module), str(name), []byte{0}, ULEB(m.typ(params, results))))
	return len(m.imports) - 1
}

// Func adds a function and returns its index. A name exports it.
func (m *Module) Func(name string, params, results, locals Types, body ...[]byte) int {
	m.funcs = append(m.funcs, ULEB(m.typ(params, results))...)
	groups := ULEB(uint64(len(locals)))
	for _, l := range locals {
		groups = append(groups, 1, l)
	}
	m.code = append(m.code, vec(cat(groups, cat(body...), []byte{0x0b})))
	index := len(m.imports) + m.nFuncs
	m.nFuncs++
	if name != "" {
		m.Export(name, 0, index)
	}
	return index
}

// Memory declares the memory, in pages, and exports it. A negative max sets
// none.
func (m *Module) Memory(min, max int) {
	if max < 0 {
		m.memory = cat([]byte{0}, ULEB(uint64(min)))
	} else {
		m.memory = cat([]byte{1}, ULEB(uint64(min)), ULEB(uint64(max)))
	}
	m.Export("memory", 2, 0)
}

// Table adds a table of functions and returns its index.
func (m *Module) Table(min int) int {
	m.tables = append(m.tables, cat([]byte{0x70, 0}, ULEB(uint64(min))))
	return len(m.tables) - 1
}

// Elem puts functions into table 0 at an index.
func (m *Module) Elem(at int, functions ...int) {
	m.elems = append(m.elems, cat([]byte{0, 0x41}, SLEB(int64(at)), []byte{0x0b}, indexes(functions)))
}

// PassiveElem adds a segment of functions for table.init.
func (m *Module) PassiveElem(functions ...int) {
	m.elems = append(m.elems, cat([]byte{1, 0}, indexes(functions)))
}

func indexes(functions []int) []byte {
	b := ULEB(uint64(len(functions)))
	for _, f := range functions {
		b = append(b, ULEB(uint64(f))...)
	}
	return b
}

// Type adds a type and returns its index.
func (m *Module) Type(params, results Types) int { return int(m.typ(params, results)) }

// Global adds a mutable i64 and returns its index.
func (m *Module) Global(v int64) int {
	m.globals = append(m.globals, cat([]byte{I64, 1, 0x42}, SLEB(v), []byte{0x0b}))
	return len(m.globals) - 1
}

// Export exports a function (0), table (1), memory (2) or global (3).
func (m *Module) Export(name string, kind byte, index int) {
	m.exports = append(m.exports, cat(str(name), []byte{kind}, ULEB(uint64(index))))
}

// Data puts bytes at an address of the memory.
func (m *Module) Data(at int, b []byte) {
	m.data = append(m.data, cat([]byte{0, 0x41}, SLEB(int64(at)), []byte{0x0b}, vec(b)))
}

// PassiveData adds a segment for memory.init, and announces all segments.
func (m *Module) PassiveData(b []byte) {
	m.data = append(m.data, cat([]byte{1}, vec(b)))
	m.counted = true
}

// Custom adds a custom section.
func (m *Module) Custom(name string, b []byte) {
	m.customs = append(m.customs, Section(0, cat(str(name), b)))
}

// Start makes function index the start function.
func (m *Module) Start(index int) { m.start = ULEB(uint64(index)) }

// Section encodes a section.
func Section(id byte, body []byte) []byte { return cat([]byte{id}, vec(body)) }

// Header is the magic number and version.
func Header() []byte { return []byte("\x00asm\x01\x00\x00\x00") }

func list(items [][]byte) []byte { return cat(ULEB(uint64(len(items))), cat(items...)) }

// Bytes encodes the module.
func (m *Module) Bytes() []byte {
	out := Header()
	add := func(id byte, n int, body []byte) {
		if n > 0 {
			out = append(out, Section(id, body)...)
		}
	}
	add(1, m.nTypes, cat(ULEB(uint64(m.nTypes)), m.types))
	add(2, len(m.imports), list(m.imports))
	add(3, m.nFuncs, cat(ULEB(uint64(m.nFuncs)), m.funcs))
	add(4, len(m.tables), list(m.tables))
	add(5, len(m.memory), cat(ULEB(1), m.memory))
	add(6, len(m.globals), list(m.globals))
	add(7, len(m.exports), list(m.exports))
	add(8, len(m.start), m.start)
	add(9, len(m.elems), list(m.elems))
	if m.counted {
		add(12, 1, ULEB(uint64(len(m.data))))
	}
	add(10, len(m.code), list(m.code))
	add(11, len(m.data), list(m.data))
	return append(out, cat(m.customs...)...)
}
