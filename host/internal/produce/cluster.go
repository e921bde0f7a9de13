package produce

import (
	"context"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm/host/internal/cluster"
)

// Cluster is what the pipeline needs of a *cluster.Cluster.
type Cluster interface {
	// Topic returns what is known of a topic, nil when nothing is yet.
	Topic(name string) *cluster.Topic
	// Leader returns a partition's leader, -1 when there is none.
	Leader(topic string, partition int32) (broker, epoch int32)
	// SetLeader takes a broker's hint at a new leader (KIP-951).
	SetLeader(topic string, partition, broker, epoch int32)
	// Refresh asks for the topics soon. It never waits.
	Refresh(topics ...string)
	// Watch has f called with every changed topic until stop is called.
	Watch(f func(*cluster.Topic)) (stop func())
	// Dial opens a connection of its own to a broker.
	Dial(ctx context.Context, broker int32) (*cluster.Conn, error)
	// InitProducerID asks for a producer id and epoch.
	InitProducerID(ctx context.Context, transactionalID string, timeout time.Duration, pid int64, epoch int16) (int64, int16, error)
	// Links returns reconnect_backoff_ms, reconnect_backoff_max_ms and
	// connections_max_idle_ms.
	Links() (reconnect, reconnectMax, maxIdle time.Duration)
	// Coordinator returns the broker that coordinates a group.
	Coordinator(ctx context.Context, group string) (int32, error)
	// TransactionCoordinator returns the broker that coordinates a transactional
	// id.
	TransactionCoordinator(ctx context.Context, transactionalID string) (int32, error)
	// Config returns a copy of the sarama configuration; the pipeline takes the
	// client id from it.
	Config() *sarama.Config
}

var _ Cluster = (*cluster.Cluster)(nil)
