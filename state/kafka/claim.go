package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// A record of the topic: the key is the ID, 16 bytes, big-endian; the value is
// null for an id that is forgotten, or
//
//	format     1 byte, 1
//	expires    uvarint, milliseconds of the state's clock; 0: never
//	partition  uvarint, of the record that was written, plus 1
//	offset     uvarint, plus 1
//	plugin     uvarint length, bytes
//	topic      uvarint length, bytes
//
// The record's timestamp is when it was written and means nothing.

// Format is the version of what is written.
const Format = 1

const keySize = 16

// claim is what is remembered of an id.
type claim struct {
	plugin    string
	at        state.Position
	expiresMS int64
}

func appendKey(b []byte, id state.ID) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, id[0]), id[1])
}

func (c *claim) append(b []byte) []byte {
	b = append(b, Format)
	b = binary.AppendUvarint(b, uint64(c.expiresMS))
	b = binary.AppendUvarint(b, uint64(c.at.Partition+1))
	b = binary.AppendUvarint(b, uint64(c.at.Offset+1))
	b = append(binary.AppendUvarint(b, uint64(len(c.plugin))), c.plugin...)
	return append(binary.AppendUvarint(b, uint64(len(c.at.Topic))), c.at.Topic...)
}

var errForeign = errors.New("another program writes to the topic: name another one")

// decode reads a record. Its value is nil for a tombstone, and c is zero then.
func (n names) decode(rec *klamm.Record) (id state.ID, c claim, err error) {
	if len(rec.Key) != keySize {
		return id, c, fmt.Errorf("offset %d of partition %d: a key of %d bytes is no id's: %w", rec.Offset, rec.Partition, len(rec.Key), errForeign)
	}
	id = state.ID{binary.BigEndian.Uint64(rec.Key), binary.BigEndian.Uint64(rec.Key[8:])}
	if rec.Value == nil {
		return id, c, nil
	}
	if c, err = n.claim(rec.Value); err != nil {
		err = fmt.Errorf("offset %d of partition %d: %w", rec.Offset, rec.Partition, err)
	}
	return id, c, err
}

func (n names) claim(v []byte) (c claim, err error) {
	if len(v) == 0 {
		return c, fmt.Errorf("the value of an id is empty: %w", errForeign)
	}
	if v[0] != Format {
		return c, fmt.Errorf("an id in format %d: this version reads format %d: use the version that wrote it, or another topic", v[0], Format)
	}
	f := fields{rest: v[1:]}
	expires, partition, offset := f.number(1<<63-1), f.number(1<<31), f.number(1<<63-1)
	c.expiresMS, c.at.Partition, c.at.Offset = int64(expires), int32(int64(partition)-1), int64(offset)-1
	c.plugin, c.at.Topic = n.get(f.text()), n.get(f.text())
	if f.bad || len(f.rest) != 0 || c.plugin == "" {
		return claim{}, fmt.Errorf("the value of an id is damaged: %w", errForeign)
	}
	return c, nil
}

// fields reads one field after the other. bad is set by one that is not whole.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) number(most uint64) uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 || v > most {
		f.bad, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

func (f *fields) text() []byte {
	n := f.number(uint64(len(f.rest)))
	if f.bad || n > uint64(len(f.rest)) {
		f.bad = true
		return nil
	}
	s := f.rest[:n]
	f.rest = f.rest[n:]
	return s
}

// names are the plugins and topics that ids name: few, where ids are many.
type names map[string]string

// namesMost bounds what a topic that is not ours can make them hold.
const namesMost = 1 << 12

func (n names) get(b []byte) string {
	if s, ok := n[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(n) < namesMost {
		n[s] = s
	}
	return s
}
