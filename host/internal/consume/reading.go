package consume

import (
	"context"
	"errors"

	"github.com/klamm-io/klamm"
)

// sink is where a partition's records go.
type sink interface {
	records(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error
	// sought is called between calls of records when the next are from offset on.
	sought(tp klamm.TopicPartition, offset int64)
	// passed is called when all records before next have been handed over; shown
	// is the offset after the last of them.
	passed(tp klamm.TopicPartition, next, shown int64)
}

// read hands p's records to s until ctx ends, which is no error, or s or the
// reading fails. until is the offset to end at, -1 for none.
func (f *fetcher) read(ctx context.Context, p *partition, until int64, s sink) error {
	for {
		if f.awaitUnpaused(ctx, p, s) {
			continue
		}
		var d fetched
		select {
		case d = <-p.data:
		case <-p.sought:
			f.applySeek(p, s)
			continue
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil
		}
		if d.err != nil {
			return d.err
		}
		f.taken(p)
		switch err := f.hand(ctx, p, d, s); {
		case errors.Is(err, errSought):
			continue
		case err != nil || ctx.Err() != nil:
			return err
		}
		if until >= 0 && d.next >= until {
			return nil
		}
	}
}

// awaitUnpaused keeps records that were fetched before a pause back, until ctx
// ends. It returns true when a seek has dropped them.
func (f *fetcher) awaitUnpaused(ctx context.Context, p *partition, s sink) (dropped bool) {
	for ctx.Err() == nil {
		select {
		case <-p.sought:
			if f.applySeek(p, s) {
				return true
			}
			continue
		default:
		}
		select {
		case <-f.unpaused(p):
			return false
		case <-p.sought:
			if f.applySeek(p, s) {
				return true
			}
		case <-ctx.Done():
		}
	}
	return false
}

// errSought ends the handing out of what a seek, or the end of ctx, has dropped.
var errSought = errors.New("the rest is not wanted any more")

// hand gives one answer's records to s, at most max_poll_records at a time.
func (f *fetcher) hand(ctx context.Context, p *partition, d fetched, s sink) error {
	dec := newDecoder(p.TopicPartition, d.raw, d.from, d.aborted, f.cfg.readCommitted)
	defer dec.close()
	shown := d.from
	for {
		l, err := dec.next(f.cfg.maxPollRecords)
		if err != nil {
			return err
		}
		if l == nil {
			break
		}
		if f.awaitUnpaused(ctx, p, s) || ctx.Err() != nil {
			l.Return()
			return errSought
		}
		shown = l.records[len(l.records)-1].Offset + 1
		if err := handLoan(ctx, p.TopicPartition, l, d.highWatermark, s); err != nil {
			return err
		}
	}
	if ctx.Err() == nil {
		s.passed(p.TopicPartition, d.next, shown)
	}
	return nil
}

// handLoan gives the records of a loan to s, for good where s is no lender.
func handLoan(ctx context.Context, tp klamm.TopicPartition, l *Loan, highWatermark int64, s sink) error {
	recs := l.records[:len(l.records):len(l.records)]
	to, lends := s.(lender)
	if !lends {
		return s.records(ctx, tp, recs, highWatermark)
	}
	defer l.Return()
	return to.lent(ctx, tp, recs, highWatermark, l)
}
