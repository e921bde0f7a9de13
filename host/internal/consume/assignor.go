package consume

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm/internal/config"
)

// assignor is one of sarama's strategies that also tells the group what sarama
// keeps to itself: that a rebalance has begun, and what it brought.
type assignor struct {
	sarama.BalanceStrategy
	joining  func()
	assigned func(parts map[string][]int32)
}

var (
	_ sarama.RebalanceProtocolBalanceStrategy    = (*assignor)(nil)
	_ sarama.SubscriptionUserDataBalanceStrategy = (*assignor)(nil)
	_ sarama.OnAssignmentBalanceStrategy         = (*assignor)(nil)
)

func newAssignor(name config.Assignor, joining func(), assigned func(map[string][]int32)) (*assignor, error) {
	a := &assignor{joining: joining, assigned: assigned}
	switch name {
	case "", "cooperative-sticky":
		a.BalanceStrategy = sarama.NewBalanceStrategyCooperativeSticky()
	case "sticky":
		a.BalanceStrategy = sarama.NewBalanceStrategySticky()
	case "range":
		a.BalanceStrategy = sarama.NewBalanceStrategyRange()
	default:
		return nil, fmt.Errorf("partition_assignment_strategy %q is not known: use cooperative-sticky, sticky or range", name)
	}
	return a, nil
}

// cooperative tells that partitions which do not move are kept through a
// rebalance (KIP-429).
func (a *assignor) cooperative() bool {
	p, ok := a.BalanceStrategy.(sarama.RebalanceProtocolBalanceStrategy)
	if !ok {
		return false
	}
	for _, protocol := range p.SupportedProtocols() {
		if protocol == sarama.RebalanceProtocolCooperative {
			return true
		}
	}
	return false
}

// SupportedProtocols is the wrapped strategy's.
func (a *assignor) SupportedProtocols() []sarama.RebalanceProtocol {
	if p, ok := a.BalanceStrategy.(sarama.RebalanceProtocolBalanceStrategy); ok {
		return p.SupportedProtocols()
	}
	return []sarama.RebalanceProtocol{sarama.RebalanceProtocolEager}
}

var errNoUserData = errors.New("the strategy has no user data of its own")

// SubscriptionUserData is called before every JoinGroup. After an error sarama
// sends what it would have sent without this method.
func (a *assignor) SubscriptionUserData(topics []string) ([]byte, error) {
	a.joining()
	if p, ok := a.BalanceStrategy.(sarama.SubscriptionUserDataBalanceStrategy); ok {
		return p.SubscriptionUserData(topics)
	}
	return nil, errNoUserData
}

// OnAssignment is called after every SyncGroup, before sarama acts on it.
func (a *assignor) OnAssignment(m *sarama.ConsumerGroupMemberAssignment, generation int32) {
	if p, ok := a.BalanceStrategy.(sarama.OnAssignmentBalanceStrategy); ok {
		p.OnAssignment(m, generation)
	}
	a.assigned(m.Topics)
}
