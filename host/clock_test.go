package host

import (
	"testing"
	"time"
)

// A wall clock that is set back must not make ids older than they are, and one
// that is set forward is followed once.
func TestClockJumps(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	c := newClock()
	c.wall.Add(-hour) // as if the machine's clock went an hour ahead
	c.anchor()
	if got, now := c.nowMS(), time.Now().UnixMilli(); got < now-hour/2 {
		t.Errorf("set forward: got %d, %d behind", got, now-got)
	}
	c.wall.Add(hour) // as if it went an hour back
	before := c.nowMS()
	c.anchor()
	if got := c.nowMS(); got < before {
		t.Errorf("set back: time ran backwards by %d ms", before-got)
	}
	if got, now := c.nowMS(), time.Now().UnixMilli(); got < now+hour/2 {
		t.Errorf("set back: followed to %d, where it was %d", got, before)
	}
}
