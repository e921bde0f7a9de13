package host

import (
	"fmt"
	"sync/atomic"

	"github.com/klamm-io/klamm/state"
)

// producers finds the producers of a host by their numbers, which the refs of
// their records have.
type producers [producerMax + 1]atomic.Pointer[Producer]

// add gives p a number.
func (ps *producers) add(p *Producer) error {
	for i := range ps {
		p.number = uint8(i)
		p.slots.base = state.Ref(i) << producerShift
		if ps[i].CompareAndSwap(nil, p) {
			return nil
		}
	}
	return fmt.Errorf("a host has %d producers at the most: use several hosts", len(ps))
}

func (ps *producers) remove(p *Producer) { ps[p.number].CompareAndSwap(p, nil) }

// transactionOf returns the transaction that a record belongs to, which is its
// producer's: that one has no two at a time.
func (ps *producers) transactionOf(ref state.Ref) uint64 {
	number, ok := producerOf(ref)
	if !ok {
		return 0
	}
	if p := ps[number].Load(); p != nil && p.txn != nil {
		return uint64(number) + 1
	}
	return 0
}

// complete completes records of anybody that waited for one that is settled.
func (ps *producers) complete(waiters []state.Resolution) {
	for _, r := range waiters {
		if !resolveSeat(r) {
			ps.completeWaiter(r)
		}
	}
}

// completeWaiter completes a record that waited for one of another producer.
func (ps *producers) completeWaiter(r state.Resolution) {
	number, _ := producerOf(r.Waiter)
	if p := ps[number].Load(); p != nil {
		p.completeWaiter(p.slots.at(r.Waiter), r)
	}
}
