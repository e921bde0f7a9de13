package consume

import (
	"context"

	"github.com/klamm-io/klamm"
)

// sink is where a partition's records go.
type sink interface {
	records(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error
	// passed is called when all records before next have been handed over; shown
	// is the offset after the last of them.
	passed(tp klamm.TopicPartition, next, shown int64)
}

// read hands p's records to s until ctx ends, which is no error, or s or the
// reading fails. until is the offset to end at, -1 for none.
func (f *fetcher) read(ctx context.Context, p *partition, until int64, s sink) error {
	for {
		if err := f.awaitUnpaused(ctx, p); err != nil {
			return nil
		}
		var d fetched
		select {
		case d = <-p.data:
		case <-ctx.Done():
			return nil
		}
		if d.err != nil {
			return d.err
		}
		f.taken(p)
		if err := f.hand(ctx, p, d, s); err != nil || ctx.Err() != nil {
			return err
		}
		if until >= 0 && d.next >= until {
			return nil
		}
	}
}

// awaitUnpaused keeps records that were fetched before a pause back.
func (f *fetcher) awaitUnpaused(ctx context.Context, p *partition) error {
	select {
	case <-f.unpaused(p):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hand gives one answer's records to s, max_poll_records at a time.
func (f *fetcher) hand(ctx context.Context, p *partition, d fetched, s sink) error {
	dec := newDecoder(p.TopicPartition, d.raw, d.from, d.aborted, f.cfg.readCommitted)
	shown := d.from
	for {
		recs, ok, err := dec.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		for len(recs) > 0 {
			if f.awaitUnpaused(ctx, p) != nil {
				return nil
			}
			n := min(len(recs), f.cfg.maxPollRecords)
			if err := s.records(ctx, p.TopicPartition, recs[:n:n], d.highWatermark); err != nil {
				return err
			}
			shown = recs[n-1].Offset + 1
			recs = recs[n:]
		}
	}
	if ctx.Err() == nil {
		s.passed(p.TopicPartition, d.next, shown)
	}
	return nil
}
