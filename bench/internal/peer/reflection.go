package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/workload"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// reflection has the shape of Redpanda Connect's wasm processor: the guest's
// function is called once for each record, without arguments, and reads and
// writes the record through functions that are registered by reflection. What
// it reads is put into memory that the guest's malloc gives, and what it writes
// is copied.
type reflection struct {
	runtime               wazero.Runtime
	mod                   api.Module
	process, malloc, free api.Function
	claims                *workload.Claims

	record  workload.Record
	result  ops.Result
	pending []uint64 // memory of the guest, given back after the call
	err     error
}

func openReflection(ctx context.Context, cache wazero.CompilationCache, wasm []byte, op ops.Op) (Judge, error) {
	r := &reflection{
		runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(cache)),
		claims:  workload.NewClaims(),
	}
	if err := r.load(ctx, wasm, op); err != nil {
		return nil, errors.Join(fmt.Errorf("reflection: %w", err), r.Close())
	}
	return r, nil
}

func (r *reflection) load(ctx context.Context, wasm []byte, op ops.Op) error {
	b := r.runtime.NewHostModuleBuilder("benthos_wasm")
	for name, f := range map[string]any{
		"v0_msg_as_bytes":  r.msgAsBytes,
		"v0_msg_set_bytes": r.msgSetBytes,
		"v0_msg_get_meta":  r.msgGetMeta,
		"v0_msg_set_meta":  r.msgSetMeta,
		"v0_msg_delete":    r.msgDelete,
		"v0_claim":         r.claim,
	} {
		b = b.NewFunctionBuilder().WithFunc(f).Export(name)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		return err
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r.runtime); err != nil {
		return err
	}
	var err error
	r.mod, err = r.runtime.InstantiateWithConfig(ctx, wasm, withGuestEnv(wazero.NewModuleConfig()).WithStartFunctions("_initialize"))
	if err != nil {
		return err
	}
	r.process, r.malloc, r.free = r.mod.ExportedFunction(string(op)), r.mod.ExportedFunction("malloc"), r.mod.ExportedFunction("free")
	if r.process == nil || r.malloc == nil || r.free == nil {
		return fmt.Errorf("the guest exports no %s, malloc or free", op)
	}
	return nil
}

func (r *reflection) Judge(records []workload.Record, out []ops.Result) error {
	ctx := context.Background()
	for i := range records {
		r.record, r.result, r.err = records[i], ops.Result{}, nil
		_, err := r.process.Call(ctx)
		for _, p := range r.pending {
			if _, e := r.free.Call(ctx, p); err == nil {
				err = e
			}
		}
		r.pending = r.pending[:0]
		if err = errors.Join(err, r.err); err != nil {
			return fmt.Errorf("reflection: %w", err)
		}
		out[i] = r.result
	}
	return nil
}

func (r *reflection) Close() error { return r.runtime.Close(context.Background()) }

// inbound puts b into the guest's memory.
func (r *reflection) inbound(ctx context.Context, b []byte) uint64 {
	res, err := r.malloc.Call(ctx, uint64(len(b)))
	if err != nil {
		r.err = err
		return 0
	}
	r.pending = append(r.pending, res[0])
	if !r.mod.Memory().Write(uint32(res[0]), b) {
		r.err = errors.New("malloc gave memory outside of the memory")
		return 0
	}
	return res[0]<<32 | uint64(len(b))
}

// outbound copies bytes out of the guest's memory.
func (r *reflection) outbound(ptr, n uint32) []byte {
	b, ok := r.mod.Memory().Read(ptr, n)
	if !ok {
		r.err = errors.New("read outside of the memory")
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

func (r *reflection) msgAsBytes(ctx context.Context, _ api.Module) uint64 {
	return r.inbound(ctx, r.record.Value)
}

func (r *reflection) msgSetBytes(_ context.Context, _ api.Module, ptr, n uint32) {
	r.result = ops.Result{Code: ops.Replaced, Value: r.outbound(ptr, n)}
}

func (r *reflection) msgGetMeta(ctx context.Context, _ api.Module, key, n uint32) uint64 {
	if string(r.outbound(key, n)) != "key" {
		return 0
	}
	return r.inbound(ctx, r.record.Key)
}

func (r *reflection) msgSetMeta(_ context.Context, _ api.Module, key, n, value, valueLen uint32) {
	name, v := r.outbound(key, n), r.outbound(value, valueLen)
	if string(name) != "partition" || len(v) != 4 {
		r.err = fmt.Errorf("meta %q of %d bytes", name, len(v))
		return
	}
	r.result = ops.Result{Code: ops.Routed, Partition: int32(binary.LittleEndian.Uint32(v))}
}

func (r *reflection) msgDelete(context.Context, api.Module) {
	r.result = ops.Result{Code: ops.Dropped}
}

func (r *reflection) claim(_ context.Context, _ api.Module, key, n uint32) uint32 {
	if r.claims.Claim(r.outbound(key, n)) {
		return 1
	}
	return 0
}
