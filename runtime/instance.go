package runtime

import (
	"context"
	"fmt"
	"hash"
	"math/bits"
	"slices"
	"time"

	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// Time limits of calls that are not about records.
const (
	initTimeout  = 5 * time.Second // start function, _initialize and klamm_init, each
	allocTimeout = 500 * time.Millisecond
	closeTimeout = 100 * time.Millisecond
)

// instance is a module with memory of its own. It serves one goroutine at a
// time. After a fault it is dead: restore it, or close it and make another.
type instance struct {
	e      *Engine
	cfg    *PluginConfig
	module *Module
	host   Host
	env    []string // of WASI, "NAME=value"
	mod    api.Module
	mem    *linearMemory
	ctx    *callContext
	watch  watch

	// An api.Function holds the stack that its calls run on; it is kept, as looking
	// it up again allocates another.
	hooks [abi.HookCount]api.Function
	alloc api.Function
	stack [2]uint64

	globals []api.MutableGlobal // of the module, mutable
	keeps   bool                // a snapshot is taken when something to keep has changed
	saved   *snapshot

	blockPtr, blockCap uint32 // the exchange block, 0 before the first alloc
	secrets            secrets
	room               int // least modification area, from what calls needed
	answer             abi.InitResult
	reasons            map[uint16]string
	metrics            []int32 // the Host's ids by the guest's
	macs               map[string]hash.Hash
	dead               bool

	// Of the running call.
	phase   phase
	running struct {
		block *Block
		count int
	}
	said    []byte    // what the call told about its troubles
	printed [2][]byte // lines begun on stdout and stderr
	escaped []byte
}

// place says whose instance it is.
type place struct {
	chain       string
	topics      []string
	lane, lanes int
	host        Host
	secrets     secrets
}

// instantiate makes an instance and initialises it. The error tells what the
// guest said.
func (e *Engine) instantiate(m *Module, cfg *PluginConfig, at place) (*instance, error) {
	mem, err := e.newMemory(cfg.MemoryMax)
	if err != nil {
		return nil, err
	}
	in := &instance{
		e: e, cfg: cfg, module: m, host: at.host, env: environment(cfg), mem: mem, secrets: at.secrets, room: modMin,
		reasons: map[uint16]string{}, macs: map[string]hash.Hash{},
	}
	in.ctx = &callContext{Context: context.Background(), in: in}
	in.watch.rate = e.rate
	m.retain()
	if err := in.start(e.rt, at); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// environment is what the guest sees of WASI's environment: what the
// configuration says, and settings for Go's collector, which does best when it
// runs only as the memory's limit comes near.
func environment(cfg *PluginConfig) []string {
	env := []string{"GOGC=off", fmt.Sprintf("GOMEMLIMIT=%d", cfg.MemoryMax/4*3)}
	for name, value := range cfg.Env {
		env = slices.DeleteFunc(env, func(e string) bool { return len(e) > len(name) && e[:len(name)+1] == name+"=" })
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

func (in *instance) start(rt wazero.Runtime, at place) error {
	in.phase = phaseStart
	ctx := experimental.WithMemoryAllocator(context.Background(), in.mem) // no code of the guest runs yet
	mod, err := rt.InstantiateModule(ctx, in.module.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	in.mod = mod
	if err == nil {
		err = in.watch.bind(mod)
	}
	if err != nil {
		return in.fault(err, "instantiation", initTimeout)
	}
	if in.module.metered.HasStart {
		if err := in.call(mod.ExportedFunction(meter.StartExport), "start function", initTimeout); err != nil {
			return err
		}
	}
	in.lookup()
	for _, g := range in.module.metered.Globals {
		in.globals = append(in.globals, mod.ExportedGlobal(g.Name).(api.MutableGlobal)) // the meter has exported it
	}
	if in.module.exports(abi.ExportInitialize) {
		if err := in.call(mod.ExportedFunction(abi.ExportInitialize), abi.ExportInitialize, initTimeout); err != nil {
			return err
		}
	}
	return in.initialise(at)
}

// lookup finds the functions that are called often.
func (in *instance) lookup() {
	for h := range abi.Hook(abi.HookCount) {
		in.hooks[h] = in.mod.ExportedFunction(h.Export())
	}
	in.alloc = in.mod.ExportedFunction(abi.ExportAlloc)
}

// call runs an exported function with in.stack as parameters and results. A
// call that came back has done its work, even if its deadline had just passed.
func (in *instance) call(fn api.Function, export string, limit time.Duration) error {
	in.said = in.said[:0]
	in.watch.start(limit)
	if err := fn.CallWithStack(in.ctx, in.stack[:]); err != nil {
		return in.fault(err, export, limit)
	}
	return nil
}

// ensure makes the exchange block hold at least size bytes.
func (in *instance) ensure(size int) error {
	if size <= int(in.blockCap) {
		return nil
	}
	want := allocSize(size)
	in.stack[0] = uint64(want)
	in.blockPtr, in.blockCap = 0, 0 // void from now on
	if err := in.call(in.alloc, abi.ExportAlloc, allocTimeout); err != nil {
		return err
	}
	ptr := uint32(in.stack[0])
	_, inside := in.mem.view(ptr, want)
	if ptr == 0 || ptr%8 != 0 || !inside {
		in.dead = true
		return &VerdictError{Plugin: in.cfg.Name, Export: abi.ExportAlloc, Index: -1, Problem: fmt.Sprintf(
			"%d for a block of %d bytes, memory has %d: it must be non-zero, 8-aligned and inside",
			ptr, want, in.mem.length)}
	}
	in.blockPtr, in.blockCap = ptr, want
	in.snap()
	return nil
}

// allocSize rounds a block's size up, so that a block that grows little by little
// does not make the guest allocate each time.
func allocSize(size int) uint32 {
	if size > abi.BlockMax {
		return uint32((size + abi.BlockMax - 1) &^ (abi.BlockMax - 1))
	}
	return max(uint32(abi.AllocMin), 1<<bits.Len32(uint32(size-1)))
}

// block returns the exchange block in guest memory.
func (in *instance) block() []byte {
	b, _ := in.mem.view(in.blockPtr, in.blockCap)
	return b
}

// close calls klamm_close if the instance is sound, and releases it. It may be
// called twice.
func (in *instance) close() {
	if in.mem == nil {
		return
	}
	if !in.dead && in.mod != nil && in.answer != 0 && in.module.exports(abi.ExportClose) {
		in.phase = phaseClose
		_ = in.call(in.mod.ExportedFunction(abi.ExportClose), abi.ExportClose, closeTimeout) // nobody is left to mind
	}
	in.dead = true
	in.dropSnapshot()
	if in.mod != nil {
		_ = in.mod.Close(context.Background()) // reports nothing but the exit code
	}
	in.mem.Free()
	in.mem = nil
	_ = in.module.release(context.Background()) // reports nothing in the engine that we use
}
