package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/state"
)

// ErrNotAssigned is in the error of a call for a partition that the consumer has
// not been assigned.
var ErrNotAssigned = consume.ErrNotOwner

// ErrTopicRecreated is in the error of Run when a topic was deleted and made anew
// while it was read: its offsets mean something else now. Run again.
var ErrTopicRecreated = consume.ErrTopicRecreated

// RebalanceListener hears of partitions that come and go. Each function may be
// nil. They are called one at a time, never while the handler runs for one of the
// partitions, and hold the rebalance up until they return.
type RebalanceListener struct {
	// Assigned is called before the first record of new partitions. Seek in it
	// sets where they start, as for offsets that are kept elsewhere.
	Assigned func(ctx context.Context, tps []klamm.TopicPartition)
	// Revoked is called before partitions go to another member, when all that was
	// handed out has been handled, or 10 s after. Commit in it still commits them;
	// without enable_auto_commit = false that happens by itself then. ctx ends when
	// the member has to let go.
	Revoked func(ctx context.Context, tps []klamm.TopicPartition)
	// Lost is called in place of Revoked when the partitions may be another
	// member's already: the session has ended. What was not committed is read
	// again there; Commit fails.
	Lost func(tps []klamm.TopicPartition)
}

// OnRebalance sets the listener. It is called before Run.
func (c *Consumer) OnRebalance(l RebalanceListener) { c.c.listener = l }

// Seek has one of the consumer's partitions read on at an offset, forwards or
// back. The next record that the handler gets of it is that one, or the first
// after it that there is. The handler may call it: what was read before is not
// handed to it any more; of that, what was held to be tried again counts as failed.
// The offset is committed as if all before had been handled. An offset that is not
// in the log follows auto_offset_reset.
func (c *Consumer) Seek(tp klamm.TopicPartition, offset int64) error { return c.c.seek(tp, offset) }

// SeekTo is Seek of partitions to where start says, which the brokers are asked
// for. Without partitions it is all that the consumer has now.
func (c *Consumer) SeekTo(ctx context.Context, start ReadStart, tps ...klamm.TopicPartition) error {
	if len(tps) == 0 {
		tps = c.c.assigned()
	}
	offsets, err := consume.StartOffsets(ctx, c.h.cluster, tps, start, c.h.cfg.Consumer.IsolationLevel != "read_uncommitted")
	if err != nil {
		return fmt.Errorf("seek: %w", err)
	}
	var errs []error
	for tp, at := range offsets {
		errs = append(errs, c.c.seek(tp, at))
	}
	return errors.Join(errs...)
}

// Position returns the offset after the last record of a partition that was
// handled together with all before it: what Commit commits. It is false for a
// partition of which nothing was handled yet, or that is not assigned.
func (c *Consumer) Position(tp klamm.TopicPartition) (offset int64, ok bool) {
	c.c.mu.Lock()
	pr := c.c.parts[tp]
	c.c.mu.Unlock()
	if pr == nil {
		return 0, false
	}
	l := pr.partitionLag(tp)
	return l.Position, l.Position >= 0
}

// Committed asks the brokers for the group's committed offsets. Partitions
// without one are left out; a group that nobody has joined yet has none. It waits
// for transactions that are about to change one (KIP-447).
func (c *Consumer) Committed(ctx context.Context, tps ...klamm.TopicPartition) (map[klamm.TopicPartition]int64, error) {
	return consume.Committed(ctx, c.h.cluster, c.c.groupID, tps)
}

// Partitions returns the position, committed offset and lag of each partition that
// the consumer has, by topic and number.
func (c *Consumer) Partitions() []PartitionLag { return c.c.lags() }

func (c *consumption) assigned() []klamm.TopicPartition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sortedPartitions(slices.Collect(maps.Keys(c.parts)))
}

func sortedPartitions(tps []klamm.TopicPartition) []klamm.TopicPartition {
	slices.SortFunc(tps, func(a, b klamm.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return tps
}

func (c *consumption) seek(tp klamm.TopicPartition, offset int64) error {
	c.mu.Lock()
	old := c.parts[tp]
	c.mu.Unlock()
	if err := c.group.Seek(tp, offset); err != nil {
		return err
	}
	// After the group knows, and of what was there before: else records could be
	// passed over that no seek has dropped.
	if old != nil {
		old.sought.Store(true)
		old.retry.close() // the reading may wait for tries of what nobody wants now
	}
	return nil
}

// Sought implements consume.Seeker. Records of before it that are in flight are
// completed first; then the partition is followed anew.
func (c *consumption) Sought(tp klamm.TopicPartition, offset int64, forget func()) {
	c.mu.Lock()
	old := c.parts[tp]
	c.mu.Unlock()
	if old == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), revokeGrace)
	defer cancel()
	old.retry.close() // of a seek before the reading began too
	awaitDrained(ctx, old)
	c.mu.Lock()
	forget()
	pr := c.newProgress(tp)
	pr.position = offset
	c.parts[tp] = pr
	if old.inFlight() > 0 {
		c.gone = append(c.gone, old)
	} else { // what was held
		c.tally.complete(klamm.Failed, old.giveUp())
	}
	c.mu.Unlock()
	c.h.settleClaims(tp, old.abandon(), klamm.Failed, errSought)
}

var _ consume.Seeker = (*consumption)(nil)

var errSought = fmt.Errorf("a seek has passed the record over")

// passOver gives the claims of judged records back that nobody will handle.
func (c *consumption) passOver(tp klamm.TopicPartition, items []interceptor.Item, why error) {
	for i := range items {
		it := &items[i]
		if it.Wait != nil {
			it.Wait.Cancel()
		}
		if it.Claimed {
			c.h.settleClaims(tp, []progressClaim{{ref: state.Ref(it.Ref), offset: it.Record.Offset}}, klamm.Failed, why)
		}
	}
}

// told are the partitions of a rebalance as a listener gets them.
func told(parts map[string][]int32) []klamm.TopicPartition {
	var tps []klamm.TopicPartition
	for topic, ids := range parts {
		for _, id := range ids {
			tps = append(tps, klamm.TopicPartition{Topic: topic, Partition: id})
		}
	}
	return sortedPartitions(tps)
}
