package meter_test

import "encoding/binary"

// A small encoder of modules, with the parts that sandbox tests elsewhere do not
// need: tables, segments, several results.

const (
	tI32     = 0x7f
	tI64     = 0x7e
	tV128    = 0x7b
	tFuncref = 0x70
)

func uleb(v uint64) []byte { return binary.AppendUvarint(nil, v) }

func sleb(v int64) []byte {
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

func cat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func vec(b []byte) []byte { return append(uleb(uint64(len(b))), b...) }

func str(s string) []byte { return vec([]byte(s)) }

func op(b ...byte) []byte { return b }

func i32c(v int32) []byte { return append([]byte{0x41}, sleb(int64(v))...) }

func i64c(v int64) []byte { return append([]byte{0x42}, sleb(v)...) }

func num(opcode byte, n ...int) []byte {
	b := []byte{opcode}
	for _, v := range n {
		b = append(b, uleb(uint64(v))...)
	}
	return b
}

func get(local int) []byte { return num(0x20, local) }

func set(local int) []byte { return num(0x21, local) }

func call(fn int) []byte { return num(0x10, fn) }

func misc(sub byte, n ...int) []byte { return append([]byte{0xfc}, num(sub, n...)...) }

var (
	end       = op(0x0b)
	loop      = op(0x03, 0x40)
	block     = op(0x02, 0x40)
	ifThen    = op(0x04, 0x40)
	otherwise = op(0x05)
	drop      = op(0x1a)
	ret       = op(0x0f)
	memFill   = misc(11, 0)
	memCopy   = misc(10, 0, 0)
	trapNow   = op(0x00)
)

func br(depth int) []byte { return num(0x0c, depth) }

func brIf(depth int) []byte { return num(0x0d, depth) }

// entries is a vector under construction.
type entries struct {
	n int
	b []byte
}

func (e *entries) add(parts ...[]byte) int {
	e.b = append(e.b, cat(parts...)...)
	e.n++
	return e.n - 1
}

func (e *entries) section(id byte) []byte {
	if e.n == 0 {
		return nil
	}
	return section(id, cat(uleb(uint64(e.n)), e.b))
}

func section(id byte, body []byte) []byte { return append([]byte{id}, vec(body)...) }

// wasmModule is a module under construction.
type wasmModule struct {
	types, imports, funcs, tables, memories, globals, exports, elems, code, data entries
	start                                                                        []byte
	customs                                                                      []byte
}

func (m *wasmModule) typ(params, results []byte) int {
	return m.types.add(op(0x60), vec(params), vec(results))
}

// importFunc must come before all functions.
func (m *wasmModule) importFunc(module, name string, typ int) int {
	return m.imports.add(str(module), str(name), op(0), uleb(uint64(typ)))
}

// declare adds a function whose body is yet to come.
func (m *wasmModule) declare(typ int) int { return m.imports.n + m.funcs.add(uleb(uint64(typ))) }

// body adds the body of the next declared function. locals is one type each.
func (m *wasmModule) body(locals []byte, code ...[]byte) {
	groups := uleb(uint64(len(locals)))
	for _, l := range locals {
		groups = append(groups, 1, l)
	}
	m.code.add(vec(cat(groups, cat(code...), end)))
}

func (m *wasmModule) fn(name string, params, results, locals []byte, code ...[]byte) int {
	i := m.declare(m.typ(params, results))
	m.body(locals, code...)
	if name != "" {
		m.export(name, 0, i)
	}
	return i
}

func (m *wasmModule) export(name string, kind byte, index int) {
	m.exports.add(str(name), op(kind), uleb(uint64(index)))
}

func (m *wasmModule) memory(pages int) {
	m.memories.add(op(0), uleb(uint64(pages)))
	m.export("memory", 2, 0)
}

func (m *wasmModule) table(size int) int { return m.tables.add(op(tFuncref, 0), uleb(uint64(size))) }

func (m *wasmModule) global(typ byte, mutable bool, init []byte) int {
	mut := byte(0)
	if mutable {
		mut = 1
	}
	return m.globals.add(op(typ, mut), init, end)
}

func (m *wasmModule) custom(name string, b []byte) {
	m.customs = append(m.customs, section(0, cat(str(name), b))...)
}

func (m *wasmModule) bytes() []byte {
	var count []byte
	if m.data.n > 0 {
		count = section(12, uleb(uint64(m.data.n)))
	}
	var start []byte
	if m.start != nil {
		start = section(8, m.start)
	}
	return cat([]byte("\x00asm\x01\x00\x00\x00"),
		m.types.section(1), m.imports.section(2), m.funcs.section(3), m.tables.section(4), m.memories.section(5),
		m.globals.section(6), m.exports.section(7), start, m.elems.section(9), count, m.code.section(10), m.data.section(11),
		m.customs)
}
