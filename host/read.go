package host

import (
	"context"
	"fmt"
	"sync"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/state"
)

// ReadOptions say where Read starts and ends.
type ReadOptions = consume.ReadOptions

// ReadStart is where a Read starts.
type ReadStart = consume.Start

// The kinds of a ReadStart.
const (
	ReadEarliest = consume.Earliest
	ReadLatest   = consume.Latest
	ReadTime     = consume.AtTime
	ReadOffset   = consume.AtOffset
	ReadLast     = consume.BeforeEnd
)

// Read reads topics without a group and commits nothing, until ctx ends, f
// fails, or the ends are reached. f is called with one record at a time, in the
// order of each partition; the record is f's.
//
// On a host with plugins the records pass the on_consume chain of their topic
// first. What it drops is left out. Read writes nothing, so what it dead-letters
// is left out too, and logged; what it fails ends Read.
func (h *Host) Read(ctx context.Context, topics []string, o ReadOptions, f func(rec *klamm.Record) error) error {
	r := &reading{h: h, ctx: ctx, f: f, lanes: map[string]*interceptor.Lane{}}
	defer r.close()
	if err := r.open(topics); err != nil {
		return err
	}
	return consume.Read(ctx, h.cluster, &h.cfg.Consumer, topics, o, r.records)
}

// reading lets the partitions take turns.
type reading struct {
	h     *Host
	ctx   context.Context
	f     func(*klamm.Record) error
	lanes map[string]*interceptor.Lane // by topic

	mu    sync.Mutex
	batch interceptor.Batch
}

func (r *reading) open(topics []string) error {
	if r.h.chains == nil {
		return nil
	}
	for _, topic := range topics {
		lane, err := r.h.chains.forTopic(topic).chain.Lane(r.ctx, 0, 1)
		if err != nil {
			return fmt.Errorf("topic %q: %w", topic, err)
		}
		r.lanes[topic] = lane
	}
	return nil
}

func (r *reading) close() {
	for _, l := range r.lanes {
		if err := l.Close(context.Background()); err != nil {
			r.h.log.Warn("close a chain", "error", err)
		}
	}
}

func (r *reading) records(tp klamm.TopicPartition, recs []klamm.Record, _ int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	lane := r.lanes[tp.Topic]
	if lane == nil {
		for i := range recs {
			if err := r.f(&recs[i]); err != nil {
				return err
			}
		}
		return nil
	}
	b := &r.batch
	b.Reset()
	b.NowMS, b.Topics = r.h.clock.nowMS(), topicFacts{r.h.producer}
	for _, rec := range recs {
		b.Items = append(b.Items, interceptor.Item{Record: rec, Ref: uint64(r.h.consumeRef())})
	}
	lane.OnConsume(r.ctx, b)
	for i := range b.Items {
		if err := r.one(&b.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

// one hands a judged record on, or not. Its claims end with it: nothing is
// committed that they could wait for.
func (r *reading) one(it *interceptor.Item) error {
	rec := &it.Record
	outcome, err := it.Outcome, it.Err
	switch outcome {
	case klamm.InFlight:
		outcome = klamm.Written
		if err = r.f(cloneRecord(rec)); err != nil {
			outcome = klamm.Failed
		}
	case klamm.Dropped:
		if it.Wait != nil {
			it.Wait.Cancel()
		}
	case klamm.DeadLettered:
		r.h.log.Warn("a record that a plugin dead-letters is left out", "topic", rec.Topic,
			"partition", rec.Partition, "offset", rec.Offset, "plugin", it.Plugin, "reason", it.Reason)
	default:
		err = fmt.Errorf("read %s/%d@%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	if it.Claimed {
		claim := []progressClaim{{ref: state.Ref(it.Ref), offset: rec.Offset}}
		r.h.settleClaims(klamm.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}, claim, outcome, err)
	}
	return err
}
