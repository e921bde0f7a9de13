package host_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// TestWithDialer: every connection is the program's, and its error is told.
func TestWithDialer(t *testing.T) {
	b := startBroker(t, 1, "t")
	var dialled atomic.Int64
	h := newHost(t, b, host.Config{}, host.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}))
	before := dialled.Load()
	if before == 0 {
		t.Error("the first connection is not the program's")
	}
	if _, err := producerOf(t, h).Send(t.Context(), &klamm.Record{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	if dialled.Load() == before {
		t.Error("the producer's connection is not the program's")
	}
	closed := errors.New("the tunnel is closed")
	_, err := host.New(host.Config{Cluster: host.ClusterConfig{BootstrapServers: b.Addrs()}},
		host.WithDialer(func(context.Context, string, string) (net.Conn, error) { return nil, closed }))
	if !errors.Is(err, closed) || !errors.Is(err, klamm.ErrBrokerUnreachable) {
		t.Errorf("got %v", err)
	}
}
