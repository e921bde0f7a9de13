package host

import (
	"errors"
	"slices"
	"sync"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/produce"
	"github.com/klamm-io/klamm/interceptor"
)

// batchEnd is the end of the records of one batch of the accumulator, or of those
// that a plugin dropped for one reason. Their results differ in little, so they are
// made only for the callbacks. It goes through all stages and is used again.
type batchEnd struct {
	produce.Completion // with Refs of its own
	calls              []call
	txn                uint16 // the transaction that all its records belong to; 0: none
	dropped            bool
	plugin, reason     string // of dropped ones
	// of is what they duplicate, as far as it is known of one of them. Whoever is
	// told keeps it, so that it is not used again.
	of []klamm.Position
}

// call is what the callback of one record needs besides. The group is nil for a
// record that goes its way alone.
type call struct {
	group       *flushGroup
	done        func(klamm.Result)
	timestampMS int64
}

var batchEnds = sync.Pool{New: func() any { return new(batchEnd) }}

// newBatchEnd copies a completion, which is the pipeline's.
func newBatchEnd(c *produce.Completion) *batchEnd {
	b := batchEnds.Get().(*batchEnd)
	refs := append(b.Refs[:0], c.Refs...)
	b.Completion = *c
	b.Refs = refs
	return b
}

// newDropEnd is the end of records like this one, which a verdict dropped.
func newDropEnd(sl *slot, it *interceptor.Item) *batchEnd {
	b := batchEnds.Get().(*batchEnd)
	b.Topic, b.Partition, b.BaseOffset, b.TimestampMS = it.Record.Topic, klamm.NoPartition, klamm.NoOffset, -1
	b.txn, b.dropped, b.plugin, b.reason = sl.txn, true, it.Plugin, it.Reason
	return b
}

// takes reports whether a record that was dropped has the same end.
func (b *batchEnd) takes(sl *slot, it *interceptor.Item) bool {
	return b.reason == it.Reason && b.plugin == it.Plugin && b.Topic == it.Record.Topic && b.txn == sl.txn
}

// duplicates notes what the next of Refs duplicates, if it is known.
func (b *batchEnd) duplicates(at *klamm.Position) {
	if !known(at) {
		return
	}
	if len(b.of) == 1 { // a lone Send's takes little room; where two are, many are
		b.of = slices.Grow(b.of, blockRecords/4)
	}
	for len(b.of) < len(b.Refs) {
		b.of = append(b.of, klamm.Position{})
	}
	b.of = append(b.of, *at)
}

// duplicateOf is Result.DuplicateOf of record i.
func (b *batchEnd) duplicateOf(i int) *klamm.Position {
	if i < len(b.of) && b.of[i].Topic != "" {
		return &b.of[i]
	}
	return nil
}

func (b *batchEnd) free() {
	clear(b.calls)
	*b = batchEnd{Completion: produce.Completion{Refs: b.Refs[:0]}, calls: b.calls[:0]}
	batchEnds.Put(b)
}

// alone is the end of the batch's record i.
func (b *batchEnd) alone(i int, sl *slot) completed {
	if b.dropped {
		return completed{slot: sl, result: b.result(i, 0)}
	}
	err := b.Err
	if b.RecordErrs != nil {
		err = b.RecordErrs[i]
	}
	return completed{
		slot: sl, retried: b.Attempts > 1, result: writeResult(sl, &b.Completion, i, err),
		unknown: errors.Is(err, klamm.ErrOutcomeUnknown),
	}
}

func (b *batchEnd) outcome() klamm.Outcome {
	switch {
	case b.dropped:
		return klamm.Dropped
	case b.Err != nil:
		return klamm.Failed
	}
	return klamm.Written
}

// result is the result of the batch's record i, which is no dead letter.
func (b *batchEnd) result(i int, timestampMS int64) klamm.Result {
	r := klamm.Result{Outcome: b.outcome(), Topic: b.Topic, Partition: b.Partition, Offset: klamm.NoOffset}
	if r.Outcome != klamm.Written {
		r.Err, r.Plugin, r.Reason, r.DuplicateOf = b.Err, b.plugin, b.reason, b.duplicateOf(i)
		return r
	}
	r.Offset = b.offset(i)
	if b.TimestampMS >= 0 {
		timestampMS = b.TimestampMS
	}
	r.Timestamp = timeOfMS(timestampMS)
	return r
}

// offset is that of the batch's record i.
func (b *batchEnd) offset(i int) int64 {
	if b.Err != nil || b.BaseOffset < 0 {
		return klamm.NoOffset
	}
	return b.BaseOffset + int64(i)
}

// call runs the callbacks of a batch. Their results differ in a field or two. These
// are written into one copy while the callback before it gets the other, since
// what was just written is read back slowly in larger pieces, as by a copy.
func (b *batchEnd) call(over *counted, s *slots) {
	var results [2]klamm.Result
	if len(b.calls) > 0 {
		results[0] = b.result(0, b.calls[0].timestampMS)
		results[1] = results[0]
	}
	for i := range b.calls {
		if next := i + 1; next < len(b.calls) {
			b.vary(&results[next&1], next)
		}
		c := &b.calls[i]
		if c.group == nil {
			continue
		}
		if c.done != nil {
			c.done(results[i&1])
		}
		over.add(c.group, s)
	}
}

// vary makes r, a result of the batch, that of its record i.
func (b *batchEnd) vary(r *klamm.Result, i int) {
	if b.dropped {
		r.DuplicateOf = b.duplicateOf(i)
		return
	}
	if b.Err != nil {
		return
	}
	r.Offset = b.offset(i)
	if b.TimestampMS < 0 {
		r.Timestamp = timeOfMS(b.calls[i].timestampMS)
	}
}
