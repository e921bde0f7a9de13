package plugin

import (
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Acks is the records of one call of on_acknowledgement. Every record that was
// offered to the plugin appears exactly once, whatever became of it.
type Acks struct{ block }

// Ack is what became of a record. Key and headers are there when asked for.
type Ack struct {
	Entry
	entry uint32 // offset of the acknowledgement
}

// At returns acknowledgement i. It panics when i is not below Len.
func (a *Acks) At(i int) Ack {
	at := a.start(i)
	return Ack{Entry{&a.block, at, i}, at + u32(a.b, at+abi.RecSize) - abi.AckEntrySize}
}

// Err returns 0 when the record was delivered, Kafka's error code, or one of
// ours below zero; see abi.ErrUnknownOutcome and its neighbours.
func (a Ack) Err() int32 { return i32(a.k.b, a.entry+abi.AckError) }

// Dropped reports whether a plugin dropped the record.
func (a Ack) Dropped() bool { return a.ackFlags()&abi.AckDropped != 0 }

// Retried reports whether the record was sent more than once.
func (a Ack) Retried() bool { return a.ackFlags()&abi.AckRetried != 0 }

// Aborted reports whether the record's transaction was aborted.
func (a Ack) Aborted() bool { return a.ackFlags()&abi.AckAborted != 0 }

// EarlierGeneration reports whether an earlier version of the plugin judged the
// record.
func (a Ack) EarlierGeneration() bool { return a.ackFlags()&abi.AckEarlierGeneration != 0 }

// Latency returns the time from Send to the answer.
func (a Ack) Latency() time.Duration {
	return time.Duration(u32(a.k.b, a.entry+abi.AckLatencyUS)) * time.Microsecond
}

// Reason returns the reason of a drop.
func (a Ack) Reason() ReasonCode { return ReasonCode(u32(a.k.b, a.entry+abi.AckReason)) }

// Plugin returns which plugin dropped the record: its place in the chain's on_send
// list, from 1, 0 if none did.
func (a Ack) Plugin() int { return int(u16(a.k.b, a.entry+abi.AckPlugin)) }

func (a Ack) ackFlags() uint32 { return u32(a.k.b, a.entry+abi.AckFlags) }

// Commits is the positions of one call of on_commit.
type Commits struct{ block }

// Commit is one committed position: the next offset to be read.
type Commit struct{ e Entry }

// At returns commit i. It panics when i is not below Len.
func (c *Commits) At(i int) Commit {
	return Commit{Entry{&c.block, c.start(i), i}}
}

// Topic returns the topic.
func (c Commit) Topic() Topic { return c.e.Topic() }

// Partition returns the partition.
func (c Commit) Partition() int32 { return c.e.Partition() }

// Offset returns the committed offset.
func (c Commit) Offset() int64 { return c.e.Offset() }
