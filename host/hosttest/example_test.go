package hosttest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
	"github.com/klamm-io/klamm/interceptor"
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

type noEmpty struct{}

func (noEmpty) OnSend(_ context.Context, items []*interceptor.Item) error {
	for _, it := range items {
		if len(it.Record.Value) == 0 {
			it.Drop("empty")
		}
	}
	return nil
}

// A native Go interceptor stands in a chain beside plugins.
func ExampleHost_Producer() {
	ctx := context.Background()
	h, err := host.New(host.Config{
		Cluster: host.ClusterConfig{BootstrapServers: []string{"embedded"}},
		Chain:   map[string]host.ChainConfig{"all": {Topics: []string{"*"}, OnSend: []string{"no-empty"}}},
	}, host.WithEmbedded(hosttest.Embedded), host.WithInterceptor("no-empty", noEmpty{}))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close(ctx)
	p, err := h.Producer()
	if err != nil {
		log.Fatal(err)
	}
	for _, v := range []string{"a", "", "b"} {
		err := p.SendAsync(ctx, &klamm.Record{Topic: "orders", Value: []byte(v)}, func(r klamm.Result) {
			fmt.Printf("%q: %s\n", v, r.Outcome)
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%+v\n", p.Counts())
	// Unordered output:
	// "": dropped
	// "a": out
	// "b": out
	// {In:3 Out:2 Dropped:1 DeadLettered:0 Failed:0 InFlight:0}
}
