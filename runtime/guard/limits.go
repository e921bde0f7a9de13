package guard

import "time"

// Limits bound what a module may declare. The zero value of a field stands for
// its default.
type Limits struct {
	Size          int // bytes of the module; 16 MiB
	Types         int // 20,000
	Params        int // parameters, and results, of one function type; 256
	Imports       int // 1,000
	Functions     int // 100,000
	LocalsPerFunc int // declared locals of one function; 10,000
	Locals        int // declared locals of all functions; 4,000,000
	BodySize      int // bytes of one function; 512 KiB
	Nesting       int // blocks open at once in one function; 20,000
	Operands      int // values on the operand stack of one function; 10,000
	BranchTargets int // of one br_table; 100,000
	Tables        int // 16
	TableElements int // least elements of all tables; 1,000,000
	MemoryPages   int // pages of 64 KiB of the memory's least size; 1,024 (64 MiB)
	Globals       int // 10,000
	Exports       int // 10,000
	Elements      int // element segments; 10,000
	ElementItems  int // items of all element segments; 1,000,000
	Data          int // data segments; 100,000
	DataSize      int // bytes of all data segments; 16 MiB
	NameLength    int // bytes of an import's or export's name; 1,024
	Customs       int // custom sections; 1,000
	Names         int // entries of the name section; 1,000,000
	// CompileTime is the most that the compiler may take, by an estimate of what
	// grows faster than the module: jumps, and values alive where they meet. 5 s. On
	// a busy machine it takes up to three times as long.
	CompileTime time.Duration
}

// DefaultLimits returns the defaults.
func DefaultLimits() Limits {
	return Limits{
		Size:          16 << 20,
		Types:         20_000,
		Params:        256,
		Imports:       1_000,
		Functions:     100_000,
		LocalsPerFunc: 10_000,
		Locals:        4_000_000,
		BodySize:      512 << 10,
		Nesting:       20_000,
		Operands:      10_000,
		BranchTargets: 100_000,
		Tables:        16,
		TableElements: 1_000_000,
		MemoryPages:   1_024,
		Globals:       10_000,
		Exports:       10_000,
		Elements:      10_000,
		ElementItems:  1_000_000,
		Data:          100_000,
		DataSize:      16 << 20,
		NameLength:    1_024,
		Customs:       1_000,
		Names:         1_000_000,
		CompileTime:   5 * time.Second,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct {
		have *int
		def  int
	}{
		{&l.Size, d.Size}, {&l.Types, d.Types}, {&l.Params, d.Params}, {&l.Imports, d.Imports},
		{&l.Functions, d.Functions}, {&l.LocalsPerFunc, d.LocalsPerFunc}, {&l.Locals, d.Locals},
		{&l.BodySize, d.BodySize}, {&l.Tables, d.Tables}, {&l.TableElements, d.TableElements},
		{&l.MemoryPages, d.MemoryPages}, {&l.Globals, d.Globals}, {&l.Exports, d.Exports},
		{&l.Elements, d.Elements}, {&l.ElementItems, d.ElementItems}, {&l.Data, d.Data},
		{&l.NameLength, d.NameLength}, {&l.Nesting, d.Nesting}, {&l.Operands, d.Operands},
		{&l.BranchTargets, d.BranchTargets}, {&l.DataSize, d.DataSize}, {&l.Customs, d.Customs},
		{&l.Names, d.Names},
	} {
		if *f.have == 0 {
			*f.have = f.def
		}
	}
	if l.CompileTime == 0 {
		l.CompileTime = d.CompileTime
	}
	return l
}
