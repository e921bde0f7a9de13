package consume

import (
	"context"
	"log/slog"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/config"
)

// Bounds returns the first offset of a partition and its end, that of open
// transactions included.
func Bounds(ctx context.Context, c *cluster.Cluster, tp klamm.TopicPartition) (first, end int64, err error) {
	starts, err := Offsets(ctx, c, map[klamm.TopicPartition]int64{tp: atEarliest}, false)
	if err != nil {
		return 0, 0, err
	}
	ends, err := Offsets(ctx, c, map[klamm.TopicPartition]int64{tp: atLatest}, false)
	return starts[tp], ends[tp], err
}

// rangeFetch is how much one answer of ReadRange may be: it reads as much as there
// is, as fast as it comes.
const rangeFetch = 4 << 20

// ReadRange calls f with the committed records of a partition from offset from on,
// in order, until it has come to end. It waits there for transactions that are
// open. An error of f ends it and is returned; the records are f's.
func ReadRange(ctx context.Context, c *cluster.Cluster, tp klamm.TopicPartition, from, end int64, log *slog.Logger, f func([]klamm.Record) error) error {
	fc := newFetchConfig(&config.Consumer{AutoOffsetReset: "earliest", FetchMaxBytes: rangeFetch, MaxPollRecords: 1 << 16})
	err := readAll(ctx, newFetcher(c, fc, log), map[klamm.TopicPartition]int64{tp: from}, map[klamm.TopicPartition]int64{tp: end},
		func(_ klamm.TopicPartition, recs []klamm.Record, _ int64) error { return f(recs) })
	if err == nil {
		err = ctx.Err()
	}
	return err
}
