package interceptor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// run is one judgement of a batch, and the lane's scratch for it.
type run struct {
	lane  *Lane
	hook  abi.Hook
	batch *Batch
	items []*Item // that still pass
	block runtime.Block
	// encoded is what block holds; changes counts what made it stale.
	encoded encoding
	changes int
	tx      transaction
	gen     *generation // that the last call went to
	tally   tally
	saved   []Item // of native links
	passed  []passed
	headers []klamm.Header
	trace   *trace // of Explain, else nil
}

func (r *run) judge(ctx context.Context, hook abi.Hook, b *Batch) {
	r.begin(hook, b)
	for _, p := range r.lane.places[hook] {
		if len(r.items) == 0 {
			break
		}
		if !p.has(hook) {
			continue
		}
		r.through(ctx, p)
		r.compact()
	}
	clear(r.items[:len(b.Items)])
	r.batch = nil
}

func (r *run) begin(hook abi.Hook, b *Batch) {
	r.hook, r.batch = hook, b
	r.encoded = encoding{}
	r.items = r.items[:0]
	var bits uint16
	var generations uint64
	if hook == abi.OnSend {
		bits, generations = r.lane.listeners()
	}
	r.items = slices.Grow(r.items, len(b.Items))
	for i := range b.Items {
		it := &b.Items[i]
		if bits != 0 {
			it.Offered |= bits
			it.Generations |= generations
		}
		if it.Outcome == klamm.InFlight {
			r.items = append(r.items, it)
		}
	}
}

// listeners are the links of the on_send list that have no on_send now: they
// see the acknowledgements of every record.
func (l *Lane) listeners() (bits uint16, generations uint64) {
	for _, p := range l.places[abi.OnSend] {
		if p.has(abi.OnSend) {
			continue
		}
		bits |= 1 << p.index
		if p.guest == nil {
			continue
		}
		if gen := p.guest.seat.generation(); gen != nil {
			generations = withGeneration(generations, p.index, gen.number)
		}
	}
	return bits, generations
}

// compact leaves the items that still pass, in order.
func (r *run) compact() {
	kept := 0
	for _, it := range r.items {
		if it.Outcome != klamm.InFlight {
			continue
		}
		if r.items[kept] != it { // most often nothing moves
			r.items[kept] = it
		}
		kept++
	}
	r.items = r.items[:kept]
}

// through brings every item past one link.
func (r *run) through(ctx context.Context, p *place) {
	items := r.items
	for len(items) > 0 {
		n, err := r.call(ctx, p, items, r.trace != nil)
		if err != nil {
			r.failed(ctx, p, items[:n], err)
		}
		items = items[n:]
	}
	if p.link.Space.Shared() {
		r.sharePassed(ctx, p)
		r.tx.disown(p.link.Space)
	}
	r.tally.report(r.metrics(), p)
}

// call offers the first items to a link: as many as a block takes. It returns
// how many it was about: those that have their verdict now or, with an error,
// those that the call failed for, which are as they were before.
func (r *run) call(ctx context.Context, p *place, items []*Item, retry bool) (int, error) {
	if p.guest == nil {
		return r.callNative(ctx, p, items)
	}
	return r.callGuest(ctx, p, items, retry)
}

func (r *run) callGuest(ctx context.Context, p *place, items []*Item, retry bool) (int, error) {
	g := p.guest
	g.mu.Lock()
	defer g.mu.Unlock()
	again := false
	for round := 1; ; {
		gen := g.seat.generation()
		if gen == nil || !gen.hooks.Has(r.hook) {
			return len(items), nil // a new version without the hook came in
		}
		r.gen = gen
		n := r.encode(items, gen.fields[r.hook], p.limit)
		r.block.Retry = retry
		v, took, err := r.invoke(ctx, p, items[:n])
		if errors.Is(err, runtime.ErrOutdated) {
			r.tx.undoFrom(0)
			continue
		}
		if err != nil {
			r.undo(p, items[:n], took, err)
			return n, err
		}
		// The seat may have moved to a newer version in the meantime.
		if gen = v.generation(); gen == nil {
			return n, nil
		}
		r.gen = gen
		offered(p, gen, items[:n])
		if p.link.Space.Shared() {
			more, m, err := r.share(ctx, p, items[:n], round)
			if err != nil {
				r.undo(p, items[:n], took, err)
				return m, err
			}
			if more {
				items = items[:m]
				round++
				continue
			}
		}
		done := v.Len()
		if done < n && !again && r.tx.unattributed() {
			// What the call counted and put includes records that have no verdict,
			// and does not say which. So it is undone, and the records that fit are
			// judged alone.
			r.tx.undoFrom(0)
			r.metrics().Call(g.name, r.hook.String(), 0, took)
			items, again = items[:done], true
			continue
		}
		r.accept(p, gen, items[:done], v)
		r.metrics().Call(g.name, r.hook.String(), done, took)
		return done, nil
	}
}

// invoke runs one call.
func (r *run) invoke(ctx context.Context, p *place, items []*Item) (verdicts, time.Duration, error) {
	g := p.guest
	r.tx.dry = r.trace != nil
	r.tx.begin(items, nil, p.link.Space, r.batch.NowMS)
	g.host.tx = &r.tx
	start := time.Now()
	v, err := g.seat.judge(ctx, r.hook, &r.block)
	took := time.Since(start)
	g.host.tx = nil
	g.judged++
	if errors.Is(err, runtime.ErrOutdated) { // no guest was called
		return nil, took, err
	}
	p.adapt(len(items), took)
	if err == nil && (v.Len() == 0 || v.Len() > len(items)) {
		err = &runtime.VerdictError{
			Plugin: g.name, Export: r.hook.Export(), Index: -1,
			Problem: fmt.Sprintf("%d verdicts for %d records", v.Len(), len(items)),
		}
	}
	if r.tx.refused != nil {
		err = r.tx.refused // whatever the guest made of it
	}
	if r.trace != nil {
		r.trace.called(took)
	}
	return v, took, err
}

// offered notes that a link was offered the items, and by which generation.
func offered(p *place, gen *generation, items []*Item) {
	if p.hook != abi.OnSend {
		return
	}
	bit := uint16(1) << p.index
	for _, it := range items {
		it.Offered |= bit
		it.Generations = withGeneration(it.Generations, p.index, gen.number)
	}
}

// withGeneration sets the last four bits of a generation's number for a link.
func withGeneration(all uint64, link, number int) uint64 {
	shift := 4 * uint(link)
	return all&^(0xf<<shift) | uint64(number&0xf)<<shift
}

// adapt keeps blocks so short that a call ends well before its deadline.
func (p *place) adapt(records int, took time.Duration) {
	limit := p.link.timeout()
	switch {
	case took > limit/4:
		p.limit = max(1, records/2)
	case took < limit/16 && p.limit < abi.BatchMax:
		p.limit = min(2*p.limit, abi.BatchMax)
	}
}

// undo takes back what a call did that failed. A record that is alone in its
// call and let through by its policy keeps the ids that it reserved.
func (r *run) undo(p *place, items []*Item, took time.Duration, err error) {
	if !errors.Is(err, runtime.ErrBreakerOpen) {
		r.metrics().Call(p.link.Name, r.hook.String(), 0, took)
		offered(p, r.gen, items)
	}
	if len(items) == 1 && p.link.OnError == Pass && isFault(err) && r.trace == nil {
		r.tx.waive()
		if p.link.Space.Shared() {
			for _, id := range r.tx.held() {
				r.pass(p, items[0], id)
			}
		}
		return
	}
	r.tx.undoFrom(0)
}

// accept lets a call take effect for the items, which have a verdict each.
func (r *run) accept(p *place, gen *generation, items []*Item, v verdicts) {
	r.tx.undoFrom(len(items))
	r.tx.hand(len(items))
	if r.trace != nil {
		r.trace.met(items[0])
		defer r.unexplain(items[0])
	}
	words := v.Words()
	for i, it := range items {
		w := words[i]
		var kind string
		var err error
		switch w.Code() {
		case abi.Pass:
		case abi.Route: // without the copy of a verdict
			r.changes++
			kind, err = "verdict", route(&it.Record, int32(w.Arg()))
		default:
			r.changes++
			kind, err = r.applyAt(p, gen, it, v, i, w)
		}
		if err != nil {
			letGo(it)
			r.policy(p, it, kind, err)
			continue
		}
		r.count(w.Code())
	}
	r.letGo(items)
	if err := r.tx.store(); err != nil {
		r.fault(p, "host", fmt.Errorf("put state: %w", err))
	}
	p.guest.host.report(&r.tx, r.metrics())
}

// applyAt applies verdict i. A drop without a text, which duplicates are, is
// applied from its word.
func (r *run) applyAt(p *place, gen *generation, it *Item, v verdicts, i int, w abi.Verdict) (kind string, err error) {
	if w.Code() == abi.Drop && w.Arg() == 0 {
		r.ended(p, gen, it, klamm.Dropped)
		name := gen.reasonOf(w.Reason())
		it.ReasonCode, it.Reason = w.Reason(), name
		r.tally.drop(w.Reason(), name)
		return "", nil
	}
	verdict := v.At(i)
	return r.apply(p, gen, it, &verdict)
}

// letGo ends the waits of records that were not dropped by the plugin that met
// the records in flight, and forgets what else they met.
func (r *run) letGo(items []*Item) {
	for i := range r.tx.claims {
		if at := r.tx.claims[i].index; at < len(items) {
			if it := items[at]; it.Outcome != klamm.Dropped {
				letGo(it)
			}
		}
	}
}

func letGo(it *Item) {
	if it.Wait != nil {
		it.Wait.Cancel()
		it.Wait = nil
	}
	it.Duplicate = state.Position{}
}

// count counts a verdict that took effect.
func (r *run) count(code abi.Code) {
	r.tally.verdicts[code]++
	if r.trace != nil {
		r.trace.step.Verdict = code.String()
	}
}

func (r *run) metrics() Metrics {
	if r.trace != nil {
		return noMetrics{}
	}
	return r.lane.chain.metrics
}

// isFault reports whether err is the interceptor's own failure in a call, so
// that a search for the record behind it makes sense.
func isFault(err error) bool {
	var native *nativeError
	return errors.As(err, &native) || runtime.IsFault(err)
}
