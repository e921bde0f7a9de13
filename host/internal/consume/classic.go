package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// classic is a membership by JoinGroup and SyncGroup, which sarama speaks.
type classic struct {
	*Group
	conf     *sarama.Config
	assignor *assignor
	sarama   sarama.ConsumerGroup

	mu       sync.Mutex
	session  sarama.ConsumerGroupSession // nil between sessions
	sessions sessions
	joining  int32 // the generation in which the last rebalance began
}

var _ membership = (*classic)(nil)

func newClassic(g *Group, cfg *config.Consumer) (*classic, error) {
	m := &classic{Group: g, joining: noGeneration}
	var err error
	if m.assignor, err = newAssignor(cfg.Assignor, m.rebalanceBegins, g.own.assign); err != nil {
		return nil, err
	}
	m.conf = groupConfig(g.cluster.Config(), cfg, g.instance, m.assignor)
	if err := m.conf.Validate(); err != nil {
		return nil, fmt.Errorf("group %q: %w", g.id, err)
	}
	return m, nil
}

func groupConfig(conf *sarama.Config, cfg *config.Consumer, instanceID string, a *assignor) *sarama.Config {
	conf.Consumer.Group.InstanceId = instanceID
	conf.Consumer.Group.Session.Timeout = orDefault(cfg.SessionTimeout.Std(), 45*time.Second)
	conf.Consumer.Group.Heartbeat.Interval = orDefault(cfg.Heartbeat.Std(), 3*time.Second)
	conf.Consumer.Group.Rebalance.Timeout = rebalanceTimeout
	conf.Consumer.Group.Rebalance.Retry.Backoff = 200 * time.Millisecond
	conf.Consumer.Group.Rebalance.Retry.Max = 10
	conf.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{a}
	// sarama looks the committed offsets up but does not read: its partitions
	// are paused at once and what slipped through is dropped.
	conf.Consumer.Offsets.Initial = sarama.OffsetOldest
	conf.Consumer.Fetch.Default = 1
	// Its first fetch of a partition, before the pause, is in the way of what it
	// asks the same broker for the next ones: all would begin later by as much.
	conf.Consumer.MaxWaitTime = time.Millisecond
	conf.ChannelBufferSize = 1
	return conf
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

func (m *classic) run(ctx context.Context) error {
	client, err := m.cluster.NewClient(m.conf)
	if err != nil {
		return fmt.Errorf("group %q: %w", m.id, err)
	}
	defer client.Close()
	m.sarama, err = sarama.NewConsumerGroupFromClient(m.id, client)
	if err != nil {
		return fmt.Errorf("group %q: %w", m.id, err)
	}
	var logged sync.WaitGroup
	logged.Go(m.logErrors)
	err = m.consume(ctx)
	if closeErr := m.sarama.Close(); closeErr != nil {
		m.log.Debug("leave the group", "err", closeErr)
	}
	logged.Wait()
	return err
}

func (m *classic) logErrors() {
	for err := range m.sarama.Errors() {
		m.log.Warn("consumer group", "err", err)
	}
}

// consume runs one session after the other.
func (m *classic) consume(ctx context.Context) error {
	for n := 0; ; n++ {
		started := time.Now()
		err := m.sarama.Consume(ctx, m.topics, (*session)(m))
		if failed := m.failure(); failed != nil {
			return failed
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, sarama.ErrFencedInstancedId) {
			return m.fenced(err)
		}
		if final(err) {
			return fmt.Errorf("group %q: %w", m.id, groupError(err))
		}
		if time.Since(started) > 10*time.Second || err == nil {
			n = 0
		}
		if err != nil {
			m.log.Warn("joining the group, trying again", "err", err)
		}
		select {
		case <-time.After(min(retryBackoff<<min(n, 4), retryBackoffMax)):
		case <-ctx.Done():
			return nil
		}
	}
}

// final reports whether joining again cannot help.
func final(err error) bool {
	for _, e := range []error{
		sarama.ErrGroupAuthorizationFailed, sarama.ErrTopicAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
		sarama.ErrInvalidGroupId, sarama.ErrInconsistentGroupProtocol, sarama.ErrInvalidSessionTimeout,
		sarama.ErrGroupMaxSizeReached, sarama.ErrSASLAuthenticationFailed,
		sarama.ErrClosedConsumerGroup, sarama.ErrUnsupportedVersion,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// groupError gives sarama's error codes our type.
func groupError(err error) error {
	var kerr sarama.KError
	if errors.As(err, &kerr) {
		return &klamm.BrokerError{Code: klamm.Code(kerr)}
	}
	return err
}

// rebalanceBegins is called before every JoinGroup.
func (m *classic) rebalanceBegins() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session != nil {
		m.joining = m.session.GenerationID()
	}
}

func (m *classic) identity() (identity, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session == nil {
		return nobody, false
	}
	return identity{m.session.GenerationID(), m.session.MemberID()}, true
}

// rebalancing reports whether a session is on its way into a new generation.
func (m *classic) rebalancing() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.session != nil && m.joining == m.session.GenerationID()
}

func (m *classic) moving() bool { return m.rebalancing() && m.assignor.cooperative() }

// steady does nothing: an assignor that moves generations under a running
// session, a cooperative one, is not used where this matters.
func (m *classic) steady(context.Context) (func(), error) { return func() {}, nil }

func (m *classic) leave(ctx context.Context) error {
	return PutOut(ctx, m.cluster, m.id, m.instance)
}
