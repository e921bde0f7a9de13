package host

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/interceptor"
)

// Committed implements consume.Handler.
func (c *consumption) Committed(offsets map[klamm.TopicPartition]int64) {
	c.commits.Add(1)
	commits := make([]interceptor.Commit, 0, len(offsets))
	for tp, at := range offsets {
		commits = append(commits, interceptor.Commit{Topic: tp.Topic, Partition: tp.Partition, Offset: at})
	}
	c.lane.link.OnCommit(context.Background(), commits)
}

func (c *consumption) commitLoop(ctx context.Context) {
	every := c.every
	if every <= 0 {
		every = never
	}
	tick, others := time.NewTicker(every), time.NewTicker(othersEvery)
	defer tick.Stop()
	defer others.Stop()
	w := consume.NewWatch(c.h.cluster, c.groupID)
	defer w.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.soon:
		case <-others.C:
			c.lookAtOthers(ctx, w)
			continue
		}
		if ctx.Err() == nil {
			if err := c.commit(ctx); err != nil && ctx.Err() == nil {
				c.log.Warn("commit", "group", c.name, "error", err)
			}
		}
	}
}

// lookAtOthers notes the ends that the group has reached. A partition may be another
// member's, or may have been until its end.
func (c *consumption) lookAtOthers(ctx context.Context, w *consume.Watch) {
	c.mu.Lock()
	ends := maps.Clone(c.ends)
	c.mu.Unlock()
	if len(ends) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, othersEvery)
	defer cancel()
	committed, err := w.Committed(ctx, slices.Collect(maps.Keys(ends)))
	if err != nil {
		return // next time
	}
	c.reached(committed)
}

// reached notes offsets that are committed, and stops when those were the ends.
func (c *consumption) reached(offsets map[klamm.TopicPartition]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends == nil {
		return
	}
	maps.DeleteFunc(c.ends, func(tp klamm.TopicPartition, end int64) bool {
		at, ok := offsets[tp]
		return ok && at >= end
	})
	if len(c.ends) == 0 {
		c.stop(errReachedEnd)
	}
}

// handedOut has a transaction committed at once that reaches the end of all there is
// to read, up to next in the last partition.
func (c *consumption) handedOut(tp klamm.TopicPartition, next int64) {
	if c.ends == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if end, ok := c.ends[tp]; !ok || next < end {
		return
	}
	if c.spent == nil {
		c.spent = map[klamm.TopicPartition]bool{}
	}
	c.spent[tp] = true
	for tp := range c.ends {
		if !c.spent[tp] {
			return
		}
	}
	c.commitSoon()
}

// commitSoon asks for a commit, where commits are transactions.
func (c *consumption) commitSoon() {
	select {
	case c.soon <- struct{}{}:
	default:
	}
}

// commit commits every position that has moved.
func (c *consumption) commit(ctx context.Context) error {
	if c.commitAll != nil {
		return c.commitAll(ctx)
	}
	// Before the positions: a seek that comes between the two makes them those of
	// before it.
	ticket := c.group.Ticket()
	parts, offsets := c.toCommit()
	if len(offsets) == 0 {
		return nil
	}
	if err := c.group.CommitAs(ctx, ticket, offsets); err != nil {
		return err
	}
	c.confirm(parts, offsets)
	return nil
}

// toCommit returns the positions that have moved.
func (c *consumption) toCommit() (map[klamm.TopicPartition]*progress, map[klamm.TopicPartition]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	parts := make(map[klamm.TopicPartition]*progress, len(c.parts))
	offsets := map[klamm.TopicPartition]int64{}
	for tp, pr := range c.parts {
		parts[tp] = pr
		if at, moved := pr.toCommit(); moved {
			offsets[tp] = at
		}
	}
	return parts, offsets
}

// confirm notes what was committed, and stops when that was the end.
func (c *consumption) confirm(parts map[klamm.TopicPartition]*progress, offsets map[klamm.TopicPartition]int64) {
	for tp, at := range offsets {
		c.h.settleClaims(tp, parts[tp].confirm(at), klamm.Written, nil)
	}
	c.reached(offsets)
}
