package state

import "unsafe"

// ids finds the ids of a state: those of a window, and those of the claims of
// records in flight. One index for both answers a claim with one line, and an
// id that is confirmed keeps its place.
//
// The index is cut in parts, so that growing it never holds the mutex for
// longer than one part takes.
type ids struct {
	parts  [256]index
	window *memory // nil: there is none, and all are pending
	flight *flight // nil before there is a ledger
}

// pending marks a slot of flight.claims. Others are the window's.
const pending = 1 << 31

// idOf returns the id of a slot.
func (x *ids) idOf(slot uint32) *ID {
	if slot&pending != 0 {
		return &x.flight.claims[slot&^pending].id
	}
	return &x.window.at(slot).id
}

// live reports whether the id of a slot has not gone.
func (x *ids) live(slot uint32) bool { return slot&pending != 0 || x.window.live(slot) }

func (x *ids) part(id *ID) *index { return &x.parts[id[1]>>56] }

// find returns the slot of an id, or 0.
func (x *ids) find(id *ID) uint32 { return x.part(id).find(id, x) }

// claimed returns the slot of the pending claim of an id, or 0.
func (x *ids) claimed(id *ID) uint32 {
	if slot := x.find(id); slot&pending != 0 {
		return slot &^ pending
	}
	return 0
}

// lineOf returns the line where an id would be found, or nil.
func (x *ids) lineOf(id *ID) unsafe.Pointer {
	part := x.part(id)
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(part.lines)), part.home(id)*int(unsafe.Sizeof(line{})))
}
