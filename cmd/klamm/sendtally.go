package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// maxFailuresTold is how many failed records are told one by one.
const maxFailuresTold = 20

// sendTally sends a command's records and counts what becomes of them. Its
// callbacks come from the producer's notifier.
type sendTally struct {
	a     *app
	began time.Time

	mu       sync.Mutex
	counts   host.Counts
	reasons  map[string]int64 // of drops, by plugin and reason
	failure  error            // the first
	hopeless error            // one that every further record would meet
}

func newSendTally(a *app) *sendTally {
	return &sendTally{a: a, began: time.Now(), reasons: map[string]int64{}}
}

// source is where a record was read, such as stdin:7.
type source = fmt.Stringer

// one sends one record. Its error ends the sending.
func (r *sendTally) one(ctx context.Context, p *host.Producer, rec *klamm.Record, at source) error {
	r.mu.Lock()
	r.counts.In++
	hopeless := r.hopeless
	r.mu.Unlock()
	if hopeless != nil {
		r.completed(at, klamm.Result{Outcome: klamm.Failed, Err: hopeless})
		return fmt.Errorf("stopped at %s: %w", at, hopeless)
	}
	err := p.SendAsync(ctx, rec, func(res klamm.Result) { r.completed(at, res) })
	if err != nil {
		r.completed(at, klamm.Result{Outcome: klamm.Failed, Err: err})
	}
	if errors.Is(err, klamm.ErrClosed) || ctx.Err() != nil {
		return err
	}
	return nil
}

func (r *sendTally) completed(at source, res klamm.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch res.Outcome {
	case klamm.Written:
		r.counts.Out++
	case klamm.Dropped:
		r.counts.Dropped++
		r.reasons[strings.TrimSpace(res.Plugin+" "+res.Reason)]++
	case klamm.DeadLettered:
		r.counts.DeadLettered++
		r.a.say("%s: dead-lettered to %s/%d@%d by %s: %s", at, res.Topic, res.Partition, res.Offset, res.Plugin, res.Reason)
	default:
		r.failed(at, res.Err)
	}
}

func (r *sendTally) failed(at source, err error) {
	r.counts.Failed++
	switch {
	case r.counts.Failed <= maxFailuresTold:
		fmt.Fprintf(r.a.talk, "%s: %v\n", at, err)
	case r.counts.Failed == maxFailuresTold+1:
		fmt.Fprintln(r.a.talk, "further failures are counted only")
	}
	if r.failure == nil {
		r.failure = err
	}
	for _, fact := range []error{klamm.ErrUnknownTopic, klamm.ErrInvalidTopic, klamm.ErrFenced, klamm.ErrBrokerUnreachable} {
		if errors.Is(err, fact) {
			r.hopeless = err
		}
	}
}

// say tells the counts; the caller holds the lock.
func (r *sendTally) say() {
	c := r.counts
	r.a.say("in %s  out %s  dropped %s  dead-lettered %s  failed %s  (%v)",
		count(c.In), count(c.Out), count(c.Dropped), count(c.DeadLettered), count(c.Failed), since(r.began))
	for _, reason := range sortedKeys(r.reasons) {
		r.a.say("  dropped %s by %s", count(r.reasons[reason]), reason)
	}
}

// err is the command's error when records failed.
func (r *sendTally) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure == nil {
		return nil
	}
	return &failure{err: fmt.Errorf("%s of %s records failed: %w", count(r.counts.Failed), count(r.counts.In), r.failure)}
}
