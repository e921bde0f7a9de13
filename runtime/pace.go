package runtime

import (
	goruntime "runtime"
	"time"
)

// The fuel between two looks at the clock. A guest starts with the most, which
// is 20 to 400 us of work of the usual kinds. What waits for memory takes longer,
// and the collector of the host waits for all of a slice.
const (
	sliceMost  = 250_000
	sliceLeast = 8_000
	// Slices that take longer are halved, shorter ones doubled.
	sliceLong  = 200 * time.Microsecond
	sliceShort = 50 * time.Microsecond
)

// breathLeast is how long a guest keeps its processor at least, breathMost at
// most, while others may want it.
const (
	breathLeast = 500 * time.Microsecond
	breathMost  = 10 * time.Millisecond // the time slice of Go's scheduler
)

// pace decides how a guest that runs for long shares its processor. Compiled code
// cannot be preempted, so Go's scheduler gets it back at yields alone, and asks
// for it every 10 ms. That is too seldom where others have to hand work to each
// other, as collections do, and have no second processor to do it on.
type pace struct {
	slice  int64     // fuel of the next slice
	looked time.Time // at the last yield
	since  time.Time // when the guest got its processor
	breath time.Duration
}

// begin is for the first yield of a call.
func (p *pace) begin(now time.Time) { p.looked, p.since, p.breath = now, now, breathLeast }

// adapt sets the next slice by the time that the last one took.
func (p *pace) adapt(now time.Time) {
	switch took := now.Sub(p.looked); {
	case took > sliceLong:
		p.slice = max(p.slice/2, sliceLeast)
	case took < sliceShort:
		p.slice = min(p.slice*2, sliceMost)
	}
	p.looked = now
}

// breathe lets others run if the guest has had its share, and returns how long
// they did.
func (p *pace) breathe(now time.Time) (away time.Duration) {
	if now.Sub(p.since) < p.breath {
		return 0
	}
	goruntime.Gosched()
	back := time.Now()
	p.back(now, back)
	return back.Sub(now)
}

// back has the guest keep its processor next for as long as others had it, so
// that it is not starved by those who take all that they can get.
func (p *pace) back(gone, now time.Time) {
	p.breath = min(max(now.Sub(gone), breathLeast), breathMost)
	p.looked, p.since = now, now
}
