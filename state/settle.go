package state

import (
	"errors"

	"github.com/klamm-io/klamm"
)

// Settlement is what became of a record that owns claims.
type Settlement struct {
	// Outcome is anything but klamm.InFlight.
	Outcome klamm.Outcome
	// Unknown is set with klamm.Failed when nobody knows whether the record was
	// written. An Err that wraps klamm.ErrOutcomeUnknown says the same.
	Unknown bool
	// At is where the record was written, or dead-lettered.
	At Position
	// Plugin and Reason tell who dropped or failed the record, if a plugin did.
	Plugin, Reason string
	// Err is why it failed.
	Err error
	// NowMS is the clock that the window by age uses. 0: the ledger's own.
	NowMS int64
}

// Resolution is the completion of a waiter.
type Resolution struct {
	Waiter         Ref
	Outcome        klamm.Outcome
	Plugin, Reason string
	Err            error
	// At is the record that the waiter duplicates, where it was written or
	// dead-lettered.
	At Position
}

// Reasons of waiters that are dropped. Resolution.At tells of what.
const (
	ReasonDuplicate             = "duplicate"
	ReasonDuplicateDeadLettered = "duplicate of a dead-lettered record"
)

// unknown reports whether nobody knows what became of the record.
func (s *Settlement) unknown() bool {
	return s.Unknown || s.Outcome == klamm.Failed && errors.Is(s.Err, klamm.ErrOutcomeUnknown)
}

// resolve is the waiter's column of the outcome table. plugin is the one that
// dropped the waiter.
func (s *Settlement) resolve(ref Ref, plugin string) Resolution {
	r := Resolution{Waiter: ref, Outcome: klamm.Dropped, Plugin: plugin, Reason: ReasonDuplicate, At: s.At}
	switch {
	case s.unknown():
		r = Resolution{Waiter: ref, Outcome: klamm.Failed, Err: s.Err}
		if !errors.Is(r.Err, klamm.ErrOutcomeUnknown) {
			r.Err = klamm.ErrOutcomeUnknown
		}
	case s.Outcome == klamm.Failed:
		r = Resolution{Waiter: ref, Outcome: klamm.Failed, Plugin: s.Plugin, Reason: s.Reason, Err: s.Err}
	case s.Outcome == klamm.Dropped:
		r.Plugin, r.Reason = s.Plugin, s.Reason
	case s.Outcome == klamm.DeadLettered:
		r.Reason = ReasonDuplicateDeadLettered
	}
	return r
}

// Settle tells what became of owner. It confirms or releases the owner's claims
// and returns the completions of its waiters, each exactly once. A record is
// settled once; one that owns nothing and is waited on by nobody may be left
// out, and settling it does nothing.
func (l *Ledger) Settle(owner Ref, s Settlement) []Resolution {
	return l.SettleAll([]Ref{owner}, []Settlement{s}, nil)
}

// SettleAll settles many records, 128 of them under one lock: s[i] is what became
// of owners[i]. It appends the completions of their waiters to out and
// returns it.
func (l *Ledger) SettleAll(owners []Ref, s []Settlement, out []Resolution) []Resolution {
	for len(owners) > 0 {
		n := min(len(owners), lotMax)
		out = l.settleLot(owners[:n], s[:n], nil, out)
		owners, s = owners[n:], s[n:]
	}
	return out
}

// SettleSame settles, as SettleAll does, records of which the same has become
// but for their offsets: offsets[i] is that of owners[i], and s.At.Offset counts
// for nothing.
func (l *Ledger) SettleSame(owners []Ref, offsets []int64, s Settlement, out []Resolution) []Resolution {
	same := []Settlement{s}
	for len(owners) > 0 {
		n := min(len(owners), lotMax)
		out = l.settleLot(owners[:n], same, offsets[:n], out)
		owners, offsets = owners[n:], offsets[n:]
	}
	return out
}

// settleLot settles under one lock. With offsets, fates[0] is that of all.
func (l *Ledger) settleLot(owners []Ref, fates []Settlement, offsets []int64, out []Resolution) []Resolution {
	l.mu.Lock()
	defer l.mu.Unlock()
	fate := &fates[0]
	var quick sameFate
	if offsets != nil && !l.closed && fate.Outcome == klamm.Written && !fate.unknown() {
		quick = sameFate{l: l, fate: fate}
	}
	for i, o := range l.lot.find(l, owners) {
		if offsets != nil {
			if quick.l != nil && quick.settle(o, owners[i], offsets[i]) {
				continue
			}
			fate.At.Offset = offsets[i]
		} else {
			fate = &fates[i]
		}
		if o != 0 || fate.Outcome == klamm.InFlight {
			out = l.settle(owners[i], o, fate, out)
			quick.space = nil // what is to be confirmed may be of another kind now
		}
	}
	l.confirmAll()
	return out
}

// settle settles the record of slot o, 0 where it has none.
func (l *Ledger) settle(ref Ref, o uint32, s *Settlement, out []Resolution) []Resolution {
	if s.Outcome == klamm.InFlight {
		panic("state: record settled without an outcome")
	}
	f := &l.flight
	if o == 0 || f.owners[o].ref != ref { // it was settled before in the same lot
		return out
	}
	for c := f.owners[o].claims; c != 0; c = f.owners[o].claims {
		l.decide(c, s)
	}
	if c := f.owners[o].crowd; c != nil {
		out = l.disband(c, s, out)
	}
	f.leave(o)
	return out
}

// decide is the claim's column of the outcome table. What it does not confirm
// is released.
func (l *Ledger) decide(c uint32, s *Settlement) {
	space := l.spaces[l.flight.claims[c].space]
	unknown := s.unknown()
	switch {
	case unknown && space.hold:
		space.unknownHeld++
		l.confirm(space, c, &Position{Topic: s.At.Topic, Partition: klamm.NoPartition, Offset: klamm.NoOffset}, s)
		return
	case unknown:
		space.unknownReleased++
	case s.Outcome == klamm.Written:
		l.confirm(space, c, &s.At, s)
		return
	}
	l.drop(c)
}

// confirm ends a claim with its id remembered.
func (l *Ledger) confirm(space *Space, c uint32, at *Position, s *Settlement) {
	if l.closed {
		l.drop(c)
		return
	}
	now := s.NowMS
	if now == 0 {
		now = l.NowMS()
	}
	claim := &l.flight.claims[c]
	expires, now := space.expiry(claim.ttlMS, now)
	if space.holder == nil {
		l.remember(space, claim.id, *at, expires, now)
		l.drop(c)
		return
	}
	l.late.begin(l, space.holder, at.Topic, now)
	l.late.add(c, at.Partition, at.Offset, expires)
	space.pending--
	l.flight.unlink(c)
}

func (l *Ledger) remember(space *Space, id ID, at Position, expires, now int64) {
	if err := space.bucket.Remember(id, at, expires, now); err != nil {
		space.errors++
		l.log.Error("state: id not remembered, a duplicate may pass",
			"state", space.state, "plugin", space.plugin, "err", err)
	}
}

// disband gives everybody in c their completion.
func (l *Ledger) disband(c *crowd, s *Settlement, out []Resolution) []Resolution {
	fate := s
	if c.fate != nil {
		fate = c.fate
	}
	for _, w := range c.waiters {
		w.space.waiters--
		out = append(out, fate.resolve(w.ref, w.plugin))
	}
	if c.waits != nil {
		kept := *fate // the caller's may be reused
		l.settleWaits(c, &kept)
	}
	return out
}

// settleWaits ends the tentative waits in c; Commit finds the fate.
func (l *Ledger) settleWaits(c *crowd, fate *Settlement) {
	for w := c.waits; w != nil; w = c.waits {
		l.flight.unlist(w)
		w.state, w.fate = waitSettled, fate
	}
}
