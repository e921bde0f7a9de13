// Package rounds times several things side by side: in every round each of them
// runs once, the first one another each time, so that what the machine does
// meanwhile meets all of them alike. What counts is the median.
package rounds

import (
	goruntime "runtime"
	"slices"
	"time"
)

// Config says how long to measure. Zero values are the defaults.
type Config struct {
	// Rounds is how often each contestant runs; the default is 21. One that fills Time
	// with a single call runs RoundsMin times only.
	Rounds int
	// Time is about how long each run takes; the default is 5 ms. On a machine that
	// is shared, many short runs have a steadier median than a few long ones.
	Time time.Duration
}

// RoundsMin is the least number of rounds that a figure comes from.
const RoundsMin = 5

func (c Config) withDefaults() Config {
	if c.Rounds == 0 {
		c.Rounds = 21
	}
	if c.Time == 0 {
		c.Time = 5 * time.Millisecond
	}
	return c
}

// Contestant does its work once with each call; turn counts the calls.
type Contestant func(turn int) error

// Figure is the median cost of one call.
type Figure struct{ Ns, Allocs float64 }

// Run measures the contestants. The first error ends it.
func Run(cfg Config, contestants []Contestant) ([]Figure, error) {
	cfg = cfg.withDefaults()
	calls := make([]int, len(contestants))
	for i, c := range contestants {
		n, err := calibrate(c, cfg.Time)
		if err != nil {
			return nil, err
		}
		calls[i] = n
	}
	ns, allocs := make([][]float64, len(contestants)), make([][]float64, len(contestants))
	for round := range cfg.Rounds {
		for k := range contestants {
			i := (k + round) % len(contestants)
			if round >= RoundsMin && calls[i] == 1 {
				continue
			}
			f, err := once(contestants[i], calls[i])
			if err != nil {
				return nil, err
			}
			ns[i], allocs[i] = append(ns[i], f.Ns), append(allocs[i], f.Allocs)
		}
	}
	out := make([]Figure, len(contestants))
	for i := range out {
		out[i] = Figure{Median(ns[i]), Median(allocs[i])}
	}
	return out, nil
}

// calibrate returns how many calls take about d. They also warm things up.
func calibrate(c Contestant, d time.Duration) (int, error) {
	for n := 1; ; {
		f, err := once(c, n)
		if err != nil {
			return 0, err
		}
		took := f.Ns * float64(n)
		if took >= float64(d)/4 {
			return max(1, int(float64(d)/f.Ns)), nil
		}
		n *= 4
	}
}

// once times n calls.
func once(c Contestant, n int) (Figure, error) {
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	began := time.Now()
	for turn := range n {
		if err := c(turn); err != nil {
			return Figure{}, err
		}
	}
	took := time.Since(began)
	goruntime.ReadMemStats(&after)
	return Figure{float64(max(took, 1)) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)}, nil
}

// Median returns the middle of v, which it sorts, or the mean of the two in the
// middle; 0 of none.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
