package consume

import (
	"encoding/binary"
	"time"

	"github.com/klamm-io/klamm"
)

// batchInfo is what the records of a batch share.
type batchInfo struct {
	first, last int64 // offsets
	timestamp   int64 // that records' are relative to
	appended    bool  // and count for nothing: it is the broker's
	epoch       int32
}

func (b batch) info() batchInfo {
	i := batchInfo{first: b.baseOffset(), last: b.lastOffset(), timestamp: b.baseTimestamp(), epoch: b.leaderEpoch()}
	if b.attributes()&attrLogAppendTime != 0 {
		i.appended, i.timestamp = true, b.maxTimestamp()
	}
	return i
}

// Places in a buffer are followed by index, where bad stands for one that is not in
// it: so a mistake need be looked for at the end only.
const bad = -1

// varint reads a number at i and returns the place after it. Most take one byte or
// two.
func varint(buf []byte, i int) (int64, int) {
	if i < 0 || i+1 >= len(buf) {
		return longVarint(buf, i)
	}
	u := uint64(buf[i])
	if u < 0x80 {
		return int64(u>>1) ^ -int64(u&1), i + 1
	}
	more := uint64(buf[i+1])
	if more >= 0x80 {
		return longVarint(buf, i)
	}
	u = u&0x7f | more<<7
	return int64(u>>1) ^ -int64(u&1), i + 2
}

func longVarint(buf []byte, i int) (int64, int) {
	if uint(i) >= uint(len(buf)) {
		return 0, bad
	}
	v, n := binary.Varint(buf[i:])
	if n <= 0 {
		return 0, bad
	}
	return v, i + n
}

// bytesAt reads a length and as many bytes; nil for null, which is a length of -1.
func bytesAt(buf []byte, i int) ([]byte, int) {
	n, i := varint(buf, i)
	switch {
	case i == bad:
		return nil, bad
	case n == -1:
		return nil, i
	case n < 0 || n > int64(len(buf)-i):
		return nil, bad
	}
	end := i + int(n)
	return buf[i:end:end], end
}

// decode reads the first record of buf into rec, all of it but the topic, and returns
// the rest of buf. Its headers are the loan's.
func (l *Loan) decode(rec *klamm.Record, buf []byte, b *batchInfo) (rest []byte, err error) {
	size, start := varint(buf, 0)
	if start == bad || size < 1 || size > int64(len(buf)-start) {
		return nil, errRecords
	}
	body, rest := buf[start:start+int(size)], buf[start+int(size):]
	i := 1 // after the attributes, which are unused
	ms, i := varint(body, i)
	delta, i := varint(body, i)
	if ms += b.timestamp; b.appended {
		ms = b.timestamp
	}
	rec.Target, rec.Partition = 0, 0
	rec.Timestamp = time.UnixMilli(ms)
	rec.Offset, rec.LeaderEpoch = b.first+delta, b.epoch
	rec.Key, i = bytesAt(body, i)
	rec.Value, i = bytesAt(body, i)
	n, i := varint(body, i)
	// A header has at least 2 bytes.
	if i == bad || n < 0 || n*2 > int64(len(body)-i) {
		return nil, errRecords
	}
	if rec.Headers = nil; n > 0 && !l.decodeHeaders(rec, body[i:], int(n)) {
		return nil, errRecords
	}
	return rest, nil
}

func (l *Loan) decodeHeaders(rec *klamm.Record, buf []byte, n int) (ok bool) {
	before := len(l.headers)
	last := l.headers[max(0, before-n):] // those of the record before, most often
	for j, i := 0, 0; j < n; j++ {
		var key, value []byte
		key, i = bytesAt(buf, i)
		if value, i = bytesAt(buf, i); i == bad {
			return false
		}
		h := klamm.Header{Value: value}
		if j < len(last) && last[j].Key == string(key) {
			h.Key = last[j].Key // which needs no memory of its own
		} else {
			h.Key = string(key)
		}
		l.headers = append(l.headers, h)
	}
	rec.Headers = l.headers[before:len(l.headers):len(l.headers)]
	return true
}
