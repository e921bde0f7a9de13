// Package toolchain builds our guests in languages other than Go, with the
// compilers that .ci/toolchains installs. The same sources and compilers give the
// same bytes.
package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/internal/module"
)

// Language is one that we have an SDK for.
type Language string

// The languages, named after the folders that hold a plugin written in them.
const (
	C              Language = "c"
	AssemblyScript Language = "assemblyscript"
	Rust           Language = "rust"
)

// Languages returns those that guests are built in, Go apart.
func Languages() []Language { return []Language{C, AssemblyScript, Rust} }

// ErrMissing is wrapped when the machine has no compiler for the language.
var ErrMissing = errors.New("not installed; run .ci/toolchains")

// Build compiles the guest in dir: one source file, and klamm.json when it has a
// manifest.
func Build(ctx context.Context, lang Language, dir string) (wasm []byte, err error) {
	root, err := rootOf()
	if err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp("", "klamm-guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	out := filepath.Join(temp, "guest.wasm")
	switch lang {
	case C:
		err = buildC(ctx, root, dir, out)
	case AssemblyScript:
		err = buildAssemblyScript(ctx, dir, out)
	case Rust:
		err = buildRust(ctx, root, dir, out)
	default:
		err = fmt.Errorf("no language %q", lang)
	}
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", dir, err)
	}
	wasm, err = os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "klamm.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return module.WithManifest(wasm, manifest), nil
}

// MustBuild is Build for tests: without the compiler it skips the test.
func MustBuild(t testing.TB, lang Language, dir string) []byte {
	t.Helper()
	wasm, err := Build(t.Context(), lang, dir)
	if errors.Is(err, ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// Version names the compiler: with the same one, the same sources give the same
// bytes.
func Version(ctx context.Context, lang Language) (string, error) {
	if lang != C {
		return "", fmt.Errorf("the version of %s matters to nothing", lang)
	}
	var text string
	for _, tool := range []string{"clang", "wasm-ld"} {
		out, err := exec.CommandContext(ctx, tool, "--version").Output()
		if errors.Is(err, exec.ErrNotFound) {
			return "", fmt.Errorf("%s: %w", tool, ErrMissing)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", tool, err)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		text += line + "\n"
	}
	return text, nil
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

// buildC compiles with warnings as errors: the SDK's headers shall give none.
func buildC(ctx context.Context, root, dir, out string) error {
	source, err := only(dir, "*.c")
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("wasm-ld"); err != nil {
		return fmt.Errorf("wasm-ld: %w", ErrMissing)
	}
	return run(ctx, dir, "clang", "--target=wasm32", "-O2", "-mbulk-memory", "-msign-ext", "-nostdlib",
		"-Wall", "-Wextra", "-Werror", "-Wno-unused-function",
		"-I", filepath.Join(root, "sdk", "c"), "-I", filepath.Join(root, "plugins", "internal", "c"),
		"-Wl,--no-entry", "-Wl,-s", "-o", out, source)
}

// assemblyScriptVersion is the one that .ci/toolchains installs.
const assemblyScriptVersion = "0.28.20"

// buildAssemblyScript takes the runtime with a collector that runs when it is told
// to: the smallest one, stub, never frees anything.
func buildAssemblyScript(ctx context.Context, dir, out string) error {
	source, err := only(dir, "*.ts")
	if err != nil {
		return err
	}
	folder := os.Getenv("KLAMM_ASC_DIR")
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		folder = filepath.Join(cache, "klamm", "assemblyscript-"+assemblyScriptVersion)
	}
	asc := filepath.Join(folder, "node_modules", "assemblyscript", "bin", "asc.js")
	if _, err := os.Stat(asc); err != nil {
		return fmt.Errorf("AssemblyScript: %w", ErrMissing)
	}
	return run(ctx, dir, "node", asc, source, "-O3", "--noAssert", "--runtime", "minimal", "--use", "abort=", "-o", out)
}

func buildRust(ctx context.Context, root, dir, out string) error {
	source, err := only(dir, "*.rs")
	if err != nil {
		return err
	}
	lib := filepath.Join(filepath.Dir(out), "libklamm.rlib")
	flags := []string{"--edition", "2021", "--target", "wasm32-unknown-unknown", "-C", "opt-level=3", "-C", "panic=abort", "-D", "warnings"}
	if err := run(ctx, dir, "/usr/bin/rustc", append(flags, "--crate-type", "rlib", "--crate-name", "klamm", "-o", lib, filepath.Join(root, "sdk/rust/src/lib.rs"))...); err != nil {
		return err
	}
	return run(ctx, dir, "/usr/bin/rustc", append(flags, "-C", "lto", "-C", "strip=symbols", "-C", "linker=wasm-ld", "--crate-type", "cdylib", "--extern", "klamm="+lib, "-o", out, source)...)
}

// only returns the name of the one file in dir that matches.
func only(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d files %s, want one", len(found), pattern)
	}
	return filepath.Base(found[0]), nil
}

func run(ctx context.Context, dir, tool string, args ...string) error {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%s: %w", tool, ErrMissing)
	case err != nil:
		return fmt.Errorf("%s: %w\n%s", tool, err, strings.TrimSpace(text.String()))
	}
	return nil
}
