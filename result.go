package klamm

import (
	"fmt"
	"time"
)

// Outcome is what became of one record. Every record that Send accepts ends in
// exactly one of them.
type Outcome uint8

const (
	// InFlight is the outcome of a record that has none yet.
	InFlight Outcome = iota
	// Written means that the broker has acknowledged the record (with acks=0:
	// that it was handed to the network).
	Written
	// Dropped means that a plugin dropped the record; see Result.Plugin.
	Dropped
	// DeadLettered means that the record was written to a dead-letter topic
	// instead; Result.Topic, Partition and Offset say where.
	DeadLettered
	// Failed means that the record was not written, or that nobody knows: see
	// Result.Err, and ErrOutcomeUnknown.
	Failed
)

var outcomeNames = [...]string{"in_flight", "out", "dropped", "dead_lettered", "failed"}

// String returns the name that metrics and summaries use.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// Result is the completion of one record.
type Result struct {
	Outcome Outcome

	// Topic and Partition say where the record went, or would have gone: a
	// plugin may have changed the topic. Partition is NoPartition where none
	// was chosen. Offset is NoOffset where there is none.
	Topic     string
	Partition int32
	Offset    int64
	// Timestamp is the one that the log holds: the record's own, or the
	// broker's where the topic has LogAppendTime. Zero on failure.
	Timestamp time.Time

	// Plugin and Reason tell which plugin dropped, dead-lettered or failed the
	// record and why. Both are empty where no plugin did.
	Plugin string
	Reason string

	// DuplicateOf is the record that this one duplicates: set with Dropped where a
	// plugin dropped it for an id that is remembered, and it is known where the
	// record with that id stands. Its Offset is NoOffset with acks=0.
	DuplicateOf *Position

	// Err is set when Outcome is Failed, and only then.
	Err error
}
