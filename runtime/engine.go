package runtime

import (
	"context"
	"errors"
	"log/slog"
)

// EngineConfig configures an Engine. Its zero value is usable.
type EngineConfig struct {
	// CacheDir is where compiled modules are kept between runs; "" keeps none. It
	// holds native code, so it must belong to this process's user and have mode
	// 0700. Where it does not, it is not used and a warning says so.
	CacheDir string
	// Logger takes warnings. Nil discards them.
	Logger *slog.Logger
}

// Engine compiles modules and runs their instances. Close it when done.
type Engine struct{}

var errNotReady = errors.New("not implemented")

// NewEngine starts an engine.
func NewEngine(ctx context.Context, cfg EngineConfig) (*Engine, error) { return nil, errNotReady }

// Compile guards and compiles a module. The error lists all problems: a
// *guard.Error when it is no acceptable WebAssembly, a *LoadError when it is no
// plugin.
func (e *Engine) Compile(ctx context.Context, name string, wasm []byte) (*Module, error) {
	return nil, errNotReady
}

// Close closes all modules and instances.
func (e *Engine) Close(ctx context.Context) error { return nil }
