package host

import (
	"slices"

	"github.com/klamm-io/klamm/host/internal/produce"
	"github.com/klamm-io/klamm/state"
)

// grouping sorts the records of a block by partition. Those of one are chained in
// their order, since each partition is locked, and its batch is in the cache,
// once.
type grouping struct {
	first, last []int32 // of each partition; -1 where there is none
	recs        []produce.Encoded
	bodies      []byte // of records that plugins have changed
}

// bodiesKept is how much memory for changed records is kept for the next block.
const bodiesKept = 1 << 20

// begin empties the grouping for at most n records.
func (g *grouping) begin(n, partitions int) {
	g.first, g.last = g.first[:0], g.last[:0]
	for range partitions {
		g.first, g.last = append(g.first, -1), append(g.last, -1)
	}
	g.recs, g.bodies = slices.Grow(g.recs[:0], n), g.bodies[:0]
	if cap(g.bodies) > bodiesKept {
		g.bodies = nil
	}
}

// next returns a new record, which the caller fills in, at the end of a
// partition's chain.
func (g *grouping) next(to int32) *produce.Encoded {
	i := int32(len(g.recs))
	g.recs = g.recs[:i+1]
	if last := g.last[to]; last >= 0 {
		g.recs[last].Next = i
	} else {
		g.first[to] = i
	}
	g.last[to] = i
	return &g.recs[i]
}

// body encodes the body of a record that plugins have changed.
func (g *grouping) body(t *placement) []byte {
	most := produce.UpperBound(len(t.record.Key), len(t.record.Value), t.record.Headers)
	g.bodies = slices.Grow(g.bodies, most) // what was encoded before stays where it is
	start := len(g.bodies)
	_, _, size := produce.PutBody(g.bodies[start:start+most], t.record.Key, t.record.Value, t.record.Headers)
	g.bodies = g.bodies[:start+size]
	return g.bodies[start : start+size : start+size]
}

// appendGrouped hands records over that are placed, partition by partition.
func (pl *placer) appendGrouped(l *lane, todo []placement) {
	topic := pl.topic(l, todo[0].record.Topic)
	g := &pl.group
	g.begin(len(todo), len(topic.view.Partitions))
	for i := range todo {
		pl.gather(l, &todo[i])
	}
	pl.appendChains(l, topic)
}

// gather adds a record to the chain of its partition, or fails it.
func (pl *placer) gather(l *lane, t *placement) {
	if err := pl.claimMemory(l, t); err != nil {
		t.fail(l.p, t.to, err)
		return
	}
	body := t.body
	if body == nil {
		body = pl.group.body(t)
	}
	t.slot.encoded(pl.group.next(t.to), body)
}

// encoded fills in, in place, what the accumulator gets of a record. From
// AppendEach on it owns the reservation.
func (sl *slot) encoded(e *produce.Encoded, body []byte) {
	e.Body, e.TimestampMS, e.Ref, e.Reserved, e.Txn, e.Next = body, sl.timestamp, uint64(sl.ref), sl.reserved, uint32(sl.txn), -1
	sl.reserved = 0
}

// appendChains appends what is grouped.
func (pl *placer) appendChains(l *lane, topic *placeTopic) {
	for to, first := range pl.group.first {
		if first >= 0 {
			pl.appendChain(l, topic, int32(to), first)
		}
	}
}

// appendChain appends the records of one partition, and fails those that are
// refused.
func (pl *placer) appendChain(l *lane, topic *placeTopic, to, first int32) {
	recs := pl.group.recs
	part, err := topic.partition(l.p, to)
	for first >= 0 {
		refused := first
		if part != nil {
			refused, err = part.AppendEach(recs, first)
		}
		for ; first != refused; first = recs[first].Next {
			pl.account(&topic.view, to, recs[first].NewBatch, int(recs[first].Reserved))
		}
		if refused < 0 {
			return
		}
		e := &recs[refused]
		sl := l.p.slots.at(state.Ref(e.Ref))
		sl.reserved = e.Reserved
		l.p.failLocal(sl, topic.name, to, err)
		first = e.Next
	}
}
