package runtime

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// spin counts its parameter down to zero and hashes on the way: about what
// plugins do, with a division so that it is on the slow side.
//
//	(func (export "spin") (param i32) (result i32) (local i32)
//	  loop
//	    local.get 1  local.get 0  i32.xor  i32.const 1000003  i32.mul
//	    local.get 0  i32.div_u  local.set 1
//	    local.get 0  i32.const 1  i32.sub  local.tee 0  br_if 0
//	  end
//	  local.get 1)
const spin = "\x00asm\x01\x00\x00\x00" +
	"\x01\x06\x01\x60\x01\x7f\x01\x7f" + // type
	"\x03\x02\x01\x00" + // function
	"\x07\x08\x01\x04spin\x00\x00" + // export
	"\x0a\x23\x01\x21\x01\x01\x7f" + // code
	"\x03\x40\x20\x01\x20\x00\x73\x41\xc3\x84\x3d\x6c\x20\x00\x6e\x21\x01" +
	"\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b\x20\x01\x0b"

// fuelRate returns the fuel that a processor burns in a nanosecond, measured
// when the process starts its first engine.
var fuelRate = sync.OnceValues(func() (float64, error) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(wasmFeatures))
	defer rt.Close(ctx) // reports nothing: there is no cache
	b := rt.NewHostModuleBuilder(meter.YieldModule)
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(yieldCall), nil, nil).Export(meter.YieldName)
	if _, err := b.Instantiate(ctx); err != nil {
		return 0, fmt.Errorf("measure fuel: %w", err)
	}
	return measureRate(ctx, rt)
})

// measureRate takes a few milliseconds. The quickest of some runs counts: the
// others were disturbed. Half of it is the answer, as a guest that waits for
// memory burns less.
func measureRate(ctx context.Context, rt wazero.Runtime) (float64, error) {
	const rounds, runs = 10_000, 8
	res, err := meter.Rewrite([]byte(spin), meter.Options{})
	if err != nil {
		return 0, fmt.Errorf("measure fuel: %w", err)
	}
	mod, err := rt.InstantiateWithConfig(ctx, res.Wasm, wazero.NewModuleConfig())
	if err != nil {
		return 0, fmt.Errorf("measure fuel: %w", err)
	}
	fn := mod.ExportedFunction("spin")
	fuel := mod.ExportedGlobal(meter.FuelExport).(api.MutableGlobal)
	best := 0.0
	for range runs {
		const plenty = 1 << 40
		fuel.Set(plenty)
		begun := time.Now()
		if _, err := fn.Call(ctx, rounds); err != nil {
			return 0, fmt.Errorf("measure fuel: %w", err)
		}
		took := max(time.Since(begun), 1)
		best = max(best, float64(plenty-int64(fuel.Get()))/float64(took))
	}
	return best / 2, nil
}
