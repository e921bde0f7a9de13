package produce

import (
	"math/bits"
	"sync/atomic"
)

// histogramBuckets is enough for times from 131 us to 4.6 minutes, and for
// sizes from 128 bytes to 256 MiB.
const histogramBuckets = 22

// Histogram is how values were spread, at one moment.
type Histogram struct {
	Count int64
	Sum   int64
	Max   int64
	// Buckets has, at i, how many values were below Base<<i. The last one also
	// has those above.
	Buckets [histogramBuckets]int64
	Base    int64
}

// histogram counts values in buckets that double. Observe costs three or four
// atomic additions; it is called for each batch or request, never for each
// record.
type histogram struct {
	base    int // log2 of Histogram.Base
	sum     atomic.Int64
	max     atomic.Int64
	buckets [histogramBuckets]atomic.Int64
}

// Logarithms of the first bucket's limit.
const (
	histogramTimes = 17 // 131 us in nanoseconds
	histogramSizes = 7  // 128 bytes
)

func (h *histogram) observe(v int64) {
	v = max(v, 0)
	at := min(bits.Len64(uint64(v)>>h.base), histogramBuckets-1)
	h.buckets[at].Add(1)
	h.sum.Add(v)
	raise(&h.max, v)
}

func (h *histogram) snapshot() Histogram {
	s := Histogram{Sum: h.sum.Load(), Max: h.max.Load(), Base: 1 << h.base}
	for i := range h.buckets {
		s.Count += h.buckets[i].Load()
		s.Buckets[i] = s.Count
	}
	return s
}
