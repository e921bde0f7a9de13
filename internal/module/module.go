// Package module turns what a [plugin.NAME] calls its module into bytes: a file,
// a folder of Go source that is built on demand, or a plugin that Klamm ships.
package module

import (
	"context"
	"errors"
)

// Module is a resolved module.
type Module struct {
	// Ref is the reference as configured, Path the file or folder that it led
	// to, "" for a builtin.
	Ref, Path string
	// Wasm is the module's bytes. Those of a builtin are shared: do not write.
	Wasm []byte
	// Env is the guest's WASI environment.
	Env map[string]string
	// Watch lists the files and folders whose change asks for a reload.
	Watch []string
	// Manifest is a manifest (JSON) that stands in for the one inside Wasm. It
	// is nil but for builtins, which share one module.
	Manifest []byte
}

// Resolve returns the bytes behind ref: a file, a folder of Go source, or
// builtin:NAME. Relative paths start at baseDir. cacheDir keeps built modules;
// "" builds into a temporary folder and keeps nothing.
func Resolve(ctx context.Context, ref, baseDir, cacheDir string) (*Module, error) {
	return nil, errors.New("module: not built yet")
}

// Build compiles the Go plugin in dir to out, or into cacheDir when out is "",
// and returns the module's path.
func Build(ctx context.Context, dir, out string, cacheDir string) (path string, err error) {
	return "", errors.New("module: not built yet")
}
