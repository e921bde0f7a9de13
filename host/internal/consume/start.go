package consume

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
)

// starting is a partition that is to be read from its committed offset on, once that
// is known.
type starting struct {
	klamm.TopicPartition
	ctx context.Context // ends when it is to be read no more
	at  chan int64      // gets the offset, below 0 for none
}

func newStarting(ctx context.Context, tp klamm.TopicPartition) starting {
	return starting{tp, ctx, make(chan int64, 1)}
}

// await waits until the offset is known.
func (s starting) await(ctx context.Context) (int64, error) {
	select {
	case at := <-s.at:
		return at, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// read reads a partition until its context ends or the reading fails.
func (m *heart) read(s starting) {
	if err := m.readPartition(s.ctx, s.TopicPartition, s.await); err != nil && s.ctx.Err() == nil {
		m.fail(err)
	}
}

// findStarts finds the committed offsets of partitions that have come. It asks for
// all of them at once, and again for those that transactions are about to change,
// and while the epoch rises. What is refused for good ends the membership.
func (m *heart) findStarts(ctx context.Context, left []starting) {
	for n := 0; ; n++ {
		left = slices.DeleteFunc(left, func(s starting) bool { return s.ctx.Err() != nil })
		who, in := m.identity()
		if len(left) == 0 || !in { // the partitions end with the membership
			return
		}
		offsets, err := m.Group.coord.answered(ctx, who, partitionsOf(left))
		left = slices.DeleteFunc(left, func(s starting) bool {
			at, ok := offsets[s.TopicPartition]
			if ok {
				s.at <- at.Offset
			}
			return ok
		})
		if len(left) == 0 || ctx.Err() != nil {
			return
		}
		code := codeOf(err)
		switch code {
		case klamm.CodeStaleMemberEpoch, klamm.CodeUnknownMemberId, klamm.CodeFencedMemberEpoch:
			poke(m.urgent) // its answer says what we are now
		default:
			if !again(code) {
				m.fail(fmt.Errorf("committed offsets of group %q: %w", m.id, err))
				return
			}
		}
		if moved(code) {
			m.Group.coord.hangUp()
		}
		m.log.Debug("committed offsets, asking again", "group", m.id, "partitions", len(left), "err", err)
		select {
		case <-time.After(min(retryBackoff<<min(n, 4), retryBackoffMax)):
		case <-ctx.Done():
			return
		}
	}
}

func partitionsOf(all []starting) []klamm.TopicPartition {
	tps := make([]klamm.TopicPartition, len(all))
	for i, s := range all {
		tps[i] = s.TopicPartition
	}
	return tps
}
