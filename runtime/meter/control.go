package meter

// control follows the paths through a body. Blocks and branches are where paths
// part and meet: of those that meet, the longest counts.
func (s *scanner) control(c byte, at int) {
	switch c {
	case opBlock, opLoop, opIf:
		s.blockType()
		s.open(c)
	case opElse:
		f := s.top()
		if f.opcode != opIf {
			s.r.failf("else without if")
			return
		}
		f.opcode = opElse
		f.label = max(f.label, s.cost)
		s.cost, f.els = f.els, unreached
	case opEnd:
		s.close()
	case opBr:
		s.branch(s.r.u32())
		s.cost = unreached
	case opBrIf:
		s.branch(s.r.u32())
	case opBrTable:
		s.cost += weightBrTable
		for range s.r.count("branch targets", 1) {
			s.branch(s.r.u32())
			if s.r.err != nil {
				return
			}
		}
		s.branch(s.r.u32())
		s.cost = unreached
	case opReturn:
		s.edits = append(s.edits, edit{kind: editReturn, at: at, end: s.r.p, cost: int64(len(s.frames) - 1)})
		s.ends()
		s.cost = unreached
	case opUnreachable:
		s.ends()
		s.cost = unreached
	}
}

func (s *scanner) top() *frame { return &s.frames[len(s.frames)-1] }

// ends notes that a path of the region may end here, or go on elsewhere.
func (s *scanner) ends() {
	g := &s.regions[len(s.regions)-1]
	g.most = max(g.most, s.cost)
}

// blockType steps over the type of a block: none, one result, or a type's
// number.
func (s *scanner) blockType() {
	if s.r.left() > 0 {
		if c := s.r.b[s.r.p]; c == typeEmpty || isValueType(c) {
			s.r.p++
			return
		}
	}
	s.typeS33()
}

// typeS33 reads a type's number as a signed number of 33 bits.
func (s *scanner) typeS33() {
	p := s.r.p
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := s.r.byte()
		v |= uint64(c&0x7f) << shift
		if c >= 0x80 {
			continue
		}
		if c&0x40 != 0 || v >= uint64(len(s.m.types)) {
			s.r.p = p
			s.r.failf("block type is not known; there are %d types", len(s.m.types))
		}
		return
	}
	s.r.fail(errLEB)
}

func (s *scanner) open(c byte) {
	if len(s.frames) >= nestingMax {
		s.r.failf("blocks are nested more than %d deep", nestingMax)
		return
	}
	f := frame{opcode: c, region: len(s.regions) - 1, label: unreached, els: unreached}
	switch c {
	case opIf:
		f.els = s.cost
	case opLoop:
		s.ends()
		s.regions = append(s.regions, region{outer: s.cost, edit: len(s.edits)})
		s.edits = append(s.edits, edit{kind: editCharge, at: s.r.p, end: s.r.p})
		s.cost = min(s.cost, 0) // unreached stays so
	}
	s.frames = append(s.frames, f)
}

func (s *scanner) close() {
	f := s.top()
	s.frames = s.frames[:len(s.frames)-1]
	switch f.opcode {
	case opLoop:
		s.ends()
		g := s.regions[len(s.regions)-1]
		s.regions = s.regions[:len(s.regions)-1]
		s.edits[g.edit].cost = max(g.most, 0) + weightCharge
		if s.cost >= 0 {
			s.cost = g.outer
		}
	default:
		s.cost = max(s.cost, f.label, f.els)
		if s.cost < 0 {
			s.cost = unreached
		}
	}
	if len(s.frames) == 0 {
		s.ends()
	}
}

// branch notes a jump to the label of the depth-th frame from the top. It leaves
// all loops up to there; what their regions cost is paid at their heads.
func (s *scanner) branch(depth uint32) {
	if uint64(depth) >= uint64(len(s.frames)) {
		s.r.failf("branch out of %d blocks, there are %d", depth, len(s.frames))
		return
	}
	s.ends()
	f := &s.frames[len(s.frames)-1-int(depth)]
	if f.opcode == opLoop {
		return
	}
	cost := s.cost
	if f.region < len(s.regions)-1 {
		if cost < 0 {
			return
		}
		cost = s.regions[f.region+1].outer
	}
	f.label = max(f.label, cost)
}
