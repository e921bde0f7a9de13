package host

import (
	"sync/atomic"
	"time"
)

// clock reads the monotonic clock once and derives the wall clock from it: half
// the price of time.Now on the path of every Send. The wall time that it gives
// never runs backwards, as claims demand.
type clock struct {
	start time.Time
	wall  atomic.Int64 // wall milliseconds at start, corrected by anchor
}

func newClock() *clock {
	c := &clock{start: time.Now()}
	c.wall.Store(c.start.UnixMilli())
	return c
}

// since is the time since the clock was made.
func (c *clock) since() time.Duration { return time.Since(c.start) }

func (c *clock) msAt(d time.Duration) int64 { return c.wall.Load() + d.Milliseconds() }

func (c *clock) nowMS() int64 { return c.msAt(c.since()) }

// anchor follows a wall clock that was set forward. One that was set back is not
// followed: time never runs backwards for claims.
func (c *clock) anchor() {
	now := time.Now()
	elapsed := now.Sub(c.start)
	if ahead := now.UnixMilli() - c.msAt(elapsed); ahead > 0 {
		c.wall.Add(ahead)
	}
}

// timeOfMS turns Kafka's milliseconds into a time.
func timeOfMS(ms int64) time.Time { return time.UnixMilli(ms) }
