package checker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Outcome is a record's completion as its sender saw it.
type Outcome uint8

const (
	// None: no completion yet.
	None Outcome = iota
	// OK: acknowledged.
	OK
	// FailDefinite: it failed and is certainly not in the log.
	FailDefinite
	// FailUnknown: it failed and may be in the log.
	FailUnknown
	// Dropped by a plugin: a duplicate.
	Dropped
	// DeadLettered: it is in another topic.
	DeadLettered
	// Refused: the send returned an error and no callback follows.
	Refused
)

var outcomeNames = [...]string{"none", "ok", "fail_definite", "fail_unknown", "dropped", "dead_lettered", "refused"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// Sent is a record that is about to be sent.
type Sent struct {
	ID    ID
	Asked int32  // partition that was asked for, -1 for none
	Dedup uint64 // 0: none
	Txn   uint32 // transaction, from 1; 0: none
	Time  time.Time
}

// Ended is a record's completion.
type Ended struct {
	ID        ID
	Outcome   Outcome
	Partition int32
	Offset    int64 // -1: not told
}

// Hook is an interceptor's call for one record.
type Hook uint8

const (
	OnSend Hook = iota
	OnAcknowledgement
)

// TxnOutcome is how a transaction ended as its producer saw it.
type TxnOutcome uint8

const (
	TxnUnknown TxnOutcome = iota
	TxnCommitted
	TxnAborted
)

// Polled is a record that a consumer was given. Reset instead says that the
// consumer begins at Offset: it was assigned the partition, or has sought.
type Polled struct {
	Consumer  int
	Partition int32
	Offset    int64
	Reset     bool
}

// TxnOffset is an offset of an input that is committed with a transaction. Those of
// a partition grow.
type TxnOffset struct {
	Txn       uint32
	Partition int32
	Offset    int64
}

// kind is what an entry of the file is.
type kind byte

const (
	kindSent kind = iota + 1
	kindEnded
	kindHook
	kindTxn
	kindPolled
	kindClosed
	kindOffset
)

func appendSent(b []byte, s Sent, started time.Time) []byte {
	b = append(b, byte(kindSent))
	b = binary.AppendUvarint(b, uint64(s.ID))
	b = binary.AppendVarint(b, int64(s.Asked))
	b = binary.AppendUvarint(b, s.Dedup)
	b = binary.AppendUvarint(b, uint64(s.Txn))
	return binary.AppendVarint(b, s.Time.Sub(started).Milliseconds())
}

func appendEnded(b []byte, e Ended) []byte {
	b = append(b, byte(kindEnded), byte(e.Outcome))
	b = binary.AppendUvarint(b, uint64(e.ID))
	b = binary.AppendVarint(b, int64(e.Partition))
	return binary.AppendVarint(b, e.Offset)
}

func appendPolled(b []byte, p Polled) []byte {
	reset := byte(0)
	if p.Reset {
		reset = 1
	}
	b = append(b, byte(kindPolled), reset)
	b = binary.AppendUvarint(b, uint64(p.Consumer))
	b = binary.AppendVarint(b, int64(p.Partition))
	return binary.AppendVarint(b, p.Offset)
}

var errEntry = errors.New("an entry ends too early")

// cursor reads entries. After an error it returns zeros.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.err = errEntry
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.err, c.b = errEntry, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.err, c.b = errEntry, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

// apply reads all entries of a block into h.
func (h *History) apply(block []byte) error {
	c := cursor{b: block}
	for len(c.b) > 0 && c.err == nil {
		if err := h.applyOne(&c); err != nil {
			return err
		}
	}
	return c.err
}

func (h *History) applyOne(c *cursor) error {
	switch k := kind(c.byte()); k {
	case kindSent:
		id, asked, dedup, txn, ms := ID(c.uvarint()), int32(c.varint()), c.uvarint(), uint32(c.uvarint()), c.varint()
		if c.err == nil {
			return h.sent(id, asked, dedup, txn, ms)
		}
	case kindEnded:
		outcome := Outcome(c.byte())
		e := Ended{ID: ID(c.uvarint()), Outcome: outcome, Partition: int32(c.varint()), Offset: c.varint()}
		if c.err == nil {
			return h.ended(e)
		}
	case kindHook:
		hook, id := Hook(c.byte()), ID(c.uvarint())
		if c.err == nil {
			return h.hook(hook, id)
		}
	case kindTxn:
		outcome, txn := TxnOutcome(c.byte()), uint32(c.uvarint())
		h.txns[txn] = outcome
	case kindPolled:
		reset := c.byte() == 1
		p := Polled{Reset: reset, Consumer: int(c.uvarint()), Partition: int32(c.varint()), Offset: c.varint()}
		h.polls = append(h.polls, p)
	case kindClosed:
		h.Closed = true
	case kindOffset:
		o := TxnOffset{Txn: uint32(c.uvarint()), Partition: int32(c.varint()), Offset: c.varint()}
		if c.err == nil {
			h.offsets = append(h.offsets, o)
		}
	default:
		return fmt.Errorf("an entry has unknown kind %d", k)
	}
	return nil
}
