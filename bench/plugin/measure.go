package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klamm-io/klamm/bench/internal/guests"
	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/peer"
	"github.com/klamm-io/klamm/bench/internal/rounds"
	"github.com/klamm-io/klamm/bench/internal/rows"
	"github.com/klamm-io/klamm/bench/internal/workload"
)

// plan is what is measured.
type plan struct {
	ops     []ops.Op
	batches []int
	sizes   []int
	rounds  rounds.Config
	without string // a language of guests that is there but not asked for
}

// open is a contender that runs.
type open struct {
	peer.Contender
	judge peer.Judge
}

func measure(ctx context.Context, p plan, set *guests.Set, log io.Writer) (out []rows.Row, err error) {
	field, err := peer.NewField(ctx, set, cacheDir())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, field.Close(context.Background())) }()
	began := time.Now()
	for _, op := range p.ops {
		measured, err := measureOp(ctx, p, op, field, log, began)
		if err != nil {
			return nil, err
		}
		out = append(out, measured...)
	}
	return out, nil
}

func measureOp(ctx context.Context, p plan, op ops.Op, field *peer.Field, log io.Writer, began time.Time) (out []rows.Row, err error) {
	var running []open
	defer func() {
		for _, c := range running {
			err = errors.Join(err, c.judge.Close())
		}
	}()
	for _, c := range field.Contenders(op) {
		if c.Guest == p.without && c.Impl != "native" {
			continue
		}
		j, err := c.Open(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s %s %s: %w", c.Impl, c.Guest, op, err)
		}
		running = append(running, open{c, j})
	}
	for _, size := range p.sizes {
		ring := workload.NewRing(size)
		for _, batch := range p.batches {
			fmt.Fprintf(log, "%5.1fs  %s, values of %d B, batches of %d, %d contenders\n", time.Since(began).Seconds(), op, size, batch, len(running))
			measured, err := measureCell(ctx, p.rounds, running, ring, batch)
			if err != nil {
				return nil, err
			}
			out = append(out, measured...)
		}
	}
	return out, nil
}

// measureCell checks that everybody gets everything right, then times them.
func measureCell(ctx context.Context, cfg rounds.Config, running []open, ring *workload.Ring, batch int) ([]rows.Row, error) {
	contestants := make([]rounds.Contestant, len(running))
	for i, c := range running {
		if err := peer.Check(c.judge, c.Op, ring, batch); err != nil {
			return nil, fmt.Errorf("%s %s: %w", c.Impl, c.Guest, err)
		}
		out := make([]ops.Result, batch)
		contestants[i] = func(turn int) error { return c.judge.Judge(ring.Batch(turn, batch), out) }
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	figures, err := rounds.Run(cfg, contestants)
	if err != nil {
		return nil, err
	}
	out := make([]rows.Row, len(running))
	for i, c := range running {
		out[i] = rows.Row{
			Impl: c.Impl, Guest: c.Guest, Op: string(c.Op), Batch: batch, Size: ring.Size,
			NsPerRecord:     figures[i].Ns / float64(batch),
			AllocsPerRecord: figures[i].Allocs / float64(batch),
		}
		if err := out[i].Validate(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
