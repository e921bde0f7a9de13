//go:build wasip1

// Command go is the benchmark's plugin for go-plugin.
package main

import (
	"context"

	"github.com/klamm-io/klamm/bench/guests/goplugin/judge"
	"github.com/klamm-io/klamm/bench/internal/ops"
)

func init() { judge.RegisterJudge(service{}) }

type service struct{}

func (service) Judge(ctx context.Context, b *judge.Batch) (*judge.Verdicts, error) {
	verdicts := make([]judge.Verdict, len(b.Records))
	reply := &judge.Verdicts{Verdicts: make([]*judge.Verdict, len(b.Records))}
	for i := range verdicts {
		reply.Verdicts[i] = &verdicts[i]
	}
	if ops.All()[b.Op] == ops.Dedup {
		return reply, dedup(ctx, b, verdicts)
	}
	for i, r := range b.Records {
		judgeOne(ops.All()[b.Op], r, &verdicts[i])
	}
	return reply, nil
}

func judgeOne(op ops.Op, r *judge.Record, v *judge.Verdict) {
	switch op {
	case ops.Route:
		v.Code, v.Partition = uint32(ops.Routed), ops.Partition(r.Key)
	case ops.Rewrite:
		v.Code, v.Value = uint32(ops.Replaced), ops.AppendRewritten(make([]byte, 0, len(r.Value)+16), r.Value)
	case ops.Mask:
		if masked, ok := ops.AppendMasked(make([]byte, 0, len(r.Value)), r.Value); ok {
			v.Code, v.Value = uint32(ops.Replaced), masked
		}
	}
}

// dedup asks for all keys in one call of the host.
func dedup(ctx context.Context, b *judge.Batch, verdicts []judge.Verdict) error {
	ids := &judge.Ids{Ids: make([][]byte, len(b.Records))}
	for i, r := range b.Records {
		ids.Ids[i] = r.Key
	}
	fresh, err := judge.NewClaims().Claim(ctx, ids)
	if err != nil {
		return err
	}
	for i := range verdicts {
		if !fresh.Fresh[i] {
			verdicts[i].Code = uint32(ops.Dropped)
		}
	}
	return nil
}

func main() {}
