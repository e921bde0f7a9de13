package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
)

// session is the Group as sarama sees it.
type session Group

var _ sarama.ConsumerGroupHandler = (*session)(nil)

// Setup is called at the start of a session. With a cooperative assignor the
// session lasts through rebalances.
func (s *session) Setup(sess sarama.ConsumerGroupSession) error {
	g := (*Group)(s)
	g.setSession(sess)
	// An assignment without user data does not reach OnAssignment when it is
	// empty; the session's claims are what counts.
	g.own.assign(sess.Claims())
	return nil
}

// Cleanup is called at the end of a session, when nothing is read any more.
func (s *session) Cleanup(sess sarama.ConsumerGroupSession) error {
	g := (*Group)(s)
	g.own.revokeAll(g.lost(sess))
	g.setSession(nil)
	if errors.Is(context.Cause(sess.Context()), sarama.ErrFencedInstancedId) {
		g.fail(g.fenced(sarama.ErrFencedInstancedId))
	}
	return nil
}

// fenced is the end of a static member whose place another one of its name has.
// Joining again would take the place back, and the two would go on like that.
func (g *Group) fenced(err error) error {
	return fmt.Errorf("group %q: another member runs as %q: %w: %w", g.id, g.instance, klamm.ErrFenced, groupError(err))
}

func (g *Group) setSession(sess sarama.ConsumerGroupSession) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.session, g.joining = sess, noGeneration
}

// lost tells from the end of a session whether the partitions may be others'
// already.
func (g *Group) lost(sess sarama.ConsumerGroupSession) bool {
	cause := context.Cause(sess.Context())
	for _, err := range []error{sarama.ErrUnknownMemberId, sarama.ErrIllegalGeneration, sarama.ErrFencedInstancedId, sarama.ErrSessionHeartbeatFailed, sarama.ErrRebalanceTimedOut} {
		if errors.Is(cause, err) {
			return true
		}
	}
	// A cooperative session that ends in the middle of a rebalance, and not
	// because Run does, could not join the new generation.
	return g.rebalancing() && g.assignor.cooperative() && g.run.Err() == nil
}

// ConsumeClaim reads one partition until it is taken away or the session ends.
func (s *session) ConsumeClaim(sess sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	g := (*Group)(s)
	tp := klamm.TopicPartition{Topic: claim.Topic(), Partition: claim.Partition()}
	g.sarama.Pause(map[string][]int32{tp.Topic: {tp.Partition}})

	ctx, cancel := context.WithCancel(sess.Context())
	defer cancel()
	// sarama closes Messages when the partition is taken away. What it fetched
	// before the pause is read by us again.
	go func() {
		for range claim.Messages() {
		}
		cancel()
	}()
	if !g.own.begin(sess.Context(), tp) {
		return nil
	}
	err := g.readClaim(ctx, tp, claim.InitialOffset())
	if err != nil && ctx.Err() == nil {
		g.fail(err)
	}
	g.own.end(tp)
	return nil
}

func (g *Group) readClaim(ctx context.Context, tp klamm.TopicPartition, at int64) error {
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
// the committed offset, which sarama has looked up, else by auto_offset_reset.
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
	// sarama's stand-in: nothing is committed, or nothing that is in the log
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
