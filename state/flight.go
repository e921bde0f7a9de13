package state

// flight holds what has no outcome yet: the claims of records in flight, the
// records that own them, and who waits on whom. Slots are indexes, and 0 is
// none; claims hold no pointers.
type flight struct {
	ids    index
	claims []claim
	freeC  uint32

	refs   index
	owners []owner
	freeO  uint32
}

// claim is one pending id.
type claim struct {
	id         ID
	ttlMS      int64
	space      uint32 // index in Ledger.spaces
	owner      uint32
	prev, next uint32 // the owner's others
}

// owner is one record in flight that holds claims, or that others wait on.
type owner struct {
	ref    Ref
	claims uint32
	crowd  *crowd // nil while nobody waits
}

// crowd is who waits on an owner.
type crowd struct {
	waiters []waiter // committed: their completion comes with the owner's
	waits   *Wait    // tentative: told that the id is pending, verdict not yet known
	// fate is set when the owner itself committed to a record that had settled:
	// its waiters share that outcome.
	fate *Settlement
}

// waiter is a record that was dropped because of an id in flight.
type waiter struct {
	ref    Ref
	space  *Space
	plugin string
}

func newFlight() flight {
	return flight{claims: make([]claim, 1), owners: make([]owner, 1)}
}

// refTag spreads references, which count up, over the index.
func refTag(r Ref) uint32 { return uint32(uint64(r) * 0x9e3779b97f4a7c15 >> 32) }

// claimed returns the slot of the pending claim of id, or 0.
func (f *flight) claimed(id ID) uint32 {
	x := &f.ids
	if x.used == 0 {
		return 0
	}
	tag := uint32(id[0])
	for i := x.home(tag); x.places[i].slot != 0; i = x.next(i) {
		if x.places[i].tag == tag && f.claims[x.places[i].slot].id == id {
			return x.places[i].slot
		}
	}
	return 0
}

// owner returns the slot of the record, or 0.
func (f *flight) owner(ref Ref) uint32 {
	x := &f.refs
	if x.used == 0 {
		return 0
	}
	tag := refTag(ref)
	for i := x.home(tag); x.places[i].slot != 0; i = x.next(i) {
		if x.places[i].tag == tag && f.owners[x.places[i].slot].ref == ref {
			return x.places[i].slot
		}
	}
	return 0
}

// enter returns the slot of the record, made if it has none.
func (f *flight) enter(ref Ref) uint32 {
	if o := f.owner(ref); o != 0 {
		return o
	}
	o := f.freeO
	if o != 0 {
		f.freeO = f.owners[o].claims
		f.owners[o] = owner{ref: ref}
	} else {
		o = uint32(len(f.owners))
		f.owners = append(f.owners, owner{ref: ref})
	}
	f.refs.insert(refTag(ref), o)
	return o
}

// leave takes a record out that holds nothing and that nobody waits on.
func (f *flight) leave(o uint32) {
	f.refs.remove(refTag(f.owners[o].ref), o)
	f.owners[o] = owner{claims: f.freeO}
	f.freeO = o
}

// leaveIdle is leave for a record that may still be needed.
func (f *flight) leaveIdle(o uint32) {
	c := f.owners[o].crowd
	if f.owners[o].claims == 0 && (c == nil || c.waits == nil && len(c.waiters) == 0) {
		f.leave(o)
	}
}

func (f *flight) claim(o uint32, id ID, space uint32, ttlMS int64) {
	made := claim{id: id, ttlMS: ttlMS, space: space, owner: o, next: f.owners[o].claims}
	c := f.freeC
	if c != 0 {
		f.freeC = f.claims[c].next
		f.claims[c] = made
	} else {
		c = uint32(len(f.claims))
		f.claims = append(f.claims, made)
	}
	if made.next != 0 {
		f.claims[made.next].prev = c
	}
	f.owners[o].claims = c
	f.ids.insert(uint32(id[0]), c)
}

// release takes a claim away from its owner.
func (f *flight) release(c uint32) {
	old := f.claims[c]
	f.ids.remove(uint32(old.id[0]), c)
	if old.prev != 0 {
		f.claims[old.prev].next = old.next
	} else {
		f.owners[old.owner].claims = old.next
	}
	if old.next != 0 {
		f.claims[old.next].prev = old.prev
	}
	f.claims[c] = claim{next: f.freeC}
	f.freeC = c
}

func (f *flight) crowdOf(o uint32) *crowd {
	if f.owners[o].crowd == nil {
		f.owners[o].crowd = new(crowd)
	}
	return f.owners[o].crowd
}

// list makes w a tentative wait on o.
func (f *flight) list(w *Wait, o uint32) {
	c := f.crowdOf(o)
	w.state, w.owner = waitOpen, o
	w.prev, w.next = nil, c.waits
	if w.next != nil {
		w.next.prev = w
	}
	c.waits = w
}

// unlist takes w off the record that it waits on.
func (f *flight) unlist(w *Wait) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		f.owners[w.owner].crowd.waits = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}
