package host

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/klamm-io/klamm"
)

// PipelineInfo is one running pipeline, as an operator sees it.
type PipelineInfo struct {
	Name   string   `json:"name"`
	From   []string `json:"from"`
	To     string   `json:"to"`
	Group  string   `json:"group"`
	Chain  string   `json:"chain,omitempty"`
	Paused bool     `json:"paused"`
	// Joined is whether it is a member of its group now; Ended, whether
	// stop_at_end has ended it.
	Joined bool `json:"joined"`
	Ended  bool `json:"ended"`
	Counts
	Commits    int64          `json:"commits"`
	Lag        int64          `json:"lag"`
	Partitions []PartitionLag `json:"partitions"`
}

// PartitionLag is one input partition that the pipeline has been assigned.
//
// Position is the offset after the last record that is completed with all before
// it, Committed the one that the group knows, both -1 before the first. Lag is
// the records from Position to End, as of the last fetch.
type PartitionLag struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Position  int64  `json:"position"`
	Committed int64  `json:"committed"`
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"`
}

// ErrUnknownPipeline is in the error of a call that names no running pipeline.
var ErrUnknownPipeline = fmt.Errorf("no such pipeline is running")

// Pipelines returns the pipelines that Run has started, by name.
func (h *Host) Pipelines() []PipelineInfo {
	h.mu.Lock()
	running := maps.Clone(h.pipelines)
	h.mu.Unlock()
	infos := make([]PipelineInfo, 0, len(running))
	for _, name := range slices.Sorted(maps.Keys(running)) {
		infos = append(infos, running[name].info())
	}
	return infos
}

// PausePipeline stops a pipeline's reading until ResumePipeline or the end of the
// process. What it has read is completed and committed, it stays a member of
// its group and keeps its partitions; those that come later are paused too. To
// pause a paused pipeline is no error.
func (h *Host) PausePipeline(name string) error { return h.pausePipeline(name, true) }

// ResumePipeline goes on with a paused pipeline.
func (h *Host) ResumePipeline(name string) error { return h.pausePipeline(name, false) }

func (h *Host) pausePipeline(name string, on bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.pipelines[name]
	if p == nil {
		return fmt.Errorf("pipeline %q: %w", name, ErrUnknownPipeline)
	}
	p.pause(on)
	return nil
}

// pause holds the lock while it tells the group, so that a rebalance between
// the two cannot bring partitions that nobody pauses.
func (c *consumption) pause(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused == on {
		return
	}
	c.paused = on
	parts := slices.Collect(maps.Keys(c.parts))
	if on {
		c.group.Pause(parts...)
	} else {
		c.group.Resume(parts...)
	}
}

func (p *pipeline) info() PipelineInfo {
	s := p.stats()
	info := PipelineInfo{
		Name: p.name, From: p.cfg.From, To: p.cfg.To, Group: p.groupID, Chain: p.chain.name,
		Joined: p.group.Joined(), Ended: p.ended.Load(), Counts: s.Counts, Commits: s.Commits, Lag: s.Lag,
		Partitions: p.lags(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	info.Paused = p.paused
	return info
}

// lags are those of the partitions that it has, by topic and number.
func (c *consumption) lags() []PartitionLag {
	c.mu.Lock()
	defer c.mu.Unlock()
	lags := make([]PartitionLag, 0, len(c.parts))
	for tp, pr := range c.parts {
		lags = append(lags, pr.partitionLag(tp))
	}
	slices.SortFunc(lags, func(a, b PartitionLag) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return lags
}

func (p *progress) partitionLag(tp klamm.TopicPartition) PartitionLag {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PartitionLag{
		Topic: tp.Topic, Partition: tp.Partition, Position: p.position, Committed: p.committed, End: p.highWater, Lag: p.lagLocked(),
	}
}
