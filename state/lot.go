package state

// lotMax is how many records are looked up at once. What has been read for more of
// them has partly left the first cache again when it is used.
const lotMax = 128

// lot looks up many ids or records ahead of the work on them. Ids are hashes, so
// each step of a lookup reads a place that is in no cache, and what comes next
// hangs on it. A step made for all of a lot before the next one is waited for
// once: the processor has many readings under way when none hangs on another.
type lot struct {
	owners [lotMax]uint32
	later  [lotMax]uint8 // claims that are not new at a glance
	ids    [lotMax]*ID
	read   uint32 // kept so that the compiler keeps the readings
}

// hashAll makes the keys of claims, and has the processor read what they will look
// at: while it waits for that of one, the next keys are made.
func (l *lot) hashAll(s *Space, asked []Asked) {
	var sc *scope
	var topic string
	var lines ahead
	for i := range asked {
		a := &asked[i]
		if sc == nil || a.Topic != topic {
			sc, topic = s.scopes.of(a.Topic), a.Topic
		}
		if sc.brief == nil || !sc.brief.hash(a.ID, &a.key) {
			a.key = sc.key.hash(a.ID)
		}
		lines.line(s.ids.lineOf(&a.key))
	}
	lines.rest()
	f, read := &s.l.flight, uint32(0)
	for i := range asked {
		read += *f.headOfRef(asked[i].Owner)
	}
	l.read = read
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
// that have none, and reads the lines of their claims: of the first one, which
// most have alone.
func (l *lot) find(ledger *Ledger, refs []Ref) []uint32 {
	f := &ledger.flight
	owners := l.slots(f, refs)
	n, space := 0, uint32(0)
	for _, o := range owners {
		c := &f.claims[f.owners[o].claims] // slot 0 has none, and finds the zero claim
		if n == 0 {
			space = c.space
		}
		l.ids[n] = &c.id
		if o != 0 && c.owner == o && c.space == space { // most are of the same plugin
			n++
		}
	}
	if n > 0 {
		ids := ledger.spaces[space].ids
		var lines ahead
		for _, id := range l.ids[:n] {
			lines.line(ids.lineOf(id))
		}
		lines.rest()
	}
	return owners
}
