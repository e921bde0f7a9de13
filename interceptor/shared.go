package interceptor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klamm-io/klamm/state"
)

// A state that hosts share is asked after the call, in one round trip for all
// that it claimed: a guest never waits for a network. Where an answer is not
// what the guest was told, its call is as if it had not been, and is made again
// with the answers at hand.

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

// resolve asks for the claims of the call that have no answer yet. The call
// stands if all of them are this host's. Else it is to be made again with the
// first known records: what the one after them claimed is in flight on another
// host.
func (t *transaction) resolve(ctx context.Context) (stands bool, known int, err error) {
	var asks []state.Ask
	var of []int
	for i := range t.claims {
		c := &t.claims[i]
		if !c.held {
			continue
		}
		id := t.ids[c.id.start:c.id.end]
		if _, told := t.told[answerKey(c.topic, id)]; told {
			continue
		}
		now := t.space.ClockMS(t.items[c.index].Record.Timestamp, t.nowMS)
		asks, of = append(asks, state.Ask{Topic: c.topic, ID: id, TTL: c.ttl, NowMS: now}), append(of, i)
	}
	stands, known = true, len(t.items)
	if len(asks) == 0 {
		return stands, known, nil
	}
	if err := t.space.Ask(ctx, asks); err != nil {
		return false, 0, err
	}
	if t.told == nil {
		t.told = map[string]hostAnswer{}
	}
	for i, a := range asks {
		stands = stands && a.Code == state.New
		if a.Code == state.Pending {
			known = min(known, t.claims[of[i]].index)
			continue
		}
		t.told[answerKey(a.Topic, a.ID)] = hostAnswer{topic: a.Topic, id: append([]byte(nil), a.ID...), code: a.Code, at: a.At}
	}
	return stands, known, nil
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

var errRestless = errors.New("it claims other ids each time that it is called for the same records")

// share resolves the claims of a call. again: it is to be made again, with n
// items. Else an error is that of the first n.
func (r *run) share(ctx context.Context, p *place, items []*Item, round int) (again bool, n int, err error) {
	stands, known, err := r.tx.resolve(ctx)
	switch {
	case err != nil:
		return false, len(items), err
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
