package host

import (
	"context"
)

// acceptAll is accept for the records of deliveries, which all go to one topic and
// come from the same origin but for what finishes them. It takes what a block has
// room for as long as nothing has to be waited for, and returns how many those
// are. The rest is for accept, which waits, and tells what is wrong.
func (p *Producer) acceptAll(ctx context.Context, ds []delivery, from origin) int {
	if len(from.chain.lanes) != 1 || ctx.Err() != nil {
		return 0
	}
	txn := uint32(0)
	if p.txn != nil {
		if txn = p.txn.number.Load(); txn == 0 {
			return 0
		}
	}
	var sizes [blockRecords]int32
	n, total := p.measure(ds, &sizes)
	if n == 0 || !p.pipeline.TryReserve(total) {
		return 0
	}
	l := from.chain.lanes[0]
	taken, used := l.takeAll(ds[:n], sizes[:n], txn, from)
	if used < total {
		p.pipeline.Release(total - used)
	}
	return taken
}

// measure returns how many of the deliveries' records fit in a block and are sent as
// they are, and what they reserve.
func (p *Producer) measure(ds []delivery, sizes *[blockRecords]int32) (n, total int) {
	for n < len(ds) && n < len(sizes) && total < blockBytes {
		rec := ds[n].read
		if _, size, err := p.validate(rec); err == nil {
			sizes[n] = int32(size)
			total += size
			n++
			continue
		}
		break
	}
	return n, total
}

// takeAll stages records for which memory is reserved, as long as there are slots.
// It returns how many, and how much memory they have.
func (l *lane) takeAll(ds []delivery, sizes []int32, txn uint32, from origin) (n, used int) {
	l.mu.Lock()
	if l.p.closed.Load() {
		l.mu.Unlock()
		return 0, 0
	}
	l.inside++
	for n < len(ds) {
		sl := l.slot()
		if sl == nil {
			break
		}
		from.done = ds[n].finished
		size := int(sizes[n])
		l.p.fill(sl, l, ds[n].read, size, txn, &from)
		l.stage(sl, ds[n].read)
		used += size
		n++
	}
	l.p.clock.renew()
	l.leave(used)
	return n, used
}
