package host

import (
	"context"
	"crypto/tls"
	"errors"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
)

// Connect reaches a configuration's brokers and does nothing else: no plugin is
// loaded and no chain built. Topics, DescribeTopics, CreateTopic, Read and
// Close work on such a host.
func Connect(ctx context.Context, cfg Config, opts ...Option) (*Host, error) {
	cfg.ApplyDefaults()
	h := prepare(cfg, ".", opts)
	if err := h.connect(ctx); err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

// TopicInfo is a topic as the brokers describe it.
type TopicInfo struct {
	Name       string
	Partitions []PartitionInfo
}

// PartitionInfo is one partition: its leader (-1: none) and the offsets of its
// first record and after its last one (-1: not known, as without a leader).
type PartitionInfo struct {
	ID         int32
	Leader     int32
	Start, End int64
}

// Topics returns the names of all topics, sorted.
func (h *Host) Topics(ctx context.Context) ([]string, error) { return h.cluster.ListTopics(ctx) }

// DescribeTopics asks the brokers for topics as they are now.
func (h *Host) DescribeTopics(ctx context.Context, names ...string) ([]TopicInfo, error) {
	topics, err := h.cluster.DescribeTopics(ctx, names...)
	if err != nil {
		return nil, err
	}
	infos := make([]TopicInfo, len(topics))
	for i, t := range topics {
		infos[i].Name = t.Name
		for id, p := range t.Partitions {
			infos[i].Partitions = append(infos[i].Partitions, PartitionInfo{
				ID: int32(id), Leader: p.Leader,
				Start: h.offset(t.Name, int32(id), sarama.OffsetOldest), End: h.offset(t.Name, int32(id), sarama.OffsetNewest),
			})
		}
	}
	return infos, nil
}

// offset is NoOffset where the leader cannot tell.
func (h *Host) offset(topic string, partition int32, which int64) int64 {
	at, err := h.cluster.Client().GetOffset(topic, partition, which)
	if err != nil {
		h.log.Warn("offset is not known", "topic", topic, "partition", partition, "error", err)
		return klamm.NoOffset
	}
	return at
}

// CreateTopic makes a topic. Partitions and replication of -1 are the broker's
// defaults; configs are topic settings such as cleanup.policy.
func (h *Host) CreateTopic(ctx context.Context, name string, partitions int32, replication int16, configs map[string]string) error {
	return h.cluster.CreateTopic(ctx, name, partitions, replication, configs)
}

// TopicDurability is what decides how many copies of a record an
// acknowledgement stands for: of the partition that has the fewest, the number
// of replicas and of those in sync now, and the topic's settings by their
// names in Kafka, where the broker knows them: min.insync.replicas,
// unclean.leader.election.enable, retention.ms, cleanup.policy,
// max.message.bytes.
type TopicDurability struct {
	Name             string
	Replicas, InSync int
	Settings         map[string]string
}

// Durability asks the brokers how safe records in topics are. Topics that do
// not exist are left out. The error tells which settings could not be had; the
// rest is returned with it.
func (h *Host) Durability(ctx context.Context, topics ...string) ([]TopicDurability, error) {
	found, err := h.cluster.Durability(ctx, topics...)
	all := make([]TopicDurability, len(found))
	for i, d := range found {
		all[i] = TopicDurability{Name: d.Topic, Replicas: d.Replicas, InSync: d.InSync, Settings: d.Settings}
	}
	return all, err
}

// BrokerSettings asks one broker for settings by their names in Kafka, such as
// transaction.max.timeout.ms. One that it does not know is missing.
func (h *Host) BrokerSettings(ctx context.Context, names ...string) (map[string]string, error) {
	return h.cluster.BrokerSettings(ctx, names...)
}

// TLSOf is what [cluster.tls] says, for other clients of the same brokers; nil
// where TLS is off.
func TLSOf(c *TLSConfig) (*tls.Config, error) { return cluster.TLSConfig(c) }
