//go:build unix

package cluster

import (
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
)

// TestMetadataMaxIdle: a topic that nobody uses is forgotten, one in use stays,
// and a forgotten one comes back at its next use with a higher epoch.
func TestMetadataMaxIdle(t *testing.T) {
	b := startBroker(t, config.Embedded{Topics: []string{"used", "idle"}, Partitions: 1}, broker.Options{})
	cfg := clusterConfig(b)
	cfg.MetadataMaxAge = config.Duration(20 * time.Millisecond)
	const idle = 100 * time.Millisecond
	cfg.MetadataMaxIdle = config.Duration(idle)
	c := mustOpen(t, cfg)
	ctx := testContext(t)
	for _, name := range []string{"used", "idle"} {
		if _, err := c.AwaitTopic(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	first := (*c.topics.Load())["idle"]
	used := time.Now() // on a busy machine it may be out of use for too long
	use := func() {
		last := used
		used = time.Now()
		if c.Topic("used") != nil {
			return
		}
		if since := time.Since(last); since < idle {
			t.Fatalf("a topic was forgotten %v after its last use", since)
		}
		if _, err := c.AwaitTopic(ctx, "used"); err != nil {
			t.Fatal(err)
		}
	}
	for (*c.topics.Load())["idle"] != nil {
		use()
		if ctx.Err() != nil {
			t.Fatal("a topic without use was not forgotten")
		}
		time.Sleep(time.Millisecond)
	}
	use()
	c.mu.Lock()
	entries := len(c.entries)
	c.mu.Unlock()
	if entries > 1 {
		t.Errorf("%d topics are kept, want 1", entries)
	}
	again, err := c.AwaitTopic(ctx, "idle")
	if err != nil {
		t.Fatal(err)
	}
	if again.Epoch <= first.Epoch || again.ID != first.ID {
		t.Errorf("it came back as %+v, was %+v; want the same id and a higher epoch", again, first)
	}
}

func TestMetadataRecoveryStrategy(t *testing.T) {
	b := startBroker(t, config.Embedded{}, broker.Options{})
	for strategy, bootstraps := range map[config.MetadataRecovery]bool{"rebootstrap": true, "": true, "none": false} {
		cfg := clusterConfig(b)
		cfg.BootstrapServers = append(cfg.BootstrapServers, "elsewhere:9092")
		cfg.MetadataRecovery = strategy
		c := mustOpen(t, cfg)
		if got := slices.Contains(c.candidateAddrs(), "elsewhere:9092"); got != bootstraps {
			t.Errorf("%q: the bootstrap server is a candidate: %t, want %t", strategy, got, bootstraps)
		}
		c.mu.Lock()
		clear(c.brokers)
		c.mu.Unlock()
		if len(c.candidateAddrs()) == 0 {
			t.Errorf("%q: no candidate where no broker is known", strategy)
		}
	}
}

// TestSocketBuffers reads the sizes back from the socket. The system may give
// more than was asked for.
func TestSocketBuffers(t *testing.T) {
	b := startBroker(t, config.Embedded{}, broker.Options{})
	cfg := clusterConfig(b)
	cfg.SendBuffer, cfg.ReceiveBuffer = 32<<10, 24<<10
	small, usual := socketSizes(t, mustOpen(t, cfg)), socketSizes(t, mustOpen(t, clusterConfig(b)))
	if small == usual {
		t.Errorf("send and receive buffers are %v with and without the settings", small)
	}
	if small[0] < 32<<10 || small[1] < 24<<10 {
		t.Errorf("send and receive buffers are %v, want at least what was asked for", small)
	}
}

func socketSizes(t *testing.T, c *Cluster) (sizes [2]int) {
	t.Helper()
	conn, err := c.Dial(testContext(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for i, option := range []int{syscall.SO_SNDBUF, syscall.SO_RCVBUF} {
			sizes[i], _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, option)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}
