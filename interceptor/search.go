package interceptor

import (
	"context"
	"fmt"
	"time"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/state"
)

// search finds the records that make a call fail, in order and by halving: the
// others get their verdicts, and the policy is applied to the culprits. Its time
// is bounded, since each faulted call may cost a deadline and a new instance.
type search struct {
	r     *run
	p     *place
	until time.Time
	found bool // a culprit
}

// split decides about items whose call failed with err.
func (s *search) split(ctx context.Context, items []*Item, err error) {
	if len(items) == 1 {
		s.culprit(items[0], err, nil)
		return
	}
	if at, ok := runtime.Culprit(err); ok && at < len(items) {
		var ids []reservation
		if s.p.link.OnError == Pass {
			ids = s.r.tx.reservations(at)
		}
		s.again(ctx, items[:at])
		s.culprit(items[at], err, ids)
		s.again(ctx, items[at+1:])
		return
	}
	s.suspect(ctx, items)
}

// suspect decides about items of which one at least is thought a culprit: they
// are not tried all together.
func (s *search) suspect(ctx context.Context, items []*Item) {
	for len(items) > 1 {
		mid := len(items) / 2
		clean := s.again(ctx, items[:mid])
		items = items[mid:]
		if !clean {
			break
		}
	}
	s.again(ctx, items)
}

// again judges items once more and reports whether all of them got their
// verdicts.
func (s *search) again(ctx context.Context, items []*Item) (clean bool) {
	clean = true
	for len(items) > 0 {
		if time.Now().After(s.until) {
			s.unjudged(items)
			return false
		}
		n, err := s.r.call(ctx, s.p, items, true)
		if err != nil {
			clean = false
			if isFault(err) {
				s.split(ctx, items[:n], err)
			} else {
				s.r.withoutCall(ctx, s.p, items[:n], err)
			}
		}
		items = items[n:]
	}
	return clean
}

// culprit applies the policy to the record that a fault is about. ids are those
// that it reserved in a call that was undone since.
func (s *search) culprit(it *Item, err error, ids []reservation) {
	s.found = true
	for _, id := range ids {
		s.r.reserve(s.p, it, id)
	}
	s.r.policy(s.p, it, faultKind(err), err)
}

func (s *search) unjudged(items []*Item) {
	s.found = true
	err := fmt.Errorf("not judged: the search for the record that makes the plugin fail took longer than twice its timeout of %s", s.p.link.timeout())
	for _, it := range items {
		s.r.policy(s.p, it, "unjudged", err)
	}
}

// reserve claims an id again for a record that goes on without a verdict. One
// that another record holds by now stays that one's.
func (r *run) reserve(p *place, it *Item, id reservation) {
	now := p.link.Space.ClockMS(it.Record.Timestamp, r.batch.NowMS)
	a := p.link.Space.Claim(state.Ref(it.Ref), id.topic, id.id, id.ttl, now)
	it.Claimed = it.Claimed || a.Fresh
	if a.Fresh && p.link.Space.Shared() {
		r.pass(p, it, id)
	}
	if a.Wait != nil {
		a.Wait.Cancel()
	}
}
