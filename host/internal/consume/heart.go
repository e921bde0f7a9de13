package consume

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

const (
	// heartbeatVersion is the first one with ids that members make (KIP-1082).
	heartbeatVersion = 1
	// describeVersion is that of ConsumerGroupDescribe in Apache Kafka 4.0.
	describeVersion = 0
	// leaveTimeout bounds the good-bye; the session ends without it.
	leaveTimeout = 5 * time.Second
	// stillLimit is how long a heartbeat is held back by who wants the epoch to stay.
	// The brokers tell no member how long its session is: 45 s, unless they are told
	// otherwise, with a heartbeat every 5 s.
	stillLimit = 10 * time.Second
)

// heart is a membership by heartbeats (KIP-848): the coordinator assigns, a
// heartbeat's answer says what, and the next one what the member has of it. One
// goroutine sends heartbeats, so that they go on while handlers run, and another
// one carries assignments out.
type heart struct {
	*Group
	coord coordinator

	beating  chan struct{}       // held during a heartbeat
	still    chan struct{}       // held by who wants the epoch to stay
	patience time.Duration       // how long a heartbeat waits for still
	urgent   chan struct{}       // a heartbeat is due
	known    map[string][16]byte // topics' ids, for the goroutine that carries assignments out
	sent     bool                // any request that may have made us a member
	was      bool                // a member once

	mu     sync.Mutex
	beats  beats
	in     bool     // a member
	who    identity // the last one, until all that the member had is let go
	failed int      // heartbeats in a row
}

var _ membership = (*heart)(nil)

func newHeart(g *Group, cfg *config.Consumer) (*heart, error) {
	conf := g.cluster.Config() // sarama knows what an instance id may be
	conf.Consumer.Group.InstanceId = g.instance
	if err := conf.Validate(); err != nil {
		return nil, fmt.Errorf("group %q: %w", g.id, err)
	}
	m := &heart{
		Group: g, coord: coordinator{cluster: g.cluster, group: g.id},
		known:   make(map[string][16]byte),
		beating: make(chan struct{}, 1), still: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		patience: stillLimit,
		beats: beats{
			group: g.id, instance: g.instance, member: newMemberID(),
			assignor: cfg.RemoteAssignor, topics: g.topics, rebalance: rebalanceTimeout,
		},
		who: nobody,
	}
	return m, nil
}

// newMemberID makes an id as Kafka's clients do (KIP-1082): 128 random bits.
func newMemberID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (m *heart) identity() (identity, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.who, m.in
}

// moving: the epoch may have risen with a heartbeat whose answer is on its way.
func (m *heart) moving() bool {
	_, in := m.identity()
	return in
}

func (m *heart) steady(ctx context.Context) (func(), error) {
	if err := acquire(ctx, m.still); err != nil {
		return nil, err
	}
	if err := acquire(ctx, m.beating); err != nil { // one that is under way may raise it
		<-m.still
		return nil, err
	}
	<-m.beating
	return func() { <-m.still }, nil
}

// calm waits for who wants the epoch to stay, but not for as long as the session may
// end: rather what they do is refused.
func (m *heart) calm(ctx context.Context) (release func()) {
	ctx, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()
	if acquire(ctx, m.still) != nil {
		return func() {}
	}
	return func() { <-m.still }
}

// acquire takes a lock of one place.
func acquire(ctx context.Context, lock chan struct{}) error {
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run goes through one session after the other: from a join to the end of the
// membership.
func (m *heart) run(ctx context.Context) error {
	defer m.coord.hangUp()
	for n := 0; ; n++ {
		started := time.Now()
		over, err := m.session(ctx)
		if failed := m.failure(); failed != nil {
			return failed
		}
		if err != nil || over {
			return err
		}
		if time.Since(started) > 10*time.Second {
			n = 0
		}
		pause := min(retryBackoff<<min(n, 4), retryBackoffMax)
		switch {
		case m.instance != "":
			// Another one of our name may be about to take our place, in two steps:
			// do not come between them.
			pause = retryBackoffMax
		case n == 0:
			continue
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// session returns over when ctx has ended and the member has left, and an error
// that is final. Otherwise the member has been put out and is to join again.
func (m *heart) session(ctx context.Context) (over bool, err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	r := newReconciler(m, ctx)
	go r.run()
	fate, err := m.live(r)
	if fate == kept { // r has ended, with ctx
		m.farewell()
		return true, nil
	}
	m.mu.Lock()
	m.in = false
	m.mu.Unlock()
	m.own.forsake()
	r.lost.Store(true)
	end(errExpelled)
	<-r.done
	m.mu.Lock()
	m.who = nobody
	m.mu.Unlock()
	return false, err
}

var errExpelled = errors.New("the member was put out of the group")

// live sends heartbeats until r is done, the member is put out, or an error is
// final.
func (m *heart) live(r *reconciler) (fate, error) {
	// A heartbeat goes on when Run is to end, until the last partitions are let go.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-r.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-m.urgent:
		case <-ctx.Done():
			return kept, nil
		}
		f, err := m.beat(ctx)
		switch {
		case ctx.Err() != nil:
			return kept, nil
		case f == expelled:
			m.log.Warn("put out of the group, joining again", "err", err)
			return expelled, nil
		case f == replaced:
			return replaced, m.fenced(err)
		case f == refused:
			return refused, fmt.Errorf("group %q: %w", m.id, err)
		case f == unreleased:
			if err := m.takeOver(ctx, err); err != nil {
				return replaced, err
			}
		case f == retarget:
			poke(r.kick)
		}
		timer.Reset(m.pause(f))
	}
}

// pause is how long the next heartbeat may be put off.
func (m *heart) pause(f fate) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f == kept || f == retarget {
		m.failed = 0
		return m.beats.interval
	}
	m.failed++
	return min(retryBackoff<<min(m.failed-1, 4), retryBackoffMax)
}

// beat makes one request. The error says why the fate is neither kept nor retarget.
func (m *heart) beat(ctx context.Context) (fate, error) {
	defer m.calm(ctx)()
	if err := acquire(ctx, m.beating); err != nil {
		return retry, err
	}
	defer func() { <-m.beating }()
	m.mu.Lock()
	req := m.beats.next()
	m.mu.Unlock()
	m.sent = true
	resp, err := m.coord.request(ctx, req, heartbeatVersion)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if codeOf(err) == klamm.CodeUnsupportedVersion {
			return refused, fmt.Errorf(`%w: the brokers do not know group_protocol = "consumer" (Apache Kafka has it from 4.0 on): use "classic"`, err)
		}
		m.log.Debug("heartbeat", "err", err)
		m.beats.unanswered()
		return retry, err
	}
	answer := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
	f := m.beats.answered(answer)
	if err := refusal(answer); err != nil {
		m.log.Debug("heartbeat", "err", err)
		if f == elsewhere {
			m.coord.hangUp()
		}
		return f, err
	}
	if f == retry {
		return f, nil
	}
	m.in, m.was = true, true
	m.who = identity{m.beats.epoch, m.beats.member}
	return f, nil
}

// refusal is the error of an answer, with what the coordinator says about it.
func refusal(r *kmsg.ConsumerGroupHeartbeatResponse) error {
	err := brokerError(r.ErrorCode)
	if err != nil && r.ErrorMessage != nil && *r.ErrorMessage != "" {
		return fmt.Errorf("%w: %s", err, *r.ErrorMessage)
	}
	return err
}

// takeOver has the member that holds our instance id leave, for a process of that
// name that was killed cannot: nobody would read its partitions until its session
// ends. If it still lives it is fenced, as a static member of the classic protocol
// is by one that joins under its name. Who was a member before does not take over:
// it has been replaced itself, and the two would go on like that.
func (m *heart) takeOver(ctx context.Context, why error) error {
	holder, epoch, err := m.holder(ctx, &m.coord)
	switch {
	case err != nil:
		m.log.Warn("another member holds our instance id", "instance", m.instance, "err", why, "describe", err)
		return nil
	case holder == "" || epoch == epochLeaveAwhile:
		return nil // it has left meanwhile
	case m.was && holder != m.beats.member:
		return m.fenced(why)
	}
	m.log.Warn("taking the place of the member that holds our instance id", "instance", m.instance, "member", holder)
	resp, err := m.coord.request(ctx, m.beats.base(holder, epochLeaveAwhile), heartbeatVersion)
	if err == nil {
		err = refusal(resp.(*kmsg.ConsumerGroupHeartbeatResponse))
	}
	if err != nil {
		m.log.Debug("have the holder of our instance id leave", "err", err)
	}
	return nil
}

// holder is the member that has our instance id.
func (m *heart) holder(ctx context.Context, k *coordinator) (member string, epoch int32, err error) {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{m.id}
	resp, err := k.request(ctx, req, describeVersion)
	if err != nil {
		return "", 0, err
	}
	for _, g := range resp.(*kmsg.ConsumerGroupDescribeResponse).Groups {
		if err := brokerError(g.ErrorCode); err != nil {
			return "", 0, err
		}
		for _, one := range g.Members {
			if one.InstanceID != nil && *one.InstanceID == m.instance {
				return one.MemberID, one.MemberEpoch, nil
			}
		}
	}
	return "", 0, nil
}

// farewell leaves the group, a static member for a while. What it had is let go.
func (m *heart) farewell() {
	epoch := epochLeave
	if m.instance != "" {
		epoch = epochLeaveAwhile
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := m.goodbye(ctx, epoch); err != nil {
		m.log.Debug("leave the group", "err", err)
	}
}

// leave has a static member, which left for a while, leave for good.
func (m *heart) leave(ctx context.Context) error {
	defer m.coord.hangUp()
	return m.goodbye(ctx, epochLeave)
}

func (m *heart) goodbye(ctx context.Context, epoch int32) error {
	m.mu.Lock()
	m.in, m.who = false, nobody
	m.mu.Unlock()
	if !m.sent {
		return nil
	}
	return m.coord.patiently(ctx, "leave", func() error {
		resp, err := m.coord.request(ctx, m.beats.leave(epoch), heartbeatVersion)
		if err != nil {
			return err
		}
		err = refusal(resp.(*kmsg.ConsumerGroupHeartbeatResponse))
		switch codeOf(err) {
		case klamm.CodeUnknownMemberId, klamm.CodeGroupIdNotFound, klamm.CodeFencedInstanceId:
			return nil // it is out
		}
		return err
	})
}
