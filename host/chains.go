package host

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/sdk/abi"
)

// chainRun is a chain with its lanes.
type chainRun struct {
	name  string
	chain *interceptor.Chain
	lanes []*lane
	seed  maphash.Seed
}

// lane returns the lane of a record: the hash of its key, else its explicit
// partition, so that order holds for each key.
func (c *chainRun) lane(rec *klamm.Record) *lane {
	if len(c.lanes) == 1 {
		return c.lanes[0]
	}
	if rec.Key != nil {
		return c.lanes[maphash.Bytes(c.seed, rec.Key)%uint64(len(c.lanes))]
	}
	if to, explicit := rec.Target.Partition(); explicit {
		return c.lanes[int(to)%len(c.lanes)]
	}
	return c.lanes[0]
}

// chains finds the chain of a topic.
type chains struct {
	cfg   *config.Config
	named map[string]*chainRun
	bare  *chainRun // of topics that no chain names
	runs  []*chainRun
	found sync.Map // topic -> *route
	last  atomic.Pointer[route]
}

// route is what a Send finds out about its topic: that the name is valid, and
// its chain.
type route struct {
	topic string
	chain *chainRun
}

// route returns a topic's route. Mostly it is that of the Send before.
func (c *chains) route(topic string) (*route, error) {
	if r := c.last.Load(); r != nil && r.topic == topic {
		return r, nil
	}
	r, ok := c.found.Load(topic)
	if !ok {
		if err := klamm.CheckTopic(topic); err != nil {
			return nil, err
		}
		r, _ = c.found.LoadOrStore(topic, &route{topic, c.search(topic)})
	}
	c.last.Store(r.(*route))
	return r.(*route), nil
}

func newChains(cfg *config.Config) *chains {
	return &chains{cfg: cfg, named: map[string]*chainRun{}}
}

func (c *chains) add(name string, chain *interceptor.Chain) *chainRun {
	run := &chainRun{name: name, chain: chain, seed: maphash.MakeSeed()}
	c.runs = append(c.runs, run)
	if name == "" {
		c.bare = run
	} else {
		c.named[name] = run
	}
	return run
}

// forTopic returns the chain with the most exact pattern that matches, or the
// bare one, which has no plugins.
func (c *chains) forTopic(topic string) *chainRun {
	if r, ok := c.found.Load(topic); ok {
		return r.(*route).chain
	}
	return c.search(topic)
}

func (c *chains) search(topic string) *chainRun {
	if name, ok := c.cfg.ChainFor(topic); ok {
		return c.named[name]
	}
	return c.bare
}

func (c *chains) eachLane(f func(*lane)) {
	for _, run := range c.runs {
		for _, l := range run.lanes {
			f(l)
		}
	}
}

// closeLanes runs each plugin's klamm_close.
func (c *chains) closeLanes(ctx context.Context) error {
	var errs []error
	c.eachLane(func(l *lane) {
		if err := errors.Join(l.link.Close(ctx), l.placer.close(ctx)); err != nil {
			errs = append(errs, fmt.Errorf("chain %q, lane %d: %w", l.chain.name, l.index, err))
		}
	})
	return errors.Join(errs...)
}

// ackWantsOf asks a lane what its on_acknowledgement plugins want to see.
func ackWantsOf(link *interceptor.Lane) ackWants {
	fields, any := link.Wants(abi.OnAcknowledgement)
	return ackWants{any: any, key: fields&abi.FieldKey != 0, headers: fields&abi.FieldHeaders != 0}
}
