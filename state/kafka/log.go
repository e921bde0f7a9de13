package kafka

import (
	"context"

	"github.com/klamm-io/klamm"
)

// Log is the topic as the host reaches it. Its methods ask again while errors are
// such as pass, until ctx ends.
type Log interface {
	// Describe returns the topic as it is; ok is false where there is none.
	Describe(ctx context.Context) (d Description, ok bool, err error)
	// Create makes it. One that another host has made meanwhile is no error.
	Create(ctx context.Context, partitions int32, replication int16, settings map[string]string) error
	// Append writes one record outside of any transaction.
	Append(ctx context.Context, partition int32, key, value []byte) error
	// Bounds returns the first offset and the end of a partition, that of records
	// of open transactions included.
	Bounds(ctx context.Context, partition int32) (first, end int64, err error)
	// Read calls f with the committed records of a partition from offset from on,
	// in order, until it has come to end. It waits there for transactions that
	// are open. An error of f ends it and is returned. The records are f's, and
	// only until it returns.
	Read(ctx context.Context, partition int32, from, end int64, f func([]klamm.Record) error) error
}

// Description is what is asked of a topic.
type Description struct {
	Partitions int32
	// CleanupPolicy is cleanup.policy, "" where the brokers do not tell.
	CleanupPolicy string
}
