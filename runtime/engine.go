package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/klamm-io/klamm/internal/unmetered"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// EngineConfig configures an Engine. Its zero value is usable.
type EngineConfig struct {
	// CacheDir is where compiled modules are kept between runs; "" keeps none. It
	// holds native code, so it must belong to this process's user and have mode
	// 0700. Where it does not, it is not used and a warning says so.
	CacheDir string
	// Logger takes warnings. Nil discards them.
	Logger *slog.Logger
	// MemoryTotal bounds the linear memory of all instances together, in bytes,
	// each counted at its largest size, and the snapshots that they are restored
	// from after a fault. Where only a snapshot goes beyond it there is none, and a
	// fault costs a new instance. 0 sets no bound.
	MemoryTotal int64
}

// Largest memory of an instance, whatever its plugin's configuration says.
const (
	memoryLimit  = 64 << 20
	memoryPages  = memoryLimit / pageSize
	wasmFeatures = api.CoreFeaturesV2
)

// Engine compiles modules and runs their instances. Close it when done, after
// its plugins.
type Engine struct {
	cfg   EngineConfig
	log   *slog.Logger
	rt    wazero.Runtime
	cache wazero.CompilationCache
	// cacheDir is where compiled code is kept on disk, "" when it is not.
	cacheDir string
	pages    *pageTable // nil where the system has none to show
	rate     float64    // fuel that a processor burns in a nanosecond

	memory    atomic.Int64 // bytes of linear memory reserved
	snapshots atomic.Int64 // bytes of snapshots

	// unmetered is for benchmarks of what the meter costs.
	unmetered bool
}

// NewEngine starts an engine.
func NewEngine(ctx context.Context, cfg EngineConfig) (*Engine, error) {
	e := &Engine{cfg: cfg, log: cfg.Logger, pages: openPages(), unmetered: unmetered.Is(ctx)}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.cache = e.openCache()
	// The meter has replaced a module's debug sections, which are input like any
	// other, by some that have the engine tell the offsets of instructions.
	rc := wazero.NewRuntimeConfig().
		WithCoreFeatures(wasmFeatures).
		WithMemoryLimitPages(memoryPages).
		WithDebugInfoEnabled(true).
		WithCompilationCache(e.cache)
	e.rt = wazero.NewRuntimeWithConfig(ctx, rc)
	err := registerHost(ctx, e.rt)
	if err == nil {
		e.rate, err = fuelRate()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the wasm engine: %w", err), e.Close(ctx))
	}
	return e, nil
}

// MemoryReserved returns the bytes of linear memory that instances hold, each
// at its largest size.
func (e *Engine) MemoryReserved() int64 { return e.memory.Load() }

// SnapshotBytes returns the bytes that are kept to restore instances from.
func (e *Engine) SnapshotBytes() int64 { return e.snapshots.Load() }

// Close releases all compiled code. Close plugins first: what still runs is cut
// off.
func (e *Engine) Close(ctx context.Context) error {
	return errors.Join(e.rt.Close(ctx), e.cache.Close(ctx), e.pages.close())
}
