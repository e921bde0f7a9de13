package demo

import "math/rand/v2"

// What the demo's feed looks like; README.md tells how far it is real.
const (
	DefaultWindow = 100 // events that one poll returns
	DefaultStep   = 20  // events by which the window moves between two polls
	DefaultSeed   = 2018
	reviseOneIn   = 40        // events of a poll
	revisionStep  = 60 * 1000 // ms
	revisionMax   = 30        // steps
)

// Item is one event as one poll returned it.
type Item struct {
	*Event
	Updated int64  // the newest revision's
	Value   []byte // JSON; not to be changed
	// Seen is whether an earlier poll, or an earlier item of this one, had this
	// very version: what dedup must drop.
	Seen bool
}

// Feed plays polls of a sliding window over events. The same events, window,
// step and seed give the same polls. It is not safe for concurrent use.
type Feed struct {
	events       []Event
	window, step int
	random       *rand.Rand
	start        int     // of the next poll's window
	updated      []int64 // of each event, as revised so far; 0 before its first poll
	values       [][]byte
}

// NewFeed returns a feed over events. The window is at most all events.
func NewFeed(events []Event, window, step int, seed uint64) *Feed {
	return &Feed{
		events:  events,
		window:  min(window, len(events)),
		step:    step,
		random:  rand.New(rand.NewPCG(seed, seed)),
		updated: make([]int64, len(events)),
		values:  make([][]byte, len(events)),
	}
}

// Poll returns the window's events and moves it on. The slice is appended to
// dst.
func (f *Feed) Poll(dst []Item) []Item {
	for i := f.start; i < f.start+f.window; i++ {
		dst = append(dst, f.item(i))
	}
	f.start += f.step
	if f.start+f.window > len(f.events) {
		f.start = 0
	}
	return dst
}

// item returns event i, revised now and then once it is known.
func (f *Feed) item(i int) Item {
	e := &f.events[i]
	seen := true
	switch {
	case f.updated[i] == 0:
		f.updated[i], f.values[i], seen = e.Updated, e.JSON, false
	case f.random.IntN(reviseOneIn) == 0:
		f.updated[i] += revisionStep * (1 + f.random.Int64N(revisionMax))
		f.values[i], seen = e.withUpdated(f.updated[i]), false
	}
	return Item{Event: e, Updated: f.updated[i], Value: f.values[i], Seen: seen}
}
