package state

import (
	"errors"
	"maps"
	"slices"
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
	// Lapsed counts claims that other hosts could have taken before they were
	// confirmed: their records may have been doubled.
	Lapsed uint64
	// Forgotten counts confirmations and releases that were never sent, as too
	// many waited: duplicates may pass on other hosts.
	Forgotten uint64
	Cut       int64
	// Restored is the ids that were read back since the start, RestoreTime how
	// long that took in all, Restoring the partitions whose ids are being read
	// back now, and RestoreLag the records that are still to be read for them.
	Restored    uint64
	RestoreTime time.Duration
	Restoring   int
	RestoreLag  int64
}

// flushLimit is how long settled claims wait for a disk. Then the backend is
// unavailable, and says so.
const flushLimit = 5 * time.Second

// Flush returns when what was settled and put before is as safe as its backends
// make it. Whoever tells that a record was written calls it first, once for
// many: then an id that was told of is forgotten by no crash of the process. A
// backend that cannot keep up is unavailable, which its Health, and the claims
// that it refuses, tell; the records are written in any case.
func (l *Ledger) Flush() {
	l.mu.Lock()
	durables := l.durables
	l.mu.Unlock()
	for _, d := range durables {
		if err := d.Flush(flushLimit); err != nil {
			l.log.Debug("state: not safe", "err", err)
		}
	}
}

// StoreHealth is how a state's backend is.
type StoreHealth struct {
	State string
	Health
}

// Health returns how the backends are that outlive the process, ordered by
// name.
func (l *Ledger) Health() []StoreHealth {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []StoreHealth
	for _, name := range slices.Sorted(maps.Keys(l.stores)) {
		if d := l.stores[name].durable; d != nil {
			all = append(all, StoreHealth{name, d.Health()})
		}
	}
	return all
}
