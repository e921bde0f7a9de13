package host

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"slices"

	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/partitioner"
	"github.com/klamm-io/klamm/state"
)

// Option sets what a configuration file cannot hold.
type Option func(*options)

// EmbeddedBroker starts a broker inside the process and returns its addresses
// and what stops it. cmd/klamm and hosttest pass one, so that library users do
// not link it.
type EmbeddedBroker func(ctx context.Context, cfg *EmbeddedConfig) (addrs []string, stop func() error, err error)

type options struct {
	ctx          context.Context
	logger       *slog.Logger
	embedded     EmbeddedBroker
	dial         func(ctx context.Context, network, addr string) (net.Conn, error)
	interceptors map[string]any
	partitioners map[string]partitioner.Partitioner
	metrics      interceptor.Metrics
	backends     map[string]state.Opener
}

func collect(opts []Option) options {
	o := options{ctx: context.Background(), interceptors: map[string]any{}, partitioners: map[string]partitioner.Partitioner{}, backends: map[string]state.Opener{}}
	for _, set := range opts {
		set(&o)
	}
	return o
}

// natives are the names that chains may use besides plugins'.
func natives(opts []Option) []string {
	o := collect(opts)
	return slices.AppendSeq(slices.Sorted(maps.Keys(o.interceptors)), maps.Keys(o.partitioners))
}

// WithLogger sets where the host, and its plugins' log lines, go. Default:
// nowhere.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithContext bounds New, as the context of Open does: loading plugins and
// reaching brokers. Nothing of a host that runs depends on it. Default: no bound
// but those of the configuration. Open, Load and Connect ignore it: they are
// given one.
func WithContext(ctx context.Context) Option { return func(o *options) { o.ctx = ctx } }

// WithEmbedded lets bootstrap_servers = ["embedded"] work.
func WithEmbedded(b EmbeddedBroker) Option { return func(o *options) { o.embedded = b } }

// WithDialer opens the connections to brokers, as through a tunnel; TLS and SASL
// are spoken on top. ctx ends with dial_timeout. It may be called concurrently.
// Return the *net.TCPConn itself where there is one: a type around it costs the
// writing of a request's parts by one system call, and send_buffer_bytes and
// receive_buffer_bytes are not applied to it. Default: a net.Dialer's DialContext.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

// WithStateBackend lets backend = "NAME" work in [state.NAME]. cmd/klamm passes
// state/redis as "redis", so that library users do not link it unless they do.
func WithStateBackend(name string, open state.Opener) Option {
	return func(o *options) { o.backends[name] = open }
}

// WithInterceptor adds a native Go interceptor under a name that chains may
// list beside plugins. It implements one or more of interceptor.OnSender,
// OnAcknowledger, OnConsumer and OnCommitter. It runs outside the sandbox and
// may be called from several goroutines at once.
func WithInterceptor(name string, native any) Option {
	return func(o *options) { o.interceptors[name] = native }
}

// WithPartitioner adds a native Go partitioner under a name that chains may
// use. Its calls may come from several lanes at once.
func WithPartitioner(name string, p partitioner.Partitioner) Option {
	return func(o *options) { o.partitioners[name] = p }
}

// WithMetrics receives what plugins do, call by call. Default: only Stats.
func WithMetrics(m interceptor.Metrics) Option { return func(o *options) { o.metrics = m } }
