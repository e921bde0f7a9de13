package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/runtime/guard"
	"github.com/klamm-io/klamm/sdk/abi"
)

// inspection is what `plugin inspect` finds out about a module.
type inspection struct {
	Schema   string            `json:"schema"`
	Module   string            `json:"module"`
	Digest   string            `json:"digest"`
	Size     int               `json:"size"`
	ABI      string            `json:"abi,omitempty"`
	Hooks    []string          `json:"hooks"`
	Imports  []string          `json:"imports"`
	Manifest *manifestJSON     `json:"manifest"`
	Memory   *memoryJSON       `json:"memory"`
	Limits   map[string]string `json:"limits"`
	Problems []string          `json:"problems"`
}

type manifestJSON struct {
	Name         string          `json:"name"`
	Version      string          `json:"version"`
	License      string          `json:"license,omitempty"`
	State        string          `json:"state"`
	Protects     bool            `json:"protects"`
	Capabilities []string        `json:"capabilities"`
	ConfigSchema json.RawMessage `json:"config_schema,omitempty"`
}

// memoryJSON is the linear memory that the module declares, in bytes.
type memoryJSON struct {
	Min int64 `json:"min"`
	Max int64 `json:"max,omitempty"` // 0: none declared
}

func (a *app) pluginInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inspect MODULE", Short: "what a module is: digest, hooks, imports, limits, problems",
		Long: `Guards and compiles a module without running it: a .wasm file, a folder of Go
source, or builtin:NAME. The exit code is 5 when it has problems.`,
		Example: `  klamm plugin inspect redact.wasm
  klamm plugin inspect builtin:dedup --output json`,
		Args: exactly("MODULE"), ValidArgsFunction: completeModules,
		RunE: func(cmd *cobra.Command, args []string) error { return a.inspect(cmd.Context(), args[0]) },
	}
}

func (a *app) inspect(ctx context.Context, ref string) error {
	mod, err := module.Resolve(ctx, ref, "", a.cacheDir())
	if err != nil {
		return &failure{err: err, code: exitPlugin}
	}
	in := a.inspectBytes(ctx, ref, mod)
	if a.json() {
		err = printJSON(a.out, in)
	} else {
		err = a.printInspection(in)
	}
	if err != nil {
		return err
	}
	return in.err(ref)
}

func (a *app) inspectBytes(ctx context.Context, ref string, mod *module.Module) *inspection {
	in := &inspection{
		Schema: "klamm.plugin/1", Module: ref, Digest: runtime.Digest(mod.Wasm), Size: len(mod.Wasm),
		Hooks: []string{}, Imports: []string{}, Problems: []string{}, Limits: limits(),
	}
	if facts, err := guard.Check(ref, mod.Wasm, guard.Limits{}); err == nil {
		in.Memory = &memoryJSON{Min: int64(facts.Memory.Min) << 16}
		if facts.Memory.HasMax {
			in.Memory.Max = int64(facts.Memory.Max) << 16
		}
	}
	in.Problems = append(in.Problems, in.compile(ctx, ref, mod, a.cacheDir())...)
	return in
}

// compile fills in what the runtime says of the module, and returns why it
// refuses it.
func (in *inspection) compile(ctx context.Context, ref string, mod *module.Module, cacheDir string) []string {
	engine, err := runtime.NewEngine(ctx, runtime.EngineConfig{CacheDir: cacheDir})
	if err != nil {
		return []string{err.Error()}
	}
	defer engine.Close(ctx)
	m, err := engine.Compile(ctx, ref, mod.Wasm)
	if err != nil {
		return problemsOf(err)
	}
	defer m.Close(ctx)
	in.ABI = fmt.Sprintf("%d", abi.Major)
	for h := abi.OnSend; h <= abi.Partition; h++ {
		if m.Hooks().Has(h) {
			in.Hooks = append(in.Hooks, h.String())
		}
	}
	in.Imports = append(in.Imports, m.Imports()...)
	in.manifest(manifestOf(ctx, mod))
	return nil
}

func (in *inspection) manifest(m runtime.Manifest) {
	if m.Name == "" && m.Version == "" {
		return
	}
	in.Manifest = &manifestJSON{
		Name: m.Name, Version: m.Version, License: m.License, State: m.State, Protects: m.Protects,
		Capabilities: append([]string{}, m.Capabilities...), ConfigSchema: m.ConfigSchema,
	}
}

// limits are what a plugin gets unless its table says otherwise.
func limits() map[string]string {
	p := config.Default().Plugins
	return map[string]string{
		"memory":  fmt.Sprint(p.Memory),
		"timeout": p.Timeout.Std().Round(time.Microsecond).String(),
		"output":  fmt.Sprint(p.Output),
	}
}

// problemsOf lists what the guard or the loader found.
func problemsOf(err error) []string {
	var refused *guard.Error
	var load *runtime.LoadError
	switch {
	case errors.As(err, &refused):
		return refused.Problems
	case errors.As(err, &load):
		return load.Problems
	}
	return []string{err.Error()}
}

func (in *inspection) err(ref string) error {
	switch len(in.Problems) {
	case 0:
		return nil
	case 1:
		return &failure{err: fmt.Errorf("module %q is refused: %s", ref, in.Problems[0]), code: exitPlugin}
	}
	return &failure{err: fmt.Errorf("module %q is refused: %d problems", ref, len(in.Problems)), code: exitPlugin}
}

func (a *app) printInspection(in *inspection) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("module", "%s", in.Module)
	row("digest", "sha256 %s", in.Digest)
	row("size", "%s", bytesText(int64(in.Size)))
	if m := in.Manifest; m != nil {
		row("manifest", "%s %s  state %s  protects %v  capabilities %s", m.Name, m.Version, m.State, m.Protects, strings.Join(m.Capabilities, " "))
	}
	if in.ABI != "" {
		row("abi", "%s", in.ABI)
		row("hooks", "%s", strings.Join(in.Hooks, " "))
	}
	if in.Memory != nil {
		row("memory", "%s at the start, limit %s", bytesText(in.Memory.Min), in.Limits["memory"])
	}
	row("limits", "one call %s, output %s", in.Limits["timeout"], in.Limits["output"])
	for i, name := range in.Imports {
		row(map[bool]string{true: "imports"}[i == 0], "%s", name)
	}
	for _, p := range in.Problems {
		row(paint(a.colour(a.outTerminal), "31", "problem"), "%s", p)
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

// manifestOf is what a module says of itself; zero when it cannot be read.
func manifestOf(ctx context.Context, mod *module.Module) runtime.Manifest {
	if mod.Manifest != nil {
		var m runtime.Manifest
		_ = json.Unmarshal(mod.Manifest, &m) // ours, and tested
		return m
	}
	facts, err := guard.Check("", mod.Wasm, guard.Limits{})
	if err != nil || len(facts.Manifest) == 0 {
		return runtime.Manifest{}
	}
	var m runtime.Manifest
	if err := json.Unmarshal(facts.Manifest, &m); err != nil {
		return runtime.Manifest{}
	}
	return m
}
