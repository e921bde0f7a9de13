package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/state/kafka"
)

// claimLog is the topic of a state, as state/kafka wants to reach it.
type claimLog struct {
	h     *Host
	topic string
}

var _ kafka.Log = (*claimLog)(nil)

// Describe implements kafka.Log.
func (l *claimLog) Describe(ctx context.Context) (d kafka.Description, ok bool, err error) {
	return describeState(ctx, l.h, l.topic)
}

func describeState(ctx context.Context, h *Host, topic string) (d kafka.Description, ok bool, err error) {
	topics, err := h.cluster.DescribeTopics(ctx, topic)
	var broker *klamm.BrokerError
	if errors.As(err, &broker) && broker.Code == klamm.CodeUnknownTopicOrPartition {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	d.Partitions = int32(len(topics[0].Partitions))
	// Whoever may read and write need not be allowed to look at settings.
	if settings, err := h.cluster.Durability(ctx, topic); err == nil && len(settings) == 1 {
		d.CleanupPolicy = settings[0].Settings["cleanup.policy"]
	}
	return d, true, nil
}

// Create implements kafka.Log.
func (l *claimLog) Create(ctx context.Context, partitions int32, replication int16, settings map[string]string) error {
	if replication == 0 {
		replication = -1
	}
	err := l.h.cluster.CreateTopic(ctx, l.topic, partitions, replication, settings)
	var broker *klamm.BrokerError
	if errors.As(err, &broker) && broker.Code == klamm.CodeTopicAlreadyExists {
		return nil
	}
	return err
}

// Append implements kafka.Log. It is for one record in the life of a topic.
func (l *claimLog) Append(ctx context.Context, partition int32, key, value []byte) error {
	conf := l.h.cluster.Config()
	conf.Producer.RequiredAcks, conf.Producer.Return.Successes = sarama.WaitForAll, true
	conf.Producer.Partitioner = sarama.NewManualPartitioner
	client, err := l.h.cluster.NewClient(conf)
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		return err
	}
	defer p.Close()
	_, _, err = p.SendMessage(&sarama.ProducerMessage{
		Topic: l.topic, Partition: partition, Key: sarama.ByteEncoder(key), Value: sarama.ByteEncoder(value),
	})
	if err != nil {
		return fmt.Errorf("write to partition %d: %w", partition, err)
	}
	return ctx.Err()
}

// Bounds implements kafka.Log.
func (l *claimLog) Bounds(ctx context.Context, partition int32) (first, end int64, err error) {
	return consume.Bounds(ctx, l.h.cluster, klamm.TopicPartition{Topic: l.topic, Partition: partition})
}

// Read implements kafka.Log.
func (l *claimLog) Read(ctx context.Context, partition int32, from, end int64, f func([]klamm.Record) error) error {
	tp := klamm.TopicPartition{Topic: l.topic, Partition: partition}
	return consume.ReadRange(ctx, l.h.cluster, tp, from, end, l.h.log, f)
}
