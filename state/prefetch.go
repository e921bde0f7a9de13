package state

import "unsafe"

// ahead asks for lines of memory that will be needed soon, and waits for none of
// them. A reading whose result nobody needs would do as well where nothing else is
// done meanwhile, but the processor looks only so far past one that is not there yet,
// a few ids: those that it waits for while the next ids are hashed are few.
type ahead struct {
	at [aheadLines]unsafe.Pointer
	n  int
}

const aheadLines = 8 // asked for at once, since prefetch is a call

// line asks for the line at p, unless that is nil.
func (a *ahead) line(p unsafe.Pointer) {
	a.at[a.n%aheadLines] = p
	if a.n++; a.n%aheadLines == 0 {
		prefetch(&a.at)
	}
}

// rest asks for those that line has not asked for yet, and perhaps for others a
// second time.
func (a *ahead) rest() {
	if a.n%aheadLines != 0 {
		prefetch(&a.at)
	}
}
