package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"github.com/klamm-io/klamm/runtime/guard"
	"github.com/klamm-io/klamm/runtime/internal/lines"
	"github.com/klamm-io/klamm/runtime/meter"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/tetratelabs/wazero"
)

// Module is a compiled module.
type Module struct {
	name     string
	digest   string
	size     int
	facts    *guard.Module
	imports  []string
	manifest Manifest
	metered  meter.Result // without its bytes
	restores bool         // its instances can be restored
	lines    func() *lines.Table
	compiled wazero.CompiledModule

	mu   sync.Mutex
	refs int // the owner and each instance
	gone bool
}

// Compile guards and compiles a module. The error lists all problems: a
// *guard.Error when it is no acceptable WebAssembly or no plugin of this ABI, a
// *LoadError when its manifest or its code is refused. The module does not keep
// wasm.
func (e *Engine) Compile(ctx context.Context, name string, wasm []byte) (*Module, error) {
	facts, err := guard.Check(name, wasm, guard.Limits{MemoryPages: memoryPages})
	if err != nil {
		return nil, err
	}
	manifest, problems := parseManifest(facts.Manifest)
	if len(problems) > 0 {
		return nil, &LoadError{Name: name, Problems: problems}
	}
	facts.Manifest = nil
	metered, err := meter.Rewrite(wasm, meter.Options{Slice: sliceMost, Off: e.unmetered})
	if err != nil {
		return nil, &LoadError{Name: name, Problems: []string{err.Error()}}
	}
	compiled, err := e.compile(ctx, metered.Wasm)
	if err != nil {
		return nil, &LoadError{Name: name, Problems: []string{"compile: " + err.Error()}}
	}
	metered.Wasm = nil
	table := linesOf(metered.Debug)
	metered.Debug = nil
	m := &Module{
		name: name, digest: Digest(wasm), size: len(wasm),
		facts: facts, manifest: manifest, metered: *metered, restores: restorable(metered), lines: table, compiled: compiled, refs: 1,
	}
	for _, im := range facts.Imports {
		m.imports = append(m.imports, im.Module+"."+im.Name)
	}
	slices.Sort(m.imports)
	m.imports = slices.Compact(m.imports)
	return m, nil
}

// compile compiles, and once more without what was cached if the cache on disk
// is what failed: it is there to save time, not to refuse plugins.
func (e *Engine) compile(ctx context.Context, wasm []byte) (wazero.CompiledModule, error) {
	c, err := e.compileOnce(ctx, wasm)
	if err == nil || e.cacheDir == "" || !e.mendCache(err) {
		return c, err
	}
	return e.compileOnce(ctx, wasm)
}

// compileOnce keeps a panic of the compiler from ending the host.
func (e *Engine) compileOnce(ctx context.Context, wasm []byte) (c wazero.CompiledModule, err error) {
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, fmt.Errorf("the compiler gave up: %v", r)
		}
	}()
	return e.rt.CompileModule(ctx, wasm)
}

// Digest returns the SHA-256 of a module's bytes, in hex.
func Digest(wasm []byte) string {
	sum := sha256.Sum256(wasm)
	return hex.EncodeToString(sum[:])
}

// Digest returns the SHA-256 of the module's bytes, in hex.
func (m *Module) Digest() string { return m.digest }

// Hooks returns the hooks that the module exports.
func (m *Module) Hooks() abi.HookMask { return m.facts.Hooks() }

// Imports returns the imports as "module.name", sorted.
func (m *Module) Imports() []string { return slices.Clone(m.imports) }

// Manifest returns what the module says of itself.
func (m *Module) Manifest() Manifest { return m.manifest }

// Size returns the module's size in bytes.
func (m *Module) Size() int { return m.size }

func (m *Module) exports(name string) bool {
	_, ok := m.facts.Func(name)
	return ok
}

// Close releases the compiled code once its last instance is closed. It may be
// called twice.
func (m *Module) Close(ctx context.Context) error {
	m.mu.Lock()
	first := !m.gone
	m.gone = true
	m.mu.Unlock()
	if !first {
		return nil
	}
	return m.release(ctx)
}

func (m *Module) retain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refs++
}

func (m *Module) release(ctx context.Context) error {
	m.mu.Lock()
	m.refs--
	last := m.refs == 0
	m.mu.Unlock()
	if !last {
		return nil
	}
	return m.compiled.Close(ctx)
}
