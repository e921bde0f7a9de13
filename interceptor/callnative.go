package interceptor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
)

// nativeError is the error or the panic of a native interceptor.
type nativeError struct {
	err      error
	panicked any
}

func (e *nativeError) Error() string {
	if e.panicked != nil {
		return fmt.Sprintf("panic: %v", e.panicked)
	}
	return e.err.Error()
}

func (e *nativeError) Unwrap() error { return e.err }

func (e *nativeError) kind() string {
	if e.panicked != nil {
		return "panic"
	}
	return "error"
}

// guarded runs a native interceptor's method.
func guarded(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &nativeError{panicked: p}
		}
	}()
	if err := call(); err != nil {
		return &nativeError{err: err}
	}
	return nil
}

func (r *run) callNative(ctx context.Context, p *place, items []*Item) (int, error) {
	items = items[:min(len(items), abi.BatchMax)]
	r.save(items)
	start := time.Now()
	err := guarded(func() error {
		if r.hook == abi.OnConsume {
			return p.link.Native.(OnConsumer).OnConsume(ctx, items)
		}
		return p.link.Native.(OnSender).OnSend(ctx, items)
	})
	took := time.Since(start)
	if r.trace != nil {
		r.trace.called(took)
	}
	for i, it := range items {
		if err != nil {
			*it = r.saved[i]
		}
		it.edited = true // it may have written any field
		if r.hook == abi.OnSend {
			it.Offered |= 1 << p.index
		}
	}
	if err != nil {
		r.metrics().Call(p.link.Name, r.hook.String(), 0, took)
		return len(items), err
	}
	for i, it := range items {
		r.acceptNative(p, it, &r.saved[i])
	}
	r.metrics().Call(p.link.Name, r.hook.String(), len(items), took)
	return len(items), nil
}

// save keeps the items as they are. Spare room of header lists is cut off, so
// that an append does not write into memory that others see.
func (r *run) save(items []*Item) {
	r.saved = r.saved[:0]
	for _, it := range items {
		hs := it.Record.Headers
		it.Record.Headers = hs[:len(hs):len(hs)]
		r.saved = append(r.saved, *it)
	}
}

// acceptNative lets a native interceptor's changes to one item take effect.
func (r *run) acceptNative(p *place, it, before *Item) {
	if err := r.lane.chain.checkTopic(p.link, before.Origin(), before.Record.Topic, it.Record.Topic); err != nil {
		offered := it.Offered
		*it = *before
		it.Offered, it.edited = offered, true
		r.policy(p, it, "topic_refused", err)
		return
	}
	if it.origin == "" && it.Record.Topic != before.Record.Topic {
		it.origin = before.Record.Topic
	}
	code := r.nativeVerdict(p, it, before)
	r.count(code)
	if code != abi.Pass {
		r.changes++
	}
}

func (r *run) nativeVerdict(p *place, it, before *Item) abi.Code {
	switch it.Outcome {
	case klamm.InFlight:
		if sameRecord(&it.Record, &before.Record) {
			return abi.Pass
		}
		return abi.Edit
	case klamm.Dropped:
		r.ended(p, nil, it, klamm.Dropped)
		r.metrics().Drop(p.link.Name, it.Reason, 1)
		return abi.Drop
	case klamm.DeadLettered:
		r.ended(p, nil, it, klamm.DeadLettered)
		r.deadLetter(p, it)
		return abi.DeadLetter
	}
	r.ended(p, nil, it, klamm.Failed)
	if it.Err == nil {
		it.Err = errNoReason
	}
	if it.Reason == "" {
		it.Reason = it.Err.Error()
	}
	it.Err = p.errorOf(it.Err)
	return abi.Fail
}

var errNoReason = errors.New("the interceptor failed the record and gave no error")

// sameRecord reports whether no field was replaced.
func sameRecord(a, b *klamm.Record) bool {
	return a.Topic == b.Topic && a.Target == b.Target && a.Timestamp.Equal(b.Timestamp) &&
		sameSlice(a.Key, b.Key) && sameSlice(a.Value, b.Value) && sameSlice(a.Headers, b.Headers)
}

func sameSlice[T any](a, b []T) bool {
	if len(a) != len(b) || (a == nil) != (b == nil) {
		return false
	}
	return len(a) == 0 || &a[0] == &b[0]
}
