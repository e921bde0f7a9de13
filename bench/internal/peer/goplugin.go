package peer

import (
	"context"
	"fmt"
	"os"

	"github.com/klamm-io/klamm/bench/guests/goplugin/judge"
	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/workload"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// goPlugin hands a whole batch over as one message of Protocol Buffers.
type goPlugin struct {
	plugin interface {
		judge.Judge
		Close(context.Context) error
	}
	batch   *judge.Batch
	records []judge.Record
}

// openGoPlugin uses the generated code's defaults, but for a compilation cache
// and the guest's collector.
func openGoPlugin(ctx context.Context, cache wazero.CompilationCache, wasm []byte, op ops.Op) (Judge, error) {
	loader, err := judge.NewJudgePlugin(ctx,
		judge.WazeroRuntime(func(ctx context.Context) (wazero.Runtime, error) {
			r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(cache))
			_, err := wasi_snapshot_preview1.Instantiate(ctx, r)
			return r, err
		}),
		judge.WazeroModuleConfig(withGuestEnv(wazero.NewModuleConfig()).WithStartFunctions("_initialize")))
	if err != nil {
		return nil, fmt.Errorf("go-plugin: %w", err)
	}
	path, err := tempFile(wasm) // it loads from files only
	if err != nil {
		return nil, err
	}
	defer os.Remove(path)
	p, err := loader.Load(ctx, path, claimService{workload.NewClaims()})
	if err != nil {
		return nil, fmt.Errorf("go-plugin: %w", err)
	}
	return &goPlugin{plugin: p, batch: &judge.Batch{Op: uint32(ops.Number(op))}}, nil
}

func tempFile(b []byte) (string, error) {
	f, err := os.CreateTemp("", "bench-*.wasm")
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if e := f.Close(); err == nil {
		err = e
	}
	return f.Name(), err
}

func (g *goPlugin) Judge(records []workload.Record, out []ops.Result) error {
	op := ops.All()[g.batch.Op]
	if len(g.records) < len(records) {
		g.records = make([]judge.Record, len(records))
	}
	g.batch.Records = g.batch.Records[:0]
	for i := range records {
		r := &g.records[i]
		if op.NeedsKey() {
			r.Key = records[i].Key
		}
		if op.NeedsValue() {
			r.Value = records[i].Value
		}
		g.batch.Records = append(g.batch.Records, r)
	}
	reply, err := g.plugin.Judge(context.Background(), g.batch)
	if err != nil {
		return fmt.Errorf("go-plugin: %w", err)
	}
	if len(reply.Verdicts) != len(out) {
		return fmt.Errorf("go-plugin: %d verdicts for %d records", len(reply.Verdicts), len(out))
	}
	for i, v := range reply.Verdicts {
		out[i] = ops.Result{Code: ops.Code(v.Code), Partition: v.Partition, Value: v.Value}
	}
	return nil
}

func (g *goPlugin) Close() error { return g.plugin.Close(context.Background()) }

// claimService is the host's service for the guest.
type claimService struct{ claims *workload.Claims }

func (c claimService) Claim(_ context.Context, ids *judge.Ids) (*judge.Fresh, error) {
	fresh := &judge.Fresh{Fresh: make([]bool, len(ids.Ids))}
	for i, id := range ids.Ids {
		fresh.Fresh[i] = c.claims.Claim(id)
	}
	return fresh, nil
}
