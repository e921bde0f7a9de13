package interceptor

import (
	"context"
	"fmt"
	"time"

	"github.com/klamm-io/klamm/state"
)

// A state that hosts share is asked after the call, in one round trip for all
// that it claimed: a guest never waits for a network, and neither does who tells
// it of acknowledgements, since its lock is free meanwhile. Where an answer is not
// what the guest was told, its call is as if it had not been, and is made again
// with the answers at hand. Each id of a batch is asked for once.

// hostAnswer is what the other hosts said of an id that this batch claims.
type hostAnswer struct {
	topic string
	id    []byte
	code  int32
	at    state.Position
}

func answerKey(topic string, id []byte) string { return topic + "\x00" + string(id) }

// meets reports whether a record of another host was written with the id, and
// notes that as the answer to a claim.
func (t *transaction) meets(index int, id []byte, ttl time.Duration) bool {
	if len(t.told) == 0 {
		return false
	}
	a, ok := t.told[answerKey(t.items[index].Record.Topic, id)]
	if !ok || a.code != state.Confirmed {
		return false
	}
	t.note(index, id, ttl, &state.Answer{Code: state.Confirmed, At: a.at})
	return true
}

// question is what a call claimed that has no answer yet.
type question struct {
	asks []state.Ask
	of   []int // their claims
}

// unasked returns the question of a call, whether the call stands by what is told
// already, and how many of its first records then are known: what the one after
// them claimed is in flight on another host.
func (t *transaction) unasked() (q question, stands bool, known int) {
	stands, known = true, len(t.items)
	for i := range t.claims {
		c := &t.claims[i]
		if !c.held {
			continue
		}
		id := t.ids[c.id.start:c.id.end]
		if a, told := t.told[answerKey(c.topic, id)]; told {
			if a.code == state.Pending {
				stands, known = false, min(known, c.index)
			}
			continue
		}
		now := t.space.ClockMS(t.items[c.index].Record.Timestamp, t.nowMS)
		q.asks, q.of = append(q.asks, state.Ask{Topic: c.topic, ID: id, TTL: c.ttl, NowMS: now}), append(q.of, i)
	}
	return q, stands, known
}

// learn notes the answers to a question, as unasked does those of before.
func (t *transaction) learn(q *question, stands bool, known int) (bool, int) {
	if t.told == nil {
		t.told = map[string]hostAnswer{}
	}
	for i, a := range q.asks {
		stands = stands && a.Code == state.New
		if a.Code == state.Pending {
			known = min(known, t.claims[q.of[i]].index)
		}
		t.told[answerKey(a.Topic, a.ID)] = hostAnswer{topic: a.Topic, id: append([]byte(nil), a.ID...), code: a.Code, at: a.At}
	}
	return stands, known
}

// setAside undoes the call for one that is made again: other hosts go on to see its
// claims as this host's.
func (t *transaction) setAside() {
	t.waive()
	for i := len(t.claims) - 1; i >= 0; i-- {
		if c := &t.claims[i]; c.held {
			t.space.Keep(state.Ref(t.items[c.index].Ref), c.topic, t.ids[c.id.start:c.id.end])
			c.held = false
		}
	}
}

// disown gives back what was asked for and is no record's in the end, and
// forgets the answers.
func (t *transaction) disown(space *state.Space) {
	for _, a := range t.told {
		if a.code == state.New {
			space.Disown(a.topic, a.id)
		}
	}
	clear(t.told)
}

// roundsMax bounds how often a call is made for the same records. Two are
// enough for a guest that claims the same ids each time.
const roundsMax = 4

// errRestless: other hosts are asked for a call's ids, and then the call is made
// again with their answers, which are of no use to other ids.
var errRestless = fmt.Errorf("it claimed other ids in each of %d calls for the same records, so that what other hosts have of them is never known to it: have it make ids of the record alone, not of random numbers, the time or what it counts", roundsMax)

// share has the other hosts asked for the claims of a call, without the guest's
// lock, which is held before and after. The call stands if all are this host's.
// Else it is made again, with n items; or an error is that of the first n.
func (r *run) share(ctx context.Context, p *place, items []*Item, round int) (again bool, n int, err error) {
	q, stands, known := r.tx.unasked()
	if len(q.asks) > 0 {
		g := p.guest
		judged := g.judged
		g.mu.Unlock()
		err = p.link.Space.Ask(ctx, q.asks)
		g.mu.Lock()
		if err != nil {
			return false, len(items), err
		}
		stands, known = r.tx.learn(&q, stands, known)
		stands = stands && g.judged == judged // else the verdicts are gone
	}
	switch {
	case stands:
		return false, len(items), nil
	case known == 0:
		r.tx.setAside()
		return false, 1, fmt.Errorf("state of plugin %q: %w", p.link.Name, state.ErrPendingElsewhere)
	case round >= roundsMax:
		return false, len(items), errRestless
	}
	r.tx.setAside()
	return true, min(known, len(items)), nil
}

// passed is an id of a record that goes on without a verdict.
type passed struct {
	item *Item
	ask  state.Ask
}

// pass notes an id that a record reserved which its policy lets through.
func (r *run) pass(p *place, it *Item, id reservation) {
	if r.tx.toldNew(id.topic, id.id) {
		return
	}
	now := p.link.Space.ClockMS(it.Record.Timestamp, r.batch.NowMS)
	r.passed = append(r.passed, passed{it, state.Ask{Topic: id.topic, ID: id.id, TTL: id.ttl, NowMS: now}})
}

// held returns copies of the ids that the call holds.
func (t *transaction) held() (ids []reservation) {
	for i := range t.claims {
		if c := &t.claims[i]; c.held {
			ids = append(ids, reservation{topic: c.topic, id: append([]byte(nil), t.ids[c.id.start:c.id.end]...), ttl: c.ttl})
		}
	}
	return ids
}

func (t *transaction) toldNew(topic string, id []byte) bool {
	a, told := t.told[answerKey(topic, id)]
	return told && a.code == state.New
}

// sharePassed has the other hosts know of the ids of records that were let
// through, so that their duplicates meet them there. One that another host has
// stays that one's.
func (r *run) sharePassed(ctx context.Context, p *place) {
	if len(r.passed) == 0 {
		return
	}
	asks := make([]state.Ask, len(r.passed))
	for i := range r.passed {
		asks[i] = r.passed[i].ask
	}
	if err := p.link.Space.AskOnce(ctx, asks); err != nil {
		r.fault(p, "state", err)
	} else {
		for i, a := range asks {
			if a.Code != state.New {
				p.link.Space.Keep(state.Ref(r.passed[i].item.Ref), a.Topic, a.ID)
			}
		}
	}
	clear(r.passed)
	r.passed = r.passed[:0]
}
