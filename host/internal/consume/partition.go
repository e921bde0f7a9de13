package consume

import (
	"context"
	"fmt"
	"slices"

	"github.com/klamm-io/klamm"
)

// readPartition reads a partition that was assigned until ctx ends. committed asks
// for its committed offset, below 0 for none.
func (g *Group) readPartition(ctx context.Context, tp klamm.TopicPartition, committed func(context.Context) (int64, error)) error {
	at, sought := g.own.takeStart(tp)
	if !sought {
		var err error
		if at, err = g.startOf(ctx, tp, committed); err != nil {
			return err
		}
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

// startOf is where the reading of a partition starts that was not sought to: at the
// committed offset, else by auto_offset_reset.
func (g *Group) startOf(ctx context.Context, tp klamm.TopicPartition, committed func(context.Context) (int64, error)) (int64, error) {
	at, err := committed(ctx)
	if err != nil {
		return 0, err
	}
	if at >= 0 {
		return at, nil
	}
	if at, err = resetOffset(g.cfg.reset); err != nil {
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
