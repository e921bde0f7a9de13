package hosttest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
)

// The same record twice: the second is a duplicate, and the sender is told.
func Example() {
	ctx := context.Background()
	h, err := host.New(host.Config{
		Cluster: host.ClusterConfig{BootstrapServers: []string{"embedded"}},
		State:   map[string]host.StateConfig{"ids": {}},
		Plugin: map[string]host.PluginConfig{"dedup": {
			Module: "builtin:dedup", State: "ids", Config: map[string]any{"id": "key", "window": "24h"},
		}},
		Chain: map[string]host.ChainConfig{"orders": {Topics: []string{"orders"}, OnSend: []string{"dedup"}}},
	}, host.WithEmbedded(hosttest.Embedded))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close(ctx)
	p, err := h.Producer()
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		r, err := p.Send(ctx, &klamm.Record{Topic: "orders", Key: []byte("o-1"), Value: []byte("42")})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %q\n", r.Outcome, r.Reason)
	}
	// Output:
	// out: ""
	// dropped: "duplicate"
}
