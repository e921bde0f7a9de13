// Package state keeps what the host remembers for plugins: claimed ids and
// values. It is how a plugin drops duplicates without losing records.
//
// Marking an id and then sending loses data: the send fails, the caller sends
// again, and the second record is dropped as the duplicate of one that never
// arrived. So a claim is provisional. It is owned by the record that made it
// until that record has its outcome, and the outcome decides, for the claim
// and for the duplicates that met it in flight (waiters):
//
//	the owner is                  the claim            a waiter completes as
//	acknowledged                  confirmed, ttl runs  dropped, duplicate of the owner's position
//	dropped by another plugin     released             dropped, same plugin and reason
//	dead-lettered                 released             dropped, duplicate of a dead-lettered record
//	failed for certain            released             failed with the same error
//	of unknown outcome            released or held     failed with klamm.ErrOutcomeUnknown
//
// A pending claim never expires and is never evicted. A confirmed one leaves by
// age (its ttl) or by count (the oldest goes).
//
// All methods are safe for concurrent use. One mutex guards a Ledger with all
// of its states, because a record may hold claims in several of them.
package state

import (
	"time"

	"github.com/klamm-io/klamm"
)

// Ref names one record in this process, as plugins see it.
type Ref uint64

// Position is where a record stands in Kafka.
type Position = klamm.Position

// The answers to a claim, with the numbers that the ABI gives them.
const (
	// Confirmed: a record with that id was written inside the window.
	Confirmed int32 = 0
	// New: nobody holds the id, or this record does already. It is this
	// record's now.
	New int32 = 1
	// Pending: a record in flight owns the id.
	Pending int32 = 2
	// Refused: the ledger is closed, or its backend could not answer.
	Refused int32 = -1
)

// Answer is the answer to one claim.
type Answer struct {
	Code int32
	// Fresh is set with New when the record did not own the id before this
	// call. Only a fresh claim may be undone.
	Fresh bool
	// At is set with Confirmed: the record that this one duplicates.
	At Position
	// Wait is set with Pending. It must be committed or cancelled.
	Wait *Wait
}

// ttlMS returns ttl in milliseconds, rounded up, 0 for no limit.
func ttlMS(ttl time.Duration) int64 {
	if ttl <= 0 {
		return 0
	}
	return int64((ttl-1)/time.Millisecond) + 1
}

// deadline returns when something kept from nowMS for ttl milliseconds ends, 0
// for never.
func deadline(nowMS, ttl int64) int64 {
	if ttl <= 0 {
		return 0
	}
	if end := nowMS + ttl; end > nowMS {
		return max(end, 1)
	}
	return 0 // beyond the end of time
}

// over reports whether a deadline has passed.
func over(expiresMS, nowMS int64) bool { return expiresMS != 0 && nowMS >= expiresMS }
