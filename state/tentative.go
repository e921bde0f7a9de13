package state

import "github.com/klamm-io/klamm"

// provisional is a record that was written in a transaction. Those of a batch share all
// but the offset.
type provisional struct {
	fate   *Settlement
	offset int64
}

func (w *provisional) resolve(ref Ref, plugin string) Resolution {
	r := w.fate.resolve(ref, plugin)
	if r.Outcome == klamm.Dropped {
		r.At.Offset = w.offset
	}
	return r
}

// settlement is the record's own.
func (w *provisional) settlement() *Settlement {
	s := *w.fate
	s.At.Offset = w.offset
	return &s
}

// Tentative tells that owner was written in a transaction that is still open. Its
// claims stay pending until Settle says how the transaction ended. Who waits on it
// within the same transaction shares its fate, so they are complete now: it
// appends their completions to out and returns it. Others go on waiting.
//
// s is as for Settle, which is called once for every owner of Tentative.
func (l *Ledger) Tentative(owner Ref, s Settlement, out []Resolution) []Resolution {
	return l.TentativeSame([]Ref{owner}, []int64{s.At.Offset}, s, out)
}

// TentativeSame is Tentative for records of which the same has become but for their
// offsets: offsets[i] is that of owners[i], and s.At.Offset counts for nothing.
func (l *Ledger) TentativeSame(owners []Ref, offsets []int64, s Settlement, out []Resolution) []Resolution {
	all := make([]provisional, len(owners)) // as long as the last of them is in flight
	for len(owners) > 0 {
		n := min(len(owners), lotMax)
		out = l.tentativeLot(owners[:n], offsets[:n], &s, all[:n], out)
		owners, offsets, all = owners[n:], offsets[n:], all[n:]
	}
	return out
}

func (l *Ledger) tentativeLot(owners []Ref, offsets []int64, s *Settlement, all []provisional, out []Resolution) []Resolution {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &l.flight
	for i, o := range l.lot.slots(f, owners) {
		if o == 0 {
			continue
		}
		w := &all[i]
		w.fate, w.offset = s, offsets[i]
		f.owners[o].tentative = w
		if c := f.owners[o].crowd; c != nil {
			out = l.resolveWithin(c, owners[i], w, out)
		}
	}
	return out
}

// resolveWithin gives those in c their completion who are in owner's transaction.
func (l *Ledger) resolveWithin(c *crowd, owner Ref, fate *provisional, out []Resolution) []Resolution {
	kept := c.waiters[:0]
	for _, w := range c.waiters {
		if l.txn(w.ref) != l.txn(owner) {
			kept = append(kept, w)
			continue
		}
		w.space.waiters--
		out = append(out, fate.resolve(w.ref, w.plugin))
	}
	clear(c.waiters[len(kept):])
	c.waiters = kept
	return out
}

// acrossTransactions decides about a record that is to wait for w's owner where
// transactions do not let it wait.
func (l *Ledger) acrossTransactions(w *Wait, plugin string) (Resolution, bool) {
	o := &l.flight.owners[w.owner]
	mine := l.txn(w.claimant)
	switch {
	case mine == 0:
		return Resolution{}, false
	case mine != l.txn(o.ref):
		l.flight.leaveIdle(w.owner)
		fate := &Settlement{Outcome: klamm.Failed, Plugin: plugin, Err: klamm.ErrDuplicatePending}
		l.share(w.claimant, fate)
		return fate.resolve(w.claimant, plugin), true
	case o.tentative != nil:
		fate := o.tentative.settlement()
		l.flight.leaveIdle(w.owner)
		l.share(w.claimant, fate)
		return fate.resolve(w.claimant, plugin), true
	}
	return Resolution{}, false
}
