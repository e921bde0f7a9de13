package produce

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/klamm-io/klamm/host/internal/cluster"
)

// transport is one connection to a broker, opened and authenticated. One
// goroutine reads while another writes; Close ends both.
type transport interface {
	Read(p []byte) (int, error)
	// WriteFrame writes the pieces one after the other. They are not looked at
	// any more when it returns.
	WriteFrame(pieces net.Buffers) error
	Close() error
	// ProduceVersions returns the versions of Produce that the broker takes.
	ProduceVersions() (min, max int16)
	// RenewAt is when the connection should be replaced, with nothing under way,
	// because its login ends (KIP-368); zero for never.
	RenewAt() time.Time
}

// network is the cluster as the pipeline needs it.
type network interface {
	clientID() string
	// links tells how connections are kept: the wait after a failed one, and
	// after how long without use they are closed, 0 for never.
	links() (reconnect backoff, idle time.Duration)
	// partitions returns how many partitions a topic has, 0 while that is not
	// known, and the topic's id.
	partitions(topic string) (int, [16]byte)
	leader(topic string, partition int32) (broker, epoch int32)
	hint(topic string, partition, broker, epoch int32)
	refresh(topics ...string)
	// watch has f called with the names of topics that have changed, until stop
	// is called.
	watch(f func(topic string)) (stop func())
	dial(ctx context.Context, broker int32) (transport, error)
	producerID(ctx context.Context) (int64, int16, error)
	// coordinator finds the broker that coordinates a group, or else a
	// transactional id.
	coordinator(ctx context.Context, group bool, key string) (broker int32, err error)
	dialControl(ctx context.Context, broker int32) (control, error)
}

// clusterNetwork is the real one.
type clusterNetwork struct {
	Cluster
	id string
}

func (c clusterNetwork) clientID() string { return c.id }

func (c clusterNetwork) links() (backoff, time.Duration) {
	first, most, idle := c.Links()
	return backoff{first: first, max: most}, idle
}

func (c clusterNetwork) partitions(topic string) (int, [16]byte) {
	if t := c.Topic(topic); t != nil {
		return len(t.Partitions), t.ID
	}
	return 0, [16]byte{}
}

func (c clusterNetwork) leader(topic string, partition int32) (int32, int32) {
	return c.Leader(topic, partition)
}

func (c clusterNetwork) hint(topic string, partition, broker, epoch int32) {
	c.SetLeader(topic, partition, broker, epoch)
}

func (c clusterNetwork) refresh(topics ...string) { c.Refresh(topics...) }

func (c clusterNetwork) watch(f func(string)) (stop func()) {
	return c.Watch(func(t *cluster.Topic) { f(t.Name) })
}

func (c clusterNetwork) producerID(ctx context.Context) (int64, int16, error) {
	return c.InitProducerID(ctx, "", 0, -1, -1)
}

func (c clusterNetwork) coordinator(ctx context.Context, group bool, key string) (int32, error) {
	if group {
		return c.Coordinator(ctx, key)
	}
	return c.TransactionCoordinator(ctx, key)
}

func (c clusterNetwork) dialControl(ctx context.Context, broker int32) (control, error) {
	conn, err := c.Dial(ctx, broker)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

func (c clusterNetwork) dial(ctx context.Context, broker int32) (transport, error) {
	conn, low, high, err := c.open(ctx, broker)
	if err != nil {
		return nil, err
	}
	tcp, _ := conn.Conn.(*net.TCPConn)
	return &netTransport{Conn: conn, tcp: tcp, renewAt: conn.RenewAt(), min: low, max: high}, nil
}

// open opens a connection and tells which versions of Produce it takes.
func (c clusterNetwork) open(ctx context.Context, broker int32) (conn *cluster.Conn, low, high int16, err error) {
	if conn, err = c.Dial(ctx, broker); err != nil {
		return nil, 0, 0, err
	}
	low, high, ok := conn.Version(produceKey)
	if !ok {
		conn.Close()
		return nil, 0, 0, fmt.Errorf("broker %d does not take Produce requests", broker)
	}
	return conn, low, high, nil
}

// netTransport is a transport on a net.Conn.
type netTransport struct {
	net.Conn
	renewAt  time.Time
	tcp      *net.TCPConn // nil when Conn is something else, such as TLS
	min, max int16
	joined   []byte
}

// WriteFrame uses writev on TCP. TLS would make a packet of each piece, so it
// gets them joined.
func (t *netTransport) WriteFrame(pieces net.Buffers) error {
	if t.tcp != nil {
		_, err := pieces.WriteTo(t.tcp)
		return err
	}
	t.joined = t.joined[:0]
	for _, p := range pieces {
		t.joined = append(t.joined, p...)
	}
	_, err := t.Conn.Write(t.joined)
	return err
}

func (t *netTransport) RenewAt() time.Time { return t.renewAt }

func (t *netTransport) ProduceVersions() (int16, int16) { return t.min, t.max }
