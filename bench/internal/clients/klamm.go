package clients

import (
	"context"
	"fmt"
	"maps"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/bench/internal/drive"
	"github.com/klamm-io/klamm/bench/internal/records"
	"github.com/klamm-io/klamm/host"
)

// klammClient is host.Producer as a program uses it.
type klammClient struct {
	host     *host.Host
	producer *host.Producer
	topic    string
}

func openKlamm(cfg drive.Config) (drive.Client, error) {
	var hc host.Config
	hc.Cluster.BootstrapServers = cfg.Brokers
	if err := hc.Producer.Compression.UnmarshalText([]byte(cfg.Codec)); err != nil {
		return nil, err
	}
	if cfg.Client == "klamm-tuned" {
		hc.Producer.BatchSize, hc.Producer.BufferMemory = 64<<10, 64<<20
	}
	if cfg.Plugins != "none" {
		withPlugins(&hc, cfg)
	}
	h, err := host.New(hc)
	if err != nil {
		return nil, err
	}
	p, err := h.Producer()
	if err != nil {
		return nil, err
	}
	return &klammClient{h, p, cfg.Topic}, nil
}

// withPlugins sets up dedup by the key and route-by as the partitioner.
func withPlugins(hc *host.Config, cfg drive.Config) {
	hc.State = map[string]host.StateConfig{"ids": {Backend: "memory", MaxEntries: window}}
	hc.Plugin = map[string]host.PluginConfig{
		"dedup":    {Module: cfg.Modules["dedup"], State: "ids"},
		"route-by": {Module: cfg.Modules["route-by"]},
	}
	hc.Plugin["dedup"] = table(hc.Plugin["dedup"], map[string]any{"id": []any{"key"}, "window": "0s"})
	hc.Plugin["route-by"] = table(hc.Plugin["route-by"], map[string]any{"by": "key"})
	hc.Chain = map[string]host.ChainConfig{"bench": {
		Topics: []string{cfg.Topic}, OnSend: []string{"dedup"}, Partitioner: "route-by",
	}}
	hc.Plugins.CacheDir = cfg.CacheDir
}

// window is how many ids dedup keeps.
const window = 1_000_000

func table(p host.PluginConfig, settings map[string]any) host.PluginConfig {
	p.Config = maps.Clone(settings)
	return p
}

func (c *klammClient) Send(set *records.Set, from, to int, acks *drive.Acks) error {
	ctx := context.Background()
	rec := klamm.Record{Topic: c.topic}
	done := func(r klamm.Result) {
		if r.Err != nil {
			acks.Fail(r.Err)
		}
		acks.Done(1)
	}
	for n := from; n < to; n++ {
		rec.Key, rec.Value = set.Key(n), set.Value(n)
		if acks.Timed {
			done = timed(n, acks)
		}
		if err := c.producer.SendAsync(ctx, &rec, done); err != nil {
			return err
		}
	}
	return nil
}

func timed(n int, acks *drive.Acks) func(klamm.Result) {
	return func(r klamm.Result) {
		if r.Err != nil {
			acks.Fail(r.Err)
		}
		acks.DoneAt(n)
	}
}

func (c *klammClient) Flush() error { return c.producer.Flush(context.Background()) }

func (c *klammClient) Close() error {
	counts := c.producer.Counts()
	if !counts.Balanced() {
		return fmt.Errorf("klamm: counts do not balance: %+v", counts)
	}
	return c.host.Close(context.Background())
}
