package produce

import (
	"time"
)

// batch is a record batch of one partition on its way. Its fields belong to
// whoever holds the partition's mutex, with one exception: while it is on the
// wire, buf and header belong to the sender that has it.
type batch struct {
	part *partition

	buf    *buffer // room for the header, then the records; after seal what is sent
	header batchHeader
	raw    int // bytes of the records before compression
	refs   []uint64
	// reserved is the buffer memory that is freed with the batch.
	reserved int

	created time.Duration // when the first record came, on the pipeline's clock
	open    bool          // takes records
	packed  bool          // compressed if it should be
	sealed  bool          // the header is as the batch goes out

	// stamp is the producer identity that the header's sequence counts under;
	// nil before the batch is first taken and without idempotence.
	stamp *stamp

	taken   bool // has been taken for a request, and is in flight until done
	queued  bool // in the partition's deque
	wire    bool // in a request: the buffer may be read at any time
	done    bool // its outcome is decided
	settled bool // and its completion has been called

	attempts     int
	retryAt      time.Duration // not before
	attemptEpoch int32         // leader epoch of the last attempt
	gaps         int           // OUT_OF_ORDER_SEQUENCE_NUMBER although it was its turn
	// unclear: an attempt under this stamp ended without word whether the broker
	// has written it, or will: a copy may lie in its queue still. Such a batch
	// is not sent under another stamp.
	unclear bool
	// maybeWritten: unclear under any stamp, or called out of order on its turn.
	// Should it fail, its outcome is unknown.
	maybeWritten bool
	lastErr      error // why it is retried

	completion Completion
}

// size returns the bytes of the batch as it would be sent without compression,
// or as it will be sent when it is packed already.
func (b *batch) size() int { return len(b.buf.b) }

// add adds a record and returns the place for its body. size is what its
// head and body take, full that and its length prefix; grow has made room for that.
func (b *batch) add(timestampMS int64, ref uint64, reserved, size, full int) []byte {
	h := &b.header
	before := len(b.buf.b)
	b.buf.b = b.buf.b[:before+full]
	r := b.buf.b[before:]
	n := putHead(r, size, timestampMS-h.baseTimestamp, h.count)
	b.raw += full
	h.count++
	h.maxTimestamp = max(h.maxTimestamp, timestampMS)
	b.refs = append(b.refs, ref)
	b.reserved += reserved
	return r[n:]
}

// grow makes room for n more bytes.
func (b *batch) grow(pool *buffers, n int) {
	need := len(b.buf.b) + n
	if need <= cap(b.buf.b) {
		return
	}
	bigger := pool.get(max(need, 2*cap(b.buf.b)))
	bigger.b = append(bigger.b, b.buf.b...)
	pool.put(b.buf)
	b.buf = bigger
}

// seal makes the batch ready to be sent: compressed, and with a header that
// carries its identity and sequence. A retry finds it sealed and sends the same
// bytes again.
func (b *batch) seal(p *Pipeline) {
	if !b.packed {
		b.packed = true
		b.compress(p)
	}
	if !b.sealed {
		b.sealed = true
		b.header.seal(b.buf.b)
	}
}

// compress replaces the buffer by a compressed one if that is smaller.
func (b *batch) compress(p *Pipeline) {
	if p.set.codec == codecNone {
		return
	}
	out := p.pool.get(len(b.buf.b))
	packed, smaller := p.compressor.compress(out.b[:batchOverhead], b.buf.b[batchOverhead:])
	if !smaller {
		p.pool.put(out)
		b.part.topic.observeRatio(1)
		return
	}
	b.part.topic.observeRatio(float64(len(packed)-batchOverhead) / float64(b.raw))
	b.header.codec = p.set.codec
	if cap(packed) != cap(out.b) {
		p.pool.put(out)
		out = &buffer{b: packed, class: -1}
	}
	out.b = packed
	p.pool.put(b.buf)
	b.buf = out
}

// expired reports whether delivery_timeout has passed.
func (b *batch) expired(now, delivery time.Duration) bool { return now-b.created >= delivery }

// newBatch opens a batch that has room for a first record of size bytes.
func (p *Pipeline) newBatch(part *partition, timestampMS int64, size int) *batch {
	b, ok := p.batches.Get().(*batch)
	if !ok {
		b = &batch{}
	}
	b.part = part
	b.buf = p.pool.get(batchOverhead + max(size, part.lastRaw))
	b.buf.b = b.buf.b[:batchOverhead]
	b.header = batchHeader{
		baseTimestamp: timestampMS,
		maxTimestamp:  timestampMS,
		producerID:    -1,
		producerEpoch: -1,
		baseSequence:  -1,
		transactional: p.txn != nil,
	}
	b.created = p.now()
	b.open = true
	p.incomplete.Add(1)
	return b
}

// recycle puts a batch's memory back to use. Nobody else may know the batch.
func (p *Pipeline) recycle(b *batch) {
	p.pool.put(b.buf)
	refs := b.refs[:0]
	if cap(refs) > 1<<14 {
		refs = nil
	}
	*b = batch{refs: refs}
	p.batches.Put(b)
}
