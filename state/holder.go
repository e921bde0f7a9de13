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
	// warm reads ahead what is looked at when the ids are looked for. The calls
	// give the same without.
	warm(all []ID)
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
	all    []confirmation
}

// confirmLate confirms a claim when the lot is settled, at the latest.
func (l *Ledger) confirmLate(h holder, c uint32, at *Position, expiresMS, nowMS int64) {
	late := &l.late
	if len(late.all) == lotMax || late.nowMS != nowMS || late.topic != at.Topic || late.holder != h {
		l.confirmAll()
		late.holder, late.topic, late.nowMS = h, at.Topic, nowMS
	}
	late.all = append(late.all, confirmation{c, at.Partition, at.Offset, expiresMS})
}

func (l *Ledger) confirmAll() {
	late, f := &l.late, &l.flight
	if len(late.all) == 0 {
		return
	}
	late.holder.confirm(f, late.topic, late.nowMS, late.all)
	for i := range late.all {
		f.freeC = append(f.freeC, late.all[i].claim)
	}
	late.all = late.all[:0]
}
