package guard

import (
	"fmt"

	"github.com/klamm-io/klamm/sdk/abi"
)

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

// sections reads all sections and reports whether it got to the end.
func (c *checker) sections(wasm []byte) bool {
	r := reader{b: wasm, pos: preambleSize, end: len(wasm)}
	last := 0
	for r.left() > 0 {
		start := r.pos
		id := r.byte()
		if int(id) >= len(sectionNames) {
			if feature := sectionFeature(id); feature != "" {
				c.p.addf("byte %d: %v", start, notEnabled(fmt.Sprintf("section %d", id), feature))
			} else {
				c.p.addf("byte %d: unknown section %d", start, id)
			}
			return false
		}
		body := r.sub(r.u32())
		if r.err != nil {
			c.p.addf("section %s: %v", sectionNames[id], r.err)
			return false
		}
		if id != secCustom {
			if sectionOrder[id] <= last {
				c.p.addf("byte %d: section %s is out of order or stands twice", start, sectionNames[id])
				return false
			}
			last = sectionOrder[id]
		}
		if c.section(id, &body); body.err == nil && body.left() > 0 {
			body.failf("%d bytes too many", body.left())
		}
		if body.err != nil {
			c.p.addf("section %s: %v", sectionNames[id], body.err)
			return false
		}
	}
	return c.consistent()
}

func (c *checker) section(id byte, r *reader) {
	switch id {
	case secCustom:
		c.custom(r)
	case secType:
		c.types(r)
	case secImport:
		c.imports(r)
	case secFunction:
		c.functions(r)
	case secTable:
		c.tables(r)
	case secMemory:
		c.memories(r)
	case secGlobal:
		c.globals(r)
	case secExport:
		c.exports(r)
	case secStart:
		c.start(r)
	case secElement:
		c.elements(r)
	case secCode:
		c.code(r)
	case secData:
		c.data(r)
	case secDataCount:
		if n := r.u32(); r.err == nil && int64(n) > int64(c.l.Data) {
			r.failf("%d data segments announced, the limit is %d", n, c.l.Data)
		} else {
			c.m.dataSaid = int(n)
		}
	}
}

// consistent compares sections that must agree.
func (c *checker) consistent() bool {
	ok := true
	if declared := len(c.m.funcs) - c.m.imported; declared != c.m.code {
		c.p.addf("%d functions declared, %d bodies given", declared, c.m.code)
		ok = false
	}
	if c.m.dataSaid >= 0 && c.m.dataSaid != c.m.data {
		c.p.addf("%d data segments announced, %d given", c.m.dataSaid, c.m.data)
		ok = false
	}
	return ok
}

func (c *checker) custom(r *reader) {
	if c.customs++; c.customs > c.l.Customs {
		r.failf("more than %d custom sections", c.l.Customs)
		return
	}
	name := r.name(c.l.NameLength)
	if r.err != nil {
		return
	}
	switch name {
	case "name":
		if c.m.hasName {
			r.failf("custom section name stands twice")
			return
		}
		c.m.hasName = true
		c.names(r)
	case abi.ManifestSection:
		if c.m.Manifest != nil {
			c.p.addf("custom section %s stands twice", abi.ManifestSection)
		}
		c.m.Manifest = r.b[r.pos:r.end]
	}
	if r.err == nil {
		r.pos = r.end
	}
}

func (c *checker) types(r *reader) {
	for range r.count("types", 3, c.l.Types) {
		switch form := r.byte(); {
		case r.err != nil || form == 0x60:
		case formFeature(form) != "":
			r.fail(notEnabled(fmt.Sprintf("type form 0x%02x", form), formFeature(form)))
		default:
			r.failf("type form 0x%02x; only functions (0x60) are known", form)
		}
		t := FuncType{Params: c.valueTypes(r, "parameters"), Results: c.valueTypes(r, "results")}
		if r.err != nil {
			return
		}
		c.m.Types = append(c.m.Types, t)
	}
}

func (c *checker) valueTypes(r *reader, what string) string {
	n := r.count(what, 1, c.l.Params)
	b := r.bytes(uint32(n))
	for _, t := range b {
		if !ValueType(t).known() {
			unknownType(r, t)
			return ""
		}
	}
	return string(b)
}

func (c *checker) valueType(r *reader) ValueType {
	t := ValueType(r.byte())
	if r.err == nil && !t.known() {
		unknownType(r, byte(t))
	}
	return t
}

func unknownType(r *reader, t byte) {
	if feature := typeFeature(t); feature != "" {
		r.fail(notEnabled(fmt.Sprintf("value type 0x%02x", t), feature))
		return
	}
	r.failf("unknown value type 0x%02x", t)
}

func (c *checker) refType(r *reader) ValueType {
	t := c.valueType(r)
	if r.err == nil && t != FuncRef && t != ExternRef {
		r.failf("%s is no reference type", valueTypeNames[t])
	}
	return t
}

func (c *checker) imports(r *reader) {
	for range r.count("imports", 4, c.l.Imports) {
		im := Import{Module: r.name(c.l.NameLength), Name: r.name(c.l.NameLength), Kind: Kind(r.byte())}
		if r.err != nil {
			return
		}
		if c.importDesc(r, &im); r.err != nil {
			return
		}
		c.m.Imports = append(c.m.Imports, im)
	}
}

func (c *checker) importDesc(r *reader, im *Import) {
	const kindTag = 4
	switch im.Kind {
	case KindFunc:
		t := r.u32()
		if r.err == nil && uint64(t) >= uint64(len(c.m.Types)) {
			r.failf("import %q.%q: type %d of %d", im.Module, im.Name, t, len(c.m.Types))
		}
		if r.err != nil {
			return
		}
		im.Type = c.m.Types[t]
		c.m.funcs = append(c.m.funcs, t)
		c.m.imported++
	case KindTable:
		c.table(r)
	case KindMemory:
		c.memory(r)
	case KindGlobal:
		c.m.globals = append(c.m.globals, c.globalType(r))
		c.m.foreign++
	case kindTag:
		r.fail(notEnabled(fmt.Sprintf("import %q.%q of a tag", im.Module, im.Name), exceptions))
	default:
		r.failf("import %q.%q: unknown kind %d", im.Module, im.Name, im.Kind)
	}
}

func (c *checker) functions(r *reader) {
	n := r.count("functions", 1, c.l.Functions)
	if r.err != nil {
		return
	}
	c.m.funcs = append(make([]uint32, 0, len(c.m.funcs)+n), c.m.funcs...)
	for range n {
		t := r.u32()
		if r.err == nil && uint64(t) >= uint64(len(c.m.Types)) {
			r.failf("function of type %d, there are %d types", t, len(c.m.Types))
		}
		if r.err != nil {
			return
		}
		c.m.funcs = append(c.m.funcs, t)
	}
}

// limits reads a table's or memory's least and largest size.
func (c *checker) limits(r *reader, what string) (least, most uint32, hasMax bool) {
	switch kind := r.byte(); {
	case r.err != nil || kind <= 1:
		hasMax = kind == 1
	case limitsFeature(kind) != "":
		r.fail(notEnabled(fmt.Sprintf("a %s with limits of kind %d", what, kind), limitsFeature(kind)))
	default:
		r.failf("%s with limits of kind %d", what, kind)
	}
	least = r.u32()
	if hasMax {
		most = r.u32()
		if r.err == nil && most < least {
			r.failf("%s of at least %d and at most %d", what, least, most)
		}
	}
	return least, most, hasMax
}

func (c *checker) tables(r *reader) {
	for range r.count("tables", 3, c.l.Tables) {
		if c.table(r); r.err != nil {
			return
		}
	}
}

func (c *checker) table(r *reader) {
	const withInit = 0x40
	if r.left() > 0 && r.b[r.pos] == withInit {
		r.fail(notEnabled("a table with an initial value", typedFuncRefs))
		return
	}
	t := c.refType(r)
	least, _, _ := c.limits(r, "table")
	if r.err != nil {
		return
	}
	c.m.tables = append(c.m.tables, t)
	if c.tableItems += int(least); c.tableItems > c.l.TableElements {
		r.failf("tables of %d elements, the limit is %d", c.tableItems, c.l.TableElements)
	}
}

func (c *checker) memories(r *reader) {
	for range r.count("memories", 2, 1<<16) {
		if c.memory(r); r.err != nil {
			return
		}
	}
}

func (c *checker) memory(r *reader) {
	least, most, hasMax := c.limits(r, "memory")
	const pagesOf32Bits = 1 << 16
	switch {
	case r.err != nil:
		return
	case c.m.memories == 1:
		r.fail(notEnabled("a second memory", multiMemory))
		return
	case least > pagesOf32Bits || most > pagesOf32Bits:
		r.failf("memory of more than %d pages", pagesOf32Bits)
		return
	}
	c.m.memories = 1
	c.m.Memory = Memory{Min: least, Max: most, HasMax: hasMax}
	if uint64(least) > uint64(c.l.MemoryPages) {
		c.p.addf("the memory starts with %d pages (%d KiB), the limit is %d pages", least, least*64, c.l.MemoryPages)
	}
}

func (c *checker) globalType(r *reader) global {
	t, mut := c.valueType(r), r.byte()
	if r.err == nil && mut > 1 {
		r.failf("global with mutability %d", mut)
	}
	return global{t, mut == 1}
}

func (c *checker) globals(r *reader) {
	for range r.count("globals", 4, c.l.Globals) {
		g := c.globalType(r)
		c.constExpr(r, g.typ)
		if r.err != nil {
			return
		}
		c.m.globals = append(c.m.globals, g)
	}
}

func (c *checker) exports(r *reader) {
	for range r.count("exports", 3, c.l.Exports) {
		e := Export{Name: r.name(c.l.NameLength), Kind: Kind(r.byte()), Index: r.u32()}
		if r.err != nil {
			return
		}
		if e.Kind > KindGlobal {
			r.failf("export %q: unknown kind %d", e.Name, e.Kind)
			return
		}
		if e.Kind == KindFunc {
			c.declared.add(min(e.Index, uint32(len(c.m.funcs))))
		}
		have := [...]int{len(c.m.funcs), len(c.m.tables), c.m.memories, len(c.m.globals)}[e.Kind]
		if uint64(e.Index) >= uint64(have) {
			r.failf("export %q: %s %d, there are %d", e.Name, e.Kind, e.Index, have)
			return
		}
		if _, twice := c.m.byName[e.Name]; twice {
			r.failf("export %q stands twice", e.Name)
			return
		}
		c.m.byName[e.Name] = len(c.m.Exports)
		c.m.Exports = append(c.m.Exports, e)
	}
}

func (c *checker) start(r *reader) {
	fn := r.u32()
	if r.err != nil {
		return
	}
	t, ok := c.m.typeOf(fn)
	if !ok {
		r.failf("start function %d, there are %d functions", fn, len(c.m.funcs))
	} else if t != (FuncType{}) {
		r.failf("start function of type %s", t)
	}
	c.m.HasStart = true
}
