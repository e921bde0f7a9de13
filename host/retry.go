package host

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/state"
)

// A record that a plugin or a handler failed may be tried again, after a pause,
// before it is put aside. What comes after it in its partition waits meanwhile, so
// that the order of the partition is kept; other partitions go on. The position
// stays before the record, and an exactly-once transaction has nothing of what
// waits, so that commits, rebalances and the end need not wait for it: what is held
// then is read again.
//
// What is held is judged together at each try, and each record that fails then has
// used one of its own. So a batch of poison records is held as long as one is.

// retryPolicy is how often and after which pauses; the zero value never.
type retryPolicy struct {
	most          int
	backoff, ceil time.Duration
}

// pause is the one before the try of that number, from 0 on, give or take a fifth.
func (r retryPolicy) pause(n int) time.Duration {
	d := r.ceil
	if n < 30 && r.backoff < r.ceil>>n {
		d = r.backoff << n
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// retrial is what a record needs that may be tried again.
type retrial struct {
	failed  int32         // judgements so far
	fetched *klamm.Record // for on_consume
	ref     state.Ref     // of its judgement by on_consume
}

// errTriedAgain completes, for the producer, a record that its pipeline sends again.
var errTriedAgain = errors.New("the record is held to be tried again, after a plugin failed it")

// errTwinTriedAgain is the end of a record that waited for what became of the one that
// it duplicates, and that is of no pipeline which could try it again.
var errTwinTriedAgain = errors.New("it duplicates a record that a plugin failed and that is tried again: whether that one passes is not known; send this one again")

// handedBack reports whether the producer has given a record back to its pipeline,
// which sends it again: to the producer it is another one then.
func handedBack(err error) bool { return err == errTriedAgain || err == errHeldBack }

// retryHold is what a partition holds.
type retryHold struct {
	pr     *progress
	policy retryPolicy

	mu     sync.Mutex
	on     bool // a record is to be tried again: what comes after it is held
	held   []retryRecord
	tries  int           // of what is held
	free   chan struct{} // closed when nothing is held any more; nil: nothing is
	timer  *time.Timer
	closed bool // the partition went, or a seek passes it all over
}

// retryRecord is one that is held.
type retryRecord struct {
	d     *delivery
	aside *interceptor.Item // a verdict of on_consume that lets it not pass; nil: it is delivered
	redo  bool              // on_consume judges it again
}

// How a record stands to those that are held in its partition.
type standing uint8

const (
	passing standing = iota
	failing          // a plugin failed it
)

// retrials is room for records that may be tried again, nil where they are not. What
// was read stays where it is until they have ended.
func (p *parcel) retrials(of *progress, n int, loan *consume.Loan) []retrial {
	if of.retry == nil {
		return nil
	}
	p.borrow(loan)
	return make([]retrial, n)
}

// holds reports whether the record is to be held, and counts its failure.
func (h *retryHold) holds(d *delivery, s standing) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s == failing {
		d.again.failed++
		if int(d.again.failed) <= h.policy.most {
			h.pr.c.retries.Add(1)
			h.on = true
		}
	}
	return h.on
}

// passes reports whether what was held may go on.
func (h *retryHold) passes() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.on && !h.closed
}

// keep holds a record. One whose partition has gone is left to its next owner.
func (h *retryHold) keep(r retryRecord) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keepLocked(r)
}

// bind holds a record that duplicates one which is held elsewhere, in one step: it
// comes while a try is under way too, and one that ended between two would let pass
// what comes after the record.
func (h *retryHold) bind(d *delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.on = true
	h.keepLocked(retryRecord{d: d})
}

// keepLocked is keep. mu is held.
func (h *retryHold) keepLocked(r retryRecord) {
	if h.closed {
		r.d.fail(errPartitionGone)
		return
	}
	h.held = append(h.held, r)
	if h.free == nil {
		h.free = make(chan struct{})
		h.arm()
	}
}

// arm has the next try come. mu is held.
func (h *retryHold) arm() { h.timer = time.AfterFunc(h.policy.pause(h.tries), h.again) }

// take returns what is held, in its order, for the next try. Once the partition has
// gone there is none, and nothing passes what was held.
func (h *retryHold) take() []retryRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	all := h.held
	h.held, h.on = nil, false
	h.tries++
	slices.SortFunc(all, func(a, b retryRecord) int { return cmp.Compare(a.d.number, b.d.number) })
	return all
}

// tried lets reading go on, or has the next try come.
func (h *retryHold) tried() {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
	case len(h.held) > 0:
		h.arm()
	case h.free != nil:
		close(h.free)
		h.free, h.on, h.tries = nil, false, 0
	}
}

// close leaves what is held to the partition's next owner, or drops it for a seek.
// Nothing passes what was held, also where that is being tried now. Records that
// waited for the claims of what is held are completed under mu, which bind takes: it
// is called only for what ends with errTriedAgain, which this does not.
func (h *retryHold) close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.timer != nil {
		h.timer.Stop()
	}
	for _, r := range h.held {
		r.d.fail(errPartitionGone)
	}
	h.held = nil
	if h.free != nil {
		close(h.free)
		h.free, h.on = nil, true
	}
}

func (h *retryHold) count() int {
	if h == nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

// wait waits until nothing is held. Its error says that what was read is not to be
// handed on.
func (h *retryHold) wait(ctx context.Context) error {
	if err := awaitFree(ctx, h.freed()); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errPartitionGone
	}
	return nil
}

func (h *retryHold) freed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.free
}

// again tries what is held once more.
func (h *retryHold) again() {
	c := h.pr.c
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	if c.reading.Err() != nil {
		return // what is held goes with its partition
	}
	c.judgeAll() // what is under way is held, or before it
	ctx, stop := graceful(c.reading)
	defer stop()
	for _, r := range c.redo(h, h.take()) {
		if !h.passes() || c.reading.Err() != nil { // one before it is held, or has ended the reading
			h.keep(r)
			continue
		}
		it := r.aside
		if it == nil {
			it = &interceptor.Item{Record: r.d.asRead()}
		}
		if err := c.deliver(ctx, r.d, it); err != nil {
			r.d.fail(err)
		}
	}
	c.judgeAll()
	h.tried()
}

// redo has on_consume judge those again that it failed, and returns all that are
// still on their way.
func (c *consumption) redo(h *retryHold, held []retryRecord) []retryRecord {
	b := interceptor.Batch{NowMS: c.h.clock.nowMS(), Topics: c.h.producer.facts}
	for _, r := range held {
		if !r.redo {
			continue
		}
		b.Items = append(b.Items, interceptor.Item{Record: *r.d.again.fetched, Ref: uint64(r.d.again.ref)})
		if c.claims != nil {
			defer c.h.reads.begin(r.d.again.ref, 1, h.pr.tp.Partition)()
		}
	}
	if len(b.Items) == 0 {
		return held
	}
	c.lane.link.OnConsume(c.reading, &b)
	left, n := held[:0], 0
	for _, r := range held {
		if r.redo {
			it := &b.Items[n]
			n++
			if it.Claimed {
				r.d.ref = r.d.again.ref
			}
			if it.Outcome == klamm.Dropped {
				c.dropped(r.d, it)
				continue
			}
			r = r.d.judged(it, h.holds(r.d, standingOf(it)))
		}
		left = append(left, r)
	}
	return left
}

// judged is a record that on_consume has judged, as what is to be done with it. Its
// bytes are copied.
func (d *delivery) judged(it *interceptor.Item, held bool) retryRecord {
	d.read = nil
	d.keep(it)
	r := retryRecord{d: d}
	if it.Outcome == klamm.InFlight {
		return r
	}
	it.Failures = d.again.failed
	r.redo = held && standingOf(it) == failing
	r.aside = new(interceptor.Item)
	*r.aside = *it
	r.aside.Record = *d.read
	return r
}

// standingOf is what a plugin's judgement makes of a record. What is no fault of
// the record's has its own way of being tried again.
func standingOf(it *interceptor.Item) standing {
	switch {
	case it.Outcome == klamm.DeadLettered && it.Faulted:
		return failing
	case it.Outcome == klamm.Failed && !mustHold(it.Err) && ofPlugin(it.Err):
		return failing
	}
	return passing
}

// ofPlugin is apart from what is on the way of each record, as the target of
// errors.As is allocated wherever it is declared.
func ofPlugin(err error) bool {
	var p *klamm.PluginError
	return errors.As(err, &p)
}

// holdsRead reports whether a record that on_consume has judged is held.
func (c *consumption) holdsRead(d *delivery, it *interceptor.Item) bool {
	h := d.pr.retry
	s := standingOf(it)
	if h == nil || !h.holds(d, s) {
		it.Failures = d.failures()
		return false
	}
	if d.read != nil { // no plugin has seen it
		h.keep(retryRecord{d: d})
		return true
	}
	r := d.judged(it, true)
	h.keep(r)
	return true
}

// failures is how many judgements have failed the record.
func (d *delivery) failures() int32 {
	if d.again == nil {
		return 0
	}
	return d.again.failed
}

// holds reports whether a record that on_send has judged is held by the pipeline
// that it came from, and completes it here then. Its claims are released at once, so
// that what the lane judges next does not meet them.
func (l *lane) holds(sl *slot, it *interceptor.Item, s standing) bool {
	if sl.rest.delivery == nil {
		return false
	}
	d := sl.rest.delivery
	if !d.pr.retry.holds(d, s) {
		it.Failures = d.failures()
		return false
	}
	if it.Wait != nil {
		it.Wait.Cancel()
	}
	sl.claimed = it.Claimed
	if it.Claimed {
		l.p.producers.complete(l.p.ledger.Settle(sl.ref, state.Settlement{Outcome: klamm.Failed, Err: errTriedAgain}))
	}
	if l.wants.any {
		sl.judged(it)
		sl.keep(l.wants, &it.Record)
	}
	d.pr.retry.keep(retryRecord{d: d})
	sl.done = nil // the delivery goes on, and may have ended before its slot is free
	l.p.completeLocal(sl, klamm.Result{Outcome: klamm.Failed, Topic: it.Record.Topic, Partition: klamm.NoPartition, Err: errTriedAgain})
	it.Outcome = klamm.Failed // the placer passes it over
	return true
}

// bind holds a record that waited for one that is tried again, where its pipeline can
// hold it: it is judged again then, and meets that one, or what has become of it. What
// comes after it in its partition and was judged already stays as it is, as if this
// one had been sent again. It returns false where nobody can hold the record.
func (sl *slot) bind() bool {
	d := sl.seen().delivery
	if d == nil {
		return false
	}
	d.pr.retry.bind(d)
	sl.done = nil // the delivery goes on
	return true
}
