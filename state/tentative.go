package state

import "github.com/klamm-io/klamm"

// Tentative tells that owner was written in a transaction that is still open. Its
// claims stay pending until Settle says how the transaction ended. Who waits on it
// within the same transaction shares its fate, so they are complete now: it
// appends their completions to out and returns it. Others go on waiting.
//
// s is as for Settle, which is called once for every owner of Tentative.
func (l *Ledger) Tentative(owner Ref, s Settlement, out []Resolution) []Resolution {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.flight.owner(owner)
	if o == 0 {
		return out
	}
	l.flight.owners[o].tentative = &s
	c := l.flight.owners[o].crowd
	if c == nil {
		return out
	}
	kept := c.waiters[:0]
	for _, w := range c.waiters {
		if l.txn(w.ref) != l.txn(owner) {
			kept = append(kept, w)
			continue
		}
		w.space.waiters--
		out = append(out, s.resolve(w.ref, w.plugin))
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
		fate := o.tentative
		l.flight.leaveIdle(w.owner)
		l.share(w.claimant, fate)
		return fate.resolve(w.claimant, plugin), true
	}
	return Resolution{}, false
}
