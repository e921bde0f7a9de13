package consume

import (
	"errors"
	"fmt"

	"github.com/klamm-io/klamm"
)

// What a failed Commit means for the group's member.
var (
	// ErrRebalancing: the group is being balanced and this member has not
	// joined the new generation yet. The offsets are not committed; commit
	// again when the partitions have been assigned, if they still are.
	ErrRebalancing = errors.New("the group is rebalancing")
	// ErrNotOwner: a partition is not this member's, or the member was put out
	// of the group. The offsets are not committed; the new owner reads from the
	// last committed ones.
	ErrNotOwner = errors.New("partition is not assigned to this member")
)

// ErrNoOffset: a partition has no committed offset, or one that is no longer in
// the log, and auto_offset_reset is none.
var ErrNoOffset = errors.New("no offset to start at")

// CorruptError is a fetched batch that cannot be read.
type CorruptError struct {
	klamm.TopicPartition
	Offset int64 // of the batch
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s/%d: batch at offset %d cannot be read: %v", e.Topic, e.Partition, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

func brokerError(code int16) error {
	if code == 0 {
		return nil
	}
	return &klamm.BrokerError{Code: klamm.Code(code)}
}

// codeOf is CodeNone for errors that are no broker's.
func codeOf(err error) klamm.Code {
	var b *klamm.BrokerError
	if errors.As(err, &b) {
		return b.Code
	}
	return klamm.CodeNone
}
