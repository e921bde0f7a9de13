package guard

import (
	"strconv"
	"strings"

	"github.com/klamm-io/klamm/sdk/abi"
)

// contract checks imports and exports against the ABI. whole says that the
// structure was read to its end; else only what was seen is judged.
func (c *checker) contract(whole bool) {
	for _, im := range c.m.Imports {
		c.importRule(im)
	}
	for _, e := range c.m.Exports {
		c.exportRule(e)
	}
	if whole {
		c.missing()
	}
}

func (c *checker) importRule(im Import) {
	if im.Kind != KindFunc {
		c.p.addf("import %q.%q is a %s; a plugin may import functions only", im.Module, im.Name, im.Kind)
		return
	}
	functions, known := HostFunctions[im.Module]
	if !known {
		c.p.addf("import %q.%q: unknown module; a plugin may import from %q and %q%s",
			im.Module, im.Name, abi.ImportModule, WASIModule, importHint(im))
		return
	}
	want, known := functions[im.Name]
	switch {
	case reserved(im.Name) || im.Module == abi.ImportModule && im.Name == "yield":
		c.p.addf("import %q.%q: the name is reserved for the host", im.Module, im.Name)
	case !known:
		c.p.addf("import %q.%q: the host has no such function", im.Module, im.Name)
	case im.Type != want:
		c.p.addf("import %q.%q has type %s, must be %s", im.Module, im.Name, im.Type, want)
	}
}

// importHint tells where an import of a module that we do not have comes from.
func importHint(im Import) string {
	switch {
	case im.Module == "gojs" || im.Module == "go":
		return " (built with GOOS=js; use GOOS=wasip1)"
	case im.Module == "wasi_unstable":
		return " (an old WASI; use a compiler for wasip1)"
	case strings.HasPrefix(im.Module, "wasi:"):
		return " (WASI preview 2; build for wasip1)"
	case im.Module == "env" && im.Name == "abort":
		return " (AssemblyScript: build with --use abort=)"
	case im.Module == "env":
		return " (the linker leaves undefined symbols to env; define or link it)"
	case strings.HasPrefix(im.Module, "__wbindgen"):
		return " (built for a browser; use the target wasm32-unknown-unknown without wasm-bindgen)"
	}
	return ""
}

func (c *checker) exportRule(e Export) {
	if v, isMarker := strings.CutPrefix(e.Name, abi.MarkerPrefix); isMarker && e.Name != abi.ExportMarker {
		c.p.addf("export %q: the plugin was built for version %q of the ABI, this host speaks version %d", e.Name, v, abi.Major)
		return
	}
	if reserved(e.Name) {
		c.p.addf("export %q: the name is reserved for the host", e.Name)
		return
	}
	if e.Name == abi.ExportMemory && e.Kind != KindMemory {
		c.p.addf("export %q is a %s, must be a memory", e.Name, e.Kind)
		return
	}
	want, known := exportTypes[e.Name]
	if !known {
		return
	}
	if e.Kind != KindFunc {
		c.p.addf("export %q is a %s, must be a function", e.Name, e.Kind)
		return
	}
	if have, ok := c.m.typeOf(e.Index); ok && have != want {
		c.p.addf("export %q has type %s, must be %s", e.Name, have, want)
	}
}

func reserved(name string) bool {
	return strings.HasPrefix(name, abi.ReservedPrefix) || strings.HasPrefix(name, abi.ReservedPrefix2)
}

// missing reports what a plugin must have and this module has not.
func (c *checker) missing() {
	if _, ok := c.m.byName["_start"]; ok && c.m.Hooks() == 0 {
		c.p.addf(`export "_start": this is a program, not a plugin; build a reactor (for Go: -buildmode=c-shared)`)
	}
	if !c.has(abi.ExportMarker) && !c.otherVersion() {
		c.p.addf("export %q is missing: it marks a module as a Klamm plugin", abi.ExportMarker)
	}
	if !c.has(abi.ExportMemory) {
		c.p.addf("export %q is missing: records are passed in it", abi.ExportMemory)
	}
	for _, name := range demanded {
		if !c.has(name) {
			c.p.addf("export %q is missing", name)
		}
	}
	if c.m.Hooks() == 0 {
		names := make([]string, abi.HookCount)
		for h := range abi.Hook(abi.HookCount) {
			names[h] = strconv.Quote(h.Export())
		}
		c.p.addf("no hook: export at least one of %s", strings.Join(names, ", "))
	}
}

func (c *checker) has(name string) bool {
	_, ok := c.m.byName[name]
	return ok
}

func (c *checker) otherVersion() bool {
	for _, e := range c.m.Exports {
		if strings.HasPrefix(e.Name, abi.MarkerPrefix) {
			return true
		}
	}
	return false
}

// Hooks returns the hooks that the module exports.
func (m *Module) Hooks() abi.HookMask {
	var hooks abi.HookMask
	for h := range abi.Hook(abi.HookCount) {
		if _, ok := m.Func(h.Export()); ok {
			hooks |= h.Mask()
		}
	}
	return hooks
}
