package checker

import (
	"cmp"
	"slices"
	"time"
)

// twin is a record that has an id of dedup.
type twin struct {
	id   ID
	fact *fact
}

// dedup compares what went in with what came out: within the window there is of
// each id one record, and no record was dropped unless one of its id is there.
func (j *judge) dedup() {
	var all []twin
	j.h.each(func(id ID, f *fact) {
		if f.dedup != 0 {
			all = append(all, twin{id, f})
		}
	})
	slices.SortFunc(all, func(a, b twin) int {
		return cmp.Or(cmp.Compare(a.fact.dedup, b.fact.dedup), cmp.Compare(a.fact.ms, b.fact.ms), cmp.Compare(a.id, b.id))
	})
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].fact.dedup == all[0].fact.dedup {
			n++
		}
		j.twins(all[:n])
		all = all[n:]
	}
}

// twins judges the records of one id, in the order of their times.
func (j *judge) twins(all []twin) {
	j.r.Duplicates += int64(len(all) - 1)
	var acked *fact
	for _, t := range all {
		f := t.fact
		switch written := f.seen[Committed] > 0; {
		case f.outcome == Dropped && (f.txn == 0 || j.h.txns[f.txn] == TxnCommitted):
			if !j.covered(t, all) {
				j.r.finding(&j.r.FalseDrops, "record %v was dropped as a duplicate, and no record of id %x is in the log that it repeats", t.id, f.dedup)
			}
		case f.outcome == OK && written:
			switch {
			case acked == nil:
			case j.remembers(acked.ms, f.ms):
				j.r.finding(&j.r.DedupDoubled, "two records of id %x, sent after %d and %d ms, got through", f.dedup, acked.ms, f.ms)
			default:
				j.r.DedupLate++
			}
			acked = f
		case written && len(all) > 1:
			j.r.DedupUnknown++
		}
	}
}

// covered reports whether a record that was dropped repeats one that the log has:
// one that was sent before, or before this one had its completion, since lanes may
// overtake one another. Where there is a window, that one was sent within it or had
// no completion when this one was sent: what is in flight is not forgotten.
func (j *judge) covered(t twin, all []twin) bool {
	return slices.ContainsFunc(all, func(o twin) bool {
		if o.fact.seen[Committed] == 0 || o.fact.sentAs >= t.fact.endAs {
			return false
		}
		return j.h.Window == 0 || o.fact.endAs > t.fact.sentAs || int64(t.fact.ms)-int64(o.fact.ms) < j.h.Window.Milliseconds()
	})
}

// remembers reports whether an id that was sent at first is known at then, both
// in milliseconds since the history began.
func (j *judge) remembers(first, then uint32) bool {
	if j.h.Window > 0 && int64(then-first) >= j.h.Window.Milliseconds() {
		return false
	}
	return !slices.ContainsFunc(j.o.Forgot, func(at time.Time) bool {
		ms := at.Sub(j.h.Started).Milliseconds()
		return int64(first) <= ms && ms <= int64(then)
	})
}
