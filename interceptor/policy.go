package interceptor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// policy decides about a record that a link could not judge, because of err.
func (r *run) policy(p *place, it *Item, kind string, err error) {
	r.changes++
	r.fault(p, kind, nil)
	r.logFault(p, it, kind, err)
	if r.trace != nil {
		r.trace.fault(err)
	}
	if p.link.OnError == Pass {
		return
	}
	var gen *generation
	if p.guest != nil {
		gen = r.gen
	}
	err = p.errorOf(err)
	switch p.link.OnError {
	case Drop:
		r.ended(p, gen, it, klamm.Dropped)
		it.Reason = err.Error()
		r.metrics().Drop(p.link.Name, "error", 1)
	case DeadLetter:
		r.ended(p, gen, it, klamm.DeadLettered)
		it.Reason, it.Faulted = err.Error(), true
		r.deadLetter(p, it)
	default:
		r.ended(p, gen, it, klamm.Failed)
		it.Reason, it.Err = kind, err
	}
}

// fault counts one fault and logs it where err is given.
func (r *run) fault(p *place, kind string, err error) {
	r.metrics().Fault(p.link.Name, r.hook.String(), kind)
	if err != nil {
		r.logFault(p, nil, kind, err)
	}
}

func (r *run) logFault(p *place, it *Item, kind string, err error) {
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs, slog.String("kind", kind), slog.String("on_error", p.link.OnError.String()))
	if it != nil {
		attrs = append(attrs, slog.String("topic", it.Record.Topic), slog.Int("partition", int(r.partition(it))))
	}
	attrs = append(attrs, slog.Any("error", err))
	p.logFault(r.lane, withStack(attrs, err))
}

// withStack adds the guest's stack where the call of an error ended.
func withStack(attrs []slog.Attr, err error) []slog.Attr {
	if stack := runtime.StackOf(err); stack != "" {
		attrs = append(attrs, slog.String("stack", stack))
	}
	return attrs
}

// partition is where the record came from, or where it demands to go.
func (r *run) partition(it *Item) int32 {
	if r.hook == abi.OnConsume {
		return it.Record.Partition
	}
	if to, demanded := it.Record.Target.Partition(); demanded {
		return to
	}
	return klamm.NoPartition
}

func (p *place) logFault(l *Lane, attrs []slog.Attr) {
	ok, lost := p.faults.allow()
	log := l.chain.logger
	ctx := context.Background()
	common := []slog.Attr{slog.String("plugin", p.link.Name), slog.String("hook", p.hook.String()), slog.String("chain", l.chain.cfg.Name)}
	if lost > 0 {
		log.LogAttrs(ctx, slog.LevelWarn, "plugin fault lines suppressed", append(common, slog.Int("lines", lost))...)
	}
	if ok {
		log.LogAttrs(ctx, slog.LevelWarn, "plugin fault", append(common, attrs...)...)
	}
}

// failed brings items to an end that a call failed for.
func (r *run) failed(ctx context.Context, p *place, items []*Item, err error) {
	if !isFault(err) {
		r.withoutCall(ctx, p, items, err)
		return
	}
	s := search{r: r, p: p, until: time.Now().Add(2 * p.link.timeout())}
	s.split(ctx, items, err)
	if !s.found {
		// The records passed one by one: the fault was the batch's.
		r.fault(p, faultKind(err), err)
	}
}

// withoutCall decides about items that the plugin was not asked about.
func (r *run) withoutCall(ctx context.Context, p *place, items []*Item, err error) {
	if ctx.Err() != nil {
		for _, it := range items {
			r.ended(p, nil, it, klamm.Failed)
			it.Reason, it.Err = "ended", p.errorOf(ctx.Err())
		}
		r.changes++
		return
	}
	if errors.Is(err, state.ErrPendingElsewhere) { // no fault of anybody's: it is not known yet
		r.fault(p, "state", nil)
		for _, it := range items {
			r.ended(p, nil, it, klamm.Failed)
			it.Reason, it.Err = "state", p.errorOf(err)
		}
		r.changes++
		return
	}
	kind := faultKind(err)
	if kind == "breaker_open" {
		err = fmt.Errorf("not called: %w", klamm.ErrBreakerOpen)
	}
	for _, it := range items {
		r.policy(p, it, kind, err)
	}
}

// faultKind names an error in metrics.
func faultKind(err error) string {
	var native *nativeError
	switch {
	case errors.As(err, &native):
		return native.kind()
	case errors.Is(err, errRestless):
		return "claims"
	case errors.Is(err, runtime.ErrBreakerOpen):
		return "breaker_open"
	case errors.Is(err, state.ErrUnavailable), errors.Is(err, state.ErrPendingElsewhere):
		return "state"
	}
	if kind := runtime.FaultKind(err); kind != "" {
		return kind
	}
	return "host"
}
