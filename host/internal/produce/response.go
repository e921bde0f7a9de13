package produce

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
)

// response is a decoded Produce answer: what it says of each batch of the
// request, in the request's order.
type response struct {
	answers  []answer
	answered []bool
	next     int // batch that is likely answered next
	throttle time.Duration
}

var errTruncated = errors.New("it ends too early")

// decode reads a response's body, after its correlation id. It accepts exactly
// one answer for each batch that was sent. It takes memory in proportion to
// len(body) at most, whatever counts and lengths the body claims.
func (r *response) decode(version int16, body []byte, sent []*batch) error {
	r.answers = slices.Grow(r.answers[:0], len(sent))[:len(sent)]
	r.answered = slices.Grow(r.answered[:0], len(sent))[:len(sent)]
	clear(r.answers)
	clear(r.answered)
	r.next = 0
	d := decoder{b: body, flexible: version >= firstFlexible}
	d.tags(nil) // of the response header
	for topics := d.count(); topics > 0 && d.err == nil; topics-- {
		name := d.stringBytes()
		for parts := d.count(); parts > 0 && d.err == nil; parts-- {
			r.partition(&d, version, name, sent)
		}
		d.tags(nil)
	}
	r.throttle = time.Duration(max(0, int32(d.uint32()))) * time.Millisecond
	d.tags(nil) // node endpoints (KIP-951): metadata knows them soon enough
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("it goes on for %d bytes after its end", len(d.b))
	}
	for i, ok := range r.answered {
		if !ok && d.err == nil {
			d.err = fmt.Errorf("it does not answer topic %q partition %d", sent[i].part.topic.name, sent[i].part.id)
		}
	}
	if d.err != nil {
		return fmt.Errorf("broken Produce response: %w", d.err)
	}
	return nil
}

func (r *response) partition(d *decoder, version int16, name []byte, sent []*batch) {
	id := int32(d.uint32())
	a := answer{leader: -1, leaderEpoch: -1, logStart: -1}
	a.code = klamm.Code(d.uint16())
	a.baseOffset = int64(d.uint64())
	a.logAppend = int64(d.uint64())
	if version >= 5 {
		a.logStart = int64(d.uint64())
	}
	if version >= 8 {
		for n := d.count(); n > 0 && d.err == nil; n-- {
			e := recordError{index: int32(d.uint32()), message: string(d.stringBytes())}
			d.tags(nil)
			a.recordErrors = append(a.recordErrors, e)
		}
		a.message = string(d.stringBytes())
	}
	d.tags(func(tag uint64, value []byte) {
		if tag == 0 && len(value) >= 8 {
			a.leader = int32(binary.BigEndian.Uint32(value))
			a.leaderEpoch = int32(binary.BigEndian.Uint32(value[4:]))
		}
	})
	if d.err != nil {
		return
	}
	// Brokers mostly answer in the order of the request.
	for n := range sent {
		i := (r.next + n) % len(sent)
		if sent[i].part.id != id || sent[i].part.topic.name != string(name) {
			continue
		}
		if r.answered[i] {
			d.err = fmt.Errorf("it answers topic %q partition %d twice", name, id)
			return
		}
		r.answered[i], r.answers[i], r.next = true, a, i+1
		return
	}
	d.err = fmt.Errorf("it answers topic %q partition %d, which was not asked", name, id)
}

// decoder reads Kafka's primitive types. After an error it returns zeros.
type decoder struct {
	b        []byte
	flexible bool
	err      error
}

func (d *decoder) take(n uint64) []byte {
	if d.err == nil && n > uint64(len(d.b)) {
		d.err = errTruncated
	}
	if d.err != nil {
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint16() uint16 {
	if v := d.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if v := d.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if v := d.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 5 {
		d.err = errTruncated
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads an array's length. Each element takes a byte at least, so a
// longer one is refused before anything is made of it. Null is empty.
func (d *decoder) count() uint64 {
	n := uint64(0)
	if d.flexible {
		if n = d.uvarint(); n > 0 {
			n--
		}
	} else if v := int32(d.uint32()); v >= 0 {
		n = uint64(v)
	} else if v < -1 {
		d.err = fmt.Errorf("an array has length %d", v)
	}
	if d.err == nil && n > uint64(len(d.b)) {
		d.err = errTruncated
	}
	return n
}

// stringBytes reads a string; null is empty.
func (d *decoder) stringBytes() []byte {
	if d.flexible {
		n := d.uvarint()
		if n == 0 {
			return nil
		}
		return d.take(n - 1)
	}
	n := int16(d.uint16())
	if n < -1 && d.err == nil {
		d.err = fmt.Errorf("a string has length %d", n)
	}
	if n < 0 {
		return nil
	}
	return d.take(uint64(n))
}

// tags reads the tagged fields of a flexible version.
func (d *decoder) tags(each func(tag uint64, value []byte)) {
	if !d.flexible {
		return
	}
	for n := d.uvarint(); n > 0 && d.err == nil; n-- {
		tag := d.uvarint()
		value := d.take(d.uvarint())
		if each != nil && d.err == nil {
			each(tag, value)
		}
	}
}
