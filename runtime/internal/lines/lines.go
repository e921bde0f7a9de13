// Package lines finds the source line of an address in WebAssembly code. It
// reads the line tables that compilers write into the custom sections .debug_line
// and those it refers to (DWARF 2 to 5, 32-bit), and nothing else of DWARF. The
// sections are input like any other: reading them takes time and memory in
// proportion to their size, up to a limit, and never fails; what makes no sense
// is left out.
//
// https://dwarfstd.org/doc/DWARF5.pdf, section 6.2
package lines

import (
	"cmp"
	"slices"
)

// Sections are the contents of the custom sections of those names.
type Sections struct {
	Line    []byte // .debug_line
	LineStr []byte // .debug_line_str
	Str     []byte // .debug_str
}

// Limits of a table. What is beyond them is left out.
const (
	rowsMax  = 1 << 19
	filesMax = 1 << 14
	nameMax  = 256 // bytes of a file's name; its end is kept
)

// row says that the code from addr to the next row's is of this line.
type row struct {
	addr uint32
	line uint32 // 0 where no code follows, or none of any line
	file uint32 // of the table
}

// Table maps addresses to lines. It is safe for concurrent use.
type Table struct {
	rows  []row
	files []string
}

// Read reads the tables. It keeps none of the sections.
func Read(s Sections) *Table {
	t := new(Table)
	r := &reader{b: s.Line}
	for r.left() >= 4 && len(t.rows) < rowsMax {
		n := r.u32()
		if n >= 0xfffffff0 || uint64(n) > uint64(r.left()) { // 64-bit, or cut off
			break
		}
		u := unit{r: reader{b: r.bytes(int(n))}, s: s, t: t}
		u.read()
	}
	slices.SortStableFunc(t.rows, func(a, b row) int {
		// An end stands before what begins there.
		return cmp.Or(cmp.Compare(a.addr, b.addr), cmp.Compare(min(a.line, 1), min(b.line, 1)))
	})
	return t
}

// Find returns the file and line of the code at an address: an offset in the
// code section's content.
func (t *Table) Find(addr uint32) (file string, line int, ok bool) {
	i, _ := slices.BinarySearchFunc(t.rows, addr, func(r row, addr uint32) int {
		if r.addr <= addr {
			return -1
		}
		return 1
	})
	if i == 0 || t.rows[i-1].line == 0 {
		return "", 0, false
	}
	r := t.rows[i-1]
	return t.files[r.file], int(r.line), true
}
