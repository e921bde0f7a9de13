package state

// lotMax is how many records are looked up at once.
const lotMax = 256

// lot looks up many ids or records ahead of the work on them. Ids are hashes, so
// each step of a lookup reads a place that is in no cache, and what comes next
// hangs on it. A step made for all of a lot before the next one is waited for
// once: the processor has many readings under way when none hangs on another.
type lot struct {
	owners [lotMax]uint32
	ids    [lotMax]ID
	known  [lotMax]bool
	read   uint32 // kept so that the compiler keeps the readings
}

// warmer is a bucket that reads ahead what calls are about to look at. The calls
// give the same without.
type warmer interface {
	// warmFind comes before Find of the ids. It clears known of those that Find
	// does not find, and leaves it set where it does not know.
	warmFind(ids []ID, known []bool)
	// warmRemember comes before Remember of the ids.
	warmRemember(ids []ID)
}

// warm reads what claims of the ids will look at, and returns for each whether
// the bucket may know it. Without it is nobody's, unless it is pending.
func (l *lot) warm(s *Space, asked []Asked) (known []bool) {
	f := &s.l.flight
	ids, known := l.ids[:len(asked)], l.known[:len(asked)]
	read := uint32(0)
	for i := range asked {
		ids[i], known[i] = asked[i].key, true
		read += *f.headOfID(&asked[i].key) + *f.headOfRef(asked[i].Owner)
	}
	l.read = read
	if s.warmer != nil && !s.l.closed {
		s.warmer.warmFind(ids, known)
	}
	return known
}

// slots returns the slots of records, 0 for those that have none.
func (l *lot) slots(f *flight, refs []Ref) []uint32 {
	owners := l.owners[:len(refs)]
	for i, ref := range refs {
		owners[i] = *f.headOfRef(ref)
	}
	for i, ref := range refs {
		o := owners[i]
		for o != 0 && f.owners[o].ref != ref {
			o = f.owners[o].chain
		}
		owners[i] = o
	}
	return owners
}

// find returns the slots of records that are about to be settled, 0 for those
// that have none, and reads what becomes of their claims.
func (l *lot) find(ledger *Ledger, refs []Ref) []uint32 {
	f := &ledger.flight
	owners := l.slots(f, refs)
	// Most records have one claim, of the same plugin as the one before.
	n, number, read := 0, uint32(0), uint32(0)
	for _, o := range owners {
		c := &f.claims[f.owners[o].claims] // slot 0 has none
		if c.owner == 0 {
			continue
		}
		if n == 0 {
			number = c.space
		}
		if c.space == number {
			l.ids[n] = c.id
			n++
		}
	}
	for i := range l.ids[:n] {
		read += *f.headOfID(&l.ids[i])
	}
	l.read = read
	if n > 0 {
		if w := ledger.spaces[number].warmer; w != nil {
			w.warmRemember(l.ids[:n])
		}
	}
	return owners
}
