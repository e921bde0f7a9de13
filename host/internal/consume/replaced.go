package consume

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// Replaced reports whether another member has the place of a static one now: has
// joined under its instance id since, and not left. Nobody can have taken the place
// of a member whose session has ended. It may be called after Run, asks again while
// errors are such as pass, until ctx ends, and is an error for a member that has no
// instance id or has never joined.
func (g *Group) Replaced(ctx context.Context) (bool, error) {
	if g.instance == "" {
		return false, fmt.Errorf("group %q: a member without an instance id has no place of its own", g.id)
	}
	return g.member.replaced(ctx)
}

var errNeverJoined = errors.New("it has never been a member")

// heartbeatLast is the last version of the classic protocol's; instances came with
// version 3 (KIP-345).
const heartbeatLast = 4

func (m *classic) replaced(ctx context.Context) (replaced bool, err error) {
	m.mu.Lock()
	who := m.sessions
	m.mu.Unlock()
	if who.number == 0 {
		return false, fmt.Errorf("group %q: %w", m.id, errNeverJoined)
	}
	k := &coordinator{cluster: m.cluster, group: m.id}
	err = k.patiently(ctx, "look for another member of our name", func() error {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.Generation, req.MemberID, req.InstanceID = m.id, who.generation, who.member, &m.instance
		resp, err := k.request(ctx, req, heartbeatLast)
		if err != nil {
			return err
		}
		code := resp.(*kmsg.HeartbeatResponse).ErrorCode
		switch klamm.Code(code) {
		case klamm.CodeFencedInstanceId:
			replaced = true
		case klamm.CodeNone, klamm.CodeRebalanceInProgress, klamm.CodeIllegalGeneration,
			klamm.CodeUnknownMemberId, klamm.CodeGroupIdNotFound:
		default:
			return brokerError(code)
		}
		return nil
	})
	return replaced, err
}

func (m *heart) replaced(ctx context.Context) (replaced bool, err error) {
	m.mu.Lock()
	was, member := m.was, m.beats.member
	m.mu.Unlock()
	if !was {
		return false, fmt.Errorf("group %q: %w", m.id, errNeverJoined)
	}
	k := &coordinator{cluster: m.cluster, group: m.id} // heartbeats may be using the other one
	err = k.patiently(ctx, "look for another member of our name", func() error {
		holder, epoch, err := m.holder(ctx, k)
		if codeOf(err) == klamm.CodeGroupIdNotFound {
			return nil
		}
		replaced = err == nil && holder != "" && holder != member && epoch != epochLeaveAwhile
		return err
	})
	return replaced, err
}
