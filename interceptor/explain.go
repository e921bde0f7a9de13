package interceptor

import (
	"context"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// Step is what one link did with an explained record.
type Step struct {
	Plugin string
	// Generation and Digest are of the plugin's version; zero for native ones.
	Generation int
	Digest     string
	// Called is false when the link has not got the hook, or its breaker is open.
	Called bool
	// Took is the time of all calls.
	Took time.Duration
	// Verdict is the verdict's name, or the policy's when Fault is set. "" when
	// the link has not got the hook.
	Verdict string
	Reason  string
	// Fault is why the failure policy decided, nil when it did not.
	Fault error
	// Duplicate is the record that has the same id, with a Topic, and Pending
	// says that a record in flight has it.
	Duplicate state.Position
	Pending   bool
	// Before and After share what was not changed.
	Before, After klamm.Record
	Outcome       klamm.Outcome
}

// trace collects the step of the link that is explained.
type trace struct{ step *Step }

func (t *trace) called(took time.Duration) {
	t.step.Called = true
	t.step.Took += took
}

func (t *trace) fault(err error) { t.step.Fault = err }

// met notes what the record's claims met, before they are undone.
func (t *trace) met(it *Item) {
	t.step.Pending = it.Wait != nil
	t.step.Duplicate = it.Duplicate
}

// unexplain gives back the claims of a call that is only explained.
func (r *run) unexplain(it *Item) {
	r.tx.undoFrom(0)
	if it.Wait != nil {
		it.Wait.Cancel()
		it.Wait = nil
	}
}

// Explain runs one record past the links of on_send or on_consume and returns
// what each did with it, up to the one that ended its way. Nothing of it stays:
// metrics are not told, values are not put, and claims are given back after each
// link. Instances do remember it, so that a lane of its own should be used; the
// rules of OnSend hold. When it.Claimed is set afterwards another record may have
// met its claims, so that its Ref must be settled as failed.
func (l *Lane) Explain(ctx context.Context, hook abi.Hook, it *Item, nowMS int64, topics TopicFacts) []Step {
	b := &Batch{Items: []Item{*it}, NowMS: nowMS, Topics: topics}
	r := &l.run
	r.begin(hook, b)
	defer func() { r.trace, r.batch = nil, nil }()
	steps := make([]Step, 0, len(l.places[hook]))
	for _, p := range l.places[hook] {
		steps = append(steps, l.explain(ctx, p, &b.Items[0]))
		if b.Items[0].Outcome != klamm.InFlight {
			break
		}
	}
	*it = b.Items[0]
	return steps
}

func (l *Lane) explain(ctx context.Context, p *place, it *Item) Step {
	s := Step{Plugin: p.link.Name, Before: it.Record, After: it.Record}
	if p.guest != nil {
		if gen := p.guest.seat.generation(); gen != nil {
			s.Generation, s.Digest = gen.number, gen.digest
		}
	}
	if !p.has(p.hook) {
		return s
	}
	r := &l.run
	r.trace = &trace{step: &s}
	r.items = append(r.items[:0], it)
	r.through(ctx, p)
	r.trace = nil
	r.compact()
	s.After, s.Outcome, s.Reason = it.Record, it.Outcome, it.Reason
	if s.Fault != nil {
		s.Verdict = p.link.OnError.String()
	}
	return s
}
