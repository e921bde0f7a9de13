package guard

import "strings"

// ValueType is a WebAssembly value type, as encoded.
type ValueType byte

// The value types of the engine's features.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	F32       ValueType = 0x7d
	F64       ValueType = 0x7c
	V128      ValueType = 0x7b
	FuncRef   ValueType = 0x70
	ExternRef ValueType = 0x6f
)

var valueTypeNames = map[ValueType]string{
	I32: "i32", I64: "i64", F32: "f32", F64: "f64", V128: "v128", FuncRef: "funcref", ExternRef: "externref",
}

func (t ValueType) known() bool { return valueTypeNames[t] != "" }

// FuncType is a function's type. Params and Results hold one ValueType in each
// byte, so that types compare with ==.
type FuncType struct{ Params, Results string }

// String writes the type as "(i32, i64) -> i32".
func (t FuncType) String() string { return typeList(t.Params) + " -> " + typeList(t.Results) }

func typeList(s string) string {
	names := make([]string, len(s))
	for i := range len(s) {
		if names[i] = valueTypeNames[ValueType(s[i])]; s[i] == byte(unknown) {
			names[i] = "any"
		}
	}
	if len(names) == 1 {
		return names[0]
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// Kind is what an import or export is.
type Kind byte

// The kinds, as encoded.
const (
	KindFunc Kind = iota
	KindTable
	KindMemory
	KindGlobal
)

func (k Kind) String() string {
	return [...]string{"function", "table", "memory", "global"}[k]
}

// Import is one import. Type is set for functions of a known type.
type Import struct {
	Module, Name string
	Kind         Kind
	Type         FuncType
}

// Export is one export.
type Export struct {
	Name  string
	Kind  Kind
	Index uint32
}

// Memory is the size that the module's memory declares, in pages.
type Memory struct {
	Min    uint32
	Max    uint32
	HasMax bool
}

type global struct {
	typ     ValueType
	mutable bool
}

// Module is what guard learnt of a module.
type Module struct {
	Types    []FuncType
	Imports  []Import
	Exports  []Export
	Memory   Memory
	HasStart bool
	// Manifest is the content of the custom section klamm.manifest, a view of the
	// module's bytes; nil when there is none.
	Manifest []byte

	funcs    []uint32 // type index of each function, imported ones first
	tables   []ValueType
	globals  []global // imported ones first
	elements []ValueType
	memories int
	code     int // bodies
	data     int // segments
	dataSaid int // by the data count section, -1 without one
	imported int // functions
	foreign  int // globals that are imported
	hasName  bool
	byName   map[string]int
}

// Func returns the type of the exported function of that name.
func (m *Module) Func(name string) (FuncType, bool) {
	i, ok := m.byName[name]
	if !ok || m.Exports[i].Kind != KindFunc {
		return FuncType{}, false
	}
	return m.typeOf(m.Exports[i].Index)
}

func (m *Module) typeOf(fn uint32) (FuncType, bool) {
	if uint64(fn) >= uint64(len(m.funcs)) || uint64(m.funcs[fn]) >= uint64(len(m.Types)) {
		return FuncType{}, false
	}
	return m.Types[m.funcs[fn]], true
}
