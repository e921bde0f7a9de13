package host

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/partitioner"
	"github.com/klamm-io/klamm/state"
)

// openLanes gives each chain of a producer its lanes, with an instance of every
// plugin.
func (h *Host) openLanes(ctx context.Context, p *Producer) error {
	for _, run := range p.chains.runs {
		lanes := max(1, h.cfg.Chain[run.name].Lanes)
		for i := range lanes {
			if err := h.openLane(ctx, p, run, i, lanes); err != nil {
				return fmt.Errorf("chain %q: %w", run.name, err)
			}
		}
	}
	return nil
}

func (h *Host) openLane(ctx context.Context, p *Producer, run *chainRun, i, lanes int) error {
	link, err := run.chain.Lane(ctx, i, lanes)
	if err != nil {
		return err
	}
	fallback := partitioner.Default(h.defaultPartitioner())
	chosen, err := h.partitionerOf(ctx, run, i, lanes, fallback)
	if err != nil {
		return fmt.Errorf("partitioner: %w", err)
	}
	l := newLane(p, run, i, link, newPlacer(chosen, fallback))
	l.wants = ackWantsOf(link)
	l.direct = len(h.cfg.Chain[run.name].OnSend) == 0 && l.placer.batched == nil
	run.lanes = append(run.lanes, l)
	return nil
}

func (h *Host) defaultPartitioner() partitioner.DefaultConfig {
	cfg := &h.cfg.Producer
	return partitioner.DefaultConfig{
		BatchSize: max(1, int(cfg.BatchSize)), IgnoreKeys: cfg.PartitionerIgnoreKeys,
		Adaptive: cfg.PartitionerAdaptive == nil || *cfg.PartitionerAdaptive,
	}
}

// newConsumption joins nothing yet; run does.
func (h *Host) newConsumption(cfg *ConsumerConfig, group, instance string, topics []string, run *chainRun, every time.Duration) (*consumption, error) {
	link, err := run.chain.Lane(context.Background(), 0, 1)
	if err != nil {
		return nil, err
	}
	c := &consumption{
		h: h, name: group, groupID: group, log: h.log, every: every, lane: &consumeLane{link: link},
		parts: map[klamm.TopicPartition]*progress{}, plain: len(h.cfg.Chain[run.name].OnConsume) == 0,
	}
	c.group, err = consume.NewGroup(h.cluster, cfg, group, instance, topics, c, h.log)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// consumeRefs number the records that are read. The top bit keeps them apart
// from those that are sent.
var consumeRefs atomic.Uint64

func (h *Host) consumeRef() state.Ref { return h.consumeBlock(1) }

// consumeBlock returns the first of n that follow each other.
func (h *Host) consumeBlock(n int) state.Ref {
	return state.Ref(1<<63 | (consumeRefs.Add(uint64(n)) - uint64(n) + 1))
}
