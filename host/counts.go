package host

import (
	"sync/atomic"

	"github.com/klamm-io/klamm"
)

// Counts is the identity that the host keeps: every record that came in is out,
// dropped, dead-lettered, failed or still in flight.
type Counts struct {
	In           int64 `json:"in"`
	Out          int64 `json:"out"`
	Dropped      int64 `json:"dropped"`
	DeadLettered int64 `json:"dead_lettered"`
	Failed       int64 `json:"failed"`
	InFlight     int64 `json:"in_flight"`
}

// Balanced reports whether the identity holds. It can only be false if the host
// has a bug; tests, summaries and `klamm demo` check it.
func (c Counts) Balanced() bool {
	return c.InFlight >= 0 && c.In == c.Out+c.Dropped+c.DeadLettered+c.Failed+c.InFlight
}

// tally counts records in and their outcomes. In flight is counted on its own,
// not computed, so that the identity can be checked.
type tally struct {
	in, inFlight atomic.Int64
	outcome      [klamm.Failed + 1]atomic.Int64
}

// accept counts n records in. A negative n takes back what was counted in
// advance.
func (t *tally) accept(n int) {
	t.in.Add(int64(n))
	t.inFlight.Add(int64(n))
}

func (t *tally) complete(o klamm.Outcome, n int) {
	t.outcome[o].Add(int64(n))
	t.inFlight.Add(-int64(n))
}

// completed returns the part of c that has its outcome.
func (c Counts) completed() Counts {
	c.In, c.InFlight = c.Out+c.Dropped+c.DeadLettered+c.Failed, 0
	return c
}

// set makes the tally that of records which are all completed.
func (t *tally) set(c Counts) {
	t.in.Store(c.In)
	t.inFlight.Store(c.InFlight)
	t.outcome[klamm.Written].Store(c.Out)
	t.outcome[klamm.Dropped].Store(c.Dropped)
	t.outcome[klamm.DeadLettered].Store(c.DeadLettered)
	t.outcome[klamm.Failed].Store(c.Failed)
}

// revoke makes completed records failed ones: their transaction was aborted. What
// plugins dropped stays dropped.
func (t *tally) revoke(n *[klamm.Failed + 1]int64) {
	for _, o := range []klamm.Outcome{klamm.Written, klamm.DeadLettered} {
		t.outcome[o].Add(-n[o])
		t.outcome[klamm.Failed].Add(n[o])
	}
}

// counts reads until it sees a state in which nothing moved, so that a live
// figure balances too; after a few tries it takes what it has.
func (t *tally) counts() Counts {
	var c Counts
	for range 8 {
		before := t.in.Load()
		c = Counts{
			Out:          t.outcome[klamm.Written].Load(),
			Dropped:      t.outcome[klamm.Dropped].Load(),
			DeadLettered: t.outcome[klamm.DeadLettered].Load(),
			Failed:       t.outcome[klamm.Failed].Load(),
			InFlight:     t.inFlight.Load(),
			In:           t.in.Load(),
		}
		if c.In == before && c.Balanced() {
			break
		}
	}
	return c
}
