// Package broker runs a Kafka broker inside the process, for trying Klamm out
// and for tests. It wraps franz-go's kfake.
package broker

import (
	"context"
	"crypto/tls"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/klamm-io/klamm/internal/config"
)

// Options are what a broker may have besides its configuration. The zero value
// is one broker without TLS and SASL.
type Options struct {
	Logger *slog.Logger // default: nothing is logged
	// Brokers is how many there are. Default 1.
	Brokers int
	// AutoCreateTopics lets a metadata request create a topic. Default false.
	AutoCreateTopics bool
	// TLS makes the brokers speak TLS.
	TLS *tls.Config
	// Users turns SASL on.
	Users []User
	// Kafka are further options of kfake, for tests.
	Kafka []kfake.Opt
}

// User is one who may log in.
type User struct {
	Mechanism string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	Name      string
	Password  string
}

// Broker is a running embedded broker.
type Broker struct{}

// Start starts the broker.
func Start(ctx context.Context, cfg *config.Embedded, o Options) (*Broker, error) { panic("not yet") }

// Addrs returns the brokers' addresses, host:port.
func (b *Broker) Addrs() []string { panic("not yet") }

// Close stops the broker.
func (b *Broker) Close() error { panic("not yet") }

// Cluster returns kfake's cluster, for tests.
func (b *Broker) Cluster() *kfake.Cluster { panic("not yet") }
