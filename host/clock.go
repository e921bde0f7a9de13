package host

import (
	"sync/atomic"
	"time"
)

// clock reads the monotonic clock once and derives the wall clock from it: half
// the price of time.Now on the path of every Send. The wall time that it gives
// never runs backwards, as claims demand.
//
// Reading it still costs more than all locks of a Send, so Sends share readings:
// recent is at most a tick old as long as goroutines get to run, and as old as
// recentReads Sends where one of them holds the only processor.
type clock struct {
	start time.Time
	wall  atomic.Int64 // wall milliseconds at start, corrected by anchor

	last  atomic.Int64 // the reading that recent returns, notKept while nobody renews it
	asked atomic.Bool  // since the last tick
	timer *time.Timer
}

const (
	clockTick   = time.Millisecond
	recentReads = 64
	notKept     = -1
)

func newClock() *clock {
	c := &clock{start: time.Now()}
	c.wall.Store(c.start.UnixMilli())
	c.last.Store(notKept)
	c.timer = time.AfterFunc(time.Hour, c.tick)
	c.timer.Stop()
	return c
}

// recent is since, as it was not long ago. The first call after a pause reads
// the clock and has it renewed each tick from then on.
func (c *clock) recent() time.Duration {
	d := c.last.Load()
	if d == notKept {
		d = int64(c.since())
		if c.last.CompareAndSwap(notKept, d) {
			c.timer.Reset(clockTick)
		}
	}
	if !c.asked.Load() {
		c.asked.Store(true)
	}
	return time.Duration(d)
}

// renew has recent return the time of now.
func (c *clock) renew() {
	now := int64(c.since())
	for old := c.last.Load(); old != notKept && old < now; old = c.last.Load() {
		if c.last.CompareAndSwap(old, now) {
			return
		}
	}
}

// tick renews the reading, until nobody has asked for it for a tick.
func (c *clock) tick() {
	c.anchor()
	if !c.asked.Swap(false) {
		c.last.Store(notKept)
		return
	}
	c.renew()
	c.timer.Reset(clockTick)
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
