package produce

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
)

// keeper does what belongs to no broker: it ends batches whose delivery timeout
// has passed, looks for leaders of partitions that have none, and follows
// changes of metadata. It runs on a goroutine of its own, so that no sender
// that hangs on its broker can delay it.
type keeper struct {
	pipeline *Pipeline
	wake     chan struct{} // holds one

	mu       sync.Mutex
	incoming []listed // without a leader
	changed  map[string]struct{}

	// The rest belongs to the goroutine.
	leaderless []listed
	expiryAt   time.Duration // when the next batch may expire
	lookAt     time.Duration // when to look for leaders again
}

func newKeeper(p *Pipeline) *keeper {
	return &keeper{pipeline: p, wake: make(chan struct{}, 1), changed: map[string]struct{}{}, expiryAt: p.set.delivery}
}

func (k *keeper) kick() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// add lists a partition that has batches and no leader.
func (k *keeper) add(e listed) {
	k.mu.Lock()
	k.incoming = append(k.incoming, e)
	k.mu.Unlock()
	k.kick()
}

// topicChanged is called by the cluster; it only takes a note.
func (k *keeper) topicChanged(name string) {
	k.mu.Lock()
	k.changed[name] = struct{}{}
	k.mu.Unlock()
	k.kick()
}

func (k *keeper) run() {
	p := k.pipeline
	defer p.running.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		k.turn()
		next := k.expiryAt
		if len(k.leaderless) > 0 {
			next = min(next, k.lookAt)
		}
		timer.Reset(next - p.now())
		select {
		case <-k.wake:
		case <-timer.C:
		case <-p.ctx.Done():
			return
		}
	}
}

func (k *keeper) turn() {
	p := k.pipeline
	if stop := p.stop.Load(); stop != nil {
		p.endQueued(*stop)
	}
	k.mu.Lock()
	k.leaderless = append(k.leaderless, k.incoming...)
	fresh := len(k.incoming) > 0
	clear(k.incoming)
	k.incoming = k.incoming[:0]
	var changed map[string]struct{}
	if len(k.changed) > 0 { // an empty one stays shared with topicChanged
		changed, k.changed = k.changed, map[string]struct{}{}
	}
	k.mu.Unlock()

	for name := range changed {
		p.followTopic(name)
	}
	now := p.now()
	if len(k.leaderless) > 0 && (fresh || now >= k.lookAt) {
		k.findLeaders()
		k.lookAt = now + max(p.set.backoff.first, 10*time.Millisecond)
	}
	if now >= k.expiryAt {
		k.expiryAt = p.expire(now)
	}
}

// findLeaders looks up the leaders of those that have none, and asks for
// metadata of those that stay so.
func (k *keeper) findLeaders() {
	kept := k.leaderless[:0]
	asked := map[*topic]bool{}
	for _, e := range k.leaderless {
		if !e.stillLeaderless() {
			continue
		}
		kept = append(kept, e)
		if t := e.part.topic; !asked[t] {
			asked[t] = true
			k.pipeline.net.refresh(t.name)
		}
	}
	clear(k.leaderless[len(kept):])
	k.leaderless = kept
}

func (e listed) stillLeaderless() bool {
	t := e.part
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listing != e.listing || t.owner != nil {
		return false
	}
	if t.queue.len() == 0 {
		t.active = false
		return false
	}
	if !t.locate() {
		return true
	}
	t.list()
	t.owner.kick()
	return false
}

// followTopic moves a topic's partitions to their leaders of now. One that was
// deleted and made anew has partitions that know no sequences.
func (p *Pipeline) followTopic(name string) {
	t := (*p.topics.Load())[name]
	if t == nil {
		return
	}
	count, id := p.net.partitions(name)
	p.topicsMu.Lock()
	anew := count > 0 && id != t.id && t.id != [16]byte{}
	if count > 0 {
		t.id = id
	}
	p.topicsMu.Unlock()
	for _, part := range *t.parts.Load() {
		if anew {
			part.newIncarnation()
		}
		part.relocate()
	}
}

// expire ends the batches whose delivery timeout has passed, oldest first in
// each partition. It returns when the next one may expire: batches that come
// later expire later than that.
func (p *Pipeline) expire(now time.Duration) time.Duration {
	next := now + p.set.delivery
	var gone []*batch
	var ends []*ending
	p.each(func(t *partition) {
		t.mu.Lock()
		gone, ends = gone[:0], ends[:0]
		for b := t.oldest(); b != nil; b = t.oldest() {
			if !b.expired(now, p.set.delivery) {
				next = min(next, b.created+p.set.delivery)
				break
			}
			gone = append(gone, b)
			ends = append(ends, t.end(b, b.expiry()))
		}
		owner := t.owner
		t.mu.Unlock()
		for i, b := range gone {
			p.count.expired.Add(1)
			p.settleEarly(b, ends[i])
		}
		if len(gone) > 0 && owner != nil {
			owner.kick()
		}
	})
	return next
}

// oldest returns the batch that was opened first, nil when there is none. t.mu
// is held.
func (t *partition) oldest() *batch {
	if len(t.inflight) > 0 {
		return t.inflight[0]
	}
	if t.queue.len() > 0 {
		return t.queue.at(0)
	}
	return nil
}

// end ends a batch from outside, wherever it is. t.mu is held.
func (t *partition) end(b *batch, err error) *ending {
	if b.queued {
		t.unqueue(b)
	}
	return t.lose(b, b.mayBeWritten(), err)
}

// endQueued fails whatever is not on the wire; answers decide the rest.
func (p *Pipeline) endQueued(reason error) {
	p.endAll(func(b *batch) error {
		if b.wire {
			return nil
		}
		return reason
	})
}

// endAll ends every batch for which why returns an error.
func (p *Pipeline) endAll(why func(*batch) error) {
	p.each(func(t *partition) {
		var gone []*batch
		var ends []*ending
		t.mu.Lock()
		for _, b := range t.all() {
			if err := why(b); err != nil {
				gone = append(gone, b)
				ends = append(ends, t.end(b, err))
			}
		}
		t.mu.Unlock()
		for i, b := range gone {
			p.settleEarly(b, ends[i])
		}
	})
}

// all returns the partition's batches without an outcome, oldest first.
func (t *partition) all() []*batch {
	all := append([]*batch(nil), t.inflight...)
	for i := range t.queue.len() {
		if b := t.queue.at(i); !b.taken {
			all = append(all, b)
		}
	}
	return all
}

// fail stops the pipeline for good: nothing that is queued can be written, and
// nothing more is taken.
func (p *Pipeline) fail(err error) {
	if !p.stop.CompareAndSwap(nil, &err) {
		return
	}
	p.log.Error("the producer cannot go on", slog.Any("err", err))
	if p.txn != nil {
		p.txn.die(err)
	}
	p.mem.close(err)
	p.kickAll()
}

// endForced is Close's way with what was not finished in time.
func (p *Pipeline) endForced() {
	reason := fmt.Errorf("%w before the record was written", klamm.ErrClosed)
	p.stop.CompareAndSwap(nil, &reason)
	p.endAll(func(b *batch) error {
		if b.mayBeWritten() {
			return fmt.Errorf("%w before the broker answered", klamm.ErrClosed)
		}
		if cause := b.cause(); cause != nil {
			return fmt.Errorf("%w: last: %w", reason, cause)
		}
		return reason
	})
}
