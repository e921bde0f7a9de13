package state

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"
)

// SpaceOptions are a plugin's own settings at a state.
type SpaceOptions struct {
	// HoldUnknown keeps the claims of a record of unknown outcome until their
	// ttl (on_unknown = "hold"): no duplicate passes, and the record may be
	// lost. Default: they are released, and a duplicate may pass; counted.
	HoldUnknown bool
}

// Space is one plugin's part of one state.
type Space struct {
	l             *Ledger
	state, plugin string
	number        uint32
	recordClock   bool
	pass          bool // while the backend is unavailable
	remote        Remote
	staging       Transactional
	sourced       SourcedBucket // bucket, where it is one
	bucket        Bucket
	holder        holder // bucket, where it is one
	ids           *ids   // that records in flight have, at least
	scopes        scopes

	// Guarded by the ledger's mutex.
	hold            bool
	pending         int
	waiters         int
	claims          uint64
	hits            uint64
	pendingHits     uint64
	unknownReleased uint64
	unknownHeld     uint64
	errors          uint64
	bypassed        uint64
	refusal         error
}

// Claim asks for id on behalf of the record owner. topic is the record's own,
// and counts where the state's scope is the topic. The claim's ttl runs from
// its confirmation, or from the record's time where that is the state's clock;
// ttl <= 0 keeps it until too many newer ones are. nowMS is the ClockMS of the
// record and the block that it is judged in.
//
// An id that the same record owns already is New and not Fresh, so that judging
// a record again is harmless.
func (s *Space) Claim(owner Ref, topic string, id []byte, ttl time.Duration, nowMS int64) Answer {
	key := s.scopes.id(topic, id)
	ms := s.lifetime(ttl, nowMS)
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	var a Answer
	s.claim(owner, &key, s.ids.find(&key), ms, nowMS, &a)
	return a
}

// Asked is one claim of ClaimAll, as the parameters of Claim are, and its
// answer.
type Asked struct {
	Owner Ref
	Topic string
	ID    []byte
	NowMS int64

	// Code and Fresh are as in Answer.
	Code  int32
	Fresh bool

	key ID
}

// Met is what claim Index of ClaimAll met: At of an Answer that is Confirmed,
// Wait of one that is Pending.
type Met struct {
	Index int
	At    Position
	Wait  *Wait
}

// ClaimAll makes claims in order, as Claim does, under one lock, and writes the
// answers into asked. It appends what they met to met and returns it. Behind the
// first Refused all are.
func (s *Space) ClaimAll(asked []Asked, ttl time.Duration, met []Met) []Met {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	for first := 0; first < len(asked); first += lotMax {
		var refused bool
		if met, refused = s.claimLot(asked, first, ttl, met); refused {
			break
		}
	}
	return met
}

// claimLot makes the claims of one lot, from the first one on.
func (s *Space) claimLot(asked []Asked, first int, ttl time.Duration, met []Met) (_ []Met, refused bool) {
	lot := asked[first:min(first+lotMax, len(asked))]
	s.l.lot.hashAll(s, lot)
	f := &s.l.flight
	began := f.order
	others := s.claimNew(lot, ttl)
	defer func(end uint32) { f.order = end }(f.order)
	for _, i := range others {
		q := &lot[i]
		f.order = began + uint32(i)
		var a Answer
		s.claim(q.Owner, &q.key, s.ids.find(&q.key), s.lifetime(ttl, q.NowMS), q.NowMS, &a)
		q.Code, q.Fresh = a.Code, a.Fresh
		switch a.Code {
		case Confirmed, Pending:
			n := len(met)
			met = slices.Grow(met, 1)[:n+1]
			m := &met[n] // in place: a literal would be built elsewhere and copied
			m.Index, m.At, m.Wait = first+int(i), a.At, a.Wait
		case Refused:
			s.refuse(asked[first+int(i):], len(lot)-int(i))
			return met, true
		}
	}
	return met, false
}

// claimNew makes the claims of ids that are new at a glance, nearly all that are
// new, and returns the others. These can be made behind those, as the second claim
// of an id is not new at a glance, whatever the first one is.
func (s *Space) claimNew(lot []Asked, ttl time.Duration) (others []uint8) {
	l, f := s.l, &s.l.flight
	others = l.lot.later[:0]
	// What such an index does not have is nobody's.
	knows := s.holder != nil && !l.closed && s.holder.refusal() == nil
	lifetime := s.lifetime(ttl, 0)
	began := f.order
	var lines ahead
	for i := range lot {
		q := &lot[i]
		c := f.nextClaim()
		f.order = began + uint32(i)
		if knows {
			place, likely, ok := s.ids.part(&q.key).add(&q.key, c|pending, s.ids)
			if ok {
				if s.recordClock {
					lifetime = s.lifetime(ttl, q.NowMS)
				}
				f.claimFirst(c, q.Owner, &q.key, place, s.number, lifetime)
				q.Code, q.Fresh = New, true
				continue
			}
			if likely != 0 {
				met := unsafe.Pointer(s.ids.idOf(likely))
				lines.line(met)
				lines.line(unsafe.Add(met, entryEnd)) // it may be on two
			}
		}
		q.Code, q.Fresh = 0, false
		others = append(others, uint8(i))
	}
	lines.rest()
	f.order = began + uint32(len(lot))
	fresh := len(lot) - len(others)
	s.claims += uint64(fresh)
	s.pending += fresh
	return others
}

// refuse refuses all, of which the first n are of the lot that is being claimed.
func (s *Space) refuse(asked []Asked, n int) {
	for i := range asked {
		q := &asked[i]
		if i < n && i > 0 && q.Fresh && q.Code == New {
			s.disclaim(q.Owner, &q.key, false)
			s.claims--
		}
		q.Code, q.Fresh = Refused, false
	}
}

// own makes the claim of an id that nobody has.
func (s *Space) own(ref Ref, id *ID, lifetime int64) {
	f := &s.l.flight
	c := f.nextClaim()
	place := s.ids.part(id).insert(id, c|pending, s.ids)
	f.claim(c, f.enter(ref), id, place, s.number, lifetime)
	f.order++
	s.pending++
}

// claim is Claim under the mutex, of an id that has that slot, or 0. It writes the
// answer into a, which is zero.
func (s *Space) claim(owner Ref, key *ID, slot uint32, ms, nowMS int64, a *Answer) {
	s.claims++
	if o := s.ask(owner, key, slot, ms, nowMS, a); a.Code == Pending {
		a.Wait = &Wait{space: s, claimant: owner, id: *key, ttlMS: ms, nowMS: nowMS}
		s.l.flight.list(a.Wait, o)
	}
}

// ask is claim without a Wait. It returns the record that owns a pending id.
func (s *Space) ask(ref Ref, id *ID, slot uint32, ttl, nowMS int64, a *Answer) (owner uint32) {
	if s.l.closed {
		a.Code, s.refusal = Refused, errClosed(s.state)
		return 0
	}
	if slot&pending != 0 {
		f := &s.l.flight
		o := f.claims[slot&^pending].owner
		if f.owners[o].ref == ref {
			a.Code = New
			return 0
		}
		s.pendingHits++
		a.Code = Pending
		return o
	}
	at, ok, err := s.find(ref, id, slot, nowMS)
	switch {
	case err != nil:
		a.Code = s.unanswered(err)
	case ok:
		s.hits++
		a.Code, a.At = Confirmed, at
	default:
		s.own(ref, id, ttl)
		a.Code, a.Fresh = New, true
	}
	return 0
}

// unanswered is the answer of a backend that has none.
func (s *Space) unanswered(err error) int32 {
	s.errors++
	if s.pass && errors.Is(err, ErrUnavailable) {
		s.bypassed++
		return New
	}
	s.refusal = fmt.Errorf("state %q: %w", s.state, err)
	return Refused
}

// Refusal is why the last claim that was Refused was.
func (s *Space) Refusal() error {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	return s.refusal
}

// UndoAsked is Undo for a claim of ClaimAll.
func (s *Space) UndoAsked(a *Asked) { s.giveBack(a.Owner, &a.key, false) }

// Undo gives a Fresh claim back: its call faulted, or its verdict was not
// accepted. Records that met the id meanwhile keep waiting on owner, which must
// then be settled although it holds no claim any more. An id that owner does
// not own is left alone.
func (s *Space) Undo(owner Ref, topic string, id []byte) { s.undo(owner, topic, id, false) }

func (s *Space) undo(owner Ref, topic string, id []byte, keep bool) {
	key := s.scopes.id(topic, id)
	s.giveBack(owner, &key, keep)
}

func (s *Space) giveBack(owner Ref, key *ID, keep bool) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.disclaim(owner, key, keep)
}

// disclaim is giveBack under the mutex.
func (s *Space) disclaim(owner Ref, key *ID, keep bool) {
	l := s.l
	c := s.ids.claimed(key)
	if c == 0 {
		return
	}
	o := l.flight.claims[c].owner
	if l.flight.owners[o].ref != owner {
		return
	}
	if keep {
		l.forget(c)
	} else {
		l.drop(c)
	}
	l.flight.leaveIdle(o)
}

// Get returns the plugin's value of key, unless it has expired. The bytes are
// the ledger's: read them, do not change them. They stay as they are.
func (s *Space) Get(key []byte, nowMS int64) ([]byte, bool) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.l.closed {
		return nil, false
	}
	value, ok, err := s.bucket.Get(key, nowMS)
	if err != nil {
		s.errors++
		return nil, false
	}
	return value, ok
}

// Put copies key and value and keeps them for ttl, counted from nowMS; ttl <= 0
// keeps them until the state's max_bytes pushes them out, oldest put first.
func (s *Space) Put(key, value []byte, ttl time.Duration, nowMS int64) error {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.l.closed {
		return errClosed(s.state)
	}
	if err := s.bucket.Put(key, value, deadline(nowMS, ttlMS(ttl)), nowMS); err != nil {
		s.errors++
		return errPut(s.state, s.plugin, err)
	}
	return nil
}

// SpaceStats is what one plugin keeps at one state. Counters count from the
// opening of the state.
type SpaceStats struct {
	State, Plugin string

	Entries int   // ids confirmed
	Pending int   // ids of records in flight
	Waiters int   // records whose completion waits on one in flight
	Values  int   // values put
	Bytes   int64 // of those values, as max_bytes counts them

	Claims          uint64 // asked
	Hits            uint64 // answered Confirmed
	PendingHits     uint64 // answered Pending
	Evictions       uint64 // ids that went because there were too many
	Expired         uint64 // ids that went by age
	ValuesEvicted   uint64 // values that went because they took too much
	UnknownReleased uint64 // claims released although the outcome is unknown
	UnknownHeld     uint64 // claims held because the outcome is unknown
	Errors          uint64 // the backend could not answer, or refused
	Bypassed        uint64 // claims that passed because the backend was unavailable
}

func (s *Space) stats() SpaceStats {
	u := s.bucket.Usage()
	return SpaceStats{
		State: s.state, Plugin: s.plugin,
		Entries: u.Entries, Pending: s.pending, Waiters: s.waiters, Values: u.Values, Bytes: u.Bytes,
		Claims: s.claims, Hits: s.hits, PendingHits: s.pendingHits,
		Evictions: u.Evictions, Expired: u.Expired, ValuesEvicted: u.ValuesEvicted,
		UnknownReleased: s.unknownReleased, UnknownHeld: s.unknownHeld, Errors: s.errors, Bypassed: s.bypassed,
	}
}
