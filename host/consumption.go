package host

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/interceptor"
)

// consumption reads topics in a group: on_consume, then deliver for each record
// that passed, then commits of what is completed, then on_commit. A consumer and
// a pipeline differ in deliver.
type consumption struct {
	h       *Host
	name    string
	groupID string
	log     *slog.Logger
	every   time.Duration // between commits; 0: only when asked
	manual  bool          // nothing is committed but by Commit
	group   *consume.Group
	lane    *consumeLane
	tally   tally
	commits atomic.Int64
	ended   atomic.Bool // every end is reached

	// deliver takes one record over. It calls d.done or d.fail once, now or later,
	// on any goroutine, or returns an error and calls neither. A failure stops
	// the consumption: what is not completed is not committed, so that nothing
	// is lost; errPartitionGone does not stop it, for the next owner has the record.
	deliver func(ctx context.Context, d *delivery, it *interceptor.Item) error
	// deliverAll, if it is set, is deliver for records that no plugin saw. It returns
	// how many it took over; the one after them is that of the error.
	deliverAll func(ctx context.Context, ds []delivery) (int, error)
	// refused is told of a record that the producer took over and did not write.
	refused func(d *delivery, r klamm.Result)

	// commitAll, if it is set, takes the place of commits, and beforeRevoke of those
	// before partitions go; it tells whether nothing of them is open then. gate lets reading go on. soon asks for a commit.
	commitAll    func(context.Context) error
	beforeRevoke func(parts map[string][]int32, lost bool) (settled bool)
	gate         func(context.Context) error
	soon         chan struct{}
	failed       atomic.Pointer[error] // why a record was not completed and never will be
	// limbo, if it is not nil, takes the claims of what was not committed when its
	// partition went: whether it is is not known yet.
	limbo map[klamm.TopicPartition][]progressClaim
	// claims, if it is not nil, follows the partitions with their ids.
	claims *claims
	// left are the sessions in which partitions of ids were let go with nothing
	// open, by partition.
	left map[int32]int64

	listener RebalanceListener

	sheets *sheets // of a copy

	retry   retryPolicy
	retries atomic.Int64 // records that were held to be tried again
	// judgeAll has what was delivered judged, where plugins do that later.
	judgeAll func()
	// reading ends when run does.
	reading context.Context

	// plain is that no plugin sees what is read: records need no block then, and
	// are delivered as they were fetched.
	plain bool

	stop context.CancelCauseFunc

	mu     sync.Mutex
	paused bool // an operator's pause: of all partitions, those to come too
	parts  map[klamm.TopicPartition]*progress
	gone   []*progress                    // of revoked partitions, while records are in flight
	ends   map[klamm.TopicPartition]int64 // stop_at_end: what is still to be reached
	spent  map[klamm.TopicPartition]bool  // of them, those that were handed out to their end
	atEnd  bool                           // there was nothing to read from the start
}

// consumeLane is the chain's instances for what is read. Partitions share it.
type consumeLane struct {
	mu    sync.Mutex
	link  *interceptor.Lane
	batch interceptor.Batch
	item  interceptor.Item // of plain records, which have nothing to say in it
}

// run reads until ctx ends, deliver fails or every end is reached.
func (c *consumption) run(ctx context.Context) error {
	if c.atEnd {
		c.ended.Store(true)
		return nil
	}
	ctx, c.stop = context.WithCancelCause(ctx)
	defer c.stop(nil)
	c.reading = ctx
	committer := make(chan struct{})
	go func() { defer close(committer); c.commitLoop(ctx) }()
	err := c.group.Run(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	c.stop(nil)
	<-committer
	if errors.Is(err, errReachedEnd) {
		c.ended.Store(true)
		c.leave()
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errReachedEnd) {
		return nil
	}
	return err
}

// leave leaves the group for good, with nothing left to read.
func (c *consumption) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), revokeGrace)
	defer cancel()
	if err := c.group.Leave(ctx); err != nil {
		c.log.Warn("leave the group", "group", c.name, "err", err)
	}
}

var errReachedEnd = fmt.Errorf("reached the end")

var errPartitionGone = fmt.Errorf("the partition went to another member of the group")

// close ends the following of what was read and not completed: it is not
// committed, so it is read again. Such records count as failed here.
func (c *consumption) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for pr := range c.followed() {
		for range pr.giveUp() {
			c.tally.complete(klamm.Failed, 1)
		}
	}
	return c.lane.link.Close(context.Background())
}

// followed are all partitions that may have records in flight. c.mu is held.
func (c *consumption) followed() iter.Seq[*progress] {
	return func(yield func(*progress) bool) {
		for _, pr := range c.parts {
			if !yield(pr) {
				return
			}
		}
		for _, pr := range c.gone {
			if !yield(pr) {
				return
			}
		}
	}
}

func (c *consumption) newProgress(tp klamm.TopicPartition) *progress {
	pr := newProgress()
	pr.c, pr.tp = c, tp
	if c.retry.most > 0 {
		pr.retry = &retryHold{pr: pr, policy: c.retry}
	}
	return pr
}

var (
	_ consume.Borrower = (*consumption)(nil)
	_ consume.Skipper  = (*consumption)(nil)
)

// othersEvery is how often a consumption that is to stop at the end looks how far
// other members of its group have come.
const othersEvery = time.Second

func (c *consumption) groupMetadata() GroupMetadata {
	m := GroupMetadata{Group: c.groupID}
	m.Generation, m.Member, m.Instance = c.group.Membership()
	return m
}

func (c *consumption) stats() PipelineStats {
	s := PipelineStats{Counts: c.tally.counts(), Commits: c.commits.Load(), Retries: c.retries.Load()}
	s.Partitions = c.lags()
	for _, p := range s.Partitions {
		s.Lag += p.Lag
	}
	return s
}
