package meter

import (
	"bytes"
	"fmt"
	"strings"
)

const preambleSize = 8

// Section ids, as encoded.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
)

var sectionNames = [...]string{
	"custom", "type", "import", "function", "table", "memory", "global",
	"export", "start", "element", "code", "data", "data count",
}

// sectionOrder is a section's place: data count stands before code.
var sectionOrder = [...]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 10}

// Kinds of imports and exports.
const (
	kindFunc = iota
	kindTable
	kindMemory
	kindGlobal
)

type section struct {
	id   byte
	body reader
	name string // of custom sections
}

// funcType holds views of the module.
type funcType struct{ params, results []byte }

// module is a module being rewritten: what survey found, then what write needs.
type module struct {
	o   Options
	in  []byte
	out []byte
	res Result

	sections    []section
	types       []funcType
	imported    uint32 // functions
	importTypes []uint32
	funcs       []uint32 // type of each function of the module itself
	declared    []bool   // functions that code may take references to
	tables      []byte   // element type of each table
	memories    int
	globals     uint32
	startFunc   uint32
	elems       []uint32 // items of each element segment
	data        []uint32 // bytes of each data segment
	dataSaid    uint32   // by the data count section
	hasData     bool     // there is one
	bodies      int
	names       []nameSection // nil without a section "name"

	helpers     map[helper]uint32 // to the function's number
	helperList  []helper
	helperTypes []uint32
	added       map[string]uint32 // encoded types to their numbers
	addedTypes  []byte
	code        []byte // rewritten bodies
	body        []byte // the one being rewritten
	scan        scanner
	offsets     offsets
	debugSize   int
}

// survey reads everything but code, so that write knows what is where.
func (m *module) survey() error {
	r := reader{b: m.in, p: preambleSize}
	last := 0
	for r.left() > 0 {
		id := r.byte()
		if int(id) >= len(sectionNames) {
			if id == 13 {
				return fmt.Errorf("section tag: exception handling is not supported")
			}
			return fmt.Errorf("byte %d: unknown section %d", r.p-1, id)
		}
		body := r.sub(r.u32())
		if r.err != nil {
			return fmt.Errorf("section %s: %w", sectionNames[id], r.err)
		}
		if id != secCustom {
			if sectionOrder[id] <= last {
				return fmt.Errorf("section %s is out of order or stands twice", sectionNames[id])
			}
			last = sectionOrder[id]
		}
		s := section{id: id, body: body}
		if m.surveySection(&s, &body); body.err != nil {
			return fmt.Errorf("section %s: %w", sectionNames[id], body.err)
		}
		m.sections = append(m.sections, s)
	}
	return m.consistent()
}

func (m *module) consistent() error {
	if len(m.funcs) != m.bodies {
		return fmt.Errorf("%d functions declared, %d bodies given", len(m.funcs), m.bodies)
	}
	if m.hasData && int64(m.dataSaid) != int64(len(m.data)) {
		return fmt.Errorf("%d data segments announced, %d given", m.dataSaid, len(m.data))
	}
	return nil
}

func (m *module) surveySection(s *section, r *reader) {
	switch s.id {
	case secCustom:
		s.name = string(r.name())
		s.body.p = r.p
		switch s.name {
		case "name":
			m.surveyNames(r)
		case debugLine, debugLineStr, debugStr:
			m.surveyDebug(s.name, r)
		}
		return
	case secType:
		m.surveyTypes(r)
	case secImport:
		m.surveyImports(r)
	case secFunction:
		m.surveyFunctions(r)
	case secTable:
		for range r.count("tables", 3) {
			m.surveyTable(r)
		}
	case secMemory:
		for range r.count("memories", 2) {
			m.surveyMemory(r)
		}
	case secGlobal:
		m.surveyGlobals(r)
	case secExport:
		m.surveyExports(r)
	case secStart:
		m.surveyStart(r)
	case secElement:
		for range r.count("element segments", 2) {
			m.elems = append(m.elems, m.element(r, nil))
			if r.err != nil {
				return
			}
		}
	case secDataCount:
		m.dataSaid, m.hasData = r.u32(), true
	case secCode:
		m.bodies = r.count("bodies", 3)
		return // write reads it
	case secData:
		m.surveyData(r)
	}
	r.done()
}

func (m *module) surveyTypes(r *reader) {
	for range r.count("types", 3) {
		if form := r.byte(); form != 0x60 {
			r.failf("type form 0x%02x; garbage collection types are not supported", form)
		}
		t := funcType{params: valueTypes(r), results: valueTypes(r)}
		if r.err != nil {
			return
		}
		m.types = append(m.types, t)
	}
}

func valueTypes(r *reader) []byte {
	b := r.bytes(uint32(r.count("value types", 1)))
	for _, c := range b {
		if !isValueType(c) {
			r.failf("unknown value type 0x%02x", c)
			return nil
		}
	}
	return b
}

func valueType(r *reader) byte {
	c := r.byte()
	if !isValueType(c) {
		r.failf("unknown value type 0x%02x", c)
	}
	return c
}

func refType(r *reader) byte {
	c := r.byte()
	if !isRefType(c) {
		r.failf("reference type 0x%02x; typed function references are not supported", c)
	}
	return c
}

func (m *module) typeIndex(r *reader) uint32 {
	t := r.u32()
	if uint64(t) >= uint64(len(m.types)) {
		r.failf("type %d, there are %d", t, len(m.types))
		return 0
	}
	return t
}

func (m *module) surveyImports(r *reader) {
	for range r.count("imports", 4) {
		mod, name, kind := r.name(), r.name(), r.byte()
		if r.err == nil && (string(mod) == YieldModule && string(name) == YieldName || reserved(name)) {
			r.failf("import %q.%q: the name is reserved for the host", mod, name)
		}
		switch kind {
		case kindFunc:
			m.importTypes = append(m.importTypes, m.typeIndex(r))
			m.imported++
		case kindTable:
			m.surveyTable(r)
		case kindMemory:
			m.surveyMemory(r)
		case kindGlobal:
			valueType(r)
			mutability(r)
			m.globals++
		default:
			r.failf("import %q.%q: unknown kind %d", mod, name, kind)
		}
		if r.err != nil {
			return
		}
	}
}

func reserved(name []byte) bool { return bytes.HasPrefix(name, []byte(reservedPrefix)) }

func (m *module) surveyFunctions(r *reader) {
	n := r.count("functions", 1)
	m.funcs = make([]uint32, 0, n)
	for range n {
		t := m.typeIndex(r)
		if r.err != nil {
			return
		}
		m.funcs = append(m.funcs, t)
	}
}

// limits steps over a table's or memory's sizes.
func limits(r *reader) {
	flag := r.byte()
	if flag > 1 {
		r.failf("limits of kind %d; shared and 64-bit memories are not supported", flag)
		return
	}
	r.u32()
	if flag == 1 {
		r.u32()
	}
}

func (m *module) surveyTable(r *reader) {
	m.tables = append(m.tables, refType(r))
	limits(r)
}

func (m *module) surveyMemory(r *reader) {
	limits(r)
	if m.memories++; m.memories > 1 {
		r.failf("multiple memories are not supported")
	}
}

func mutability(r *reader) (mutable bool) {
	mut := r.byte()
	if mut > 1 {
		r.failf("global with mutability %d", mut)
	}
	return mut == 1
}

func (m *module) surveyGlobals(r *reader) {
	for range r.count("globals", 4) {
		t, mutable := valueType(r), mutability(r)
		m.constExpr(r, nil)
		if r.err != nil {
			return
		}
		if mutable {
			m.res.Globals = append(m.res.Globals, Global{Index: m.globals, Name: fmt.Sprint(GlobalPrefix, m.globals), Type: t})
		}
		m.globals++
	}
}

func (m *module) surveyExports(r *reader) {
	for range r.count("exports", 3) {
		name, kind, index := r.name(), r.byte(), r.u32()
		if r.err == nil && reserved(name) {
			r.failf("export %q: the name is reserved for the host", name)
		}
		if kind > kindGlobal {
			r.failf("export %q: unknown kind %d", name, kind)
		}
		if r.err != nil {
			return
		}
		have := [...]int{int(m.imported) + len(m.funcs), len(m.tables), m.memories, int(m.globals)}[kind]
		if uint64(index) >= uint64(have) {
			r.failf("export %q: number %d, there are %d", name, index, have)
			return
		}
		if kind == kindFunc {
			m.declare(index)
		}
	}
}

// surveyStart checks the start function's type, as an export may have any.
func (m *module) surveyStart(r *reader) {
	m.startFunc = m.funcIndex(r)
	m.res.HasStart = r.err == nil
	if r.err != nil {
		return
	}
	if t := m.typeOfFunc(m.startFunc); len(t.params)+len(t.results) > 0 {
		r.failf("start function with %d parameters and %d results", len(t.params), len(t.results))
	}
}

func (m *module) surveyData(r *reader) {
	for range r.count("data segments", 2) {
		switch flags := r.u32(); {
		case flags > 2:
			r.failf("data segment with flags %d", flags)
		case flags != 1:
			if flags == 2 && r.u32() != 0 {
				r.failf("multiple memories are not supported")
			}
			m.constExpr(r, nil)
		}
		n := r.u32()
		r.bytes(n)
		if r.err != nil {
			return
		}
		m.data = append(m.data, n)
	}
}

// declare notes that code may take a reference to the function. The export of
// the start function must not let it take one that it could not take before.
func (m *module) declare(fn uint32) {
	if m.declared == nil {
		m.declared = make([]bool, int(m.imported)+len(m.funcs))
	}
	m.declared[fn] = true
}

// typeOfFunc returns the type of a function by its old number.
func (m *module) typeOfFunc(fn uint32) funcType {
	if fn < m.imported {
		return m.types[m.importTypes[fn]]
	}
	return m.types[m.funcs[fn-m.imported]]
}

// funcIndex reads a function's number and returns it.
func (m *module) funcIndex(r *reader) uint32 {
	fn := r.u32()
	if uint64(fn) >= uint64(m.imported)+uint64(len(m.funcs)) {
		r.failf("function %d, there are %d", fn, int(m.imported)+len(m.funcs))
		return 0
	}
	return fn
}

// renumber returns the number that function fn has afterwards.
func (m *module) renumber(fn uint32) uint32 {
	if fn >= m.imported {
		return fn + 1
	}
	return fn
}

// dropped reports whether a custom section is left out: it would speak about
// code that has moved.
func dropped(name string) bool {
	return strings.HasPrefix(name, ".debug_") || strings.HasPrefix(name, "reloc.") ||
		name == "linking" || name == "sourceMappingURL" || name == "external_debug_info"
}
