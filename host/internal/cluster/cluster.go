// Package cluster knows the brokers of a Kafka cluster: how to reach them, which
// topics they have and who leads each partition.
//
// sarama opens and authenticates every connection and encodes every request
// of this package. All methods are safe for concurrent use.
package cluster

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// Options are what a cluster needs besides its configuration.
type Options struct {
	// Logger takes what no caller is told. Default: nothing is logged.
	Logger *slog.Logger
	// Purpose is added to client.id, as in "klamm-producer", so that a
	// broker's quotas and logs tell connections apart.
	Purpose string
	// Dial opens connections to brokers; TLS and SASL are spoken on top. Default:
	// a net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Cluster is a Kafka cluster: its metadata, and connections to its brokers.
type Cluster struct {
	settings *settings
	log      *slog.Logger
	client   sarama.Client

	// ctx ends with Close.
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	// topics is replaced as a whole, so that Topic takes no lock.
	topics atomic.Pointer[map[string]*Topic]

	mu         sync.Mutex
	entries    map[string]*entry
	brokers    map[int32]string // address by id
	controller int32
	onChange   map[int]func(*Topic)
	watchers   int           // numbers the functions in onChange
	toldAt     time.Time     // of the last metadata answer
	oldEpoch   uint32        // the highest Topic.Epoch among those forgotten
	changed    []*Topic      // not yet told to onChange
	kick       chan struct{} // wakes the metadata goroutine
}

// Open checks the configuration and that one broker answers and lets us in.
//
// When none does, the error wraps klamm.ErrBrokerUnreachable and tells for each
// address what went wrong, as a *DialError; ErrAuthentication tells a wrong user
// or password from the rest. A configuration that cannot be used gives other
// errors.
func Open(ctx context.Context, cfg *config.Cluster, o Options) (*Cluster, error) {
	s, err := newSettings(cfg, o)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		settings:   s,
		log:        o.Logger,
		entries:    make(map[string]*entry),
		brokers:    make(map[int32]string),
		onChange:   make(map[int]func(*Topic)),
		controller: -1,
		kick:       make(chan struct{}, 1),
	}
	if c.log == nil {
		c.log = discard
	}
	c.topics.Store(&map[string]*Topic{})
	first, err := c.findCluster(ctx)
	if err != nil {
		return nil, err
	}
	if c.client, err = sarama.NewClient(s.addrs, c.Config()); err != nil {
		first.close()
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.done.Go(func() { c.metadataLoop(first) })
	return c, nil
}

// findCluster returns a connection to the first broker that describes its
// cluster.
func (c *Cluster) findCluster(ctx context.Context) (*link, error) {
	var errs []error
	for _, addr := range c.settings.addrs {
		l, err := c.open(ctx, -1, addr)
		if err == nil {
			l.stage = firstRequest
			if err = c.describe(ctx, l); err == nil {
				l.stage = inUse
				return l, nil
			}
			l.close()
			err = l.explain(ctx, c.settings, err)
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
		c.log.Debug("bootstrap server cannot be used", "addr", addr, "err", err)
	}
	return nil, unreachable(errs)
}

// describe learns the brokers and the controller.
func (c *Cluster) describe(ctx context.Context, l *link) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.settings.dialTimeout, errDialTimeout{c.settings.dialTimeout})
	defer cancel()
	var resp *sarama.DescribeClusterResponse
	err := l.do(ctx, func(b *sarama.Broker) (err error) {
		resp, err = b.DescribeCluster(sarama.NewDescribeClusterRequest(protocolVersion))
		return err
	})
	if errors.Is(err, sarama.ErrUnsupportedVersion) { // before 2.8
		_, err := c.requestMetadata(ctx, l, nil, false)
		return err
	}
	if err != nil {
		return err
	}
	if resp.Err != sarama.ErrNoError {
		return resp.Err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.controller = resp.ControllerID
	for _, b := range resp.Brokers {
		if !b.IsFenced {
			c.brokers[b.BrokerID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		}
	}
	return nil
}

// Client returns a sarama client of this cluster, for administration. It is
// closed with the cluster.
func (c *Cluster) Client() sarama.Client { return c.client }

// NewClient returns a sarama client of its own, with its own connections and
// with conf, which should come from Config. The caller closes it.
func (c *Cluster) NewClient(conf *sarama.Config) (sarama.Client, error) {
	return sarama.NewClient(c.candidateAddrs(), conf)
}

// Config returns a copy of the sarama configuration. Its dialer speaks TLS where
// the cluster does, so its TLS stays off.
func (c *Cluster) Config() *sarama.Config {
	conf := *c.settings.sarama
	conf.Net.Proxy.Enable = true
	conf.Net.Proxy.Dialer = &clientDialer{tls: c.settings.tls, sockets: c.settings.sockets, timeout: c.settings.dialTimeout, dial: c.settings.dial}
	return &conf
}

// Links returns how connections are kept: the first and the longest wait before
// one that could not be opened is tried again (reconnect_backoff_ms and
// reconnect_backoff_max_ms), and after how long without use one is closed
// (connections_max_idle_ms, 0 for never).
func (c *Cluster) Links() (reconnect, reconnectMax, maxIdle time.Duration) {
	return c.settings.reconnect, c.settings.reconnectMax, c.settings.connMaxIdle
}

// Close ends the cluster's own connections and waits for its goroutine. Those
// made by Dial and NewClient stay open. It may be called twice.
func (c *Cluster) Close() error {
	c.cancel()
	c.done.Wait()
	if err := c.client.Close(); err != nil && !errors.Is(err, sarama.ErrClosedClient) {
		return err
	}
	return nil
}

func (c *Cluster) brokerAddr(id int32) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, ok := c.brokers[id]
	return addr, ok
}

// candidate is a broker that may be asked.
type candidate struct {
	id   int32
	addr string
}

// candidates are the known brokers in any order and then, where
// metadata_recovery_strategy allows it, the bootstrap servers: when all known
// ones are gone, those find the cluster again (KIP-899).
func (c *Cluster) candidates() []candidate {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []candidate
	for id, addr := range c.brokers {
		list = append(list, candidate{id, addr})
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if !c.settings.rebootstrap && len(list) > 0 {
		return list
	}
	known := slices.Collect(maps.Values(c.brokers))
	for _, addr := range c.settings.addrs {
		if !slices.Contains(known, addr) {
			list = append(list, candidate{-1, addr})
		}
	}
	return list
}

func (c *Cluster) candidateAddrs() []string {
	var addrs []string
	for _, cand := range c.candidates() {
		addrs = append(addrs, cand.addr)
	}
	return addrs
}

// openAny returns a connection to any broker.
func (c *Cluster) openAny(ctx context.Context) (*link, error) {
	var errs []error
	for _, cand := range c.candidates() {
		l, err := c.open(ctx, cand.id, cand.addr)
		if err == nil {
			return l, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || errors.Is(err, ErrAuthentication) {
			break
		}
	}
	return nil, unreachable(errs)
}

func (c *Cluster) closedError() error {
	if c.ctx.Err() != nil {
		return klamm.ErrClosed
	}
	return nil
}

var discard = slog.New(slog.DiscardHandler)
