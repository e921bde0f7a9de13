// Package broker runs a Kafka broker inside the process, for trying Klamm out
// and for tests. It wraps franz-go's kfake.
//
// It speaks the whole protocol but keeps one copy of everything and is not made
// for load: it is no replacement for Apache Kafka.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// The defaults of config.Embedded, for configurations built in Go.
const (
	defaultListen     = "127.0.0.1:0"
	defaultPartitions = 4
)

// Options are what a broker may have besides its configuration. The zero value
// is one broker without TLS and SASL.
type Options struct {
	Logger *slog.Logger // default: nothing is logged
	// Brokers is how many there are. Default 1. The first one listens on the
	// configured address, the others on free ports of the same host.
	Brokers int
	// AutoCreateTopics lets a metadata request create a topic. Default false.
	AutoCreateTopics bool
	// TLS makes the brokers speak TLS.
	TLS *tls.Config
	// Users turns SASL on.
	Users []User
	// Kafka are further options of kfake, for tests. They win over the others.
	Kafka []kfake.Opt
}

// User is one who may log in.
type User struct {
	Mechanism string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	Name      string
	Password  string
}

// Broker is a running embedded broker. Its methods are safe for concurrent use.
type Broker struct {
	cluster *kfake.Cluster
	inside  *listeners
	addrs   []string
	unlock  func()
	once    sync.Once
}

// Start starts the broker and creates those of the configured topics that it
// does not have yet. With a data_dir it goes on where the last one stopped; two
// brokers never share one.
//
// An error names the address or the directory that cannot be used.
func Start(ctx context.Context, cfg *config.Embedded, o Options) (*Broker, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	unlock, err := claimDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	b, err := start(cfg, o)
	if err != nil {
		unlock()
		return nil, err
	}
	b.unlock = unlock
	return b, nil
}

func start(cfg *config.Embedded, o Options) (*Broker, error) {
	l, err := newListeners(cfg.Listen, o.TLS == nil)
	if err != nil {
		return nil, err
	}
	c, err := kfake.NewCluster(kafkaOptions(cfg, o, l)...)
	if err != nil {
		if l.err != nil {
			return nil, l.err
		}
		if cfg.DataDir != "" {
			return nil, fmt.Errorf("embedded broker: data_dir %q cannot be read back; move it away to start empty: %w", cfg.DataDir, err)
		}
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	b := &Broker{cluster: c, inside: l, addrs: c.ListenAddrs()}
	for _, topic := range cfg.Topics {
		if err := klamm.CheckTopic(topic); err != nil { // kfake takes any name
			c.Close()
			return nil, fmt.Errorf("embedded broker: create topic %q: %w", topic, err)
		}
		// 0 is the default number of partitions.
		if err := c.CreateTopic(topic, 0, nil); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			c.Close()
			return nil, fmt.Errorf("embedded broker: create topic %q: %w", topic, err)
		}
	}
	return b, nil
}

func kafkaOptions(cfg *config.Embedded, o Options, l *listeners) []kfake.Opt {
	partitions := cfg.Partitions
	if partitions <= 0 {
		partitions = defaultPartitions
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(max(o.Brokers, 1)),
		kfake.DefaultNumPartitions(partitions),
		kfake.ListenFn(l.listen),
	}
	if o.Logger != nil {
		opts = append(opts, kfake.WithLogger(logger{o.Logger}))
	}
	if o.AutoCreateTopics {
		opts = append(opts, kfake.AllowAutoTopicCreation())
	}
	if cfg.DataDir != "" {
		opts = append(opts, kfake.DataDir(cfg.DataDir))
	}
	if o.TLS != nil {
		opts = append(opts, kfake.TLS(o.TLS))
	}
	if len(o.Users) > 0 {
		opts = append(opts, kfake.EnableSASL())
	}
	for _, u := range o.Users {
		opts = append(opts, kfake.Superuser(u.Mechanism, u.Name, u.Password))
	}
	return append(opts, o.Kafka...)
}

// Addrs returns the brokers' addresses, host:port.
func (b *Broker) Addrs() []string { return append([]string(nil), b.addrs...) }

// Close stops the broker and, with a data_dir, writes everything down. It may
// be called twice.
func (b *Broker) Close() error {
	b.once.Do(func() {
		b.cluster.Close()
		b.unlock()
	})
	return nil
}

// Cluster returns kfake's cluster, for tests: faults, controls, leaders.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }
