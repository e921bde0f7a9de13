package consume

import (
	"context"
	"maps"
	"sync"

	"github.com/klamm-io/klamm"
)

// ownership is which partitions the member has, and calls Assigned and Revoked
// in their order. sarama starts and ends each partition on its own; here they are
// gathered again into the sets of each rebalance.
//
// A partition is gained when Assigned has been called for it and owned until
// Revoked has returned.
type ownership struct {
	h Handler

	mu        sync.Mutex
	cond      *sync.Cond
	next      map[klamm.TopicPartition]bool  // of the last assignment
	owned     map[klamm.TopicPartition]int64 // gained; the highest offset committed since, -1
	running   map[klamm.TopicPartition]bool  // Records may be called
	revoking  map[klamm.TopicPartition]bool  // owned and not in next
	forsaken  bool                           // all is lost; revokeAll is to come
	telling   bool                           // Revoked of revoking is being called
	announced chan struct{}                  // closed when Assigned of next has returned

	starts map[klamm.TopicPartition]int64 // where to start, of partitions that are not read yet
	seeks  int64                          // seeks so far
	sought map[klamm.TopicPartition]int64 // the number of an owned partition's last one
}

func newOwnership(h Handler) *ownership {
	o := &ownership{
		h:       h,
		owned:   make(map[klamm.TopicPartition]int64),
		running: make(map[klamm.TopicPartition]bool),
		starts:  make(map[klamm.TopicPartition]int64),
		sought:  make(map[klamm.TopicPartition]int64),
	}
	o.cond = sync.NewCond(&o.mu)
	return o
}

// assign takes the set that a rebalance brought. With a cooperative assignor
// the old partitions that are not in it are still being read.
func (o *ownership) assign(parts map[string][]int32) {
	o.mu.Lock()
	o.next = make(map[klamm.TopicPartition]bool)
	for topic, ids := range parts {
		for _, id := range ids {
			o.next[klamm.TopicPartition{Topic: topic, Partition: id}] = true
		}
	}
	o.revoking = make(map[klamm.TopicPartition]bool)
	for tp := range o.owned {
		if !o.next[tp] && !o.forsaken {
			o.revoking[tp] = true
		}
	}
	o.announced = nil
	// Partitions whose reading never came to start end here.
	o.revokeIfStopped()
	o.mu.Unlock()
}

// begin is called before a partition is read. It calls Assigned for all new
// partitions of the set once. It returns false for a partition that has been
// taken away meanwhile.
//
// It waits for a call of Revoked that is under way. Else a partition that goes and
// comes back meanwhile would be read without Assigned: (1) Revoked runs for it, (2)
// begin finds it owned, (3) Revoked returns, and it is owned no more.
func (o *ownership) begin(ctx context.Context, tp klamm.TopicPartition) bool {
	o.mu.Lock()
	for o.telling {
		o.cond.Wait()
	}
	if !o.next[tp] {
		o.mu.Unlock()
		return false
	}
	o.running[tp] = true
	if o.announced != nil {
		announced := o.announced
		o.mu.Unlock()
		<-announced
		return true
	}
	announced := make(chan struct{})
	o.announced = announced
	gained := make(map[string][]int32)
	for tp := range o.next {
		if _, ok := o.owned[tp]; !ok {
			o.owned[tp] = -1
			gained[tp.Topic] = append(gained[tp.Topic], tp.Partition)
		}
	}
	o.mu.Unlock()
	defer close(announced)
	if len(gained) > 0 {
		o.h.Assigned(ctx, sorted(gained))
	}
	return true
}

// end is called when a partition is read no more. Where a rebalance takes it
// away, end returns when Revoked has been called for all that it takes.
func (o *ownership) end(tp klamm.TopicPartition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.running, tp)
	o.revokeIfStopped()
	for o.revoking[tp] {
		o.cond.Wait()
	}
	o.cond.Broadcast()
}

// revokeIfStopped calls Revoked, without the lock, once none of the partitions
// that go is read any more. Partitions that stay may end meanwhile: they leave it to
// the call that is under way.
func (o *ownership) revokeIfStopped() {
	for !o.telling && len(o.revoking) > 0 && o.stopped() {
		going := maps.Clone(o.revoking)
		o.telling = true
		o.revokeLocked(going, false)
		o.telling = false
		maps.DeleteFunc(o.revoking, func(tp klamm.TopicPartition, _ bool) bool { return going[tp] })
		o.cond.Broadcast()
	}
}

// stopped reports whether none of the partitions that go is read any more.
func (o *ownership) stopped() bool {
	for tp := range o.revoking {
		if o.running[tp] {
			return false
		}
	}
	return true
}

// forsake is called when the partitions may be others' already: what a rebalance
// was about to take is not revoked but lost, with the rest, by revokeAll.
func (o *ownership) forsake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.revoking, o.forsaken = nil, true
	o.cond.Broadcast()
}

// revokeAll is called at the end of a session, when nothing is read any more.
func (o *ownership) revokeAll(lost bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make(map[klamm.TopicPartition]bool)
	for tp := range o.owned {
		all[tp] = true
	}
	o.revokeLocked(all, lost)
	o.next, o.forsaken = nil, false
	clear(o.revoking)
	clear(o.running)
	o.cond.Broadcast()
}

func (o *ownership) revokeLocked(tps map[klamm.TopicPartition]bool, lost bool) {
	if len(tps) == 0 {
		return
	}
	parts := make(map[string][]int32)
	for tp := range tps {
		parts[tp.Topic] = append(parts[tp.Topic], tp.Partition)
	}
	o.mu.Unlock()
	o.h.Revoked(sorted(parts), lost)
	o.mu.Lock()
	for tp := range tps {
		delete(o.owned, tp)
		delete(o.starts, tp)
		delete(o.sought, tp)
	}
}

// startAt notes where an owned partition is to start. It returns false for one
// that is not owned.
func (o *ownership) startAt(tp klamm.TopicPartition, offset int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.owned[tp]; !ok {
		return false
	}
	o.starts[tp] = offset
	return true
}

func (o *ownership) takeStart(tp klamm.TopicPartition) (int64, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, ok := o.starts[tp]
	delete(o.starts, tp)
	return at, ok
}

// forgetCommits lets the next commit of a partition go back behind those before.
func (o *ownership) forgetCommits(tp klamm.TopicPartition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.owned[tp]; ok {
		o.seeks++
		o.owned[tp], o.sought[tp] = -1, o.seeks
	}
}

// ticket is how many seeks there were.
func (o *ownership) ticket() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seeks
}

// missing returns one of the partitions that is not owned.
func (o *ownership) missing(offsets map[klamm.TopicPartition]int64) (klamm.TopicPartition, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for tp := range offsets {
		if _, ok := o.owned[tp]; !ok {
			return tp, true
		}
	}
	return klamm.TopicPartition{}, false
}

// advance returns those offsets that are not below one committed before, and not
// from before a seek.
//
// Two commits may run at once: (1) one takes offset 100 of a partition, (2) a
// rebalance commits 150 before the partition goes, (3) the first one sends its
// 100. The next owner would read 50 records again.
func (o *ownership) advance(ticket int64, offsets map[klamm.TopicPartition]int64) map[klamm.TopicPartition]int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	fresh := make(map[klamm.TopicPartition]int64, len(offsets))
	for tp, at := range offsets {
		if last, ok := o.owned[tp]; ok && at > last && o.sought[tp] <= ticket {
			fresh[tp] = at
		}
	}
	return fresh
}

func (o *ownership) committed(ticket int64, offsets map[klamm.TopicPartition]int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for tp, at := range offsets {
		if last, ok := o.owned[tp]; ok && o.sought[tp] <= ticket {
			o.owned[tp] = max(last, at)
		}
	}
}
