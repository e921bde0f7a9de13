package produce

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"github.com/klamm-io/klamm"
)

// Record batch format v2 (KIP-98): a header of fixed size, then the records,
// which alone are compressed.
const (
	batchOverhead = 61 // bytes of the header

	offBatchLength    = 8
	offLeaderEpoch    = 12
	offMagic          = 16
	offCRC            = 17
	offAttributes     = 21 // the CRC covers everything from here
	offLastDelta      = 23
	offBaseTimestamp  = 27
	offMaxTimestamp   = 35
	offProducerID     = 43
	offProducerEpoch  = 51
	offBaseSequence   = 53
	offRecordCount    = 57
	lengthAfterLength = 12 // bytes before those that the batch length counts
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A record in a batch is its length and a head, which says how it differs from
// the batch's first, and a body, which is the same wherever it is.

// headSize returns the size of a record's head without the length.
func headSize(tsDelta int64, offsetDelta int32) int {
	return 1 + varintSize(tsDelta) + varintSize(int64(offsetDelta))
}

// bodySize returns the size of a record's body.
func bodySize(key, value []byte, headers []klamm.Header) int {
	n := bytesSize(key) + bytesSize(value) + varintSize(int64(len(headers)))
	for i := range headers {
		n += HeaderSize(&headers[i])
	}
	return n
}

// putHead writes the length and the head of a record of size bytes, head and
// body, and returns how many it takes. Nearly always each of its numbers takes one
// or two bytes; then they are written as one word, of which the body, written
// later, takes what is too much.
func putHead(r []byte, size int, tsDelta int64, offsetDelta int32) int {
	length, delta, offset := zigzag(int64(size)), zigzag(tsDelta), zigzag(int64(offsetDelta))
	if (length|delta|offset)>>14 != 0 || len(r) < 8 {
		return putLongHead(r, length, delta, offset)
	}
	word, n := short(length)
	n++ // attributes: none are defined
	w, m := short(delta)
	word |= w << (8 * n & 63)
	n += m
	w, m = short(offset)
	word |= w << (8 * n & 63)
	binary.LittleEndian.PutUint64(r, word)
	return int(n + m)
}

// short returns a number of at most 14 bits as a varint in the low bytes of a
// word.
func short(u uint64) (word uint64, bytes uint) {
	if u < 1<<7 {
		return u, 1
	}
	return u&0x7f | 0x80 | u>>7<<8, 2
}

func putLongHead(r []byte, length, delta, offset uint64) int {
	n := putLongVarint(r, length)
	r[n] = 0
	n++
	n += putLongVarint(r[n:], delta)
	return n + putLongVarint(r[n:], offset)
}

// putBody writes a body and returns where key and value begin, and where it ends.
// Those that are null or empty have an end only.
func putBody(r, key, value []byte, headers []klamm.Header) (keyAt, valueAt, end int) {
	n := putBytes(r, key)
	keyAt = n - len(key)
	n += putBytes(r[n:], value)
	valueAt = n - len(value)
	if len(headers) == 0 {
		r[n] = 0
		return keyAt, valueAt, n + 1
	}
	n += putVarint(r[n:], int64(len(headers)))
	for i := range headers {
		n += putVarint(r[n:], int64(len(headers[i].Key)))
		n += copy(r[n:], headers[i].Key)
		n += putBytes(r[n:], headers[i].Value)
	}
	return keyAt, valueAt, n
}

// batchHeader is what the header says of a batch.
type batchHeader struct {
	codec         codec
	count         int32
	baseTimestamp int64
	maxTimestamp  int64
	producerID    int64
	producerEpoch int16
	baseSequence  int32
	transactional bool
}

// transactionalBit of the attributes: the records count once their transaction
// is committed.
const transactionalBit = 1 << 4

// seal writes the header in front of the records in b, which starts with
// batchOverhead bytes of room. The broker sets base offset and leader epoch.
func (h *batchHeader) seal(b []byte) {
	be := binary.BigEndian
	be.PutUint64(b, 0)
	be.PutUint32(b[offBatchLength:], uint32(len(b)-lengthAfterLength))
	be.PutUint32(b[offLeaderEpoch:], 1<<32-1) // -1
	b[offMagic] = 2
	attributes := uint16(h.codec)
	if h.transactional {
		attributes |= transactionalBit
	}
	be.PutUint16(b[offAttributes:], attributes)
	be.PutUint32(b[offLastDelta:], uint32(h.count-1))
	be.PutUint64(b[offBaseTimestamp:], uint64(h.baseTimestamp))
	be.PutUint64(b[offMaxTimestamp:], uint64(h.maxTimestamp))
	be.PutUint64(b[offProducerID:], uint64(h.producerID))
	be.PutUint16(b[offProducerEpoch:], uint16(h.producerEpoch))
	be.PutUint32(b[offBaseSequence:], uint32(h.baseSequence))
	be.PutUint32(b[offRecordCount:], uint32(h.count))
	be.PutUint32(b[offCRC:], crc32.Checksum(b[offAttributes:], castagnoli))
}

// zigzag makes small numbers of either sign small ones.
func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// varintSize returns the size of v in zigzag encoding: a byte for each 7 bits,
// without the division.
func varintSize(v int64) int { return (9*bits.Len64(zigzag(v)) + 64) / 64 }

func appendVarint(dst []byte, v int64) []byte {
	u := zigzag(v)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

// bytesSize is for nullable bytes: null is the length -1.
func bytesSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}

// putVarint writes v and returns how many bytes it takes. Most take one or two.
func putVarint(dst []byte, v int64) int {
	u := zigzag(v)
	switch {
	case u < 1<<7:
		dst[0] = byte(u)
		return 1
	case u < 1<<14:
		dst[1], dst[0] = byte(u>>7), byte(u)|0x80
		return 2
	}
	return putLongVarint(dst, u)
}

func putLongVarint(dst []byte, u uint64) int {
	n := 0
	for ; u >= 0x80; n++ {
		dst[n] = byte(u) | 0x80
		u >>= 7
	}
	dst[n] = byte(u)
	return n + 1
}

// putBytes writes nullable bytes and returns how many it takes.
func putBytes(dst, b []byte) int {
	if b == nil {
		dst[0] = 1 // -1 in zigzag
		return 1
	}
	n := putVarint(dst, int64(len(b)))
	return n + copy(dst[n:], b)
}
