package state

// sameFate settles the records of a batch that was written.
type sameFate struct {
	l     *Ledger
	fate  *Settlement // but for the offset
	space *Space      // of the last one
	// expiresMS is that of a claim with that lifetime.
	lifetime, expiresMS int64
}

// settle settles the record of slot o, unless it is an unusual one: most have one
// claim, and nobody waits on them.
func (w *sameFate) settle(o uint32, ref Ref, offset int64) bool {
	f, late := &w.l.flight, &w.l.late
	own := &f.owners[o]
	if own.claims == 0 || own.crowd != nil || own.ref != ref {
		return false
	}
	c := own.claims
	claim := &f.claims[c]
	if claim.next != 0 {
		return false
	}
	if w.space == nil || claim.space != w.space.number || claim.ttlMS != w.lifetime || late.n == lotMax {
		if !w.turn(claim) {
			return false
		}
	}
	late.add(c, w.fate.At.Partition, offset, w.expiresMS)
	w.space.pending--
	f.leave(o)
	return true
}

// turn makes the claim one of the kind that is being settled.
func (w *sameFate) turn(c *claim) bool {
	space := w.l.spaces[c.space]
	if space.holder == nil {
		return false
	}
	if w.fate.NowMS == 0 {
		w.fate.NowMS = w.l.NowMS()
	}
	expiresMS, trimMS := space.expiry(c.ttlMS, w.fate.NowMS)
	w.space, w.lifetime, w.expiresMS = space, c.ttlMS, expiresMS
	w.l.late.begin(w.l, space.holder, w.fate.At.Topic, trimMS)
	return true
}
