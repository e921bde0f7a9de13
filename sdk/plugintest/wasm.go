package plugintest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// callLimit is generous: a test machine may be busy, and no case is about time.
const callLimit = 10 * time.Second

// guest runs cases with the module in the real runtime.
type guest struct {
	engine *runtime.Engine
	module *module.Module
}

func (g *guest) play(ctx context.Context, c *Case, s shape, ends []int) (*Outcome, error) {
	config, err := c.configJSON()
	if err != nil {
		return nil, err
	}
	p := g.engine.NewPlugin(runtime.PluginConfig{
		Name:     pluginName,
		ClientID: clientID,
		Config:   config,
		Env:      g.module.Env,
		Timeout:  callLimit,
		Grants:   runtime.GrantAll,
		Secrets:  c.Secrets,
	})
	h := newHost(c)
	return g.seated(ctx, p, h, s, ends)
}

func (g *guest) seated(ctx context.Context, p *runtime.Plugin, h *host, s shape, ends []int) (out *Outcome, err error) {
	defer func() {
		if e := p.Close(ctx); err == nil {
			err = e
		}
	}()
	if err := p.Load(ctx, g.module.Wasm); err != nil {
		return h.outcome(nil), err
	}
	seat, err := p.Seat(ctx, runtime.SeatConfig{Chain: chainName, Topics: []string{DefaultTopic}, Lanes: 1, Host: h})
	if err != nil {
		return h.outcome(nil), err
	}
	defer func() {
		if e := seat.Close(ctx); err == nil {
			err = e
		}
	}()
	gen := seat.Generation()
	if !gen.Hooks.Has(h.c.Hook) {
		return nil, fmt.Errorf("the plugin has no %s", h.c.Hook)
	}
	r := guestRun{ctx: ctx, h: h, gen: gen, seat: seat}
	r.block.Stretched = s.extraTopic
	results, err := r.play(ends)
	return h.outcome(results), err
}

// guestRun is one run of a case with a module.
type guestRun struct {
	ctx   context.Context
	h     *host
	gen   *runtime.Generation
	seat  *runtime.Seat
	block runtime.Block
}

func (r *guestRun) play(ends []int) (results []Result, err error) {
	for _, end := range ends {
		for r.h.last = end; r.h.first < end; {
			part, done, err := r.call(end)
			if err != nil {
				return results, err
			}
			results = append(results, part...)
			r.h.first += done
		}
	}
	return results, nil
}

func (r *guestRun) call(end int) (results []Result, done int, err error) {
	n := r.fill(end)
	r.h.begin()
	hook := r.h.c.Hook
	if hook == abi.OnAcknowledgement || hook == abi.OnCommit {
		return nil, n, r.seat.Notify(r.ctx, hook, &r.block)
	}
	verdicts, err := r.seat.Judge(r.ctx, hook, &r.block)
	if err != nil {
		return nil, 0, err
	}
	r.h.settle(verdicts.Len())
	if verdicts.Len() == 0 {
		return nil, 0, errors.New("the plugin judged no record")
	}
	for i := range verdicts.Len() {
		res, err := result(&r.h.c.Records[r.h.first+i], verdicts.At(i), r.gen.Reason)
		if err != nil {
			return nil, 0, err
		}
		results = append(results, res)
	}
	return results, verdicts.Len(), nil
}

// fill puts the records from h.first on into the block and returns how many.
func (r *guestRun) fill(end int) (n int) {
	c, hook := r.h.c, r.h.c.Hook
	ack := hook == abi.OnAcknowledgement || hook == abi.OnCommit
	r.block.Reset(r.gen.Fields(hook), c.now().UnixMilli(), ack)
	for i := r.h.first; i < end && !r.block.Full(); i++ {
		rec := &c.Records[i]
		if n > 0 && !r.block.Fits(sizeOf(rec)) {
			break // a record that does not fit at all comes first in its block
		}
		f := c.factsOf(topicOf(rec))
		partition, offset := place(hook, rec)
		r.block.Add(runtime.Head{
			Topic:       r.block.AddTopic(topicOf(rec), f.Partitions, f.Epoch, f.Available, f.Load),
			Partition:   partition,
			Offset:      offset,
			TimestampMS: c.timestampMS(rec),
			Key:         rec.Key,
			Value:       rec.Value,
			Ref:         refOf(i),
			Headers:     len(rec.Headers),
		})
		for _, h := range rec.Headers {
			r.block.AddHeader(h.Key, h.Value)
		}
		if ack {
			var a Ack
			if i < len(c.Acks) {
				a = c.Acks[i]
			}
			r.block.SetAck(a.Error, a.Flags, uint32(a.Latency.Microseconds()), uint32(a.Reason), 0)
		}
		n++
	}
	return n
}

// sizeOf is what a record takes in a block beside its header.
func sizeOf(r *klamm.Record) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + abi.HeaderEntrySize
	}
	return n
}
