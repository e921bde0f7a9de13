package consume

import (
	"context"
	"errors"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
)

// session is the membership as sarama sees it.
type session classic

var _ sarama.ConsumerGroupHandler = (*session)(nil)

// Setup is called at the start of a session. With a cooperative assignor the
// session lasts through rebalances.
func (s *session) Setup(sess sarama.ConsumerGroupSession) error {
	m := (*classic)(s)
	m.setSession(sess)
	// An assignment without user data does not reach OnAssignment when it is
	// empty; the session's claims are what counts.
	m.own.assign(sess.Claims())
	return nil
}

// Cleanup is called at the end of a session, when nothing is read any more.
func (s *session) Cleanup(sess sarama.ConsumerGroupSession) error {
	m := (*classic)(s)
	m.own.revokeAll(m.lost(sess))
	m.setSession(nil)
	if errors.Is(context.Cause(sess.Context()), sarama.ErrFencedInstancedId) {
		m.fail(m.fenced(sarama.ErrFencedInstancedId))
	}
	return nil
}

func (m *classic) setSession(sess sarama.ConsumerGroupSession) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session, m.joining = sess, noGeneration
	if sess != nil {
		m.sessions.begin(identity{sess.GenerationID(), sess.MemberID()}, m.assignor.cooperative())
	}
}

// lost tells from the end of a session whether the partitions may be others'
// already.
func (m *classic) lost(sess sarama.ConsumerGroupSession) bool {
	cause := context.Cause(sess.Context())
	for _, err := range []error{sarama.ErrUnknownMemberId, sarama.ErrIllegalGeneration, sarama.ErrFencedInstancedId, sarama.ErrSessionHeartbeatFailed, sarama.ErrRebalanceTimedOut} {
		if errors.Is(cause, err) {
			return true
		}
	}
	// A cooperative session that ends in the middle of a rebalance, and not
	// because Run does, could not join the new generation.
	return m.rebalancing() && m.assignor.cooperative() && m.Group.run.Err() == nil
}

// ConsumeClaim reads one partition until it is taken away or the session ends.
func (s *session) ConsumeClaim(sess sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m := (*classic)(s)
	tp := klamm.TopicPartition{Topic: claim.Topic(), Partition: claim.Partition()}
	m.sarama.Pause(map[string][]int32{tp.Topic: {tp.Partition}})

	ctx, cancel := context.WithCancel(sess.Context())
	defer cancel()
	// sarama closes Messages when the partition is taken away. What it fetched
	// before the pause is read by us again.
	go func() {
		for range claim.Messages() {
		}
		cancel()
	}()
	if !m.own.begin(sess.Context(), tp) {
		return nil
	}
	err := m.readPartition(ctx, tp, func(ctx context.Context) (int64, error) { return m.committed(ctx, tp, claim) })
	if err != nil && ctx.Err() == nil {
		m.fail(err)
	}
	m.own.end(tp)
	return nil
}

// committed is the offset that sarama has looked up, which an open transaction may
// be about to change, or a stable one.
func (m *classic) committed(ctx context.Context, tp klamm.TopicPartition, claim sarama.ConsumerGroupClaim) (int64, error) {
	if !m.stable {
		return claim.InitialOffset(), nil
	}
	offsets, err := Committed(ctx, m.cluster, m.id, []klamm.TopicPartition{tp})
	if err != nil {
		return 0, err
	}
	if at, ok := offsets[tp]; ok {
		return at, nil
	}
	return -1, nil
}
