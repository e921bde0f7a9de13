package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

// klammJob is what `klamm run` does with a configuration.
type klammJob struct {
	host *host.Host
	*clock
}

// clock hears of commits.
type clock struct{ stamp }

func (c *clock) OnCommit(context.Context, []interceptor.Commit) error { c.now(); return nil }

func openKlamm(cfg Config) (Job, error) {
	var hc host.Config
	hc.Cluster.BootstrapServers = cfg.Brokers
	hc.Host.ID = cfg.Group
	hc.State = map[string]host.StateConfig{"ids": {Backend: cfg.State, MaxEntries: window, Topic: cfg.Path}}
	hc.Plugin = map[string]host.PluginConfig{
		"dedup":    {Module: cfg.Modules["dedup"], State: "ids", Config: map[string]any{"id": []any{"key"}, "window": "0s"}},
		"route-by": {Module: cfg.Modules["route-by"], Config: map[string]any{"by": "key"}},
	}
	hc.Chain = map[string]host.ChainConfig{"bench": {Topics: []string{cfg.Out}, OnSend: []string{"dedup"}, Partitioner: "route-by", OnCommit: []string{"clock"}}}
	hc.Plugins.CacheDir = cfg.Cache
	hc.Pipeline = map[string]host.PipelineConfig{"bench": {
		From: []string{cfg.In}, To: cfg.Out, GroupID: cfg.Group, Guarantee: "exactly_once",
		CommitInterval: host.Duration(commitEvery), StopAtEnd: cfg.Records > 0,
	}}
	c := &clock{}
	h, err := host.New(hc, host.WithInterceptor("clock", c))
	return &klammJob{h, c}, err
}

// commitEvery is how often jobs with transactions commit.
const commitEvery = 100 * time.Millisecond

func (j *klammJob) Run(ctx context.Context) error { return j.host.Run(ctx) }

func (j *klammJob) Close() error {
	for name, p := range j.host.Stats().Pipelines {
		if !p.Balanced() {
			return fmt.Errorf("pipeline %q: counts do not balance: %+v", name, p.Counts)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return j.host.Close(ctx)
}
