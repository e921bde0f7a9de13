package lines

import (
	"bytes"
	"debug/dwarf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"testing"
)

// customs returns the custom sections of a module.
func customs(t testing.TB, file string) map[string][]byte {
	t.Helper()
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for r := (reader{b: wasm, p: 8}); r.left() > 0; {
		id := r.u8()
		body := reader{b: r.bytes(int(r.uleb()))}
		if id == 0 {
			name := string(body.bytes(int(body.uleb())))
			out[name] = body.b[body.p:]
		}
	}
	return out
}

func sectionsOf(c map[string][]byte) Sections {
	return Sections{Line: c[".debug_line"], LineStr: c[".debug_line_str"], Str: c[".debug_str"]}
}

const fixture = "../../../testdata/faulty/faulty.wasm"

// Go's own reader of DWARF says the same of every address.
func TestAgainstDebugDWARF(t *testing.T) {
	c := customs(t, fixture)
	table := Read(sectionsOf(c))
	d, err := dwarf.New(c[".debug_abbrev"], nil, nil, c[".debug_info"], c[".debug_line"], nil, c[".debug_ranges"], c[".debug_str"])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".debug_line_str", ".debug_addr", ".debug_str_offsets", ".debug_rnglists"} {
		if c[name] != nil {
			if err := d.AddSection(name, c[name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	rows := 0
	for r := d.Reader(); ; {
		e, err := r.Next()
		if err != nil || e == nil {
			break
		}
		lr, err := d.LineReader(e)
		if err != nil || lr == nil {
			r.SkipChildren()
			continue
		}
		var from, to dwarf.LineEntry
		for err := lr.Next(&from); err == nil; from = to {
			if err = lr.Next(&to); err == nil && !from.EndSequence && to.Address > from.Address {
				rows++
				for _, at := range []uint64{from.Address, to.Address - 1} {
					file, line, ok := table.Find(uint32(at))
					if from.Line == 0 {
						if ok { // the compiler's own code is of no line
							t.Errorf("at %d: %s:%d, want none", at, file, line)
						}
					} else if !ok || line != from.Line || path.Base(file) != path.Base(from.File.Name) {
						t.Errorf("at %d: %s:%d %v, want %s:%d", at, file, line, ok, from.File.Name, from.Line)
					}
				}
			} else if err != nil && err != io.EOF {
				t.Fatal(err)
			}
		}
		r.SkipChildren()
	}
	if rows < 50 {
		t.Errorf("%d rows compared", rows)
	}
	for _, at := range []uint32{0, 1 << 31, 1<<32 - 1} {
		if file, line, ok := table.Find(at); ok {
			t.Errorf("at %d: %s:%d", at, file, line)
		}
	}
}

// v4 is a unit of version 4 with one file and a program.
func v4(program ...byte) []byte {
	header := append([]byte{1, 1, 1, 0xfb, 14, 10, 0, 1, 1, 1, 1, 0, 0, 0, 1}, "dir\x00\x00f.c\x00\x01\x00\x00\x00"...)
	b := binary.LittleEndian.AppendUint32([]byte{4, 0}, uint32(len(header)))
	b = append(append(b, header...), program...)
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func at(addr uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0, 5, extSetAddress}, addr)
}

func TestPrograms(t *testing.T) {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	end := []byte{0, 1, extEndSequence}
	for _, tc := range []struct {
		name    string
		program []byte
		addr    uint32
		want    string
	}{
		{"a row", join(at(100), []byte{opAdvanceLine, 6, opCopy, opAdvancePC, 10}, end), 105, "dir/f.c:7"},
		{"before it", join(at(100), []byte{opCopy, opAdvancePC, 10}, end), 99, ""},
		{"at its end", join(at(100), []byte{opCopy, opAdvancePC, 10}, end), 110, ""},
		{"a special opcode", join(at(100), []byte{10 + 5 + 2 + 14*3, opAdvancePC, 10}, end), 104, "dir/f.c:3"},
		{"constant advance", join(at(100), []byte{opConstAddPC, opCopy, opAdvancePC, 10}, end), 118, "dir/f.c:1"},
		{"fixed advance", join(at(100), []byte{opFixedAdvancePC, 0, 1, opCopy, opAdvancePC, 10}, end), 356, "dir/f.c:1"},
		{"two sequences that touch", join(at(100), []byte{opCopy, opAdvancePC, 10}, end, at(110), []byte{opAdvanceLine, 1, opCopy, opAdvancePC, 10}, end), 110, "dir/f.c:2"},
		{"removed by the linker", join(at(0), []byte{opCopy, opAdvancePC, 100}, end), 50, ""},
		{"removed by another linker", join(at(0xffffffff), []byte{opCopy, opAdvancePC, 100}, end), 50, ""},
		{"no such file", join(at(100), []byte{opSetFile, 9, opCopy, opAdvancePC, 10}, end), 105, ""},
		{"a line below zero", join(at(100), []byte{opAdvanceLine, 0x70, opCopy, opAdvancePC, 10}, end), 105, ""},
		{"an unknown opcode", join(at(100), []byte{0, 2, 0x80, 1, opCopy, opAdvancePC, 10}, end), 105, "dir/f.c:1"},
		{"cut off", join(at(100), []byte{opCopy, 0, 200}), 105, "dir/f.c:1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file, line, ok := Read(Sections{Line: v4(tc.program...)}).Find(tc.addr)
			got := ""
			if ok {
				got = fmt.Sprintf("%s:%d", file, line)
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Tables made to take long or much memory.
func TestHostileTables(t *testing.T) {
	le := binary.LittleEndian
	unit5 := func(body []byte) []byte {
		b := le.AppendUint32([]byte{5, 0, 4, 0}, uint32(len(body)))
		b = append(b, body...)
		return append(le.AppendUint32(nil, uint32(len(b))), b...)
	}
	head := []byte{1, 1, 1, 0xfb, 14, 10, 0, 1, 1, 1, 1, 0, 0, 0, 1}
	many := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	strp := append([]byte{1, contentPath, formStrp}, many...)
	for name, s := range map[string]Sections{
		"2^63 entries of no bytes":     {Line: unit5(append(append(bytes.Clone(head), 0), many...))},
		"many names in one long text":  {Line: unit5(append(append(bytes.Clone(head), strp...), make([]byte, 4<<20)...)), Str: bytes.Repeat([]byte("x"), 4<<20)},
		"a row for each byte":          {Line: v4(append(at(1), bytes.Repeat([]byte{20}, 4<<20)...)...)},
		"a file for each three bytes":  {Line: bytes.Repeat(v4(), 100_000)},
		"lengths that go round":        {Line: append(le.AppendUint32(nil, 0xffffffff), 1, 2, 3)},
		"a number without an end":      {Line: v4(bytes.Repeat([]byte{0x80}, 4<<20)...)},
		"sequences of nothing":         {Line: v4(bytes.Repeat([]byte{0, 1, extEndSequence}, 1<<20)...)},
		"names of 4 MiB":               {Line: v4(bytes.Repeat([]byte("n"), 4<<20)...)},
		"an extended opcode of length": {Line: v4(append([]byte{0}, many...)...)},
	} {
		t.Run(name, func(t *testing.T) {
			table := Read(s)
			table.Find(100)
			if len(table.rows) > rowsMax || len(table.files) > filesMax {
				t.Errorf("%d rows, %d files", len(table.rows), len(table.files))
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	c := customs(f, fixture)
	f.Add(c[".debug_line"], c[".debug_line_str"], c[".debug_str"], uint32(1000))
	f.Add(v4(append(at(100), opCopy, opAdvancePC, 10, 0, 1, extEndSequence)...), []byte(nil), []byte(nil), uint32(105))
	f.Fuzz(func(t *testing.T, line, lineStr, str []byte, addr uint32) {
		table := Read(Sections{Line: line, LineStr: lineStr, Str: str})
		for _, at := range []uint32{0, addr, 1<<32 - 1} {
			file, n, ok := table.Find(at)
			if len(file) > nameMax || ok && n <= 0 || !ok && file != "" || strings.Contains(file, "\x00") {
				t.Errorf("at %d: %q:%d %v", at, file, n, ok)
			}
		}
		if len(table.rows) > rowsMax || len(table.rows) > len(line) {
			t.Errorf("%d rows of %d bytes", len(table.rows), len(line))
		}
	})
}
