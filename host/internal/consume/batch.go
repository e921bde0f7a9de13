package consume

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klamm-io/klamm"
)

// The layout of a record batch, version 2
// (https://kafka.apache.org/documentation/#recordbatch).
const (
	batchPrefix = 12 // base offset and length
	batchMagic  = 17 // up to the magic byte's end
	batchHeader = 61 // up to the records

	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errMagic   = errors.New("it has a message format older than Kafka 0.11, which is not supported")
	errCRC     = errors.New("its checksum is wrong")
	errRecords = errors.New("its records are malformed")
)

// batch is one record batch as it came.
type batch []byte

func (b batch) baseOffset() int64  { return int64(binary.BigEndian.Uint64(b)) }
func (b batch) leaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[12:])) }
func (b batch) magic() int8        { return int8(b[16]) }
func (b batch) crc() uint32        { return binary.BigEndian.Uint32(b[17:]) }
func (b batch) attributes() uint16 { return binary.BigEndian.Uint16(b[21:]) }
func (b batch) lastOffset() int64 {
	return b.baseOffset() + int64(int32(binary.BigEndian.Uint32(b[23:])))
}
func (b batch) baseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[27:])) }
func (b batch) maxTimestamp() int64  { return int64(binary.BigEndian.Uint64(b[35:])) }
func (b batch) producerID() int64    { return int64(binary.BigEndian.Uint64(b[43:])) }
func (b batch) count() int32         { return int32(binary.BigEndian.Uint32(b[57:])) }

// cut takes the first whole batch off. ok is false where only a part of one is
// left: brokers cut the last one off at the fetch's size.
func cut(raw []byte) (b batch, rest []byte, ok bool, err error) {
	if len(raw) < batchMagic {
		return nil, nil, false, nil
	}
	length := int64(int32(binary.BigEndian.Uint32(raw[8:])))
	if length < batchMagic-batchPrefix {
		return nil, nil, false, errRecords
	}
	if length > int64(len(raw)-batchPrefix) {
		return nil, nil, false, nil
	}
	b, rest = raw[:batchPrefix+length], raw[batchPrefix+length:]
	switch {
	case b.magic() < 2:
		return nil, nil, false, errMagic
	case len(b) < batchHeader:
		return nil, nil, false, errRecords
	case b.lastOffset() < b.baseOffset():
		return nil, nil, false, errRecords
	}
	return b, rest, true, nil
}

// nextOffset is where to fetch on after raw, at least from.
func nextOffset(raw []byte, from int64) (int64, error) {
	for {
		b, rest, ok, err := cut(raw)
		if err != nil || !ok {
			return from, err
		}
		from = max(from, b.lastOffset()+1)
		raw = rest
	}
}

// abortedTxn is one that read_committed hides: the records of producer from
// first up to its abort marker.
type abortedTxn struct{ producer, first int64 }

// decoder turns the batches of one fetch into records.
type decoder struct {
	tp      klamm.TopicPartition
	raw     []byte
	from    int64 // records before it were not asked for
	aborted []abortedTxn
	hidden  map[int64]bool // producers within an aborted transaction
	keepAll bool           // read_uncommitted

	// The batch whose records are decoded.
	batch batch
	info  batchInfo
	body  *body
	rest  []byte // of the body
	left  int    // records in rest
}

func newDecoder(tp klamm.TopicPartition, raw []byte, from int64, aborted []abortedTxn, readCommitted bool) *decoder {
	// Brokers need not sort them, and some do not.
	slices.SortFunc(aborted, func(a, b abortedTxn) int { return cmp.Compare(a.first, b.first) })
	return &decoder{tp: tp, raw: raw, from: from, aborted: aborted, hidden: make(map[int64]bool), keepAll: !readCommitted}
}

// next returns records to show, at least one and at most n of a batch, which are the
// caller's until it returns the loan. It is nil after the last one.
func (d *decoder) next(n int) (*Loan, error) {
	for {
		for d.left == 0 {
			if ok, err := d.open(); err != nil || !ok {
				return nil, err
			}
		}
		l, err := d.records(n)
		if err != nil {
			return nil, d.corrupt(d.batch, err)
		}
		if len(l.records) > 0 {
			return l, nil
		}
		l.Return() // all are from before what was asked for
	}
}

// open goes on to the next batch. ok is false after the last one.
func (d *decoder) open() (ok bool, err error) {
	d.close()
	b, rest, ok, err := cut(d.raw)
	if err != nil || !ok {
		return false, d.corrupt(b, err)
	}
	d.raw, d.batch = rest, b
	if crc32.Checksum(b[21:], castagnoli) != b.crc() {
		return false, d.corrupt(b, errCRC)
	}
	shown, err := d.shows(b)
	if err == nil && shown {
		err = d.inflate(b)
	}
	return true, d.corrupt(b, err)
}

// close gives the memory of the batch back.
func (d *decoder) close() {
	d.body.drop()
	d.body, d.rest, d.left = nil, nil, 0
}

func (d *decoder) corrupt(b batch, err error) error {
	if err == nil {
		return nil
	}
	at := d.from
	if b != nil {
		at = b.baseOffset()
	}
	return &CorruptError{d.tp, at, err}
}

// shows follows the transactions and reports whether b's records are to be seen.
func (d *decoder) shows(b batch) (bool, error) {
	for len(d.aborted) > 0 && d.aborted[0].first <= b.lastOffset() {
		d.hidden[d.aborted[0].producer] = true
		d.aborted = d.aborted[1:]
	}
	attrs := b.attributes()
	if attrs&attrControl != 0 {
		abort, err := isAbort(b)
		if abort {
			delete(d.hidden, b.producerID())
		}
		return false, err
	}
	return d.keepAll || attrs&attrTransactional == 0 || !d.hidden[b.producerID()], nil
}

// isAbort reads a control batch: its only record's key is a version and a type,
// 0 for an abort, 1 for a commit (KIP-98).
func isAbort(b batch) (bool, error) {
	var rec klamm.Record
	var l Loan
	info := b.info()
	if _, err := l.decode(&rec, b[batchHeader:], &info); err != nil || len(rec.Key) < 4 {
		return false, errRecords
	}
	return binary.BigEndian.Uint16(rec.Key[2:]) == 0, nil
}

// inflate has the records of a batch decoded from now on.
func (d *decoder) inflate(b batch) error {
	body := bodies.Get().(*body)
	body.holders.Store(1)
	d.body = body
	if err := body.inflate(int(b.attributes()&attrCodec), b[batchHeader:]); err != nil {
		return err
	}
	n := b.count()
	// A record has at least 7 bytes.
	if n < 0 || int64(n)*7 > int64(len(body.bytes)) {
		return errRecords
	}
	d.info, d.rest, d.left = b.info(), body.bytes, int(n)
	return nil
}

// records decodes at most n records of the batch.
func (d *decoder) records(n int) (*Loan, error) {
	n = min(n, d.left)
	l := loans.Get().(*Loan)
	l.holders.Store(1)
	l.body = d.body
	d.body.holders.Add(1)
	recs := slices.Grow(l.records[:0], n)[:n]
	kept := 0
	for range n {
		rec := &recs[kept]
		rest, err := l.decode(rec, d.rest, &d.info)
		if err != nil {
			return nil, err // and leaves the memory to the collector
		}
		d.rest = rest
		d.left--
		if rec.Offset < d.info.first || rec.Offset > d.info.last {
			return nil, fmt.Errorf("record offset %d is outside of the batch: %w", rec.Offset, errRecords)
		}
		if rec.Offset >= d.from {
			rec.Topic, rec.Partition = d.tp.Topic, d.tp.Partition
			kept++
		}
	}
	l.records = recs[:kept]
	return l, nil
}
