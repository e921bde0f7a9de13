package lines

// Opcodes.
const (
	opExtended = iota
	opCopy
	opAdvancePC
	opAdvanceLine
	opSetFile
	opSetColumn
	opNegateStmt
	opBasicBlock
	opConstAddPC
	opFixedAdvancePC

	extEndSequence = 1
	extSetAddress  = 2
)

// state is the registers of the program.
type state struct {
	addr uint64
	file uint64
	line int64
	dead bool // the linker has removed the code of this sequence
}

// run runs the program, which writes the rows.
func (u *unit) run(r *reader) {
	s := state{file: 1, line: 1}
	for r.left() > 0 && len(u.t.rows) < rowsMax {
		op := r.u8()
		switch {
		case op >= u.opcodeBase:
			n := op - u.opcodeBase
			s.addr += uint64(n/u.lineRange) * uint64(u.minLength)
			s.line += int64(u.lineBase) + int64(n%u.lineRange)
			u.emit(&s)
		case op == opExtended:
			u.extended(r, &s)
		default:
			u.standard(op, r, &s)
		}
	}
}

func (u *unit) standard(op byte, r *reader, s *state) {
	switch op {
	case opCopy:
		u.emit(s)
	case opAdvancePC:
		s.addr += r.uleb() * uint64(u.minLength)
	case opAdvanceLine:
		s.line += r.sleb()
	case opSetFile:
		s.file = r.uleb()
	case opConstAddPC:
		s.addr += uint64((255-u.opcodeBase)/u.lineRange) * uint64(u.minLength)
	case opFixedAdvancePC:
		s.addr += uint64(r.u16())
	default:
		for range u.operands[op-1] {
			r.uleb()
		}
	}
}

// extended runs an opcode with a length of its own.
func (u *unit) extended(r *reader, s *state) {
	n := r.uleb()
	if n == 0 || n > uint64(r.left()) {
		r.p = len(r.b)
		return
	}
	e := reader{b: r.bytes(int(n))}
	switch e.u8() {
	case extEndSequence:
		s.line = 0
		u.emit(s)
		*s = state{file: 1, line: 1}
	case extSetAddress:
		s.addr = uint64(e.u32())
		// Linkers let removed code begin at 0, where the count of bodies is, or close to
		// the end of what can be addressed.
		s.dead = s.addr == 0 || s.addr >= 0xfffffffe
	}
}

// emit writes a row.
func (u *unit) emit(s *state) {
	if s.dead || s.addr > 0xffffffff || s.line < 0 || s.line > 0xffffffff {
		return
	}
	w := row{addr: uint32(s.addr), line: uint32(s.line)}
	switch {
	case s.file < uint64(len(u.files)):
		w.file = u.files[s.file]
	case s.line > 0:
		return
	}
	u.t.rows = append(u.t.rows, w)
}
