package state

// holder is a Bucket whose index has the ids of the records in flight as well, so
// that an id is looked for once and keeps its place when it is confirmed. Others
// have an index of the ledger's for those. All calls are under the ledger's mutex.
type holder interface {
	Bucket
	index() *ids
	// refusal is why Find cannot answer now, nil if it can. Then an id that the
	// index does not have is nobody's.
	refusal() error
	// findAt is Find for the id of a slot that the index has and that is not
	// pending.
	findAt(slot uint32, nowMS int64) (Position, bool, error)
	// confirm is Remember for the ids of claims, one after the other. They keep
	// their places, the claims do not.
	confirm(f *flight, topic string, nowMS int64, all []confirmation)
}

// confirmation is one claim whose id is to be remembered.
type confirmation struct {
	claim             uint32
	partition         int32
	offset, expiresMS int64
}

// confirmations are those of the lot that is being settled. Nobody sees that they
// are made at its end: all of it is under the ledger's mutex.
type confirmations struct {
	holder holder
	topic  string
	nowMS  int64
	n      int
	all    [lotMax]confirmation
}

// begin makes room for one more of that kind.
func (t *confirmations) begin(l *Ledger, h holder, topic string, nowMS int64) {
	if t.n == lotMax || t.nowMS != nowMS || t.topic != topic || t.holder != h {
		l.confirmAll()
		t.holder, t.topic, t.nowMS = h, topic, nowMS
	}
}

// add is for one that there is room for.
func (t *confirmations) add(claim uint32, partition int32, offset, expiresMS int64) {
	c := &t.all[t.n]
	c.claim, c.partition, c.offset, c.expiresMS = claim, partition, offset, expiresMS
	t.n++
}

func (l *Ledger) confirmAll() {
	late, f := &l.late, &l.flight
	all := late.all[:late.n]
	if len(all) == 0 {
		return
	}
	late.holder.confirm(f, late.topic, late.nowMS, all)
	for i := range all {
		f.freeC = append(f.freeC, all[i].claim)
	}
	late.n = 0
}
