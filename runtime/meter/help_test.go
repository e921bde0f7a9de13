package meter_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

var ctx = context.Background()

// machine runs modules, metered or not.
type machine struct {
	t       testing.TB
	rt      wazero.Runtime
	metered bool
	options meter.Options
	refuel  int64
	yields  int64
	// yielded is called by yield; a panic in it ends the call.
	yielded func(mod api.Module)
}

func newMachine(t testing.TB, metered bool) *machine {
	t.Helper()
	return newMachineOf(t, api.CoreFeaturesV2, metered)
}

func newMachineOf(t testing.TB, features api.CoreFeatures, metered bool) *machine {
	t.Helper()
	m := &machine{t: t, metered: metered, refuel: 1_000_000}
	m.rt = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(features).WithMemoryLimitPages(2048))
	t.Cleanup(func() { _ = m.rt.Close(ctx) })
	if !metered {
		return m
	}
	yield := api.GoModuleFunc(func(_ context.Context, mod api.Module, _ []uint64) {
		m.yields++
		if m.yielded != nil {
			m.yielded(mod)
		}
		fuel(mod).Set(uint64(m.refuel))
	})
	b := m.rt.NewHostModuleBuilder(meter.YieldModule)
	b.NewFunctionBuilder().WithGoModuleFunction(yield, nil, nil).Export(meter.YieldName)
	if _, err := b.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	return m
}

func fuel(mod api.Module) api.MutableGlobal {
	return mod.ExportedGlobal(meter.FuelExport).(api.MutableGlobal)
}

func depth(mod api.Module) api.MutableGlobal {
	return mod.ExportedGlobal(meter.DepthExport).(api.MutableGlobal)
}

// start instantiates wasm and runs its start function.
func (m *machine) start(wasm []byte, name string) (api.Module, error) {
	cfg := wazero.NewModuleConfig().WithName(name).WithStartFunctions()
	if !m.metered {
		return m.rt.InstantiateWithConfig(ctx, wasm, cfg)
	}
	res, err := meter.Rewrite(wasm, m.options)
	if err != nil {
		return nil, err
	}
	mod, err := m.rt.InstantiateWithConfig(ctx, res.Wasm, cfg)
	if err != nil {
		return nil, err
	}
	if res.HasStart {
		if _, err := mod.ExportedFunction(meter.StartExport).Call(ctx); err != nil {
			_ = mod.Close(ctx)
			return nil, fmt.Errorf("start function: %w", err)
		}
	}
	return mod, nil
}

func (m *machine) mustStart(wasm []byte) api.Module {
	m.t.Helper()
	mod, err := m.start(wasm, "")
	if err != nil {
		m.t.Fatal(err)
	}
	return mod
}

// trap returns the engine's word for what ended a call.
func trap(err error) string {
	if err == nil {
		return ""
	}
	text := strings.TrimPrefix(err.Error(), "start function: ")
	text, _, _ = strings.Cut(text, "\n")
	text, _, _ = strings.Cut(text, " (recovered by wazero)")
	return text
}
