package kafka

import "github.com/klamm-io/klamm/state"

// queue is what is staged, in order. Ids are remembered in that order too, or
// nearly, so that none has to be looked for.
type queue struct {
	order []place
	next  int                // the one that is likely to be remembered next
	index map[state.ID]place // of what is not remembered yet, once one came out of order
}

// place is where an id is staged. part is nil for one that was forgotten.
type place struct {
	part *part
	i    int
}

func (p place) staged() *staged { return &p.part.staged[p.i] }

func (q *queue) put(p place) {
	if q.index != nil { // some were remembered before all were staged
		q.index = nil
	}
	q.order = append(q.order, p)
}

// find returns where an id is staged that is not remembered yet.
func (q *queue) find(id state.ID) (place, bool) {
	for q.next < len(q.order) && (q.order[q.next].part == nil || q.order[q.next].staged().done) {
		q.next++
	}
	if q.next < len(q.order) && q.order[q.next].staged().id == id {
		q.next++
		return q.order[q.next-1], true
	}
	if q.index == nil {
		q.index = make(map[state.ID]place)
		for _, p := range q.order[q.next:] {
			if p.part != nil && !p.staged().done {
				q.index[p.staged().id] = p
			}
		}
	}
	p, ok := q.index[id]
	return p, ok && p.part.phase == ready && !p.staged().done
}

// forget takes what a partition has staged out.
func (q *queue) forget(part *part) {
	left := false
	for i := range q.order {
		if q.order[i].part == part {
			q.order[i].part = nil
		}
		left = left || q.order[i].part != nil
	}
	q.index = nil
	if !left {
		q.order, q.next = q.order[:0], 0
	}
}

// clear takes all out.
func (q *queue) clear() { q.order, q.next, q.index = q.order[:0], 0, nil }
