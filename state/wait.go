package state

import (
	"errors"

	"github.com/klamm-io/klamm"
)

// ErrCrossed: two records were dropped as each other's duplicate, by two plugins
// in two chains. Neither was written. Send them again.
var ErrCrossed = errors.New("crossed with its own duplicate: neither was written")

// Wait is what a record gets that met an id in flight: the right to be dropped
// as the duplicate of the id's owner, should that be written. It is tentative
// until the plugin's verdict is known, then either committed or cancelled.
type Wait struct {
	space    *Space
	claimant Ref
	id       ID
	ttlMS    int64
	nowMS    int64

	// Guarded by the ledger's mutex.
	state      waitState
	owner      uint32
	prev, next *Wait // the owner's other tentative waits
	fate       *Settlement
}

type waitState uint8

const (
	waitOpen    waitState = iota
	waitSettled           // the owner has its outcome: fate
	waitVoid              // the owner now waits on the claimant itself
	waitDone              // committed or cancelled
)

// Commit tells that the plugin that met the pending id dropped the record. It
// becomes a waiter: its own claims are released, and who waited on it waits on
// the id's owner, so that nobody ever waits on a waiter, nor on itself.
//
// settled = false: the completion comes out of the Settle of the owner.
//
// settled = true: r is what the record is to be completed with, because the
// owner has its outcome already. The record is then settled like any other
// with that completion; Settle knows of what its own waiters become.
//
// settled = true with r.Err = ErrCrossed: the record is no duplicate after all.
// Its owner was dropped as the duplicate of this very record, which happens
// where two chains claim two ids in opposite order. It holds the id now, and a
// caller that can may let it go on as if the plugin had passed it. Completing it
// with r, as failed, loses nothing either: who waits on it fails with it, and
// both can be sent again. Dropping it would lose both.
//
// settled = true with r.Err = klamm.ErrDuplicatePending: the record is in a
// transaction, and the id's owner is not in the same one. No transaction waits
// for what is outside of it.
//
// Committing a wait twice, or after Cancel, or for another record than the one
// that claimed is a bug of the caller and panics.
func (w *Wait) Commit(waiter Ref, plugin string) (r Resolution, settled bool) {
	if waiter != w.claimant {
		panic("state: wait committed for a record that did not claim")
	}
	l := w.space.l
	l.mu.Lock()
	defer l.mu.Unlock()
	switch w.state {
	case waitOpen:
		l.flight.unlist(w)
		w.state = waitDone
		if r, settled := l.acrossTransactions(w, plugin); settled {
			return r, true
		}
		return l.join(w.owner, w, plugin)
	case waitSettled:
		w.state = waitDone
		l.share(waiter, w.fate)
		return w.fate.resolve(waiter, plugin), true
	case waitVoid:
		return l.askAgain(w, plugin)
	}
	panic("state: wait committed after it was committed or cancelled")
}

// Cancel gives the wait up: the record was not dropped because of the pending
// id. It does nothing after Commit.
func (w *Wait) Cancel() {
	l := w.space.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.state == waitOpen {
		l.flight.unlist(w)
		l.flight.leaveIdle(w.owner)
	}
	w.state = waitDone
}

// join makes the claimant of w a waiter of o.
func (l *Ledger) join(o uint32, w *Wait, plugin string) (Resolution, bool) {
	f := &l.flight
	to := f.crowdOf(o)
	if own := f.owner(w.claimant); own != 0 {
		l.releaseAll(own)
		l.moveCrowd(own, o)
		f.leave(own)
	}
	to.waiters = append(to.waiters, waiter{w.claimant, w.space, plugin})
	w.space.waiters++
	return Resolution{}, false
}

// moveCrowd makes everybody that waits on from wait on to. A tentative wait of
// to itself is void then.
func (l *Ledger) moveCrowd(from, to uint32) {
	f := &l.flight
	c := f.owners[from].crowd
	if c == nil {
		return
	}
	for w := c.waits; w != nil; w = c.waits {
		f.unlist(w)
		if w.claimant == f.owners[to].ref {
			w.state = waitVoid
		} else {
			f.list(w, to)
		}
	}
	dst := f.crowdOf(to)
	dst.waiters = append(dst.waiters, c.waiters...)
}

// share ends the claims of a record that turned out to be the duplicate of a
// settled one. Its tentative waits are settled now, its waiters when it is.
func (l *Ledger) share(ref Ref, fate *Settlement) {
	f := &l.flight
	o := f.owner(ref)
	if o == 0 {
		return
	}
	l.releaseAll(o)
	if c := f.owners[o].crowd; c != nil {
		l.settleWaits(c, fate)
		c.fate = fate
	}
	f.leaveIdle(o)
}

// askAgain claims the id of a void wait anew.
func (l *Ledger) askAgain(w *Wait, plugin string) (Resolution, bool) {
	w.state = waitDone
	var a Answer
	o := w.space.ask(w.claimant, &w.id, w.space.ids.find(&w.id), w.ttlMS, w.nowMS, &a)
	switch a.Code {
	case Pending:
		return l.join(o, w, plugin)
	case Confirmed:
		fate := &Settlement{Outcome: klamm.Written, At: a.At}
		l.share(w.claimant, fate)
		return fate.resolve(w.claimant, plugin), true
	}
	return Resolution{Waiter: w.claimant, Outcome: klamm.Failed, Plugin: plugin, Err: ErrCrossed}, true
}

func (l *Ledger) releaseAll(o uint32) {
	for c := l.flight.owners[o].claims; c != 0; c = l.flight.owners[o].claims {
		l.drop(c)
	}
}

// drop releases one claim.
func (l *Ledger) drop(c uint32) {
	claim := &l.flight.claims[c]
	if r := l.spaces[claim.space].remote; r != nil {
		r.Release(claim.id) // does nothing for one that was remembered
	}
	l.forget(c)
}

// forget is drop without telling other hosts.
func (l *Ledger) forget(c uint32) {
	claim := &l.flight.claims[c]
	space := l.spaces[claim.space]
	space.pending--
	space.ids.part(&claim.id).remove(&claim.id, c|pending)
	l.flight.release(c)
}
