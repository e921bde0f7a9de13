package interceptor

import (
	"context"
	"time"

	"github.com/klamm-io/klamm"
)

// Native interceptors are Go code outside of the sandbox. They implement those
// of the following interfaces that they need. Their methods may be called from
// several lanes at once. A panic is recovered and counts as an error.

// OnSender judges records before they are partitioned, see KIP-42.
//
// It may replace fields of each Record, but not write into its bytes or
// headers, and may call Drop, DeadLetter or Fail. An error, or a panic, undoes
// what it did to all items; they are then offered again in smaller batches,
// until the failure policy is applied to those that err alone. Items must not be
// kept.
type OnSender interface {
	OnSend(ctx context.Context, items []*Item) error
}

// OnConsumer judges records that were read, before the application gets them.
// The rules are OnSender's. A dropped record still advances the position.
type OnConsumer interface {
	OnConsume(ctx context.Context, items []*Item) error
}

// OnAcknowledger learns what became of the records, once for each record that
// it was offered, or for each of the chain when it is no OnSender. An error is
// logged and counted and changes nothing. Acks must not be changed or kept.
type OnAcknowledger interface {
	OnAcknowledgement(ctx context.Context, acks []*Ack) error
}

// OnCommitter learns of offsets after they were committed. An error is logged
// and counted and changes nothing.
type OnCommitter interface {
	OnCommit(ctx context.Context, commits []Commit) error
}

// Ack is the end of one record.
type Ack struct {
	// Record has Topic, Timestamp and, where Wants asks for them, Key and
	// Headers. The value is not kept. A zero Timestamp stands for none (Kafka's
	// NO_TIMESTAMP, -1).
	Record klamm.Record
	Ref    uint64
	// Partition and Offset are klamm.NoPartition and klamm.NoOffset where there
	// is none.
	Partition int32
	Offset    int64
	// Code is 0, Kafka's error code, or one of abi.Err*.
	Code  int32
	Flags uint32 // abi.Ack*
	// Latency is the time since Send accepted the record.
	Latency time.Duration
	// Err is the record's error, for native interceptors.
	Err error
	// The rest is what the record's Item says.
	Plugin      string
	Reason      string
	ReasonCode  uint16
	Link        uint16
	Offered     uint16
	Generations uint64
}

// Commit is a committed offset: the next one to be read.
type Commit struct {
	Topic     string
	Partition int32
	Offset    int64
}
