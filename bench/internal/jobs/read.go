package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// Jobs that read in a group and do nothing else: what a consumer costs.

// touched keeps the compiler from leaving out the look at each record.
var touched int

var errEnough = errors.New("all records are read")

type klammReader struct {
	host     *host.Host
	consumer *host.Consumer
	left     *counted
	order    sequence
	stamp
}

func openKlammReader(cfg Config) (Job, error) {
	var hc host.Config
	hc.Cluster.BootstrapServers = cfg.Brokers
	hc.Consumer.GroupID, hc.Consumer.AutoOffsetReset = cfg.Group, "earliest"
	h, err := host.New(hc)
	if err != nil {
		return nil, err
	}
	c, err := h.Consumer(cfg.In)
	return &klammReader{host: h, consumer: c, left: newCounted(cfg.Records)}, err
}

func (j *klammReader) Run(ctx context.Context) error {
	err := j.consumer.Run(ctx, func(_ context.Context, rec *klamm.Record) error {
		touched += len(rec.Value)
		if err := j.order.see(rec.Partition, rec.Offset); err != nil {
			return err
		}
		if j.left.handled(1) {
			j.now()
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (j *klammReader) Close() error {
	return errors.Join(j.consumer.Close(), j.host.Close(context.Background()))
}

type franzReader struct {
	client *kgo.Client
	left   *counted
	order  sequence
}

func openFranzReader(cfg Config) (Job, error) {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(cfg.Brokers...), kgo.ConsumerGroup(cfg.Group), kgo.ConsumeTopics(cfg.In),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	return &franzReader{client: cl, left: newCounted(cfg.Records)}, err
}

func (j *franzReader) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		fetches := j.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil && ctx.Err() == nil {
			return err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			touched += len(r.Value)
			if err := j.order.see(r.Partition, r.Offset); err != nil {
				return err
			}
			if j.left.handled(1) {
				return nil
			}
		}
	}
	return nil
}

func (j *franzReader) Close() error { j.client.Close(); return nil }

type saramaReader struct {
	group  sarama.ConsumerGroup
	in     string
	left   *counted
	order  sequence
	cancel context.CancelCauseFunc
	stamp
}

func openSaramaReader(cfg Config) (Job, error) {
	sc := sarama.NewConfig()
	sc.Version = sarama.V2_8_0_0
	sc.Consumer.Offsets.Initial = sarama.OffsetOldest
	sc.Consumer.IsolationLevel = sarama.ReadCommitted
	sc.Consumer.MaxWaitTime = 500 * time.Millisecond
	g, err := sarama.NewConsumerGroup(cfg.Brokers, cfg.Group, sc)
	return &saramaReader{group: g, in: cfg.In, left: newCounted(cfg.Records)}, err
}

// Run ends by cancelling its session, with errEnough or with what went wrong.
func (j *saramaReader) Run(ctx context.Context) error {
	ctx, j.cancel = context.WithCancelCause(ctx)
	defer j.cancel(nil)
	err := j.group.Consume(ctx, []string{j.in}, j)
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errEnough):
		return nil
	case cause != nil:
		return cause
	case err != nil:
		return err
	}
	return fmt.Errorf("the session ended with %d records left", j.left.left.Load())
}

func (j *saramaReader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (j *saramaReader) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (j *saramaReader) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	bytes := 0
	for m := range claim.Messages() {
		bytes += len(m.Value)
		if err := j.order.see(m.Partition, m.Offset); err != nil {
			j.cancel(err)
			return err
		}
		s.MarkMessage(m, "")
		if j.left.left.Add(-1) == 0 {
			j.now()
			j.cancel(errEnough)
		}
	}
	read.Add(int64(bytes))
	return nil
}

// read is touched of readers with several goroutines.
var read atomic.Int64

func (j *saramaReader) Close() error { return j.group.Close() }
