package host

import (
	"sync"
	"sync/atomic"

	"github.com/klamm-io/klamm/host/internal/consume"
)

// parcel is the deliveries of the records that a partition hands out at once. Its
// memory is used again when the last of them has ended.
type parcel struct {
	deliveries []delivery
	open       atomic.Int32 // deliveries that have not ended
	loan       *consume.Loan
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
	if n == 0 || p.open.Add(-int32(n)) > 0 {
		return
	}
	if p.loan != nil {
		p.loan.Return()
		p.loan = nil
	}
	parcels.Put(p)
}

// borrow keeps the memory of the records until the last delivery has ended.
func (p *parcel) borrow(l *consume.Loan) {
	if p.loan = l; l != nil {
		l.Keep()
	}
}
