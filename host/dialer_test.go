package host_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceCounter counts the Produce requests that are written on a connection.
type produceCounter struct {
	net.Conn
	produced *atomic.Int64
	rest     int    // of the request that is being written
	head     []byte // of the next one: size, api key
}

func (c *produceCounter) Write(b []byte) (int, error) {
	for left := b; len(left) > 0; {
		if c.rest > 0 {
			n := min(c.rest, len(left))
			c.rest, left = c.rest-n, left[n:]
			continue
		}
		c.head, left = append(c.head, left[0]), left[1:]
		if len(c.head) < 6 {
			continue
		}
		if kmsg.Key(binary.BigEndian.Uint16(c.head[4:])) == kmsg.Produce {
			c.produced.Add(1)
		}
		c.rest, c.head = int(binary.BigEndian.Uint32(c.head))-2, nil
	}
	return c.Conn.Write(b)
}

// TestWithDialer: every connection is the program's, and its error is told.
func TestWithDialer(t *testing.T) {
	b := startBroker(t, 1, "t")
	var dialled, produced atomic.Int64
	h := newHost(t, b, host.Config{}, host.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled.Add(1)
		var d net.Dialer
		c, err := d.DialContext(ctx, network, addr)
		return &produceCounter{Conn: c, produced: &produced}, err
	}))
	if dialled.Load() == 0 {
		t.Error("the first connection is not the program's")
	}
	if _, err := producerOf(t, h).Send(t.Context(), &klamm.Record{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	if produced.Load() == 0 {
		t.Error("the producer's connection is not the program's")
	}
	closed := errors.New("the tunnel is closed")
	_, err := host.New(host.Config{Cluster: host.ClusterConfig{BootstrapServers: b.Addrs()}},
		host.WithDialer(func(context.Context, string, string) (net.Conn, error) { return nil, closed }))
	if !errors.Is(err, closed) || !errors.Is(err, klamm.ErrBrokerUnreachable) {
		t.Errorf("got %v", err)
	}
}
