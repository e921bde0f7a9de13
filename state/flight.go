package state

// flight holds what has no outcome yet: the claims of records in flight, the
// records that own them, and who waits on whom. Slots are indexes, and 0 is
// none; claims hold no pointers. The ids of the claims are found by the index
// of their state: see ids.
//
// The table of records is chained: it is small and hot, and records come and go.
// References count up, which spreads them over the heads nearly without a hash; but
// the low bits may be a place that many records of an open transaction have had,
// one after the other, and the count above them.
type flight struct {
	claims []claim
	freeC  free
	order  uint32 // of the next claim

	byRef  []uint32 // heads, by the hash of the reference
	owners []owner
	freeO  free
}

// claim is one pending id.
type claim struct {
	id         ID
	ttlMS      int64  // a lifetime
	space      uint32 // index in Ledger.spaces
	owner      uint32
	prev, next uint32 // the owner's others, the last one first
	order      uint32 // counts up, and around
	place      uint8  // in its line, most likely
}

// owner is one record in flight that holds claims, or that others wait on.
type owner struct {
	ref    Ref
	claims uint32
	chain  uint32
	crowd  *crowd // nil while nobody waits
	// tentative is set once the record is written in a transaction that is open.
	tentative *provisional
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

// free is the slots that are free, the one that was freed last on top. A list
// through the slots themselves would be waited for at each step, as what was free
// for a while is in no cache.
type free []uint32

// pop returns a free slot, 0 where there is none.
func (f *free) pop() uint32 {
	last := len(*f) - 1
	if last < 0 {
		return 0
	}
	slot := (*f)[last]
	*f = (*f)[:last]
	return slot
}

const flightStart = 64 // heads; a power of two

func newFlight() flight {
	return flight{
		claims: make([]claim, 1), byRef: make([]uint32, flightStart), owners: make([]owner, 1),
	}
}

// headOfRef adds what counts up in the high bits to the low ones, twice, so that they
// do not cancel each other where both move by one.
func (f *flight) headOfRef(r Ref) *uint32 {
	return &f.byRef[uint64(r+r>>23)&uint64(len(f.byRef)-1)]
}

// owner returns the slot of the record, or 0.
func (f *flight) owner(ref Ref) uint32 {
	o := *f.headOfRef(ref)
	for o != 0 && f.owners[o].ref != ref {
		o = f.owners[o].chain
	}
	return o
}

// enter returns the slot of the record, made if it has none.
func (f *flight) enter(ref Ref) uint32 {
	if o := f.owner(ref); o != 0 {
		return o
	}
	o := f.freeO.pop()
	if o == 0 {
		o = uint32(len(f.owners))
		f.owners = append(f.owners, owner{})
		f.growRefs()
	}
	head := f.headOfRef(ref)
	f.owners[o].ref, f.owners[o].chain = ref, *head // the rest is zero
	*head = o
	return o
}

// claimFirst is claim for a record that may have none. It reads nothing of slots
// that were free, which may be in no cache any more.
func (f *flight) claimFirst(c uint32, ref Ref, id *ID, place uint8, space uint32, ttlMS int64) {
	head := f.headOfRef(ref)
	if *head != 0 || len(f.freeO) == 0 {
		f.claim(c, f.enter(ref), id, place, space, ttlMS)
		return
	}
	f.freeC = f.freeC[:len(f.freeC)-1]
	last := len(f.freeO) - 1
	o := f.freeO[last]
	f.freeO = f.freeO[:last]
	own := &f.owners[o]
	own.ref, own.chain, own.claims = ref, 0, c
	*head = o
	n := &f.claims[c] // in place: a literal would be built elsewhere and copied
	n.id, n.ttlMS, n.space, n.owner, n.place, n.order = *id, ttlMS, space, o, place, f.order
	n.prev, n.next = 0, 0
}

func (f *flight) growRefs() {
	if len(f.owners) <= len(f.byRef) {
		return
	}
	old := f.byRef
	f.byRef = make([]uint32, 2*len(old))
	for _, o := range old {
		for o != 0 {
			rest := f.owners[o].chain
			head := f.headOfRef(f.owners[o].ref)
			f.owners[o].chain, *head = *head, o
			o = rest
		}
	}
}

// leave takes a record out that holds nothing and that nobody waits on.
func (f *flight) leave(o uint32) {
	at := f.headOfRef(f.owners[o].ref)
	for *at != o {
		at = &f.owners[*at].chain
	}
	own := &f.owners[o]
	*at = own.chain
	own.ref, own.claims = 0, 0
	if own.crowd != nil || own.tentative != nil {
		own.crowd, own.tentative = nil, nil
	}
	f.freeO = append(f.freeO, o)
}

// leaveIdle is leave for a record that may still be needed.
func (f *flight) leaveIdle(o uint32) {
	c := f.owners[o].crowd
	if f.owners[o].claims == 0 && (c == nil || c.waits == nil && len(c.waiters) == 0) {
		f.leave(o)
	}
}

// nextClaim returns the slot that the next claim will have.
func (f *flight) nextClaim() uint32 {
	if len(f.freeC) == 0 {
		f.freeC = append(f.freeC, uint32(len(f.claims)))
		f.claims = append(f.claims, claim{})
	}
	return f.freeC[len(f.freeC)-1]
}

// claim makes a claim of a record in that slot, which stands in that place of the
// index.
func (f *flight) claim(c, o uint32, id *ID, place uint8, space uint32, ttlMS int64) {
	f.freeC = f.freeC[:len(f.freeC)-1]
	first := f.owners[o].claims
	n := &f.claims[c] // in place: a literal would be built elsewhere and copied
	n.id, n.ttlMS, n.space, n.owner, n.place, n.order = *id, ttlMS, space, o, place, f.order
	prev, next := uint32(0), first
	for next != 0 && int32(f.claims[next].order-f.order) > 0 { // made late: see claimNew
		prev, next = next, f.claims[next].next
	}
	n.prev, n.next = prev, next
	if next != 0 {
		f.claims[next].prev = c
	}
	if prev != 0 {
		f.claims[prev].next = c
	} else {
		f.owners[o].claims = c
	}
}

// release ends a claim that no index has any more.
func (f *flight) release(c uint32) {
	f.unlink(c)
	f.freeC = append(f.freeC, c)
}

// unlink takes a claim away from its owner.
func (f *flight) unlink(c uint32) {
	old := &f.claims[c]
	if old.prev != 0 {
		f.claims[old.prev].next = old.next
	} else {
		f.owners[old.owner].claims = old.next
	}
	if old.next != 0 {
		f.claims[old.next].prev = old.prev
	}
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
