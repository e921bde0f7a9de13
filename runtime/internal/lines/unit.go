package lines

import "path"

// unit is the line table of one compilation unit.
type unit struct {
	r reader
	s Sections
	t *Table

	version    uint16
	minLength  byte
	lineBase   int8
	lineRange  byte
	opcodeBase byte
	operands   []byte // of the standard opcodes, from number 1
	dirs       []string
	files      []uint32 // numbers in the table
}

// read reads the header, then runs the program.
func (u *unit) read() {
	u.version = u.r.u16()
	if u.version < 2 || u.version > 5 {
		return
	}
	if u.version == 5 {
		u.r.skip(2) // sizes of addresses and segment selectors
	}
	header := u.r.u32()
	if uint64(header) > uint64(u.r.left()) {
		return
	}
	program := reader{b: u.r.b[u.r.p+int(header):]}
	u.r.b = u.r.b[:u.r.p+int(header)]
	u.minLength = u.r.u8()
	if u.version >= 4 {
		u.r.u8() // operations in an instruction: wasm has no such
	}
	u.r.u8() // whether statements begin everywhere
	u.lineBase, u.lineRange, u.opcodeBase = int8(u.r.u8()), u.r.u8(), u.r.u8()
	if u.lineRange == 0 || u.opcodeBase == 0 {
		return
	}
	u.operands = u.r.bytes(int(u.opcodeBase) - 1)
	if u.version == 5 {
		u.names5()
	} else {
		u.names()
	}
	if !u.r.bad {
		u.run(&program)
	}
}

// names reads directories and files as versions 2 to 4 have them: both count
// from 1, and directory 0 is where the compiler ran.
func (u *unit) names() {
	u.dirs = []string{""}
	for d := u.r.text(); len(d) > 0 && len(u.dirs) < filesMax; d = u.r.text() {
		u.dirs = append(u.dirs, string(tail(d)))
	}
	u.file(nil, 0) // there is no file 0
	for f := u.r.text(); len(f) > 0; f = u.r.text() {
		u.file(f, u.r.uleb())
		u.r.uleb() // time
		u.r.uleb() // size
	}
}

// file notes the unit's next file.
func (u *unit) file(name []byte, dir uint64) {
	number := len(u.t.files)
	switch {
	case name == nil:
		name = []byte("?")
	case name[0] != '/' && dir < uint64(len(u.dirs)) && dir > 0:
		name = []byte(path.Join(u.dirs[dir], string(tail(name))))
	}
	if number == filesMax {
		u.files = append(u.files, filesMax-1)
		return
	}
	u.t.files = append(u.t.files, string(tail(name)))
	u.files = append(u.files, uint32(number))
}

func tail(name []byte) []byte { return name[max(0, len(name)-nameMax):] }

// Content types and forms of version 5's names.
const (
	contentPath = 1
	contentDir  = 2

	formBlock   = 0x09
	formData1   = 0x0b
	formData2   = 0x05
	formData4   = 0x06
	formData8   = 0x07
	formData16  = 0x1e
	formString  = 0x08
	formStrp    = 0x0e
	formUdata   = 0x0f
	formLineStr = 0x1f
)

// names5 reads directories and files as version 5 has them, both from 0.
func (u *unit) names5() {
	u.entries(func(name []byte, _ uint64) {
		if len(u.dirs) < filesMax {
			u.dirs = append(u.dirs, string(tail(name)))
		}
	})
	u.entries(func(name []byte, dir uint64) {
		if len(name) == 0 {
			name = nil
		}
		u.file(name, dir)
	})
}

// entries reads a format, then as many entries of it as there are. An entry
// that takes no bytes would allow for any number of them.
func (u *unit) entries(each func(name []byte, dir uint64)) {
	type field struct{ content, form uint64 }
	format := make([]field, u.r.u8())
	for i := range format {
		format[i] = field{u.r.uleb(), u.r.uleb()}
	}
	for range u.r.uleb() {
		var name []byte
		var dir uint64
		from := u.r.p
		for _, f := range format {
			text, number := u.value(f.form)
			switch f.content {
			case contentPath:
				name = text
			case contentDir:
				dir = number
			}
		}
		if u.r.p == from {
			u.r.bad = true
		}
		if u.r.bad {
			return
		}
		each(name, dir)
	}
}

func (u *unit) value(form uint64) (text []byte, number uint64) {
	r := &u.r
	switch form {
	case formString:
		return r.text(), 0
	case formLineStr:
		return textAt(u.s.LineStr, r.u32()), 0
	case formStrp:
		return textAt(u.s.Str, r.u32()), 0
	case formUdata:
		return nil, r.uleb()
	case formData1:
		return nil, uint64(r.u8())
	case formData2:
		return nil, uint64(r.u16())
	case formData4:
		return nil, uint64(r.u32())
	case formData8:
		r.skip(8)
	case formData16:
		r.skip(16)
	case formBlock:
		r.skip(r.uleb())
	default:
		r.bad = true
	}
	return nil, 0
}
