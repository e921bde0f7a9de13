package plugin

import (
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Answer is what the host's memory says of an id.
type Answer int32

// The answers of Claim.
const (
	ClaimNew       = Answer(abi.ClaimNew)       // not known, or this record's own: it is the record's now
	ClaimConfirmed = Answer(abi.ClaimConfirmed) // a record with that id has been delivered
	ClaimPending   = Answer(abi.ClaimPending)   // a record with that id is on its way
	claimRefused   = Answer(abi.ClaimRefused)
)

// Fresh reports whether the id is the record's own. Dropping a record whose id
// is not is right for both other answers: when the record on its way fails, the
// host lets its duplicates fail with it instead of losing them.
func (a Answer) Fresh() bool { return a == ClaimNew }

// Bits is a set of record indexes.
type Bits struct{ words *[abi.BatchMax / 64]uint64 }

// Has reports whether record i is in the set.
func (s Bits) Has(i int) bool { return s.words[i/64]>>(i%64)&1 != 0 }

// ClaimKeys claims the key of every record of the batch in one call of the host
// and returns the records whose key is fresh. A record without a key is not
// among them. The set is valid until the next ClaimKeys.
//
// A claim is provisional: the outcome of the record confirms or releases it. A
// ttl of zero or less keeps it until the state is full.
//
// When the plugin's configuration grants no state, every record counts as fresh
// and the call ends with an error.
func (b *Batch) ClaimKeys(ttl time.Duration) Bits {
	clear(b.fresh[:])
	if importClaimBatch(&b.fresh, ttl.Milliseconds()) < 0 {
		b.refused = true
		for i := range b.fresh {
			b.fresh[i] = ^uint64(0)
		}
	}
	return Bits{&b.fresh}
}

// Claim claims id for record i. See ClaimKeys.
func (b *Batch) Claim(i int, id []byte, ttl time.Duration) Answer {
	a := Answer(importClaim(i, id, ttl.Milliseconds()))
	if a == claimRefused {
		b.refused = true
		return ClaimNew
	}
	return a
}
