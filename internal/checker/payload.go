package checker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klamm-io/klamm"
)

// Headers of every record. IDHeader repeats the id, so that a header which
// belongs to another record is found. DedupHeader is what a dedup plugin is to
// make its ids of; it is there when the payload has one.
const (
	IDHeader    = "klamm.id"
	DedupHeader = "klamm.dedup"
)

const (
	payloadMagic = "KLM1"
	// MinPayload is the least size of a value.
	MinPayload = 4 + 8 + 8 + 4
	crcAt      = MinPayload - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Payload is what a record says of itself. Its value carries a checksum over
// topic, key and value: bytes of a buffer that was reused too early, or a record
// that went to another topic, do not pass.
type Payload struct {
	Topic string
	ID    ID
	Dedup uint64 // 0: none
	Size  int    // bytes of the value, at least MinPayload
}

// Record makes the record. Its bytes are fresh ones.
func (p Payload) Record() klamm.Record {
	rec := klamm.Record{Topic: p.Topic, Key: p.ID.appendKey(nil)}
	v := make([]byte, max(p.Size, MinPayload))
	copy(v, payloadMagic)
	binary.BigEndian.PutUint64(v[4:], uint64(p.ID))
	binary.BigEndian.PutUint64(v[12:], p.Dedup)
	fill(v[MinPayload:], uint64(p.ID))
	binary.BigEndian.PutUint32(v[crcAt:], checksum(p.Topic, rec.Key, v))
	rec.Value = v
	rec.Headers = append(rec.Headers, klamm.Header{Key: IDHeader, Value: binary.BigEndian.AppendUint64(nil, uint64(p.ID))})
	if p.Dedup != 0 {
		rec.Headers = append(rec.Headers, klamm.Header{Key: DedupHeader, Value: fmt.Appendf(nil, "%x", p.Dedup)})
	}
	return rec
}

// fill writes bytes that no other id has, and that compress as text does.
func fill(b []byte, x uint64) {
	x |= 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = 'a' + byte(x&15)
	}
}

func checksum(topic string, key, value []byte) uint32 {
	c := crc32.Update(0, castagnoli, []byte(topic))
	c = crc32.Update(c, castagnoli, key)
	c = crc32.Update(c, castagnoli, value[:crcAt])
	return crc32.Update(c, castagnoli, value[MinPayload:])
}

var errForeign = errors.New("not a record of klamm bench")

// ParsePayload reads a record back. The id is valid even with an error, unless
// the value has none; the error says what is wrong with the bytes.
func ParsePayload(topic string, key, value []byte, headers []klamm.Header) (Payload, error) {
	if len(value) < MinPayload || string(value[:4]) != payloadMagic {
		return Payload{}, errForeign
	}
	p := Payload{
		Topic: topic, Size: len(value),
		ID:    ID(binary.BigEndian.Uint64(value[4:])),
		Dedup: binary.BigEndian.Uint64(value[12:]),
	}
	if got, want := checksum(topic, key, value), binary.BigEndian.Uint32(value[crcAt:]); got != want {
		return p, fmt.Errorf("the checksum over topic, key and value is %08x, not %08x", got, want)
	}
	if want := p.ID.appendKey(nil); !bytes.Equal(key, want) {
		return p, fmt.Errorf("the key is %q, not %q", key, want)
	}
	return p, p.checkHeaders(headers)
}

func (p Payload) checkHeaders(headers []klamm.Header) error {
	want := p.Record().Headers
	if len(headers) != len(want) {
		return fmt.Errorf("it has %d headers, not %d", len(headers), len(want))
	}
	for i := range want {
		if headers[i].Key != want[i].Key || !bytes.Equal(headers[i].Value, want[i].Value) {
			return fmt.Errorf("header %q is %x, not %q %x", headers[i].Key, headers[i].Value, want[i].Key, want[i].Value)
		}
	}
	return nil
}
