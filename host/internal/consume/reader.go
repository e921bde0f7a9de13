package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/config"
)

// Start says where Read starts.
type Start struct {
	At     StartAt
	Time   time.Time // AtTime: the first record that is as young, the end if none
	Offset int64     // AtOffset, in every partition; BeforeEnd, how many records
}

// StartAt is the kind of a Start.
type StartAt int

// Where Read may start.
const (
	Earliest StartAt = iota
	Latest
	AtTime
	AtOffset
	BeforeEnd // the last ones of each partition, by offsets
)

// ReadOptions bound a Read. The zero value reads everything and then waits for
// more.
type ReadOptions struct {
	Start Start
	// StopAtEnd ends the reading at the offsets that were the ends when it
	// began. With read_committed the end is before the first open transaction.
	StopAtEnd bool
	// Partitions limits the reading to these. nil: all.
	Partitions []int32
	// Logger takes what is tried again. Default: nothing is logged.
	Logger *slog.Logger
}

// Read reads topics without a group until ctx ends, or to the end; both return
// nil. f is called with one partition's records in order, at most
// max_poll_records, one call at a time for each partition but for several
// partitions at once. The records and their bytes are f's. An error of f ends
// Read with that error.
//
// Of cfg it uses isolation_level, auto_offset_reset for an offset that is not in
// the log, and the fetch settings.
func Read(ctx context.Context, c *cluster.Cluster, cfg *config.Consumer, topics []string, o ReadOptions, f func(tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error) error {
	fc := newFetchConfig(cfg)
	tps, err := chosen(ctx, c, topics, o.Partitions)
	if err != nil {
		return err
	}
	starts, err := StartOffsets(ctx, c, tps, o.Start, fc.readCommitted)
	if err != nil {
		return err
	}
	ends := everywhere(tps, -1)
	if o.StopAtEnd {
		if ends, err = Offsets(ctx, c, everywhere(tps, atLatest), fc.readCommitted); err != nil {
			return err
		}
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return readAll(ctx, newFetcher(c, fc, log), starts, ends, f)
}

func readAll(ctx context.Context, fetch *fetcher, starts, ends map[klamm.TopicPartition]int64, f readFunc) error {
	defer fetch.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for tp, start := range starts {
		end := ends[tp]
		if end >= 0 && start >= end {
			continue
		}
		running.Go(func() {
			p := fetch.add(tp, start, false)
			defer fetch.remove(p)
			if err := fetch.read(ctx, p, end, &readerSink{f, end}); err != nil {
				cancel(&readError{err})
			}
		})
	}
	running.Wait()
	var failed *readError
	if errors.As(context.Cause(ctx), &failed) {
		return failed.err
	}
	return nil
}

// readError tells an error of a partition from the end of ctx.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

type readFunc = func(tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error

// readerSink hands records before end to f.
type readerSink struct {
	f   readFunc
	end int64
}

func (s *readerSink) records(_ context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error {
	if s.end >= 0 {
		if i := slices.IndexFunc(recs, func(r klamm.Record) bool { return r.Offset >= s.end }); i >= 0 {
			recs = recs[:i]
		}
	}
	if len(recs) == 0 {
		return nil
	}
	return s.f(tp, recs, highWatermark)
}

func (s *readerSink) sought(klamm.TopicPartition, int64) {}

func (s *readerSink) passed(klamm.TopicPartition, int64, int64) {}

// chosen returns the partitions to read. One that no topic has is an error.
func chosen(ctx context.Context, c *cluster.Cluster, topics []string, only []int32) ([]klamm.TopicPartition, error) {
	tps, err := allPartitions(ctx, c, topics)
	if err != nil || only == nil {
		return tps, err
	}
	for _, id := range only {
		if !slices.ContainsFunc(tps, func(tp klamm.TopicPartition) bool { return tp.Partition == id }) {
			return nil, fmt.Errorf("partition %d of topics %q: %w", id, topics, klamm.ErrInvalidPartition)
		}
	}
	return slices.DeleteFunc(tps, func(tp klamm.TopicPartition) bool { return !slices.Contains(only, tp.Partition) }), nil
}

// StartOffsets asks the brokers where partitions start. With readCommitted their
// ends are the last stable offsets.
func StartOffsets(ctx context.Context, c *cluster.Cluster, tps []klamm.TopicPartition, s Start, readCommitted bool) (map[klamm.TopicPartition]int64, error) {
	switch s.At {
	case AtOffset:
		return everywhere(tps, s.Offset), nil
	case Latest:
		return Offsets(ctx, c, everywhere(tps, atLatest), readCommitted)
	case AtTime:
		return timeOffsets(ctx, c, tps, s.Time, readCommitted)
	case BeforeEnd:
		return beforeEnd(ctx, c, tps, s.Offset, readCommitted)
	}
	return Offsets(ctx, c, everywhere(tps, atEarliest), readCommitted)
}

func timeOffsets(ctx context.Context, c *cluster.Cluster, tps []klamm.TopicPartition, t time.Time, readCommitted bool) (map[klamm.TopicPartition]int64, error) {
	starts, err := Offsets(ctx, c, everywhere(tps, t.UnixMilli()), readCommitted)
	if err != nil {
		return nil, err
	}
	var none []klamm.TopicPartition // where nothing is as young
	for tp, at := range starts {
		if at < 0 {
			none = append(none, tp)
		}
	}
	ends, err := Offsets(ctx, c, everywhere(none, atLatest), readCommitted)
	maps.Copy(starts, ends)
	return starts, err
}

// beforeEnd returns the offsets n before the ends, or the first ones where there
// are fewer.
func beforeEnd(ctx context.Context, c *cluster.Cluster, tps []klamm.TopicPartition, n int64, readCommitted bool) (map[klamm.TopicPartition]int64, error) {
	first, err := Offsets(ctx, c, everywhere(tps, atEarliest), readCommitted)
	if err != nil {
		return nil, err
	}
	starts, err := Offsets(ctx, c, everywhere(tps, atLatest), readCommitted)
	for tp, end := range starts {
		starts[tp] = max(first[tp], end-n)
	}
	return starts, err
}
