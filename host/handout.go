package host

import (
	"context"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/state"
)

// Records implements consume.Handler.
func (c *consumption) Records(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error {
	return c.Lent(ctx, tp, recs, highWatermark, nil)
}

// Lent implements consume.Borrower. Partitions take turns at the chain; a
// delivery that waits for the producer makes them all wait: back-pressure.
func (c *consumption) Lent(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64, loan *consume.Loan) (err error) {
	c.mu.Lock()
	pr := c.parts[tp]
	c.mu.Unlock()
	if pr == nil {
		return nil // revoked meanwhile; its next owner reads these again
	}
	pr.sawHighWater(highWatermark)
	if open, err := c.open(ctx, pr, tp); !open {
		return err
	}
	if c.sheets != nil {
		ours, end, over := c.sheets.within(tp, recs)
		if over {
			defer func() {
				if err == nil && ctx.Err() == nil { // else some may be left, to be read again
					c.group.Pause(tp)
					pr.skip(end)
				}
			}()
		}
		if recs = ours; len(recs) == 0 {
			return nil
		}
	}
	defer c.handedOut(tp, recs[len(recs)-1].Offset+1)
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	if c.plain {
		return c.straight(ctx, pr, recs, loan)
	}
	return c.throughChain(ctx, tp, pr, recs, loan)
}

// throughChain has the records judged in on_consume and delivers those that pass,
// with the lane held.
func (c *consumption) throughChain(ctx context.Context, tp klamm.TopicPartition, pr *progress, recs []klamm.Record, loan *consume.Loan) error {
	b := &c.lane.batch
	b.Reset()
	b.NowMS, b.Topics = c.h.clock.nowMS(), c.h.producer.facts
	first := c.h.consumeBlock(len(recs))
	for i, rec := range recs {
		b.Items = append(b.Items, interceptor.Item{Record: rec, Ref: uint64(first) + uint64(i)})
	}
	if c.claims != nil { // of others, no partition is known: their claims are refused
		defer c.h.reads.begin(first, len(recs), tp.Partition)()
	}
	c.lane.link.OnConsume(ctx, b)
	deliver, stop := graceful(ctx)
	defer stop()
	all, left := newParcel(len(b.Items)), len(b.Items)
	defer func() { all.ended(left) }()
	again := all.retrials(pr, len(recs), loan)
	for i := range b.Items {
		if err := ctx.Err(); err != nil { // what is not delivered yet is read again
			c.passOver(tp, b.Items[i:], err)
			return nil
		}
		if pr.sought.Load() {
			c.passOver(tp, b.Items[i:], errSought)
			return nil
		}
		d, it := &all.deliveries[i], &b.Items[i]
		left--
		d.begin(pr, recs[i].Offset)
		if again != nil {
			d.again = &again[i]
			d.again.fetched, d.again.ref = &recs[i], state.Ref(it.Ref)
		}
		if it.Claimed {
			d.ref = state.Ref(it.Ref)
		}
		if err := c.one(deliver, d, it); err != nil {
			c.passOver(tp, b.Items[i+1:], err)
			return err
		}
	}
	return nil
}

// open waits until the partition's records may be handed out. Where they may not
// without an error, the partition is taken away or the reading ends, and they
// are read again.
func (c *consumption) open(ctx context.Context, pr *progress, tp klamm.TopicPartition) (bool, error) {
	if pr.retry != nil {
		if err := pr.retry.wait(ctx); err != nil {
			return false, nil
		}
	}
	if c.gate != nil {
		if err := c.gate(ctx); err != nil {
			return false, err
		}
	}
	if c.claims != nil {
		if err := c.claims.await(ctx, tp); err != nil {
			return false, err
		}
	}
	return true, nil
}

// straight delivers records that no plugin sees.
func (c *consumption) straight(ctx context.Context, pr *progress, recs []klamm.Record, loan *consume.Loan) error {
	deliver, stop := graceful(ctx)
	defer stop()
	if c.deliverAll != nil {
		return c.straightAll(ctx, deliver, pr, recs, loan)
	}
	all, left := newParcel(len(recs)), len(recs)
	defer func() { all.ended(left) }()
	again := all.retrials(pr, len(recs), loan)
	for i := range recs {
		if pr.sought.Load() || ctx.Err() != nil { // what is not delivered yet is read again
			return nil
		}
		d := &all.deliveries[i]
		left--
		d.begin(pr, recs[i].Offset)
		d.read = &recs[i]
		if again != nil {
			d.again = &again[i]
		}
		if err := c.one(deliver, d, &c.lane.item); err != nil {
			return err
		}
	}
	return nil
}

// straightAll is straight for many records at once, as many as the producer's lane
// judges together.
func (c *consumption) straightAll(ctx, deliver context.Context, pr *progress, recs []klamm.Record, loan *consume.Loan) error {
	for len(recs) > 0 {
		if pr.sought.Load() || ctx.Err() != nil {
			return nil
		}
		n := min(len(recs), blockRecords)
		all := newParcel(n)
		all.borrow(loan) // a record is needed until it is known what became of it
		for i := range n {
			d := &all.deliveries[i]
			d.pr, d.offset, d.ref, d.read, d.again = pr, recs[i].Offset, 0, &recs[i], nil
		}
		pr.beginAll(all.deliveries)
		c.tally.accept(n)
		if taken, err := c.deliverAll(deliver, all.deliveries); err != nil {
			c.takeBack(pr, all, n-taken-1)
			all.deliveries[taken].lost(err)
			return err
		}
		recs = recs[n:]
	}
	return nil
}

// takeBack forgets the last n deliveries of a parcel: their records are read again.
func (c *consumption) takeBack(pr *progress, of *parcel, n int) {
	pr.takeBack(n)
	c.tally.accept(-n)
	of.ended(n)
}

// countDrops counts records that on_consume dropped and the position has passed.
func (c *consumption) countDrops(tp klamm.TopicPartition, n int) {
	if c.sheets != nil {
		c.sheets.addDropped(tp, n)
	}
	c.tally.complete(klamm.Dropped, n)
}

// graceful returns a context that ends revokeGrace after ctx does. A record that is
// being delivered when its session ends would fail else, and with it all that could
// still be committed.
func graceful(ctx context.Context) (context.Context, func()) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(revokeGrace, cancel) })
	return late, func() { stop(); cancel() }
}

// Skipped implements consume.Skipper.
func (c *consumption) Skipped(tp klamm.TopicPartition, next int64) {
	c.mu.Lock()
	pr := c.parts[tp]
	c.mu.Unlock()
	if pr != nil {
		pr.skip(next)
		c.handedOut(tp, next)
	}
}

// one hands a record on, to be followed to its completion. A drop in on_consume is
// final here, also where it duplicates a record in flight: that record is read
// again unless it completes, so nothing can be lost.
func (c *consumption) one(ctx context.Context, d *delivery, it *interceptor.Item) error {
	if it.Outcome == klamm.Dropped {
		c.dropped(d, it)
		return nil
	}
	if c.holdsRead(d, it) {
		return nil
	}
	err := c.deliver(ctx, d, it)
	if err != nil {
		d.lost(err)
	}
	return err
}

func (c *consumption) dropped(d *delivery, it *interceptor.Item) {
	if it.Wait != nil {
		it.Wait.Cancel()
	}
	d.dropped(klamm.Result{Outcome: klamm.Dropped, Plugin: it.Plugin, Reason: it.Reason})
}
