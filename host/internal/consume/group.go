package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

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
	member   membership
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
	fetcher *fetcher
	paused  map[klamm.TopicPartition]bool
	failed  error
	run     context.Context
	cancel  context.CancelFunc // ends run, and Run
	done    chan struct{}      // closed at the end of Run
	closed  bool
	stable  bool
}

// ReadStable has partitions begin at offsets that no open transaction is about to
// change (KIP-447), as with KIP-848 they always do. It is called before Run.
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
	}
	var err error
	g.member, err = newMembership(g, cfg)
	return g, err
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
	g.setFetcher(newFetcher(g.cluster, g.cfg, g.log))
	defer g.setFetcher(nil)
	return g.member.run(ctx)
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

func (g *Group) setFetcher(f *fetcher) {
	g.mu.Lock()
	old := g.fetcher
	g.fetcher = f
	g.mu.Unlock()
	if old != nil {
		old.close()
	}
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

// fenced is the end of a static member whose place another one of its name has.
// Joining again would take the place back, and the two would go on like that.
func (g *Group) fenced(err error) error {
	return fmt.Errorf("group %q: another member runs as %q: %w: %w", g.id, g.instance, klamm.ErrFenced, groupError(err))
}

// Joined reports whether the member belongs to the group now, with partitions or
// without. It does not while brokers are away.
func (g *Group) Joined() bool {
	_, in := g.member.identity()
	return in
}

// Membership returns the generation, or the member epoch (KIP-848), the member id
// and the instance id that the coordinator knows the member by (KIP-447). Outside
// of the group the generation is -1 and the member id empty; that of a member which
// was put out stays until Revoked has returned, so that what it commits is refused.
func (g *Group) Membership() (generation int32, member, instance string) {
	who, _ := g.member.identity()
	return who.generation, who.member, g.instance
}

// Steady keeps the generation from moving on by the member's own doing until
// release is called, for a request of another connection that names it. ctx bounds
// the wait. Call release soon: a member epoch (KIP-848) is held by keeping
// heartbeats back, for 10 s at most. After that they go on, so that the member is
// not put out, and may raise the epoch; the request is refused then.
func (g *Group) Steady(ctx context.Context) (release func(), err error) { return g.member.steady(ctx) }

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
	return g.member.leave(ctx)
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
