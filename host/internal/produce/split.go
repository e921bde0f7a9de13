package produce

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// split puts two halves in b's place after the broker found it too large. A
// half that is too large is split again, so it ends after log2(records) rounds.
// The halves share b's sequences and its buffer memory; their buffers come on
// top of it. It uses up no retry and waits for no backoff. t.mu is held.
func (t *partition) split(b *batch) error {
	records, err := b.records()
	if err != nil {
		return err
	}
	cut := middle(records)
	first := t.half(b, records[:cut])
	second := t.half(b, records[cut:])
	second.reserved = b.reserved - first.reserved
	if b.stamp != nil {
		second.header.baseSequence = addSequence(b.header.baseSequence, first.header.count)
	}
	at := slices.Index(t.inflight, b)
	t.inflight = slices.Replace(t.inflight, at, at+1, first, second)
	t.requeue(first)
	t.requeue(second)
	t.pipeline.incomplete.Add(1)
	t.topic.ratio.Store(math.Float64bits(max(1, math.Float64frombits(t.topic.ratio.Load()))))
	return nil
}

// rawRecord is one encoded record of a batch.
type rawRecord struct {
	timestamp int64
	rest      []byte // from the key on
	ref       uint64
}

// size returns about what the record takes.
func (r *rawRecord) size() int { return len(r.rest) + 8 }

// middle returns where to cut so that both sides have about the same bytes, and
// at least one record.
func middle(records []rawRecord) int {
	total := 0
	for i := range records {
		total += records[i].size()
	}
	sum := 0
	for i := range records[:len(records)-1] {
		sum += records[i].size()
		if 2*sum >= total {
			return i + 1
		}
	}
	return len(records) - 1
}

// half makes a batch of some of b's records.
func (t *partition) half(b *batch, records []rawRecord) *batch {
	p := t.pipeline
	h := &batch{
		part:         t,
		header:       b.header,
		created:      b.created,
		stamp:        b.stamp,
		taken:        true,
		attempts:     b.attempts - 1,
		unclear:      b.unclear,
		maybeWritten: b.maybeWritten,
		lastErr:      b.lastErr,
	}
	h.header.codec = codecNone
	h.header.count = int32(len(records))
	h.header.baseTimestamp = records[0].timestamp
	h.header.maxTimestamp = records[0].timestamp
	h.reserved = int(int64(b.reserved) * int64(len(records)) / int64(b.header.count))
	h.buf = p.pool.get(batchOverhead + b.raw)
	out := h.buf.b[:batchOverhead]
	for i := range records {
		r := &records[i]
		delta := r.timestamp - h.header.baseTimestamp
		out = appendVarint(out, int64(1+varintSize(delta)+varintSize(int64(i))+len(r.rest)))
		out = append(out, 0)
		out = appendVarint(out, delta)
		out = appendVarint(out, int64(i))
		out = append(out, r.rest...)
		h.header.maxTimestamp = max(h.header.maxTimestamp, r.timestamp)
		h.refs = append(h.refs, r.ref)
	}
	h.buf.b = out
	h.raw = len(out) - batchOverhead
	return h
}

// records reads the batch's records back. They share the batch's memory, or
// memory of their own where the batch is compressed.
func (b *batch) records() ([]rawRecord, error) {
	raw := b.buf.b[batchOverhead:]
	if b.header.codec != codecNone {
		var err error
		if raw, err = decompress(b.header.codec, nil, raw); err != nil {
			return nil, fmt.Errorf("split a batch: decompress it: %w", err)
		}
	}
	records := make([]rawRecord, 0, b.header.count)
	for len(raw) > 0 {
		size, n := binary.Varint(raw)
		if n <= 0 || size < 1 || size > int64(len(raw)-n) {
			return nil, fmt.Errorf("split a batch: record %d has no valid length", len(records))
		}
		record := raw[n : n+int(size)]
		raw = raw[n+int(size):]
		delta, n := binary.Varint(record[1:])
		if n <= 0 {
			return nil, fmt.Errorf("split a batch: record %d has no valid timestamp", len(records))
		}
		_, m := binary.Varint(record[1+n:])
		if m <= 0 || len(records) >= len(b.refs) {
			return nil, fmt.Errorf("split a batch: record %d has no valid offset", len(records))
		}
		records = append(records, rawRecord{b.header.baseTimestamp + delta, record[1+n+m:], b.refs[len(records)]})
	}
	if len(records) != int(b.header.count) {
		return nil, fmt.Errorf("split a batch: it has %d records, not %d", len(records), b.header.count)
	}
	return records, nil
}
