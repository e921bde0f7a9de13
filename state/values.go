package state

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrValueTooLarge: a plugin put a value that alone is larger than its state's
// max_bytes. Raise it, or put less.
var ErrValueTooLarge = errors.New("value too large")

// valueOverhead is what a value costs beside its key and its bytes. It counts,
// so that a million empty values are not free.
const valueOverhead = 128

// values keeps the values of all buckets in the order of their puts.
type values struct {
	max, bytes     int64
	oldest, newest *value
}

type value struct {
	bucket     *memoryBucket
	key        string
	bytes      []byte
	expiresMS  int64
	prev, next *value
}

func (v *value) size() int64 { return int64(len(v.key)+len(v.bytes)) + valueOverhead }

func (vs *values) add(v *value) {
	if v.prev = vs.newest; v.prev != nil {
		v.prev.next = v
	} else {
		vs.oldest = v
	}
	vs.newest = v
	vs.bytes += v.size()
	v.bucket.values[v.key] = v
	v.bucket.usage.Values++
	v.bucket.usage.Bytes += v.size()
}

func (vs *values) remove(v *value) {
	if v.prev != nil {
		v.prev.next = v.next
	} else {
		vs.oldest = v.next
	}
	if v.next != nil {
		v.next.prev = v.prev
	} else {
		vs.newest = v.prev
	}
	vs.bytes -= v.size()
	delete(v.bucket.values, v.key)
	v.bucket.usage.Values--
	v.bucket.usage.Bytes -= v.size()
}

func (b *memoryBucket) Get(key []byte, nowMS int64) ([]byte, bool, error) {
	v := b.values[string(key)]
	if v == nil {
		return nil, false, nil
	}
	if over(v.expiresMS, nowMS) {
		b.m.values.remove(v)
		return nil, false, nil
	}
	return v.bytes, true, nil
}

func (b *memoryBucket) Put(key, val []byte, expiresMS, nowMS int64) error {
	vs := &b.m.values
	v := &value{bucket: b, key: string(key), bytes: bytes.Clone(val), expiresMS: expiresMS}
	if v.size() > vs.max {
		return fmt.Errorf("put %d bytes: %w: max_bytes is %d", v.size(), ErrValueTooLarge, vs.max)
	}
	if old := b.values[v.key]; old != nil {
		vs.remove(old)
	}
	for vs.bytes+v.size() > vs.max {
		if !over(vs.oldest.expiresMS, nowMS) {
			vs.oldest.bucket.usage.ValuesEvicted++
		}
		vs.remove(vs.oldest)
	}
	vs.add(v)
	return nil
}
