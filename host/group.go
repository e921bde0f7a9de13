package host

import (
	"slices"

	"github.com/klamm-io/klamm/host/internal/produce"
)

// grouping sorts the records of a block by partition. The records of one are
// linked in their order, since each partition is locked, and its batch is in the
// cache, once.
type grouping struct {
	first []int32 // of each partition; -1 where there is none
	next  []int32 // of each record
	recs  []produce.Record
	slots []*slot
}

// appendGrouped hands records over that are placed, partition by partition.
func (pl *placer) appendGrouped(l *lane, todo []placement) {
	topic := pl.topic(l, todo[0].record.Topic)
	g := &pl.group
	g.link(todo, len(topic.view.Partitions))
	for to, i := range g.first {
		if i < 0 {
			continue
		}
		g.recs, g.slots = g.recs[:0], g.slots[:0]
		for ; i >= 0; i = g.next[i] {
			pl.gather(l, &todo[i], int32(to))
		}
		pl.appendGroup(l, topic, int32(to))
		clear(g.recs) // a group is all that is ever in use
		clear(g.slots)
	}
}

func (g *grouping) link(todo []placement, partitions int) {
	g.first, g.next = g.first[:0], g.next[:0]
	for range partitions {
		g.first = append(g.first, -1)
	}
	for range todo {
		g.next = append(g.next, -1)
	}
	for i := len(todo) - 1; i >= 0; i-- {
		to := todo[i].to
		g.next[i], g.first[to] = g.first[to], int32(i)
	}
}

// gather adds a record to the group of its partition, or fails it.
func (pl *placer) gather(l *lane, t *placement, to int32) {
	if err := pl.claimMemory(l, t); err != nil {
		t.fail(l.p, to, err)
		return
	}
	g := &pl.group
	g.recs = slices.Grow(g.recs, 1)[:len(g.recs)+1]
	t.produce(&g.recs[len(g.recs)-1])
	g.slots = append(g.slots, t.slot)
}

// appendGroup appends the records of one partition, and fails those that are
// refused.
func (pl *placer) appendGroup(l *lane, topic *placeTopic, to int32) {
	part, err := topic.partition(l.p, to)
	recs, slots := pl.group.recs, pl.group.slots
	for len(recs) > 0 {
		n := 0
		if part != nil {
			n, err = part.AppendAll(recs)
		}
		for i := range n {
			pl.account(&topic.view, to, recs[i].NewBatch, recs[i].Reserved)
		}
		if n < len(recs) {
			slots[n].reserved = int32(recs[n].Reserved)
			l.p.failLocal(slots[n], topic.name, to, err)
			n++
		}
		recs, slots = recs[n:], slots[n:]
	}
}
