package produce

import (
	"math/rand/v2"
	"time"
)

// backoff is an exponential wait with +-20 % jitter (KIP-580).
type backoff struct{ first, max time.Duration }

// after returns the wait after the n-th failure in a row, counted from 1.
func (b backoff) after(n int) time.Duration {
	d := b.first
	for i := 1; i < n && d < b.max; i++ {
		d *= 2
	}
	d = time.Duration(float64(min(d, b.max)) * (0.8 + 0.4*rand.Float64()))
	return min(d, b.max)
}
