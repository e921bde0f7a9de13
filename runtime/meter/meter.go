package meter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// The import that is added, of type () -> ().
const (
	YieldModule = "klamm"
	YieldName   = "yield"
)

// Names of the exports that are added. All start with "__klamm", which a module
// must not use itself.
const (
	// FuelExport is a mutable i64 global: the fuel left.
	FuelExport = "__klamm_fuel"
	// DepthExport is a mutable i32 global: how much deeper calls may nest, in
	// units of about 128 bytes of stack. It is below zero after that trap only.
	DepthExport = "__klamm_depth"
	// StartExport is the module's start function, if it has one.
	StartExport = "__klamm_start"
	// GlobalPrefix and a number are the module's mutable global of that number.
	GlobalPrefix = "__klamm_g"

	reservedPrefix = "__klamm"
)

// Options change how a module is metered. The zero value of a field stands for
// its default.
type Options struct {
	// Slice is the fuel that a new instance starts with, in units of about one
	// instruction. 1,000,000.
	Slice int64
	// Depth is what DepthExport starts with. 65,536: 8 MiB of stack, or 65,536
	// calls of small functions in each other.
	Depth int32
	// TableElements is the size that no table grows beyond; table.grow answers
	// -1. 65,536.
	TableElements uint32
	// Off leaves the code as it is: nothing is charged or bounded, tables grow as
	// they will. Globals and exports are added all the same. It is for
	// benchmarks of what metering costs.
	Off bool
}

func (o Options) withDefaults() Options {
	if o.Slice == 0 {
		o.Slice = 1_000_000
	}
	if o.Depth == 0 {
		o.Depth = 1 << 16
	}
	if o.TableElements == 0 {
		o.TableElements = 1 << 16
	}
	return o
}

// Global is a mutable global of the module.
type Global struct {
	Index uint32
	Name  string // of its export
	Type  byte   // value type, as encoded
}

// Result is a metered module and what was learnt about it.
type Result struct {
	Wasm []byte
	// HasStart says that StartExport is there and must be called first.
	HasStart bool
	// Globals are the module's own mutable globals, by number. Imported ones are
	// not among them.
	Globals []Global
	// GrowsMemory says that there is a memory.grow.
	GrowsMemory bool
	// ChangesTables says that there is an instruction that writes to a table.
	ChangesTables bool
	// DropsSegments says that there is a data.drop or elem.drop.
	DropsSegments bool
	// Debug are custom sections with line tables and what these refer to, by name,
	// nil if there are none or they are large. Offsets lead from the metered code to
	// the code that they speak of.
	Debug   map[string][]byte
	Offsets Offsets
	// Checks is the number of places that charge fuel.
	Checks int
	// Added is the number of bytes that the module became longer by.
	Added int
}

// maxSize keeps every position and count within 32 bits.
const maxSize = 1 << 28

// Rewrite returns wasm metered. It takes time and memory in proportion to the
// module, and never panics. The error names the first thing that it does not
// know or must refuse; a module that guard has accepted has errors in its code
// only. Result does not share memory with wasm.
func Rewrite(wasm []byte, o Options) (*Result, error) {
	switch {
	case len(wasm) > maxSize:
		return nil, fmt.Errorf("meter: module of %d bytes, the limit is %d", len(wasm), maxSize)
	case len(wasm) < preambleSize || !bytes.HasPrefix(wasm, []byte("\x00asm")) || binary.LittleEndian.Uint32(wasm[4:]) != 1:
		return nil, fmt.Errorf("meter: this is no WebAssembly module of version 1")
	}
	o = o.withDefaults()
	if o.Slice < 0 || o.Slice > math.MaxInt64/2 || o.Depth < 0 {
		return nil, fmt.Errorf("meter: slice of %d, depth of %d", o.Slice, o.Depth)
	}
	m := &module{o: o, in: wasm, helpers: map[helper]uint32{}, added: map[string]uint32{}}
	if err := m.survey(); err != nil {
		return nil, fmt.Errorf("meter: %w", err)
	}
	if err := m.write(); err != nil {
		return nil, fmt.Errorf("meter: %w", err)
	}
	m.res.Wasm = m.out
	m.res.Added = len(m.out) - len(wasm)
	return &m.res, nil
}
