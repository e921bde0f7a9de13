package consume

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
)

// reconciler has a member's partitions follow what the coordinator wants: it lets
// go what is to go, says so, takes what has come, says so, and looks at the target
// again.
type reconciler struct {
	m       *heart
	ctx     context.Context
	kick    chan struct{} // the target has changed, or what is known of its topics
	done    chan struct{}
	reading map[klamm.TopicPartition]*assigned
	asking  sync.WaitGroup
	targets int         // how many it has followed
	lost    atomic.Bool // how it ends; set before ctx does
	late    atomic.Bool // a topic of the target is not known yet
}

// assigned is one partition that is read.
type assigned struct {
	id     idPartition
	cancel context.CancelFunc
	done   chan struct{} // its reading has ended, and its revocation
}

func newReconciler(m *heart, ctx context.Context) *reconciler {
	return &reconciler{
		m: m, ctx: ctx, kick: make(chan struct{}, 1), done: make(chan struct{}),
		reading: make(map[klamm.TopicPartition]*assigned),
	}
}

func (r *reconciler) run() {
	defer close(r.done)
	// A topic's id may be known to the coordinator before it is to us.
	defer r.m.cluster.Watch(func(*cluster.Topic) {
		if r.late.Load() {
			poke(r.kick)
		}
	})()
	for r.ctx.Err() == nil {
		select {
		case <-r.kick:
			r.reconcile()
		case <-r.ctx.Done():
		}
	}
	for _, a := range r.reading {
		<-a.done // its context is r's
	}
	r.asking.Wait()
	r.m.own.revokeAll(r.lost.Load())
	r.m.holds(nil, r.targets)
}

// reconcile takes one step towards the target.
func (r *reconciler) reconcile() {
	target, targets := r.m.target()
	want := r.names(target)
	kept := make(map[klamm.TopicPartition]idPartition)
	parts := make(map[string][]int32)
	var gone []*assigned
	var come []klamm.TopicPartition
	for tp, a := range r.reading {
		if want[tp] == a.id {
			kept[tp] = a.id
			continue
		}
		gone = append(gone, a)
		delete(r.reading, tp)
	}
	for tp := range want {
		if _, ok := kept[tp]; !ok {
			come = append(come, tp)
		}
		parts[tp.Topic] = append(parts[tp.Topic], tp.Partition)
	}
	if len(gone) > 0 {
		r.letGo(kept, gone)
		r.holds(kept, r.targets)
	}
	if r.ctx.Err() != nil {
		return
	}
	if len(come) > 0 {
		r.m.own.assign(parts)
		r.take(want, come)
	}
	r.targets = targets
	r.holds(want, targets)
	r.begin(come)
}

// holds tells the heart, as long as what is there is the member's.
func (r *reconciler) holds(parts map[klamm.TopicPartition]idPartition, targets int) {
	if r.ctx.Err() != nil {
		return
	}
	ids := idPartitions{}
	for _, id := range parts {
		ids[id] = true
	}
	r.m.holds(ids, targets)
}

// letGo has partitions revoked.
func (r *reconciler) letGo(kept map[klamm.TopicPartition]idPartition, gone []*assigned) {
	stay := make(map[string][]int32)
	for tp := range kept {
		stay[tp.Topic] = append(stay[tp.Topic], tp.Partition)
	}
	r.m.own.assign(stay)
	for _, a := range gone {
		a.cancel()
	}
	for _, a := range gone {
		<-a.done
	}
}

// take has partitions that have come assigned.
func (r *reconciler) take(want map[klamm.TopicPartition]idPartition, come []klamm.TopicPartition) {
	for _, tp := range come {
		r.m.own.begin(r.ctx, tp)
		r.reading[tp] = &assigned{id: want[tp], done: make(chan struct{})}
	}
}

// begin reads partitions that were taken. Where they start is asked for apart: an
// open transaction may keep the answer back, and what is to go meanwhile, one of
// them perhaps, does not wait for that.
func (r *reconciler) begin(come []klamm.TopicPartition) {
	var starting []starting
	for _, tp := range come {
		a := r.reading[tp]
		ctx, cancel := context.WithCancel(r.ctx)
		a.cancel = cancel
		s := newStarting(ctx, tp)
		starting = append(starting, s)
		go func() {
			defer close(a.done)
			defer cancel()
			r.m.read(s)
			<-ctx.Done()
			r.m.own.end(tp)
		}()
	}
	if len(starting) > 0 {
		r.asking.Go(func() { r.m.findStarts(r.ctx, starting) })
	}
}

// names gives the partitions of a target their topics' names. Those of a topic that
// is not known yet come when it is.
func (r *reconciler) names(target idPartitions) map[klamm.TopicPartition]idPartition {
	byID := make(map[[16]byte]string)
	for _, name := range r.m.topics {
		t := r.m.cluster.Topic(name)
		if t == nil {
			continue
		}
		if was, ok := r.m.known[name]; ok && was != t.ID {
			// Commits name topics: a position in the old one would be one in the new.
			r.m.fail(fmt.Errorf("read %s: %w", name, ErrTopicRecreated))
			continue
		}
		r.m.known[name] = t.ID
		byID[t.ID] = name
	}
	want := make(map[klamm.TopicPartition]idPartition)
	late := false
	for id := range target {
		name, ok := byID[id.topic]
		if !ok {
			late = true
			continue
		}
		want[klamm.TopicPartition{Topic: name, Partition: id.partition}] = id
	}
	r.late.Store(late)
	if late {
		r.m.cluster.Refresh(r.m.topics...)
		time.AfterFunc(retryBackoffMax, func() { poke(r.kick) })
	}
	return want
}

// target returns the last one, and how many there have been.
func (m *heart) target() (idPartitions, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.beats.target, m.beats.targets // replaced as a whole
}

// holds notes what the member has, and sends a heartbeat where that is news.
func (m *heart) holds(parts idPartitions, targets int) {
	m.mu.Lock()
	news := m.beats.holds(parts, targets)
	m.mu.Unlock()
	if news {
		poke(m.urgent)
	}
}
