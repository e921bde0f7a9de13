package host

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
)

// revokeGrace bounds how long a rebalance waits for records in flight. What is
// not completed by then is read again by the partition's next owner.
const revokeGrace = 10 * time.Second

// Assigned implements consume.Handler.
func (c *consumption) Assigned(ctx context.Context, parts map[string][]int32) {
	c.mu.Lock()
	for topic, ids := range parts {
		for _, id := range ids {
			tp := klamm.TopicPartition{Topic: topic, Partition: id}
			pr := c.newProgress(tp)
			c.parts[tp] = pr
			if c.paused {
				c.group.Pause(tp)
			}
		}
	}
	c.mu.Unlock()
	if c.claims != nil {
		c.claims.assigned(parts, c.kept)
	}
	c.log.Info("partitions assigned", "group", c.name, "partitions", fmt.Sprint(parts))
	if c.sheets != nil {
		if err := c.openSheets(ctx, told(parts)); err != nil {
			c.stop(err)
		}
	}
	if c.listener.Assigned != nil {
		c.listener.Assigned(ctx, told(parts))
	}
}

// Revoked implements consume.Handler: it completes and commits what was read
// before the partitions go. Lost partitions have another owner already, who
// reads what is not committed.
func (c *consumption) Revoked(parts map[string][]int32, lost bool) {
	c.log.Info("partitions revoked", "group", c.name, "partitions", fmt.Sprint(parts), "lost", lost)
	c.eachOf(parts, func(pr *progress) { pr.retry.close() })
	settled := false
	if c.beforeRevoke != nil {
		settled = c.beforeRevoke(parts, lost)
	}
	ctx, cancel := context.WithTimeout(context.Background(), revokeGrace)
	defer cancel()
	c.tellRevoked(ctx, parts, lost)
	gone := c.take(parts)
	offsets := map[klamm.TopicPartition]int64{}
	for tp, pr := range gone {
		if at, moved := pr.toCommit(); moved && !lost && !c.manual && c.commitAll == nil {
			offsets[tp] = at
		}
	}
	if len(offsets) > 0 {
		if err := c.group.Commit(ctx, offsets); err != nil {
			c.log.Warn("commit before a rebalance", "group", c.name, "error", err)
		} else {
			c.confirm(gone, offsets)
		}
	}
	for tp, pr := range gone {
		if c.limbo != nil {
			c.limbo[tp] = append(c.limbo[tp], pr.abandon()...)
			continue
		}
		c.h.settleClaims(tp, pr.abandon(), klamm.Failed, errPartitionGone)
	}
	if c.claims != nil {
		c.claims.revoked(parts)
		c.leaves(parts, settled)
	}
}

// leaves notes partitions that go, for kept.
func (c *consumption) leaves(parts map[string][]int32, settled bool) {
	for _, ids := range parts {
		for _, id := range ids {
			if delete(c.left, id); settled {
				c.left[id] = c.group.Session()
			}
		}
	}
}

// kept reports whether nobody else can have written ids of a partition since it
// was let go: it was in the session before this one, and its transaction committed.
func (c *consumption) kept(partition int32) bool {
	session, ok := c.left[partition]
	return ok && session+1 == c.group.Session()
}

// tellRevoked calls the listener, for partitions that are not lost once what is in
// flight of them is drained.
func (c *consumption) tellRevoked(ctx context.Context, parts map[string][]int32, lost bool) {
	tps := told(parts)
	if lost {
		if c.listener.Lost != nil {
			c.listener.Lost(tps)
		}
		return
	}
	for _, tp := range tps {
		c.mu.Lock()
		pr := c.parts[tp]
		c.mu.Unlock()
		if pr != nil {
			awaitDrained(ctx, pr)
		}
	}
	if c.listener.Revoked != nil {
		c.listener.Revoked(ctx, tps)
	}
}

func awaitDrained(ctx context.Context, pr *progress) {
	select {
	case <-pr.drained():
	case <-ctx.Done():
	}
}

// eachOf calls f with those of the partitions that are followed.
func (c *consumption) eachOf(parts map[string][]int32, f func(*progress)) {
	for _, tp := range told(parts) {
		c.mu.Lock()
		pr := c.parts[tp]
		c.mu.Unlock()
		if pr != nil {
			f(pr)
		}
	}
}

func (c *consumption) take(parts map[string][]int32) map[klamm.TopicPartition]*progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := map[klamm.TopicPartition]*progress{}
	c.gone = slices.DeleteFunc(c.gone, (*progress).empty)
	for topic, ids := range parts {
		for _, id := range ids {
			tp := klamm.TopicPartition{Topic: topic, Partition: id}
			if pr := c.parts[tp]; pr != nil {
				gone[tp] = pr
				c.gone = append(c.gone, pr)
				delete(c.parts, tp)
			}
		}
	}
	return gone
}
