// Package plugins holds the ready-made plugins: dedup, mask and route-by. Each
// folder has the logic as an importable package, a main for a module of its own,
// a README, a configuration sample and tests.
//
// The three are also embedded here as one WebAssembly module, so that a released
// binary needs no toolchain; an environment value selects the plugin inside it.
package plugins

import "slices"

// EnvBuiltin is the guest's environment variable that names the plugin which the
// embedded module shall be.
const EnvBuiltin = "KLAMM_BUILTIN"

var names = []string{"dedup", "mask", "route-by"}

// Names returns the names that Builtin knows, sorted.
func Names() []string { return slices.Clone(names) }

// Builtin returns the embedded module and the environment that makes it the
// named plugin. The bytes are shared: callers must not write to them.
func Builtin(name string) (wasm []byte, env map[string]string, ok bool) {
	if !slices.Contains(names, name) {
		return nil, nil, false
	}
	return nil, map[string]string{EnvBuiltin: name}, false
}
