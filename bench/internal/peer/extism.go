package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	extism "github.com/extism/go-sdk"
	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/wire"
	"github.com/klamm-io/klamm/bench/internal/workload"
	"github.com/tetratelabs/wazero"
)

// extismJudge hands a whole batch over in one call. Extism itself knows bytes
// only; the encoding is internal/wire.
type extismJudge struct {
	plugin *extism.Plugin
	op     ops.Op
	in     []byte
}

// openExtism uses the SDK's defaults: no timeout, so nothing can stop a guest
// that does not return.
func openExtism(ctx context.Context, cache wazero.CompilationCache, wasm []byte, op ops.Op) (Judge, error) {
	claims := workload.NewClaims()
	claim := extism.NewHostFunctionWithStack("claim",
		func(_ context.Context, p *extism.CurrentPlugin, stack []uint64) {
			key, ok := p.Memory().Read(uint32(stack[0]), uint32(stack[1]))
			if !ok {
				panic("claim: the key is outside of the memory")
			}
			stack[0] = 0
			if claims.Claim(key) {
				stack[0] = 1
			}
		},
		[]extism.ValueType{extism.ValueTypeI64, extism.ValueTypeI64}, []extism.ValueType{extism.ValueTypeI64})
	p, err := extism.NewPlugin(ctx,
		extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: wasm}}},
		extism.PluginConfig{
			EnableWasi:    true,
			RuntimeConfig: wazero.NewRuntimeConfig().WithCompilationCache(cache),
			ModuleConfig:  withGuestEnv(wazero.NewModuleConfig()),
		},
		[]extism.HostFunction{claim})
	if err != nil {
		return nil, fmt.Errorf("extism: %w", err)
	}
	return &extismJudge{plugin: p, op: op}, nil
}

func (e *extismJudge) Judge(records []workload.Record, out []ops.Result) error {
	e.in = binary.LittleEndian.AppendUint32(e.in[:0], uint32(len(records)))
	for i := range records {
		var key, value []byte
		if e.op.NeedsKey() {
			key = records[i].Key
		}
		if e.op.NeedsValue() {
			value = records[i].Value
		}
		e.in = wire.AppendRecord(e.in, key, value)
	}
	rc, reply, err := e.plugin.Call(string(e.op), e.in)
	if err != nil || rc != 0 {
		return errors.Join(fmt.Errorf("extism: %s returned %d", e.op, rc), err)
	}
	return wire.Verdicts(reply, out)
}

func (e *extismJudge) Close() error { return e.plugin.Close(context.Background()) }
