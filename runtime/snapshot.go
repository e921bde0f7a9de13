package runtime

import (
	"bytes"
	"os"

	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/tetratelabs/wazero/api"
)

// snapshot is an instance as it was between two calls: what undoes a call that
// failed. It is taken after klamm_init and again after each klamm_alloc.
//
// Memory cannot shrink, and guests remember how far they have grown it; tables
// and dropped segments cannot be reached from outside. Where either may have
// changed the instance is made anew instead.
type snapshot struct {
	length             int    // of the memory
	runs               []span // pages that are not zero, ascending
	content            reservation
	globals            []uint64
	blockPtr, blockCap uint32
	room               int
}

// span is a part of the memory, in whole pages of the system.
type span struct{ from, to int }

const (
	// snapshotMax bounds what is kept of one instance. A memory with more in it
	// takes about as long to copy as a small guest to start.
	snapshotMax = 16 << 20
	// discardMin is how much is given back to the system instead of being cleared:
	// touching it again costs more than clearing it, and what a guest once needed
	// it may never need again.
	discardMin = 2 << 20
)

// grain is the size of the system's pages.
var grain = os.Getpagesize()

var zeroPage = make([]byte, grain)

// restorable reports whether memory and globals are all that calls change.
func restorable(m *meter.Result) bool {
	for _, g := range m.Globals {
		switch g.Type {
		case api.ValueTypeI32, api.ValueTypeI64, api.ValueTypeF32, api.ValueTypeF64:
		default: // vectors and references cannot be set from outside
			return false
		}
	}
	return !m.ChangesTables && !m.DropsSegments
}

// snap replaces the instance's snapshot. Without one, because it would be too
// large or the memory of all instances is at its limit, the next fault has the
// instance made anew.
func (in *instance) snap() {
	in.dropSnapshot()
	if !in.keeps {
		return
	}
	s := &snapshot{
		length: in.mem.length, runs: in.mem.filled(),
		blockPtr: in.blockPtr, blockCap: in.blockCap, room: in.room,
	}
	if !in.copyRuns(s) {
		return
	}
	for _, g := range in.globals {
		s.globals = append(s.globals, g.Get())
	}
	in.saved = s
}

// copyRuns copies what is not zero out of the memory.
func (in *instance) copyRuns(s *snapshot) bool {
	size := 0
	for _, r := range s.runs {
		size += r.to - r.from
	}
	if size == 0 {
		return true
	}
	if size > snapshotMax {
		return false
	}
	if _, ok := in.e.count(&in.e.snapshots, int64(size)); !ok {
		return false
	}
	var err error
	if s.content, err = reserve(size); err != nil {
		in.e.snapshots.Add(-int64(size))
		return false
	}
	at := 0
	for _, r := range s.runs {
		at += copy(s.content.reserved[at:], in.mem.reserved[r.from:r.to])
	}
	return true
}

func (in *instance) dropSnapshot() {
	if in.saved == nil {
		return
	}
	if c := in.saved.content; c.reserved != nil {
		in.e.snapshots.Add(-int64(len(c.reserved)))
		c.release(c.reserved)
	}
	in.saved = nil
}

// restore brings an instance that is dead back to its snapshot, and reports
// whether it can be called again.
func (in *instance) restore() bool {
	s := in.saved
	if s == nil || in.mem.length != s.length {
		return false
	}
	in.mem.rewind(s)
	for i, g := range in.globals {
		g.Set(s.globals[i])
	}
	in.blockPtr, in.blockCap, in.room = s.blockPtr, s.blockCap, s.room
	if in.watch.rewind() {
		in.lookup() // the stack that overflowed stays as large as it was
	}
	in.phase = phaseIdle
	in.running.block, in.running.count = nil, 0
	in.dead = false
	return true
}

// filled returns the parts of the memory that are not zero.
func (m *linearMemory) filled() (spans []span) {
	b := m.reserved[:m.length]
	touched := m.pages.touched(b)
	for at := 0; at < len(b); at += grain {
		if touched != nil && !touched[at/grain] || bytes.Equal(b[at:at+grain], zeroPage) {
			continue
		}
		if n := len(spans); n > 0 && spans[n-1].to == at {
			spans[n-1].to += grain
			continue
		}
		spans = append(spans, span{at, at + grain})
	}
	return spans
}

// rewind makes the memory what it was; its length is.
func (m *linearMemory) rewind(s *snapshot) {
	b := m.reserved[:m.length]
	touched := m.pages.touched(b)
	at, copied := 0, 0
	for _, r := range s.runs {
		m.zero(span{at, r.from}, touched)
		copied += copy(b[r.from:r.to], s.content.reserved[copied:])
		at = r.to
	}
	m.zero(span{at, len(b)}, touched)
}

// zero clears the pages of a part that were touched.
func (m *linearMemory) zero(s span, touched []bool) {
	for s.from < s.to {
		end := s.from
		for end < s.to && (touched == nil || touched[end/grain]) {
			end += grain
		}
		if b := m.reserved[s.from:end]; len(b) < discardMin || !m.mapped || !discard(b) {
			clear(b)
		}
		s.from = max(end, s.from+grain)
	}
}
