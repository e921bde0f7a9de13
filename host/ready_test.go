package host_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/host"
)

// awaitReady waits until Ready is nil, or has want in its error.
func awaitReady(t *testing.T, h *host.Host, want string) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := h.Ready()
		if want == "" && err == nil || want != "" && err != nil && strings.Contains(err.Error(), want) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("Ready() = %v, want %q", err, want)
		}
	}
}

// TestReady: a member that got no partition stands by and is ready; one whose
// brokers are gone is not.
func TestReady(t *testing.T) {
	b := startBroker(t, 1, "raw", "clean")
	cfg := chainOf("clean")
	cfg.Pipeline = map[string]host.PipelineConfig{"p": {From: []string{"raw"}, To: "clean"}}
	cfg.Consumer.Heartbeat = host.Duration(100 * time.Millisecond)
	ctx, cancel := context.WithCancel(within(t))
	ended := make(chan error, 2)
	var hosts []*host.Host
	for _, id := range []string{"a", "b"} {
		cfg.Host.ID = id
		h := newHost(t, b, cfg, host.WithInterceptor("j", judge{}))
		hosts = append(hosts, h)
		go func() { ended <- h.Run(ctx) }()
		awaitReady(t, h, "")
	}
	awaitReady(t, hosts[0], "")
	b.Close(t)
	for _, h := range hosts {
		awaitReady(t, h, `pipeline "p" is not in its consumer group`)
	}
	cancel()
	for range hosts {
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}
