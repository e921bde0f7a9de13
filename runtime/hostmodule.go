package runtime

import (
	"context"
	"fmt"

	"github.com/klamm-io/klamm/runtime/guard"
	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// hostFunction is one function that guests may import. Parameters come in
// stack, and the result, if it has one, goes to stack[0].
type hostFunction func(in *instance, stack []uint64)

// registerHost makes the functions known to the engine, for all instances.
// They are called through GoModuleFunc: by reflection a call costs 15 to 20
// times as much.
func registerHost(ctx context.Context, rt wazero.Runtime) error {
	for module, functions := range guard.HostFunctions {
		b := rt.NewHostModuleBuilder(module)
		for name, t := range functions {
			f := lookupHost(module, name)
			b.NewFunctionBuilder().
				WithGoModuleFunction(api.GoModuleFunc(f.call), valueTypes(t.Params), valueTypes(t.Results)).
				Export(name)
		}
		if module == meter.YieldModule {
			b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(yieldCall), nil, nil).Export(meter.YieldName)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return fmt.Errorf("host module %q: %w", module, err)
		}
	}
	return nil
}

func lookupHost(module, name string) hostFunction {
	if module == guard.WASIModule {
		if f, ok := wasiFunctions[name]; ok {
			return f
		}
		return badDescriptor
	}
	return klammFunctions[name]
}

func (f hostFunction) call(ctx context.Context, _ api.Module, stack []uint64) {
	f(instanceOf(ctx), stack)
}

func valueTypes(s string) []api.ValueType { return []byte(s) }

// hostTrap ends the running call from within a host function.
type hostTrap struct{ reason string }

func (t *hostTrap) Error() string { return t.reason }

func trapf(format string, args ...any) { panic(&hostTrap{fmt.Sprintf(format, args...)}) }

// exitTrap is proc_exit: it ends the call, not the host.
type exitTrap struct{ code uint32 }

func (t *exitTrap) Error() string { return fmt.Sprintf("proc_exit(%d)", t.code) }

// What guests pay for work of the host, in units of fuel, beside the call
// instruction itself.
const (
	bytesPerUnit = 16
	touchedMax   = 1 << 20 // of what is larger a part is looked at only
	hostUnits    = 2_000   // a question to the Host: about a microsecond
	cryptUnits   = 4       // for each byte
)

// bytes returns n bytes of guest memory at off, or traps.
func (in *instance) bytes(what string, off, n uint64) []byte {
	b, ok := in.mem.view(uint32(off), uint32(n))
	if !ok {
		trapf("%s: %d bytes at %d are outside of the memory", what, uint32(n), uint32(off))
	}
	in.watch.charge(min(len(b), touchedMax) / bytesPerUnit)
	return b
}
