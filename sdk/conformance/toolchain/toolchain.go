// Package toolchain builds our guests in languages other than Go, with the
// compilers that .ci/toolchains installs. The same sources and compilers give the
// same bytes.
package toolchain

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/klamm-io/klamm/internal/module"
)

// Languages returns those that guests are built in, Go apart. A folder that holds
// a plugin is named after its language.
func Languages() []module.Language {
	return []module.Language{module.C, module.AssemblyScript, module.Rust}
}

// ErrMissing is wrapped when the machine has no compiler for the language, or one
// that has not the target; .ci/toolchains installs them.
var ErrMissing = module.ErrNoCompiler

// Build compiles the guest in dir: one source file, and klamm.json when it has a
// manifest. What was built before lies in the user's cache, as modules in Go do.
func Build(ctx context.Context, lang module.Language, dir string) ([]byte, error) {
	root, err := rootOf()
	if err != nil {
		return nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	sdk, shared := filepath.Join(root, "sdk", string(lang)), filepath.Join(root, "plugins", "internal", string(lang))
	return module.BuildGuest(ctx, lang, dir, sdk, filepath.Join(cache, "klamm"), shared)
}

// BuildWith is Build with another SDK, and nothing kept.
func BuildWith(t testing.TB, lang module.Language, dir, sdk string) []byte {
	t.Helper()
	return orSkip(t, func() ([]byte, error) { return module.BuildGuest(t.Context(), lang, dir, sdk, t.TempDir()) })
}

// MustBuild is Build for tests: without the compiler it skips the test.
func MustBuild(t testing.TB, lang module.Language, dir string) []byte {
	t.Helper()
	return orSkip(t, func() ([]byte, error) { return Build(t.Context(), lang, dir) })
}

func orSkip(t testing.TB, build func() ([]byte, error)) []byte {
	t.Helper()
	wasm, err := build()
	if errors.Is(err, ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// rootOf returns the folder of our go.mod, above the working directory.
func rootOf() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return "", errors.New("no go.mod above the working directory")
		}
		at = up
	}
}
