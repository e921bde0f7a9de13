package host

import (
	"sync"
	"sync/atomic"
)

// parcel is the deliveries of the records that a partition hands out at once. Its
// memory is used again when the last of them has ended.
type parcel struct {
	deliveries []delivery
	open       atomic.Int32 // deliveries that have not ended
}

var parcels = sync.Pool{New: func() any { return new(parcel) }}

// newParcel returns one of n deliveries, which are zero but for what does not change.
func newParcel(n int) *parcel {
	p := parcels.Get().(*parcel)
	if cap(p.deliveries) < n {
		p.deliveries = make([]delivery, n)
		for i := range p.deliveries {
			d := &p.deliveries[i]
			d.in, d.finished = p, d.finish
		}
	}
	p.deliveries = p.deliveries[:n]
	p.open.Store(int32(n))
	return p
}

// ended tells that n deliveries have, or never will begin.
func (p *parcel) ended(n int) {
	if n > 0 && p.open.Add(-int32(n)) == 0 {
		parcels.Put(p)
	}
}
