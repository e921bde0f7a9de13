package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm/bench/internal/jobs"
	"github.com/klamm-io/klamm/bench/internal/records"
)

// topics writes the inputs and reads the outputs, with a client that no job's
// figures hang on.
type topics struct {
	addrs      []string
	partitions int
	client     *kgo.Client
	admin      *kadm.Client
	set        *records.Set
}

// recordSize is key and value together.
const recordSize = 200

func newTopics(addrs []string, partitions int) (*topics, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return nil, err
	}
	t := &topics{addrs: addrs, partitions: partitions, client: cl, admin: kadm.NewClient(cl), set: records.NewSet(recordSize)}
	t.set.Duplicates = true
	return t, nil
}

func (t *topics) close() { t.client.Close() }

func (t *topics) create(ctx context.Context, topic string) error {
	_, err := t.admin.CreateTopic(ctx, int32(t.partitions), 1, nil, topic)
	return err
}

func (t *topics) drop(ctx context.Context, topic string) error {
	_, err := t.admin.DeleteTopic(ctx, topic)
	return err
}

func (t *topics) fill(ctx context.Context, topic string, n int) error {
	if err := t.create(ctx, topic); err != nil {
		return err
	}
	t.set.Fill(0, n)
	var failed error
	for i := range n {
		rec := &kgo.Record{Topic: topic, Key: t.set.Key(i), Value: t.set.Value(i)}
		t.client.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
	}
	return errors.Join(t.client.Flush(ctx), failed)
}

// output is how often each key is in an output.
type output map[[records.KeyLen]byte]int

// against compares with the input's first n records: how many ids are missing, and
// how many records there are beyond one for each id.
func (o output) against(n int) (lost, doubled int) {
	set := records.NewSet(recordSize)
	set.Duplicates = true
	set.Fill(0, n)
	ids := map[[records.KeyLen]byte]struct{}{}
	for i := range n {
		ids[[records.KeyLen]byte(set.Key(i))] = struct{}{}
	}
	for id := range ids {
		if o[id] == 0 {
			lost++
		}
	}
	for _, times := range o {
		doubled += times - 1
	}
	return lost, doubled
}

// count reads the committed records of a topic.
func (t *topics) count(ctx context.Context, topic string) (output, error) {
	ends, err := t.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	left := map[int32]int64{}
	starts := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition], starts[o.Partition] = o.Offset, kgo.NewOffset().At(0)
		}
	})
	got := output{}
	if len(left) == 0 {
		return got, nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(t.addrs...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				got[[records.KeyLen]byte(r.Key)]++
			}
		}
	}
	return got, nil
}

// timeHeader carries when a paced record was due, in nanoseconds.
const timeHeader = "t"

// settle is how long a job may take to join its group before records count.
const settle = 2 * time.Second

// paced offers records at a rate and returns how long each took to the output.
// Those of the first moments, while jobs join their groups, are left out.
func (t *topics) paced(ctx context.Context, in, out string, rate int, d time.Duration) ([]time.Duration, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(t.addrs...), kgo.ConsumeTopics(out), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, settle+d+time.Minute)
	defer cancel()
	began := time.Now()
	n := int((settle + d).Seconds() * float64(rate))
	go t.offer(ctx, in, began, rate, n)
	var took []time.Duration
	for seen := 0; seen < t.set.Unique(0, n); {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", seen, n, err)
		}
		now := time.Since(began)
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			seen++
			if due := dueAt(r); due > settle {
				took = append(took, now-due)
			}
		}
	}
	if len(took) == 0 {
		return nil, errors.New("no record was timed")
	}
	return took, nil
}

func dueAt(r *kgo.Record) time.Duration {
	for _, h := range r.Headers {
		if h.Key == timeHeader {
			return time.Duration(binary.BigEndian.Uint64(h.Value))
		}
	}
	return 0
}

// offer writes the first n records at a rate.
func (t *topics) offer(ctx context.Context, in string, began time.Time, rate, n int) {
	t.set.Fill(0, n)
	t.offerTo(ctx, in, began, rate, n, nil)
}

// offerMost is how many records offerUntil has.
const offerMost = 1_000_000

// offerUntil writes records at a rate until stop is closed, and returns how many.
func (t *topics) offerUntil(ctx context.Context, in string, rate int, stop <-chan struct{}) int {
	t.set.Fill(0, offerMost)
	return t.offerTo(ctx, in, time.Now(), rate, offerMost, stop)
}

func (t *topics) offerTo(ctx context.Context, in string, began time.Time, rate, n int, stop <-chan struct{}) (sent int) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(t.addrs...), kgo.ProducerLinger(time.Millisecond))
	if err != nil {
		return 0 // the reader's time ends then
	}
	defer cl.Close()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for sent < n && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-stop:
			n = sent
		}
		for due := min(int(time.Since(began).Seconds()*float64(rate)), n); sent < due; sent++ {
			at := binary.BigEndian.AppendUint64(nil, uint64(time.Since(began)))
			cl.Produce(ctx, &kgo.Record{Topic: in, Key: t.set.Key(sent), Value: t.set.Value(sent), Headers: []kgo.RecordHeader{{Key: timeHeader, Value: at}}}, nil)
		}
	}
	_ = cl.Flush(ctx)
	return sent
}

// progress is how much of its input a job's group has committed, and how much is
// left.
func (t *topics) progress(ctx context.Context, cfg jobs.Config) (committed, left int64, err error) {
	ends, err := t.admin.ListEndOffsets(ctx, cfg.In)
	if err != nil {
		return 0, 0, err
	}
	offsets, err := t.admin.FetchOffsets(ctx, cfg.Group)
	if err != nil {
		offsets = nil // nobody has joined yet
	}
	for p, o := range ends[cfg.In] {
		c, _ := offsets.Lookup(cfg.In, p)
		committed += max(c.At, 0)
		left += o.Offset - max(c.At, 0)
	}
	return committed, left, nil
}

// awaitCommit waits until a job has committed more than before.
func (t *topics) awaitCommit(ctx context.Context, cfg jobs.Config, before int64) error {
	return t.await(ctx, cfg, func(committed, _ int64) bool { return committed > before })
}

// awaitEnd waits until a job has committed all of its input.
func (t *topics) awaitEnd(ctx context.Context, cfg jobs.Config) error {
	return t.await(ctx, cfg, func(_, left int64) bool { return left == 0 })
}

func (t *topics) await(ctx context.Context, cfg jobs.Config, ok func(committed, left int64) bool) error {
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if committed, left, err := t.progress(ctx, cfg); err != nil || ok(committed, left) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not come on: %w", cfg.Group, ctx.Err())
		}
	}
}
