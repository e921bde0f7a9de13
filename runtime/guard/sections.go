package guard

import "github.com/klamm-io/klamm/sdk/abi"

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
			c.p.addf("byte %d: unknown section %d", start, id)
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
		c.m.dataSaid = int(r.u32())
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
		if form := r.byte(); r.err == nil && form != 0x60 {
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
			r.failf("unknown value type 0x%02x", t)
			return ""
		}
	}
	return string(b)
}

func (c *checker) valueType(r *reader) ValueType {
	t := ValueType(r.byte())
	if r.err == nil && !t.known() {
		r.failf("unknown value type 0x%02x", byte(t))
	}
	return t
}

func (c *checker) refType(r *reader) {
	if t := c.valueType(r); r.err == nil && t != FuncRef && t != ExternRef {
		r.failf("%s is no reference type", valueTypeNames[t])
	}
}

func (c *checker) imports(r *reader) {
	for range r.count("imports", 4, c.l.Imports) {
		im := Import{Module: r.name(c.l.NameLength), Name: r.name(c.l.NameLength), Kind: Kind(r.byte())}
		switch {
		case r.err != nil:
			return
		case im.Kind == KindFunc:
			t := r.u32()
			if r.err == nil && uint64(t) >= uint64(len(c.m.Types)) {
				r.failf("import %q.%q: type %d of %d", im.Module, im.Name, t, len(c.m.Types))
				return
			}
			if r.err != nil {
				return
			}
			im.Type = c.m.Types[t]
			c.m.funcs = append(c.m.funcs, t)
			c.m.imported++
		case im.Kind == KindTable:
			c.refType(r)
			c.limits(r, "table")
			c.m.tables++
		case im.Kind == KindMemory:
			c.limits(r, "memory")
			c.m.memories++
		case im.Kind == KindGlobal:
			c.valueType(r)
			c.mutability(r)
			c.m.globals++
		default:
			r.failf("import %q.%q: unknown kind %d", im.Module, im.Name, im.Kind)
		}
		if r.err != nil {
			return
		}
		c.m.Imports = append(c.m.Imports, im)
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
	flag := r.byte()
	if r.err == nil && flag > 1 {
		r.failf("%s with limits of kind %d; shared and 64-bit ones are not enabled", what, flag)
	}
	least = r.u32()
	if flag == 1 {
		most, hasMax = r.u32(), true
		if r.err == nil && most < least {
			r.failf("%s of at least %d and at most %d", what, least, most)
		}
	}
	return least, most, hasMax
}

func (c *checker) tables(r *reader) {
	for range r.count("tables", 3, c.l.Tables) {
		c.refType(r)
		least, _, _ := c.limits(r, "table")
		if r.err != nil {
			return
		}
		c.m.tables++
		if c.tableItems += int(least); c.tableItems > c.l.TableElements {
			r.failf("tables of %d elements, the limit is %d", c.tableItems, c.l.TableElements)
			return
		}
	}
}

func (c *checker) memories(r *reader) {
	n := r.count("memories", 2, 1)
	for range n {
		least, most, hasMax := c.limits(r, "memory")
		if r.err != nil {
			return
		}
		const pagesOf32Bits = 1 << 16
		if least > pagesOf32Bits || most > pagesOf32Bits {
			r.failf("memory of more than %d pages", pagesOf32Bits)
			return
		}
		c.m.memories++
		c.m.Memory = Memory{Min: least, Max: most, HasMax: hasMax}
		if uint64(least) > uint64(c.l.MemoryPages) {
			c.p.addf("the memory starts with %d pages (%d KiB), the limit is %d pages", least, least*64, c.l.MemoryPages)
		}
	}
}

func (c *checker) mutability(r *reader) {
	if mut := r.byte(); r.err == nil && mut > 1 {
		r.failf("global with mutability %d", mut)
	}
}

func (c *checker) globals(r *reader) {
	for range r.count("globals", 4, c.l.Globals) {
		c.valueType(r)
		c.mutability(r)
		c.constExpr(r)
		if r.err != nil {
			return
		}
		c.m.globals++
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
		have := [...]int{len(c.m.funcs), c.m.tables, c.m.memories, c.m.globals}[e.Kind]
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
