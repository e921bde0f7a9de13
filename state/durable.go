package state

import (
	"errors"
	"time"
)

// ErrUnavailable: a backend cannot answer or remember now. It says where and
// why. Claims are refused until it can again, or pass uncounted where
// on_unavailable is "pass".
var ErrUnavailable = errors.New("state is unavailable")

// Durable is a Backend whose ids outlive the process. What it was told counts
// at once and is written behind the caller's back, many at a time.
type Durable interface {
	Backend
	// Flush returns when all that was remembered and put before is safe, or why
	// it is not. It waits no longer than limit. It may be called by several
	// goroutines, and beside the calls of the ledger.
	Flush(limit time.Duration) error
	// Health tells how it is. It may be called at any time.
	Health() Health
}

// Health is how a Durable backend is.
type Health struct {
	// Where is the file, or the address.
	Where string
	// Err is why it cannot remember now, nil if it can.
	Err error
	// Size is the bytes that it takes, Synced those of them that a power cut
	// leaves; -1 where it does not know.
	Size, Synced int64
	// Behind is the bytes that are not written yet.
	Behind int64
	// Failures counts writes that did not succeed, Rewrites how often the file
	// was written anew without what has gone, Cut the bytes at its end that were
	// no whole frame when it was opened.
	Failures, Rewrites uint64
	Cut                int64
}
