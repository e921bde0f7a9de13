package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/internal/config"
)

// rebalanceTimeout is how long a member may take to let partitions go.
const rebalanceTimeout = time.Minute

// noGeneration is none that a coordinator gives.
const noGeneration int32 = -1

// Group is one member of a consumer group.
type Group struct {
	cluster  *cluster.Cluster
	cfg      fetchConfig
	conf     *sarama.Config
	assignor *assignor
	id       string
	instance string
	topics   []string
	h        Handler
	log      *slog.Logger
	own      *ownership
	coord    coordinator

	// committing is held during one attempt to commit, so that neither the
	// broker nor the handler sees two of them in the wrong order.
	committing sync.Mutex

	mu      sync.Mutex
	session sarama.ConsumerGroupSession // nil between sessions
	joining int32                       // the generation in which the last rebalance began
	fetcher *fetcher
	sarama  sarama.ConsumerGroup
	paused  map[klamm.TopicPartition]bool
	failed  error
	run     context.Context
	cancel  context.CancelFunc // ends run, and Run
	done    chan struct{}      // closed at the end of Run
	closed  bool
	stable  bool
}

// ReadStable has partitions begin at offsets that no open transaction is about to
// change (KIP-447). It is called before Run.
func (g *Group) ReadStable() { g.stable = true }

// NewGroup prepares a member; Run joins. instanceID, where there is one, makes it
// a static member (KIP-345): it leaves its partitions to nobody while it restarts
// within session_timeout_ms.
//
// Offsets are committed by Commit alone.
func NewGroup(c *cluster.Cluster, cfg *config.Consumer, groupID, instanceID string, topics []string, h Handler, log *slog.Logger) (*Group, error) {
	if groupID == "" {
		return nil, errors.New("group_id is empty: a consumer group needs a name")
	}
	if len(topics) == 0 {
		return nil, fmt.Errorf("group %q: no topics to read", groupID)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	g := &Group{
		cluster: c, cfg: newFetchConfig(cfg), id: groupID, instance: instanceID,
		topics: slices.Clone(topics), h: h, log: log.With("group", groupID),
		own:    newOwnership(h),
		coord:  coordinator{cluster: c, group: groupID},
		paused: make(map[klamm.TopicPartition]bool),
		done:   make(chan struct{}),

		joining: noGeneration,
	}
	var err error
	if g.assignor, err = newAssignor(cfg.Assignor, g.rebalanceBegins, g.rebalanceBrings); err != nil {
		return nil, err
	}
	g.conf = groupConfig(c.Config(), cfg, instanceID, g.assignor)
	if err := g.conf.Validate(); err != nil {
		return nil, fmt.Errorf("group %q: %w", groupID, err)
	}
	return g, nil
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

// Run joins the group, reads and joins again after every rebalance until ctx
// ends or Close is called; then it leaves and returns nil. Revoked is called for
// what the member still has, so that the last offsets can be committed.
//
// It returns the handler's error, klamm.ErrUnknownTopic for a topic that does
// not exist, and what the brokers refuse for good; everything else is tried
// again and logged. Run is called once.
func (g *Group) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !g.start(ctx, cancel) {
		return klamm.ErrClosed
	}
	defer close(g.done)
	defer g.coord.hangUp()
	for _, topic := range g.topics {
		if _, err := g.cluster.AwaitTopic(ctx, topic); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("group %q: %w", g.id, err)
		}
	}
	client, err := g.cluster.NewClient(g.conf)
	if err != nil {
		return fmt.Errorf("group %q: %w", g.id, err)
	}
	defer client.Close()
	cg, err := sarama.NewConsumerGroupFromClient(g.id, client)
	if err != nil {
		return fmt.Errorf("group %q: %w", g.id, err)
	}
	g.setFetcher(newFetcher(g.cluster, g.cfg, g.log), cg)
	defer g.setFetcher(nil, nil)
	var logged sync.WaitGroup
	logged.Go(func() { g.logErrors(cg) })
	err = g.consume(ctx, cg)
	if closeErr := cg.Close(); closeErr != nil {
		g.log.Debug("leave the group", "err", closeErr)
	}
	logged.Wait()
	return err
}

func (g *Group) start(ctx context.Context, cancel context.CancelFunc) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.cancel != nil {
		return false
	}
	g.run, g.cancel = ctx, cancel
	return true
}

func (g *Group) setFetcher(f *fetcher, cg sarama.ConsumerGroup) {
	g.mu.Lock()
	old := g.fetcher
	g.fetcher, g.sarama = f, cg
	g.mu.Unlock()
	if old != nil {
		old.close()
	}
}

func (g *Group) logErrors(cg sarama.ConsumerGroup) {
	for err := range cg.Errors() {
		g.log.Warn("consumer group", "err", err)
	}
}

// consume runs one session after the other.
func (g *Group) consume(ctx context.Context, cg sarama.ConsumerGroup) error {
	for n := 0; ; n++ {
		started := time.Now()
		err := cg.Consume(ctx, g.topics, (*session)(g))
		if failed := g.failure(); failed != nil {
			return failed
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, sarama.ErrFencedInstancedId) {
			return g.fenced(err)
		}
		if final(err) {
			return fmt.Errorf("group %q: %w", g.id, groupError(err))
		}
		if time.Since(started) > 10*time.Second || err == nil {
			n = 0
		}
		if err != nil {
			g.log.Warn("joining the group, trying again", "err", err)
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

func (g *Group) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

// fail ends Run with err; the first one counts.
func (g *Group) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed == nil {
		g.failed = err
	}
	g.cancel()
}

// rebalanceBegins is called before every JoinGroup.
func (g *Group) rebalanceBegins() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.session != nil {
		g.joining = g.session.GenerationID()
	}
}

// Joined reports whether the member belongs to the group now, with partitions or
// without. It does not while brokers are away.
func (g *Group) Joined() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.session != nil
}

// Membership returns the generation, the member id and the instance id that the
// coordinator knows the member by (KIP-447). Outside of the group the generation
// is -1 and the member id empty.
func (g *Group) Membership() (generation int32, member, instance string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.session == nil {
		return noGeneration, "", g.instance
	}
	return g.session.GenerationID(), g.session.MemberID(), g.instance
}

// rebalancing reports whether a session is on its way into a new generation.
func (g *Group) rebalancing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.session != nil && g.joining == g.session.GenerationID()
}

func (g *Group) rebalanceBrings(parts map[string][]int32) { g.own.assign(parts) }

// Pause stops the reading of partitions, also of ones that are assigned later.
// The call of Records that is running goes on; no other one follows it.
func (g *Group) Pause(tps ...klamm.TopicPartition) { g.pause(tps, true) }

// Resume goes on with partitions that were paused.
func (g *Group) Resume(tps ...klamm.TopicPartition) { g.pause(tps, false) }

func (g *Group) pause(tps []klamm.TopicPartition, on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tp := range tps {
		g.paused[tp] = on
		if g.fetcher != nil {
			g.fetcher.pause(tp, on)
		}
	}
}

// Leave has a static member, which does not leave by itself, leave for good, so that
// nobody waits for it to come back (KIP-345). It is called after Run.
func (g *Group) Leave(ctx context.Context) error {
	if g.instance == "" {
		return nil
	}
	return PutOut(ctx, g.cluster, g.id, g.instance)
}

// Close ends Run and waits for it. It may be called twice, and instead of Run.
func (g *Group) Close() error {
	g.mu.Lock()
	g.closed = true
	cancel := g.cancel
	g.mu.Unlock()
	if cancel != nil {
		cancel()
		<-g.done
	}
	return nil
}
