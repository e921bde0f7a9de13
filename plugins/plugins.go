// Package plugins holds the ready-made plugins: dedup, mask and route-by. Each
// folder has the logic as an importable package, a main for a module of its own,
// a README, a configuration sample and tests.
//
// The three are also embedded here as one WebAssembly module, so that a released
// binary needs no toolchain; an environment value selects the plugin inside it.
// After a change to them or to the SDK, rebuild it:
//
//	go generate ./plugins
package plugins

//go:generate go run ../internal/module/genbuiltin

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
)

// EnvBuiltin is the guest's environment variable that names the plugin which the
// embedded module shall be.
const EnvBuiltin = "KLAMM_BUILTIN"

var (
	//go:embed builtin.wasm.gz
	packed []byte
	//go:embed dedup/wasm/klamm.json
	dedupManifest []byte
	//go:embed mask/wasm/klamm.json
	maskManifest []byte
	//go:embed route-by/wasm/klamm.json
	routeByManifest []byte

	manifests = map[string][]byte{
		"dedup":    dedupManifest,
		"mask":     maskManifest,
		"route-by": routeByManifest,
	}
)

// Names returns the names that Builtin knows, sorted.
func Names() []string { return slices.Sorted(maps.Keys(manifests)) }

// Manifest returns the manifest of the named plugin as JSON, nil for an unknown
// name. The embedded module's own names no single plugin.
func Manifest(name string) []byte { return slices.Clone(manifests[name]) }

// Builtin returns the embedded module and the environment that makes it the
// named plugin. The bytes are shared: callers must not write to them. It is safe
// for concurrent use.
func Builtin(name string) (wasm []byte, env map[string]string, ok bool) {
	if _, ok := manifests[name]; !ok {
		return nil, nil, false
	}
	return unpack(), map[string]string{EnvBuiltin: name}, true
}

// unpack panics when the embedded bytes are no gzip: the build would be broken.
var unpack = sync.OnceValue(func() []byte {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic(fmt.Sprintf("plugins: embedded module: %v", err))
	}
	wasm, err := io.ReadAll(z)
	if err != nil {
		panic(fmt.Sprintf("plugins: embedded module: %v", err))
	}
	return wasm
})

// GoVersion returns the version of Go that built the embedded module. With the
// same one, a rebuild gives the same bytes.
func GoVersion() string {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return ""
	}
	return z.Comment
}
