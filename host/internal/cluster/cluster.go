// Package cluster knows the brokers of a Kafka cluster: how to reach them, which
// topics they have and who leads each partition.
//
// sarama opens and authenticates every connection and encodes every request
// of this package. All methods are safe for concurrent use.
package cluster

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm/internal/config"
)

// Options are what a cluster needs besides its configuration.
type Options struct {
	// Logger takes what no caller is told. Default: nothing is logged.
	Logger *slog.Logger
	// Purpose is added to client.id, as in "klamm-producer", so that a
	// broker's quotas and logs tell connections apart.
	Purpose string
}

// Cluster is a connection to a Kafka cluster.
type Cluster struct{}

// Topic is what is known of a topic at one moment. It never changes.
type Topic struct {
	Name string
	// ID is the topic's id, zero with brokers older than 2.8. A topic that was
	// deleted and made anew has another one.
	ID [16]byte
	// Epoch rises with every change of the partitions or their leaders.
	Epoch uint32
	// Partitions are in the order of their numbers, without gaps.
	Partitions []Partition
}

// Partition is one partition's leader.
type Partition struct {
	Leader      int32 // -1: none at the moment
	LeaderEpoch int32 // -1: not known
}

// Conn is a connection to a broker, opened and authenticated. Whoever holds it
// writes and reads whole Kafka frames on it.
type Conn struct{ net.Conn }

// Version returns the versions of a request that the broker takes.
func (c *Conn) Version(apiKey int16) (min, max int16, ok bool) { panic("not yet") }

// Open checks that a broker answers.
func Open(ctx context.Context, cfg *config.Cluster, o Options) (*Cluster, error) { panic("not yet") }

// Topic returns what is known of a topic, nil when nothing is yet.
func (c *Cluster) Topic(name string) *Topic { panic("not yet") }

// AwaitTopic asks until the topic is known.
func (c *Cluster) AwaitTopic(ctx context.Context, name string) (*Topic, error) { panic("not yet") }

// Refresh asks for the topics soon. It never waits.
func (c *Cluster) Refresh(topics ...string) { panic("not yet") }

// OnChange has f called with every changed topic.
func (c *Cluster) OnChange(f func(*Topic)) { panic("not yet") }

// Leader returns a partition's leader, -1 when there is none.
func (c *Cluster) Leader(topic string, partition int32) (broker, epoch int32) { panic("not yet") }

// SetLeader takes a broker's hint at a new leader (KIP-951).
func (c *Cluster) SetLeader(topic string, partition, broker, epoch int32) { panic("not yet") }

// Dial opens a connection of its own to a broker.
func (c *Cluster) Dial(ctx context.Context, broker int32) (*Conn, error) { panic("not yet") }

// InitProducerID asks for a producer id and epoch.
func (c *Cluster) InitProducerID(ctx context.Context, transactionalID string, timeout time.Duration, pid int64, epoch int16) (int64, int16, error) {
	panic("not yet")
}

// Client returns a sarama client for groups and administration.
func (c *Cluster) Client() sarama.Client { panic("not yet") }

// Config returns a copy of the sarama configuration.
func (c *Cluster) Config() *sarama.Config { panic("not yet") }

// CreateTopic makes a topic.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int32, replication int16, configs map[string]string) error {
	panic("not yet")
}

// ListTopics returns the names of all topics.
func (c *Cluster) ListTopics(ctx context.Context) ([]string, error) { panic("not yet") }

// DescribeTopics asks the brokers for topics as they are now.
func (c *Cluster) DescribeTopics(ctx context.Context, names ...string) ([]*Topic, error) {
	panic("not yet")
}

// Close ends every connection of the cluster's own.
func (c *Cluster) Close() error { panic("not yet") }
