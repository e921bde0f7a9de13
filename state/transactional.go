package state

// Transactional is a Backend that writes what it remembers in the transaction
// of the records themselves: both are there or neither is. Whoever writes
// records stages their claims, has what was staged written in the same
// transaction, and settles the claims once it is committed.
//
// Its ids belong to partitions of what is read, so that they can go where a
// partition goes. Its buckets are SourcedBuckets.
type Transactional interface {
	Durable
	// Stage takes an id of a record that was read from partition and written at
	// at. It counts once it is committed; then Remember is told, with the same
	// at.
	Stage(partition int32, plugin string, id ID, at Position, expiresMS int64)
}

// SourcedBucket is a Bucket that looks for an id on behalf of a record: where
// that was read decides where the id would be. The ledger calls FindFor in the
// place of Find.
type SourcedBucket interface {
	Bucket
	FindFor(owner Ref, id ID, nowMS int64) (at Position, ok bool, err error)
}

// Stage tells Transactional backends that owner, which was read from partition,
// was written in a transaction that is still open. s is what Settle will be
// called with should it be committed. Other backends are told nothing.
func (l *Ledger) Stage(owner Ref, s Settlement, partition int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &l.flight
	o := f.owner(owner)
	if o == 0 {
		return
	}
	now := s.NowMS
	if now == 0 {
		now = l.NowMS()
	}
	for c := f.owners[o].claims; c != 0; c = f.claims[c].next {
		claim := &f.claims[c]
		space := l.spaces[claim.space]
		if space.staging == nil {
			continue
		}
		expires, _ := space.expiry(claim.ttlMS, now)
		space.staging.Stage(partition, space.plugin, claim.id, s.At, expires)
	}
}

// find looks for a confirmed id, which has that slot or 0, on behalf of a record.
func (s *Space) find(owner Ref, id *ID, slot uint32, nowMS int64) (Position, bool, error) {
	switch {
	case s.sourced != nil:
		return s.sourced.FindFor(owner, *id, nowMS)
	case slot != 0 && s.holder != nil:
		return s.holder.findAt(slot, nowMS)
	}
	return s.bucket.Find(*id, nowMS)
}
