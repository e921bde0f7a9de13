// Package plugins holds the ready-made plugins: dedup, mask and route-by. Each
// folder has the logic as an importable Go package, a main for a module of its
// own, the same plugin in other languages, a README, a configuration sample and
// tests.
//
// The smallest module of each, the one written in C, is embedded here, so that a
// released binary needs no toolchain. After a change to it or to the C SDK,
// rebuild it with clang, which .ci/toolchains installs:
//
//	go generate ./plugins
package plugins

//go:generate go run ../sdk/conformance/toolchain/genbuiltin

import (
	_ "embed"
	"maps"
	"slices"
)

var (
	//go:embed dedup/c/dedup.wasm
	dedupModule []byte
	//go:embed mask/c/mask.wasm
	maskModule []byte
	//go:embed route-by/c/route-by.wasm
	routeByModule []byte

	//go:embed dedup/wasm/klamm.json
	dedupManifest []byte
	//go:embed mask/wasm/klamm.json
	maskManifest []byte
	//go:embed route-by/wasm/klamm.json
	routeByManifest []byte

	builtins = map[string]builtin{
		"dedup":    {dedupModule, dedupManifest},
		"mask":     {maskModule, maskManifest},
		"route-by": {routeByModule, routeByManifest},
	}
)

type builtin struct{ module, manifest []byte }

// Names returns the names that Builtin knows, sorted.
func Names() []string { return slices.Sorted(maps.Keys(builtins)) }

// Manifest returns the manifest of the named plugin as JSON, nil for an unknown
// name. It is the one in the module.
func Manifest(name string) []byte { return slices.Clone(builtins[name].manifest) }

// Builtin returns the embedded module of the named plugin, and the environment
// that it needs, which is none. The bytes are shared: callers must not write to
// them. It is safe for concurrent use.
func Builtin(name string) (wasm []byte, env map[string]string, ok bool) {
	b, ok := builtins[name]
	return b.module, nil, ok
}
