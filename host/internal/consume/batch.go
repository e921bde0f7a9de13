package consume

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

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
}

func newDecoder(tp klamm.TopicPartition, raw []byte, from int64, aborted []abortedTxn, readCommitted bool) *decoder {
	// Brokers need not sort them, and some do not.
	slices.SortFunc(aborted, func(a, b abortedTxn) int { return cmp.Compare(a.first, b.first) })
	return &decoder{tp: tp, raw: raw, from: from, aborted: aborted, hidden: make(map[int64]bool), keepAll: !readCommitted}
}

// next returns the records to show of the next batch, perhaps none. ok is false
// after the last one.
func (d *decoder) next() (recs []klamm.Record, ok bool, err error) {
	b, rest, ok, err := cut(d.raw)
	if err != nil || !ok {
		return nil, false, d.corrupt(b, err)
	}
	d.raw = rest
	if crc32.Checksum(b[21:], castagnoli) != b.crc() {
		return nil, false, d.corrupt(b, errCRC)
	}
	shown, err := d.shows(b)
	if err != nil {
		return nil, false, d.corrupt(b, err)
	}
	if shown {
		if recs, err = d.records(b); err != nil {
			return nil, false, d.corrupt(b, err)
		}
	}
	return recs, true, nil
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
	r := reader{buf: b[batchHeader:]}
	rec := r.record(b)
	if r.bad || len(rec.Key) < 4 {
		return false, errRecords
	}
	return binary.BigEndian.Uint16(rec.Key[2:]) == 0, nil
}

func (d *decoder) records(b batch) ([]klamm.Record, error) {
	body, err := decompress(int(b.attributes()&attrCodec), b[batchHeader:])
	if err != nil {
		return nil, err
	}
	n := b.count()
	// A record has at least 7 bytes.
	if n < 0 || int64(n)*7 > int64(len(body)) {
		return nil, errRecords
	}
	recs := make([]klamm.Record, 0, n)
	r := reader{buf: body}
	for range n {
		rec := r.record(b)
		if r.bad {
			return nil, errRecords
		}
		if rec.Offset < b.baseOffset() || rec.Offset > b.lastOffset() {
			return nil, fmt.Errorf("record offset %d is outside of the batch: %w", rec.Offset, errRecords)
		}
		if rec.Offset < d.from {
			continue
		}
		rec.Topic, rec.Partition = d.tp.Topic, d.tp.Partition
		recs = append(recs, rec)
	}
	return recs, nil
}

// reader reads varints and what they measure. After a mistake it is bad and
// returns zeros.
type reader struct {
	buf []byte
	bad bool
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.buf)
	if n <= 0 {
		r.bad, r.buf = true, nil
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

// bytes returns nil for null, which is a length of -1.
func (r *reader) bytes() []byte {
	n := r.varint()
	if n == -1 || r.bad {
		return nil
	}
	if n < 0 || n > int64(len(r.buf)) {
		r.bad, r.buf = true, nil
		return nil
	}
	b := r.buf[:n:n]
	r.buf = r.buf[n:]
	return b
}

func (r *reader) record(b batch) klamm.Record {
	body := reader{buf: r.bytes()}
	if len(body.buf) == 0 {
		r.bad = true
		return klamm.Record{}
	}
	body.buf = body.buf[1:] // attributes, unused
	ms := b.baseTimestamp() + body.varint()
	if b.attributes()&attrLogAppendTime != 0 {
		ms = b.maxTimestamp()
	}
	rec := klamm.Record{
		Timestamp:   time.UnixMilli(ms),
		Offset:      b.baseOffset() + body.varint(),
		LeaderEpoch: b.leaderEpoch(),
		Key:         body.bytes(),
		Value:       body.bytes(),
	}
	rec.Headers = body.headers()
	r.bad = r.bad || body.bad
	return rec
}

func (r *reader) headers() []klamm.Header {
	n := r.varint()
	// A header has at least 2 bytes.
	if n < 0 || n*2 > int64(len(r.buf)) {
		r.bad = true
	}
	if n <= 0 || r.bad {
		return nil
	}
	hs := make([]klamm.Header, 0, n)
	for range n {
		key := r.bytes()
		hs = append(hs, klamm.Header{Key: string(key), Value: r.bytes()})
		if r.bad {
			return nil
		}
	}
	return hs
}
