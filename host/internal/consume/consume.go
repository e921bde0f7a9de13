// Package consume reads topics, in a consumer group or alone.
package consume

import (
	"context"
	"log/slog"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/config"
)

// Handler is told of a group's partitions and records.
type Handler interface {
	// Assigned is called before the first records of new partitions. ctx ends
	// when the group stops.
	Assigned(ctx context.Context, parts map[string][]int32)
	// Revoked is called before partitions go to another member, after their
	// last Records has returned; Commit still works for them, unless lost.
	Revoked(parts map[string][]int32, lost bool)
	// Records is called with one partition's records in order, at most
	// max_poll_records, one call at a time for each partition. recs and their
	// bytes are the handler's. ctx ends when the partition is revoked. An
	// error stops the group.
	Records(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error
	// Committed is called after a commit that succeeded.
	Committed(offsets map[klamm.TopicPartition]int64)
}

// Group is a member of a consumer group.
type Group struct{}

// NewGroup prepares a member of a group.
func NewGroup(c *cluster.Cluster, cfg *config.Consumer, groupID, instanceID string, topics []string, h Handler, log *slog.Logger) (*Group, error) {
	panic("not yet")
}

// Run joins the group and reads until ctx ends.
func (g *Group) Run(ctx context.Context) error { panic("not yet") }

// Commit commits the next offsets to read.
func (g *Group) Commit(ctx context.Context, offsets map[klamm.TopicPartition]int64) error {
	panic("not yet")
}

// Pause stops fetching partitions.
func (g *Group) Pause(tps ...klamm.TopicPartition) { panic("not yet") }

// Resume goes on fetching partitions.
func (g *Group) Resume(tps ...klamm.TopicPartition) { panic("not yet") }

// Close ends Run and waits for it.
func (g *Group) Close() error { panic("not yet") }

// Start says where a Reader starts.
type Start struct {
	// At is Earliest, Latest, AtTime or AtOffset.
	At     StartAt
	Time   time.Time
	Offset int64
}

// StartAt is the kind of a Start.
type StartAt int

// Where a Reader may start.
const (
	Earliest StartAt = iota
	Latest
	AtTime
	AtOffset
)

// ReadOptions bound a Read.
type ReadOptions struct {
	Start Start
	// StopAtEnd ends the reading at the offsets that were the ends when it
	// began.
	StopAtEnd bool
	// Partitions limits the reading to these. nil: all.
	Partitions []int32
}

// Read reads topics without a group until ctx ends, or to the end. f is called
// with one partition's records at a time, from several goroutines.
func Read(ctx context.Context, c *cluster.Cluster, cfg *config.Consumer, topics []string, o ReadOptions, f func(tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error) error {
	panic("not yet")
}
