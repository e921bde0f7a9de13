package host

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/state"
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

// revokeGrace bounds how long a rebalance waits for records in flight. What is
// not completed by then is read again by the partition's next owner.
const revokeGrace = 10 * time.Second

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

// Assigned implements consume.Handler.
func (c *consumption) Assigned(ctx context.Context, parts map[string][]int32) {
	c.mu.Lock()
	for topic, ids := range parts {
		for _, id := range ids {
			tp := klamm.TopicPartition{Topic: topic, Partition: id}
			pr := c.newProgress(tp)
			c.parts[tp] = pr
			if c.paused {
				c.group.Pause(tp)
			}
		}
	}
	c.mu.Unlock()
	if c.claims != nil {
		c.claims.assigned(parts, c.kept)
	}
	c.log.Info("partitions assigned", "group", c.name, "partitions", fmt.Sprint(parts))
	if c.sheets != nil {
		if err := c.openSheets(ctx, told(parts)); err != nil {
			c.stop(err)
		}
	}
	if c.listener.Assigned != nil {
		c.listener.Assigned(ctx, told(parts))
	}
}

// Revoked implements consume.Handler: it completes and commits what was read
// before the partitions go. Lost partitions have another owner already, who
// reads what is not committed.
func (c *consumption) Revoked(parts map[string][]int32, lost bool) {
	c.log.Info("partitions revoked", "group", c.name, "partitions", fmt.Sprint(parts), "lost", lost)
	c.eachOf(parts, func(pr *progress) { pr.retry.close() })
	settled := false
	if c.beforeRevoke != nil {
		settled = c.beforeRevoke(parts, lost)
	}
	ctx, cancel := context.WithTimeout(context.Background(), revokeGrace)
	defer cancel()
	c.tellRevoked(ctx, parts, lost)
	gone := c.take(parts)
	offsets := map[klamm.TopicPartition]int64{}
	for tp, pr := range gone {
		if at, moved := pr.toCommit(); moved && !lost && !c.manual && c.commitAll == nil {
			offsets[tp] = at
		}
	}
	if len(offsets) > 0 {
		if err := c.group.Commit(ctx, offsets); err != nil {
			c.log.Warn("commit before a rebalance", "group", c.name, "error", err)
		} else {
			c.confirm(gone, offsets)
		}
	}
	for tp, pr := range gone {
		if c.limbo != nil {
			c.limbo[tp] = append(c.limbo[tp], pr.abandon()...)
			continue
		}
		c.h.settleClaims(tp, pr.abandon(), klamm.Failed, errPartitionGone)
	}
	if c.claims != nil {
		c.claims.revoked(parts)
		c.leaves(parts, settled)
	}
}

// leaves notes partitions that go, for kept.
func (c *consumption) leaves(parts map[string][]int32, settled bool) {
	for _, ids := range parts {
		for _, id := range ids {
			if delete(c.left, id); settled {
				c.left[id] = c.group.Session()
			}
		}
	}
}

// kept reports whether nobody else can have written ids of a partition since it
// was let go: it was in the session before this one, and its transaction committed.
func (c *consumption) kept(partition int32) bool {
	session, ok := c.left[partition]
	return ok && session+1 == c.group.Session()
}

// tellRevoked calls the listener, for partitions that are not lost once what is in
// flight of them is drained.
func (c *consumption) tellRevoked(ctx context.Context, parts map[string][]int32, lost bool) {
	tps := told(parts)
	if lost {
		if c.listener.Lost != nil {
			c.listener.Lost(tps)
		}
		return
	}
	for _, tp := range tps {
		c.mu.Lock()
		pr := c.parts[tp]
		c.mu.Unlock()
		if pr != nil {
			awaitDrained(ctx, pr)
		}
	}
	if c.listener.Revoked != nil {
		c.listener.Revoked(ctx, tps)
	}
}

var errPartitionGone = fmt.Errorf("the partition went to another member of the group")

func awaitDrained(ctx context.Context, pr *progress) {
	select {
	case <-pr.drained():
	case <-ctx.Done():
	}
}

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

// eachOf calls f with those of the partitions that are followed.
func (c *consumption) eachOf(parts map[string][]int32, f func(*progress)) {
	for _, tp := range told(parts) {
		c.mu.Lock()
		pr := c.parts[tp]
		c.mu.Unlock()
		if pr != nil {
			f(pr)
		}
	}
}

func (c *consumption) take(parts map[string][]int32) map[klamm.TopicPartition]*progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := map[klamm.TopicPartition]*progress{}
	c.gone = slices.DeleteFunc(c.gone, (*progress).empty)
	for topic, ids := range parts {
		for _, id := range ids {
			tp := klamm.TopicPartition{Topic: topic, Partition: id}
			if pr := c.parts[tp]; pr != nil {
				gone[tp] = pr
				c.gone = append(c.gone, pr)
				delete(c.parts, tp)
			}
		}
	}
	return gone
}

// Records implements consume.Handler.
func (c *consumption) Records(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64) error {
	return c.Lent(ctx, tp, recs, highWatermark, nil)
}

// Lent implements consume.Borrower. Partitions take turns at the chain; a
// delivery that waits for the producer makes them all wait: back-pressure.
func (c *consumption) Lent(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, highWatermark int64, loan *consume.Loan) (err error) {
	c.mu.Lock()
	pr := c.parts[tp]
	c.mu.Unlock()
	if pr == nil {
		return nil // revoked meanwhile; its next owner reads these again
	}
	pr.sawHighWater(highWatermark)
	if pr.retry != nil {
		if err := pr.retry.wait(ctx); err != nil {
			return nil // taken away, or the end: these are read again
		}
	}
	if c.gate != nil {
		if err := c.gate(ctx); err != nil {
			return err
		}
	}
	if c.claims != nil {
		if err := c.claims.await(ctx, tp); err != nil {
			return err
		}
	}
	if c.sheets != nil {
		ours, end, over := c.sheets.within(tp, recs)
		if over {
			defer func() {
				if err == nil && ctx.Err() == nil { // else some may be left, to be read again
					c.group.Pause(tp)
					pr.skip(end)
				}
			}()
		}
		if recs = ours; len(recs) == 0 {
			return nil
		}
	}
	defer c.handedOut(tp, recs[len(recs)-1].Offset+1)
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	if c.plain {
		return c.straight(ctx, pr, recs, loan)
	}
	b := &c.lane.batch
	b.Reset()
	b.NowMS, b.Topics = c.h.clock.nowMS(), c.h.producer.facts
	first := c.h.consumeBlock(len(recs))
	for i, rec := range recs {
		b.Items = append(b.Items, interceptor.Item{Record: rec, Ref: uint64(first) + uint64(i)})
	}
	if c.claims != nil { // of others, no partition is known: their claims are refused
		defer c.h.reads.begin(first, len(recs), tp.Partition)()
	}
	c.lane.link.OnConsume(ctx, b)
	deliver, stop := graceful(ctx)
	defer stop()
	all, left := newParcel(len(b.Items)), len(b.Items)
	defer func() { all.ended(left) }()
	again := all.retrials(pr, len(recs), loan)
	for i := range b.Items {
		if err := ctx.Err(); err != nil { // what is not delivered yet is read again
			c.passOver(tp, b.Items[i:], err)
			return nil
		}
		if pr.sought.Load() {
			c.passOver(tp, b.Items[i:], errSought)
			return nil
		}
		d, it := &all.deliveries[i], &b.Items[i]
		left--
		d.begin(pr, recs[i].Offset)
		if again != nil {
			d.again = &again[i]
			d.again.fetched, d.again.ref = &recs[i], state.Ref(it.Ref)
		}
		if it.Claimed {
			d.ref = state.Ref(it.Ref)
		}
		if err := c.one(deliver, d, it); err != nil {
			c.passOver(tp, b.Items[i+1:], err)
			return err
		}
	}
	return nil
}

// straight delivers records that no plugin sees.
func (c *consumption) straight(ctx context.Context, pr *progress, recs []klamm.Record, loan *consume.Loan) error {
	deliver, stop := graceful(ctx)
	defer stop()
	if c.deliverAll != nil {
		return c.straightAll(ctx, deliver, pr, recs, loan)
	}
	all, left := newParcel(len(recs)), len(recs)
	defer func() { all.ended(left) }()
	again := all.retrials(pr, len(recs), loan)
	for i := range recs {
		if pr.sought.Load() || ctx.Err() != nil { // what is not delivered yet is read again
			return nil
		}
		d := &all.deliveries[i]
		left--
		d.begin(pr, recs[i].Offset)
		d.read = &recs[i]
		if again != nil {
			d.again = &again[i]
		}
		if err := c.one(deliver, d, &c.lane.item); err != nil {
			return err
		}
	}
	return nil
}

// straightAll is straight for many records at once, as many as the producer's lane
// judges together.
func (c *consumption) straightAll(ctx, deliver context.Context, pr *progress, recs []klamm.Record, loan *consume.Loan) error {
	for len(recs) > 0 {
		if pr.sought.Load() || ctx.Err() != nil {
			return nil
		}
		n := min(len(recs), blockRecords)
		all := newParcel(n)
		all.borrow(loan) // a record is needed until it is known what became of it
		for i := range n {
			d := &all.deliveries[i]
			d.pr, d.offset, d.ref, d.read, d.again = pr, recs[i].Offset, 0, &recs[i], nil
		}
		pr.beginAll(all.deliveries)
		c.tally.accept(n)
		if taken, err := c.deliverAll(deliver, all.deliveries); err != nil {
			c.takeBack(pr, all, n-taken-1)
			all.deliveries[taken].lost(err)
			return err
		}
		recs = recs[n:]
	}
	return nil
}

// takeBack forgets the last n deliveries of a parcel: their records are read again.
func (c *consumption) takeBack(pr *progress, of *parcel, n int) {
	pr.takeBack(n)
	c.tally.accept(-n)
	of.ended(n)
}

func (c *consumption) newProgress(tp klamm.TopicPartition) *progress {
	pr := newProgress()
	pr.c, pr.tp = c, tp
	if c.retry.most > 0 {
		pr.retry = &retryHold{pr: pr, policy: c.retry}
	}
	return pr
}

// countDrops counts records that on_consume dropped and the position has passed.
func (c *consumption) countDrops(tp klamm.TopicPartition, n int) {
	if c.sheets != nil {
		c.sheets.addDropped(tp, n)
	}
	c.tally.complete(klamm.Dropped, n)
}

// graceful returns a context that ends revokeGrace after ctx does. A record that is
// being delivered when its session ends would fail else, and with it all that could
// still be committed.
func graceful(ctx context.Context) (context.Context, func()) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(revokeGrace, cancel) })
	return late, func() { stop(); cancel() }
}

// Skipped implements consume.Skipper.
func (c *consumption) Skipped(tp klamm.TopicPartition, next int64) {
	c.mu.Lock()
	pr := c.parts[tp]
	c.mu.Unlock()
	if pr != nil {
		pr.skip(next)
		c.handedOut(tp, next)
	}
}

var (
	_ consume.Borrower = (*consumption)(nil)
	_ consume.Skipper  = (*consumption)(nil)
)

// one hands a record on, to be followed to its completion. A drop in on_consume is
// final here, also where it duplicates a record in flight: that record is read
// again unless it completes, so nothing can be lost.
func (c *consumption) one(ctx context.Context, d *delivery, it *interceptor.Item) error {
	if it.Outcome == klamm.Dropped {
		c.dropped(d, it)
		return nil
	}
	if c.holdsRead(d, it) {
		return nil
	}
	err := c.deliver(ctx, d, it)
	if err != nil {
		d.lost(err)
	}
	return err
}

func (c *consumption) dropped(d *delivery, it *interceptor.Item) {
	if it.Wait != nil {
		it.Wait.Cancel()
	}
	d.dropped(klamm.Result{Outcome: klamm.Dropped, Plugin: it.Plugin, Reason: it.Reason})
}

// Committed implements consume.Handler.
func (c *consumption) Committed(offsets map[klamm.TopicPartition]int64) {
	c.commits.Add(1)
	commits := make([]interceptor.Commit, 0, len(offsets))
	for tp, at := range offsets {
		commits = append(commits, interceptor.Commit{Topic: tp.Topic, Partition: tp.Partition, Offset: at})
	}
	c.lane.link.OnCommit(context.Background(), commits)
}

func (c *consumption) commitLoop(ctx context.Context) {
	every := c.every
	if every <= 0 {
		every = never
	}
	tick, others := time.NewTicker(every), time.NewTicker(othersEvery)
	defer tick.Stop()
	defer others.Stop()
	w := consume.NewWatch(c.h.cluster, c.groupID)
	defer w.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.soon:
		case <-others.C:
			c.lookAtOthers(ctx, w)
			continue
		}
		if ctx.Err() == nil {
			if err := c.commit(ctx); err != nil && ctx.Err() == nil {
				c.log.Warn("commit", "group", c.name, "error", err)
			}
		}
	}
}

// othersEvery is how often a consumption that is to stop at the end looks how far
// other members of its group have come.
const othersEvery = time.Second

// lookAtOthers notes the ends that the group has reached. A partition may be another
// member's, or may have been until its end.
func (c *consumption) lookAtOthers(ctx context.Context, w *consume.Watch) {
	c.mu.Lock()
	ends := maps.Clone(c.ends)
	c.mu.Unlock()
	if len(ends) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, othersEvery)
	defer cancel()
	committed, err := w.Committed(ctx, slices.Collect(maps.Keys(ends)))
	if err != nil {
		return // next time
	}
	c.reached(committed)
}

// reached notes offsets that are committed, and stops when those were the ends.
func (c *consumption) reached(offsets map[klamm.TopicPartition]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends == nil {
		return
	}
	maps.DeleteFunc(c.ends, func(tp klamm.TopicPartition, end int64) bool {
		at, ok := offsets[tp]
		return ok && at >= end
	})
	if len(c.ends) == 0 {
		c.stop(errReachedEnd)
	}
}

// handedOut has a transaction committed at once that reaches the end of all there is
// to read, up to next in the last partition.
func (c *consumption) handedOut(tp klamm.TopicPartition, next int64) {
	if c.ends == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if end, ok := c.ends[tp]; !ok || next < end {
		return
	}
	if c.spent == nil {
		c.spent = map[klamm.TopicPartition]bool{}
	}
	c.spent[tp] = true
	for tp := range c.ends {
		if !c.spent[tp] {
			return
		}
	}
	c.commitSoon()
}

// commitSoon asks for a commit, where commits are transactions.
func (c *consumption) commitSoon() {
	select {
	case c.soon <- struct{}{}:
	default:
	}
}

// commit commits every position that has moved.
func (c *consumption) commit(ctx context.Context) error {
	if c.commitAll != nil {
		return c.commitAll(ctx)
	}
	// Before the positions: a seek that comes between the two makes them those of
	// before it.
	ticket := c.group.Ticket()
	parts, offsets := c.toCommit()
	if len(offsets) == 0 {
		return nil
	}
	if err := c.group.CommitAs(ctx, ticket, offsets); err != nil {
		return err
	}
	c.confirm(parts, offsets)
	return nil
}

// toCommit returns the positions that have moved.
func (c *consumption) toCommit() (map[klamm.TopicPartition]*progress, map[klamm.TopicPartition]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	parts := make(map[klamm.TopicPartition]*progress, len(c.parts))
	offsets := map[klamm.TopicPartition]int64{}
	for tp, pr := range c.parts {
		parts[tp] = pr
		if at, moved := pr.toCommit(); moved {
			offsets[tp] = at
		}
	}
	return parts, offsets
}

// confirm notes what was committed, and stops when that was the end.
func (c *consumption) confirm(parts map[klamm.TopicPartition]*progress, offsets map[klamm.TopicPartition]int64) {
	for tp, at := range offsets {
		c.h.settleClaims(tp, parts[tp].confirm(at), klamm.Written, nil)
	}
	c.reached(offsets)
}

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
