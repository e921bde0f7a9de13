package consume

import (
	"context"
	"fmt"
	"slices"

	"github.com/klamm-io/klamm"
)

// readPartition reads a partition that was assigned until ctx ends. at is its
// committed offset, below 0 for none.
func (g *Group) readPartition(ctx context.Context, tp klamm.TopicPartition, at int64) error {
	start, sought := g.own.takeStart(tp)
	at, err := g.startOf(ctx, tp, at, start, sought)
	if err != nil {
		return err
	}
	g.mu.Lock()
	if later, again := g.own.takeStart(tp); again {
		at, sought = later, true
	}
	f := g.fetcher
	p := f.add(tp, at, g.paused[tp])
	g.mu.Unlock()
	if sought {
		(*groupSink)(g).sought(tp, at)
	}
	defer f.remove(p)
	return f.read(ctx, p, -1, (*groupSink)(g))
}

// startOf is where a partition's reading starts: where it was sought to, else at
// the committed offset, which the membership has looked up, else by auto_offset_reset.
func (g *Group) startOf(ctx context.Context, tp klamm.TopicPartition, at, start int64, sought bool) (int64, error) {
	if sought {
		return start, nil
	}
	if g.stable {
		offsets, err := Committed(ctx, g.cluster, g.id, []klamm.TopicPartition{tp})
		if err != nil {
			return 0, err
		}
		at = -1
		if next, ok := offsets[tp]; ok {
			at = next
		}
	}
	if at >= 0 {
		return at, nil
	}
	// the membership's stand-in: nothing is committed, or nothing that is in the log
	at, err := resetOffset(g.cfg.reset)
	if err != nil {
		return 0, fmt.Errorf("group %q: %s/%d: %w", g.id, tp.Topic, tp.Partition, err)
	}
	return at, nil
}

// groupSink hands records to the group's handler.
type groupSink Group

func (s *groupSink) records(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error {
	if ctx.Err() != nil {
		return nil
	}
	return s.h.Records(ctx, tp, recs, highWatermark)
}

func (s *groupSink) sought(tp klamm.TopicPartition, offset int64) {
	forget := func() { s.own.forgetCommits(tp) }
	if h, ok := s.h.(Seeker); ok {
		h.Sought(tp, offset, forget)
		return
	}
	forget()
}

func (s *groupSink) passed(tp klamm.TopicPartition, next, shown int64) {
	if h, ok := s.h.(Skipper); ok && next > shown {
		h.Skipped(tp, next)
	}
}

func sorted(parts map[string][]int32) map[string][]int32 {
	for _, ids := range parts {
		slices.Sort(ids)
	}
	return parts
}
