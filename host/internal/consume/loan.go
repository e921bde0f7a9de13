package consume

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/klamm-io/klamm"
)

// Borrower is a Handler that gives memory back: what was decoded for it is used
// again, which is a good part of what reading costs otherwise.
type Borrower interface {
	Handler
	// Lent is called in the place of Records. recs and their bytes are the
	// handler's until it returns, or, after l.Keep, until it calls l.Return.
	Lent(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64, l *Loan) error
}

// Loan is the memory of records that were read together.
type Loan struct {
	holders atomic.Int32
	records []klamm.Record
	headers []klamm.Header
	body    *body // that the records point into
}

var (
	loans  = sync.Pool{New: func() any { return new(Loan) }}
	bodies = sync.Pool{New: func() any { return new(body) }}
)

// Keep makes the caller one who has to call Return.
func (l *Loan) Keep() { l.holders.Add(1) }

// Return ends the use of the records and their bytes. It may be called on any
// goroutine.
func (l *Loan) Return() {
	if l.holders.Add(-1) > 0 {
		return
	}
	if scribbles {
		for i := range l.records {
			l.records[i] = klamm.Record{Topic: "read in memory that was given back", Partition: -9, Offset: -9}
		}
	} else if !l.body.own { // they would keep an answer of a broker's alive
		clear(l.records)
	}
	clear(l.headers)
	l.records, l.headers = l.records[:0], l.headers[:0]
	l.body.drop()
	l.body = nil
	loans.Put(l)
}

// body is the records of a batch as they came, or decompressed.
type body struct {
	holders atomic.Int32
	own     bool   // bytes may be used again
	memory  []byte // its own
	bytes   []byte
}

func (b *body) drop() {
	if b == nil || b.holders.Add(-1) > 0 {
		return
	}
	if b.own && scribbles {
		for i := range b.bytes {
			b.bytes[i] = 0xdb
		}
	}
	b.bytes, b.own = nil, false
	bodies.Put(b)
}

// lender is a sink whose records are lent.
type lender interface {
	lent(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64, l *Loan) error
}

func (s *groupSink) lent(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64, l *Loan) error {
	b, ok := s.h.(Borrower)
	if !ok {
		l.Keep() // and never gives it back
		return s.records(ctx, tp, recs, highWatermark)
	}
	if ctx.Err() != nil {
		return nil
	}
	return b.Lent(ctx, tp, recs, highWatermark, l)
}
