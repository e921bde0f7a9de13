// Package consume reads topics, in a consumer group or alone.
//
// sarama joins the group, balances it and keeps it alive; records are fetched
// and decoded here, because sarama tells neither how far a read has come past
// records that are not shown (aborted ones, transaction markers) nor their
// leader epochs. All methods are safe for concurrent use unless they say
// otherwise.
package consume

import (
	"context"

	"github.com/klamm-io/klamm"
)

// Handler is told of a group's partitions and records. Calls for one partition
// never overlap; those for different partitions may.
type Handler interface {
	// Assigned is called before the first records of new partitions. ctx ends
	// when the member leaves the group or has to join it anew.
	Assigned(ctx context.Context, parts map[string][]int32)
	// Revoked is called before partitions go to another member, after the last
	// call of Records for them has returned; Commit still works for them. When
	// lost is true they may be another member's already and Commit fails. A
	// partition that is assigned again later starts at its committed offset.
	Revoked(parts map[string][]int32, lost bool)
	// Records is called with one partition's records in order, at least one
	// and at most max_poll_records, one call at a time for each partition. recs
	// and their bytes are the handler's. highWatermark is the offset of the
	// next record to be written, as far as is known. ctx ends when the
	// partition is revoked. An error stops the group.
	Records(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error
	// Committed is called after a commit that succeeded, with the offsets of
	// the next records to read, before Commit returns. Calls come in the order
	// of the commits. It must not call Commit.
	Committed(offsets map[klamm.TopicPartition]int64)
}

// Skipper is a Handler that hears of offsets without a record to show: aborted
// records, transaction markers, and what compaction took away.
//
// A handler that commits needs it to reach the end of a topic with transactions:
// the last offset is a marker's.
type Skipper interface {
	// Skipped is called between calls of Records when all offsets before next
	// have been passed and next is beyond the last record shown.
	Skipped(tp klamm.TopicPartition, next int64)
}
