package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/state"
)

// CopyTrial is what plugins make of records that are not copied.
type CopyTrial struct {
	CopyCounts
	// Failed are records that a plugin fails and no topic takes: the copy would
	// stop at the first.
	Failed int64
	// All tells that every record which is to be copied was judged.
	All bool
	// Partitions are the counts of each input partition, in the report's order.
	Partitions []CopyCounts
	// Ends tell why records do not pass, the most frequent first.
	Ends []CopyEnd
}

// CopyEnd is one reason for which records do not pass.
type CopyEnd struct {
	Outcome klamm.Outcome
	Plugin  string
	Reason  string
	Records int64
}

// TryCopy returns what Copy would do, as PlanCopy does, and what the plugins say
// of the first records of each partition, at most so many in all; 0 is no limit.
// Nothing is written. Ids that plugins claim are known to the end of the trial and
// then given back, so records count as duplicates of each other as if all that pass
// had been written; where a plugin fails a record it is not asked again.
func (h *Host) TryCopy(ctx context.Context, name string, o CopyOptions, most int64) (*CopyReport, *CopyTrial, error) {
	c, err := h.newCopy(name, o)
	if err != nil {
		return nil, nil, err
	}
	if err := c.plan(ctx); err != nil {
		return nil, nil, fmt.Errorf("copy %q to %q: %w", c.from, c.cfg.To, err)
	}
	r := c.report()
	t, err := c.try(ctx, r, most)
	if err != nil {
		return r, nil, fmt.Errorf("judge records of %q: %w", c.from, err)
	}
	return r, t, nil
}

// copyJudge runs a chain over records for their verdicts alone.
type copyJudge struct {
	c       *copyJob
	lane    *interceptor.Lane
	read    interceptor.Batch // for on_consume
	send    interceptor.Batch // for on_send
	holding []state.Ref       // the owners of claims, to the end
	trial   CopyTrial
	ends    map[CopyEnd]int64
	here    *CopyCounts // of the partition
	left    int64       // records that may be judged
}

var errEnough = errors.New("enough records were judged")

func (c *copyJob) try(ctx context.Context, r *CopyReport, most int64) (*CopyTrial, error) {
	run := c.h.chains.bare
	if name, ok := c.h.cfg.PipelineChain(c.name); ok {
		run = c.h.chains.named[name]
	}
	lane, err := run.chain.Lane(ctx, 0, 1)
	if err != nil {
		return nil, err
	}
	j := &copyJudge{c: c, lane: lane, ends: map[CopyEnd]int64{}}
	j.trial.All, j.trial.Partitions = true, make([]CopyCounts, len(r.Partitions))
	limited := most > 0
	for i, p := range r.Partitions {
		j.here, j.left = &j.trial.Partitions[i], -1
		if limited {
			j.left = (most + int64(len(r.Partitions)-i) - 1) / int64(len(r.Partitions)-i)
		}
		if err = j.partition(ctx, p); err != nil {
			break
		}
		most -= j.here.In
		j.trial.add(*j.here)
	}
	j.giveBack()
	return j.result(), errors.Join(err, lane.Close(context.WithoutCancel(ctx)))
}

func (j *copyJudge) partition(ctx context.Context, p CopyPartition) error {
	if p.Position >= p.End {
		return nil
	}
	tp := klamm.TopicPartition{Topic: j.c.from, Partition: p.Partition}
	err := consume.ReadRange(ctx, j.c.h.cluster, tp, p.Position, p.End, j.c.h.log, func(recs []klamm.Record) error {
		return j.records(ctx, recs, p.End)
	})
	if errors.Is(err, errEnough) {
		j.trial.All = false
		err = nil
	}
	return err
}

// trialBlock is how many records plugins judge at once, as a full block does.
const trialBlock = 256

func (j *copyJudge) records(ctx context.Context, recs []klamm.Record, end int64) error {
	if i := slices.IndexFunc(recs, func(r klamm.Record) bool { return r.Offset >= end }); i >= 0 {
		recs = recs[:i]
	}
	for len(recs) > 0 {
		if j.left == 0 {
			return errEnough
		}
		n := min(len(recs), trialBlock)
		if j.left > 0 {
			n = int(min(int64(n), j.left))
			j.left -= int64(n)
		}
		j.judge(ctx, recs[:n])
		recs = recs[n:]
	}
	return nil
}

// judge has records pass on_consume and then, as records of the output, on_send.
func (j *copyJudge) judge(ctx context.Context, recs []klamm.Record) {
	h := j.c.h
	j.here.In += int64(len(recs))
	for _, b := range []*interceptor.Batch{&j.read, &j.send} {
		b.Reset()
		b.NowMS, b.Topics = h.clock.nowMS(), h.facts()
	}
	for i := range recs {
		j.read.Items = append(j.read.Items, interceptor.Item{Record: recs[i], Ref: uint64(h.consumeRef())})
	}
	j.lane.OnConsume(ctx, &j.read)
	for i := range j.read.Items {
		it := &j.read.Items[i]
		if it.Outcome == klamm.InFlight {
			rec := it.Record
			if rec.Topic, rec.Target = j.c.cfg.To, 0; j.c.o.KeepPartitions {
				rec.Target = klamm.ToPartition(rec.Partition)
			}
			j.send.Items = append(j.send.Items, interceptor.Item{Record: rec, Ref: uint64(h.consumeRef())})
			j.hold(it)
			continue
		}
		j.ended(it)
	}
	j.lane.OnSend(ctx, &j.send)
	for i := range j.send.Items {
		it := &j.send.Items[i]
		if it.Outcome == klamm.InFlight {
			j.here.Out++
			j.hold(it)
			continue
		}
		j.ended(it)
	}
}

func (j *copyJudge) hold(it *interceptor.Item) {
	if it.Claimed {
		j.holding = append(j.holding, state.Ref(it.Ref))
	}
}

// ended counts a record that does not pass, and gives its claims back.
func (j *copyJudge) ended(it *interceptor.Item) {
	if it.Wait != nil {
		it.Wait.Cancel() // its owner passes
	}
	end := CopyEnd{Outcome: it.Outcome, Plugin: it.Plugin, Reason: it.Reason}
	switch {
	case it.Outcome == klamm.Dropped:
		j.here.Dropped++
	case it.Outcome == klamm.DeadLettered || j.c.cfg.DeadLetterTopic != "":
		end.Outcome = klamm.DeadLettered
		j.here.DeadLettered++
	default:
		j.trial.Failed++
	}
	if end.Reason == "" && it.Err != nil {
		end.Reason = it.Err.Error()
	}
	j.ends[end]++
	if it.Claimed {
		j.c.h.settle(state.Ref(it.Ref), state.Settlement{Outcome: klamm.Failed, Err: errTried, NowMS: j.c.h.clock.nowMS()})
	}
}

var errTried = fmt.Errorf("the record was tried, not copied")

func (j *copyJudge) giveBack() {
	for _, ref := range j.holding {
		j.c.h.settle(ref, state.Settlement{Outcome: klamm.Failed, Err: errTried, NowMS: j.c.h.clock.nowMS()})
	}
}

// maxEnds bounds what is told: a plugin may give each record a reason of its own.
const maxEnds = 100

func (j *copyJudge) result() *CopyTrial {
	t := &j.trial
	for end, n := range j.ends {
		end.Records = n
		t.Ends = append(t.Ends, end)
	}
	slices.SortFunc(t.Ends, func(a, b CopyEnd) int {
		return cmp.Or(cmp.Compare(b.Records, a.Records), cmp.Compare(a.Plugin, b.Plugin), cmp.Compare(a.Reason, b.Reason))
	})
	t.Ends = t.Ends[:min(len(t.Ends), maxEnds)]
	return t
}
