package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/state/redis"
)

// completionPatience is how long a shell's Tab may wait for a broker.
const completionPatience = 2 * time.Second

// withEmbedded lets a host start the embedded broker, and reach it on a machine
// without a network.
func withEmbedded() []host.Option {
	dial := (&net.Dialer{}).DialContext
	start := func(ctx context.Context, cfg *host.EmbeddedConfig) ([]string, func() error, error) {
		b, err := broker.Start(ctx, cfg, broker.Options{})
		if err != nil {
			return nil, nil, err
		}
		dial = b.Dial // before the host dials
		return b.Addrs(), b.Close, nil
	}
	return []host.Option{host.WithEmbedded(start), host.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dial(ctx, network, addr)
	})}
}

// connect reaches the configured brokers without plugins.
func (a *app) connect(ctx context.Context) (*host.Host, error) {
	s, err := a.load("")
	if err != nil {
		return nil, err
	}
	s.asClient()
	h, err := host.Connect(ctx, *s.Config, host.WithLogger(a.quietLogger(s.Log)))
	return h, s.unreached(err)
}

// unreached says what to do when the brokers do not answer.
func (s *settings) unreached(err error) error {
	if !s.assumedLocal || !errors.Is(err, klamm.ErrBrokerUnreachable) {
		return err
	}
	return todo(err, "start one with `klamm broker`, or name yours: -b host:port, or cluster.bootstrap_servers in %s", s.name())
}

func (s *settings) name() string {
	if s.path == "" {
		return "a configuration file"
	}
	return fmt.Sprintf("%q", s.path)
}

// openClient opens a host whose brokers run elsewhere, with its plugins.
func (a *app) openClient(ctx context.Context) (*host.Host, error) {
	s, err := a.load("")
	if err != nil {
		return nil, err
	}
	s.asClient()
	s.Pipeline = nil // they are for `klamm run`
	h, err := a.openHost(ctx, s, a.quietLogger(s.Log))
	return h, s.unreached(err)
}

// openHost starts a host from settings.
func (a *app) openHost(ctx context.Context, s *settings, log *slog.Logger, more ...host.Option) (*host.Host, error) {
	s.absolute()
	options := append(withEmbedded(), host.WithContext(ctx), host.WithLogger(log), host.WithStateBackend("redis", redis.Open))
	options = append(options, more...)
	h, err := host.New(*s.Config, options...)
	return h, s.placed(err)
}

// drainTimeout bounds the end of commands that have flushed before.
const drainTimeout = 10 * time.Second
