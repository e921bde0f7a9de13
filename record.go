// Package klamm holds the words that every part of Klamm shares: records,
// where they go, what became of them, and the errors a caller acts on.
//
// It imports nothing else of Klamm's.
package klamm

import (
	"fmt"
	"time"
)

// Record is a Kafka record on its way to a topic, or one read from it.
//
// A nil Key or Value is Kafka's null; an empty, non-nil one is an empty byte
// string. The two are kept apart everywhere.
type Record struct {
	// Topic the record goes to, or came from.
	Topic string
	// Target is the partition that the caller demands. The zero value demands
	// none: the partitioner of the record's chain chooses.
	Target Target

	Key     []byte
	Value   []byte
	Headers []Header

	// Timestamp is the record's create time. The zero value stands for the
	// time of Send. Kafka keeps milliseconds.
	Timestamp time.Time

	// Partition, Offset and LeaderEpoch say where a consumed record came from.
	// Send ignores them, so that a consumed record can be sent on as it is and
	// is partitioned anew; use Target to demand a partition.
	Partition   int32
	Offset      int64
	LeaderEpoch int32
}

// Header is one header of a record. A record may carry several of one key, and
// their order is kept (KIP-82). A nil Value is null.
type Header struct {
	Key   string
	Value []byte
}

// Target is an explicit partition. Its zero value demands none.
type Target int32

// ToPartition returns the Target that demands partition p. A negative p is
// refused when the record is sent.
func ToPartition(p int32) Target {
	if p >= 0 {
		p++
	}
	return Target(p)
}

// Partition returns the partition that t demands, and whether it demands one.
func (t Target) Partition() (int32, bool) {
	if t > 0 {
		return int32(t) - 1, true
	}
	return int32(t), t < 0
}

// TopicPartition names one partition of one topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Position is where a record stands in Kafka. Partition and Offset are
// NoPartition and NoOffset where they are not known.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String returns topic/partition/offset.
func (p Position) String() string {
	return fmt.Sprintf("%s/%d/%d", p.Topic, p.Partition, p.Offset)
}

// NoPartition and NoOffset stand in results and acknowledgements where there is
// no partition or offset (Kafka's UNKNOWN_PARTITION and INVALID_OFFSET).
const (
	NoPartition int32 = -1
	NoOffset    int64 = -1
)
