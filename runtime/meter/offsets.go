package meter

import "sort"

// Offsets map offsets in the metered code section's content to those of the
// original one, in which debug information speaks.
type Offsets []stretch

// stretch is code that was copied as it was.
type stretch struct{ to, from, size uint32 }

// Original returns the offset before metering. What the meter has added belongs
// to the instruction before which it stands. It returns 0 for functions that are
// the meter's own.
func (o Offsets) Original(off uint32) uint32 {
	i := sort.Search(len(o), func(i int) bool { return o[i].to > off }) - 1
	if i < 0 {
		return 0
	}
	p := o[i]
	if p.size == 0 { // behind the last body
		return 0
	}
	return p.from + min(off-p.to, p.size)
}

// offsets collects the map. Where is relative to the bodies until the count that
// stands before them is known.
type offsets struct {
	wanted bool
	origin int // of the code section's content in the module
	body   []stretch
	all    Offsets
}

// copied notes that the body's code from here on is that of the module.
func (o *offsets) copied(to, from, size int) {
	if o.wanted && size > 0 {
		o.body = append(o.body, stretch{uint32(to), uint32(from - o.origin), uint32(size)})
	}
}

// placed notes where the body stands.
func (o *offsets) placed(at int) {
	for _, p := range o.body {
		p.to += uint32(at)
		o.all = append(o.all, p)
	}
	o.body = o.body[:0]
}

// finish ends the module's own bodies; so many bytes stand before the first.
func (o *offsets) finish(end, before int) Offsets {
	if !o.wanted {
		return nil
	}
	o.all = append(o.all, stretch{to: uint32(end)})
	for i := range o.all {
		o.all[i].to += uint32(before)
	}
	return o.all
}
