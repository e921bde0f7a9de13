package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm/bench/internal/records"
)

// franzJob is the job by hand, exactly once, as careful as it gets: ids of a
// transaction that was aborted are forgotten, since its records are read again.
type franzJob struct {
	session *kgo.GroupTransactSession
	out     string
	left    *counted
	seen    map[[records.KeyLen]byte]struct{}
	claimed [][records.KeyLen]byte // in the open transaction
}

func openFranz(cfg Config) (Job, error) {
	s, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(cfg.Brokers...), kgo.TransactionalID(cfg.Group), kgo.ConsumerGroup(cfg.Group), kgo.InstanceID(cfg.Group), kgo.ConsumeTopics(cfg.In),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.TransactionTimeout(10*time.Second), kgo.ProducerLinger(5*time.Millisecond),
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, n int) int { return int(records.Partition(r.Key, n)) }
		})),
	)
	return &franzJob{session: s, out: cfg.Out, left: newCounted(cfg.Records), seen: make(map[[records.KeyLen]byte]struct{}, window)}, err
}

func (j *franzJob) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := j.session.Begin(); err != nil {
			return err
		}
		written := kgo.AbortingFirstErrPromise(j.session.Client())
		n, err := j.fill(ctx, written)
		if err == nil { // a record may fail after the last poll too
			err = errors.Join(j.session.Client().Flush(context.WithoutCancel(ctx)), written.Err())
		}
		commit := kgo.TryCommit
		if err != nil {
			commit = kgo.TryAbort
		}
		done, endErr := j.session.End(context.WithoutCancel(ctx), commit)
		if !done {
			for _, id := range j.claimed {
				delete(j.seen, id)
			}
		}
		j.claimed = j.claimed[:0]
		if err != nil || endErr != nil {
			return errors.Join(err, endErr)
		}
		if done && j.left.handled(n) {
			return nil
		}
	}
	return nil
}

// fill handles records until it is time to commit.
func (j *franzJob) fill(ctx context.Context, written *kgo.FirstErrPromise) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, commitEvery)
	defer cancel()
	for ctx.Err() == nil {
		fetches := j.session.PollFetches(ctx)
		if err := fetches.Err(); err != nil && ctx.Err() == nil {
			return n, err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			n++
			id := [records.KeyLen]byte(r.Key)
			if _, ok := j.seen[id]; ok {
				continue
			}
			j.seen[id] = struct{}{}
			j.claimed = append(j.claimed, id)
			j.session.Produce(context.Background(), &kgo.Record{Topic: j.out, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}, written.Promise())
		}
		if j.left.on && n >= j.left.left.Load() {
			break
		}
	}
	return n, nil
}

func (j *franzJob) Close() error { j.session.Close(); return nil }
