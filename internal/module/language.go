package module

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Language is one that plugins are built from.
type Language string

// The languages that there is an SDK for. The value is the name that people type,
// and that of the folder sdk/NAME.
const (
	Go             Language = "go"
	C              Language = "c"
	Rust           Language = "rust"
	AssemblyScript Language = "assemblyscript"
)

// ErrNoCompiler is wrapped when the machine lacks what builds a language. The
// error says how to get it.
var ErrNoCompiler = errors.New("the compiler is not there")

// compiler builds the modules of a language.
type compiler struct {
	suffix string // of source files
	// version names the compiler: the same one makes the same bytes of the same
	// sources.
	version func(ctx context.Context, dir string) (string, error)
	build   func(ctx context.Context, g *guest, out string) error
}

var compilers = map[Language]*compiler{
	C:              {".c", versionC, buildC},
	Rust:           {".rs", versionRust, buildRust},
	AssemblyScript: {".ts", versionAssemblyScript, buildAssemblyScript},
}

// languageOf tells a folder's language by its files, with the one that is to be
// compiled; that of Rust may lie in src, where Cargo wants it.
func languageOf(dir string) (lang Language, source string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", "", err
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			return Go, "", nil
		}
		for l, c := range compilers {
			if strings.HasSuffix(name, c.suffix) && !strings.HasSuffix(name, ".d.ts") {
				lang, found = l, append(found, name)
			}
		}
	}
	if lib := filepath.Join("src", "lib.rs"); len(found) == 0 && isFile(filepath.Join(dir, lib)) {
		return Rust, lib, nil
	}
	switch len(found) {
	case 0:
		return "", "", fmt.Errorf("folder %s holds no source in Go, C, Rust or AssemblyScript; name a .wasm file, or make a plugin with: klamm plugin new", dir)
	case 1:
		return lang, found[0], nil
	}
	slices.Sort(found)
	return "", "", fmt.Errorf("folder %s holds %s; a plugin is one file, which may include others from folders below", dir, strings.Join(found, " and "))
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// ---- C ----

var flagsC = []string{
	"--target=wasm32", "-O2", "-mbulk-memory", "-msign-ext", "-nostdlib",
	"-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wl,--no-entry", "-Wl,-s",
}

const howC = "clang and lld; on Debian: apt-get install clang lld"

func versionC(ctx context.Context, _ string) (string, error) {
	clang, err := versionOf(ctx, howC, "clang")
	if err != nil {
		return "", err
	}
	linker, err := versionOf(ctx, howC, "wasm-ld")
	return clang + linker, err
}

func buildC(ctx context.Context, g *guest, out string) error {
	args := slices.Clone(flagsC)
	for _, dir := range g.include {
		args = append(args, "-I", dir)
	}
	return compile(ctx, g.dir, "clang", append(args, "-o", out, g.source)...)
}

// ---- Rust ----

const (
	targetRust = "wasm32-unknown-unknown"
	howRust    = "a rustc with the target " + targetRust + "; rustup target add " + targetRust +
		", or on Debian: apt-get install rustc libstd-rust-dev-wasm32 lld"
)

// toolsRust are a compiler and the linker that it is told to use.
type toolsRust struct {
	rustc  string
	linker string // "": the one that came with the compiler
}

// findRust returns the first compiler that has the target and a linker for it:
// often the one in PATH has not, and that of the system has. Debian's comes
// without a linker, rustup's with one.
func findRust(ctx context.Context) (toolsRust, error) {
	var passed *noLinkerError // the first one that lacks nothing else
	for _, tool := range []string{os.Getenv("RUSTC"), "rustc", "/usr/bin/rustc"} {
		if tool == "" {
			continue
		}
		out, err := exec.CommandContext(ctx, tool, "--print", "sysroot").Output()
		if err != nil {
			continue
		}
		lib := filepath.Join(strings.TrimSpace(string(out)), "lib", "rustlib")
		if _, err := os.Stat(filepath.Join(lib, targetRust, "lib")); err != nil {
			continue
		}
		if linker, ok := linkerRust(lib); ok {
			return toolsRust{tool, linker}, nil
		}
		if passed == nil {
			passed = &noLinkerError{tool}
		}
	}
	if passed != nil {
		return toolsRust{}, passed
	}
	return toolsRust{}, fmt.Errorf("%w: install %s", ErrNoCompiler, howRust)
}

// linkerRust returns the linker for a compiler whose libraries lie in lib.
func linkerRust(lib string) (linker string, ok bool) {
	if _, err := exec.LookPath("wasm-ld"); err == nil {
		return "wasm-ld", true
	}
	if _, err := exec.LookPath("rust-lld"); err == nil {
		return "", true
	}
	hosts, _ := os.ReadDir(lib) // none where it cannot be read
	return "", slices.ContainsFunc(hosts, func(host os.DirEntry) bool {
		own := filepath.Join(lib, host.Name(), "bin", "rust-lld")
		return isFile(own) || isFile(own+".exe")
	})
}

// noLinkerError is an ErrNoCompiler of a machine that lacks the linker alone.
type noLinkerError struct{ rustc string }

func (e *noLinkerError) Error() string {
	return e.rustc + " has no linker for wasm; on Debian: apt-get install lld"
}

func (e *noLinkerError) Is(target error) bool { return target == ErrNoCompiler }

func versionRust(ctx context.Context, _ string) (string, error) {
	tools, err := findRust(ctx)
	if err != nil {
		return "", err
	}
	return versionOf(ctx, howRust, tools.rustc)
}

// buildRust compiles the SDK, then the plugin, without Cargo: neither has
// dependencies.
func buildRust(ctx context.Context, g *guest, out string) error {
	tools, err := findRust(ctx)
	if err != nil {
		return err
	}
	flags := []string{"--edition", "2021", "--target", targetRust, "-C", "opt-level=3", "-C", "panic=abort", "--remap-path-prefix", g.dir + "=."}
	lib := filepath.Join(filepath.Dir(out), "libklamm.rlib")
	sdk := append(slices.Clone(flags), "--crate-type", "rlib", "--crate-name", "klamm", "-o", lib)
	if err := compile(ctx, g.dir, tools.rustc, append(sdk, filepath.Join(g.sdk, "src", "lib.rs"))...); err != nil {
		return err
	}
	if tools.linker != "" {
		flags = append(flags, "-C", "linker="+tools.linker)
	}
	flags = append(flags, "-C", "lto", "-C", "strip=symbols", "-D", "warnings", "--crate-type", "cdylib", "--crate-name", "plugin", "--extern", "klamm="+lib)
	return compile(ctx, g.dir, tools.rustc, append(flags, "-o", out, g.source)...)
}

// ---- AssemblyScript ----

// flagsAssemblyScript take the runtime with a collector that runs when it is told
// to: the smallest one, stub, never frees anything.
var flagsAssemblyScript = []string{"-O3", "--noAssert", "--runtime", "minimal", "--use", "abort="}

const (
	assemblyScriptVersion = "0.28.20"
	howAssemblyScript     = "node and AssemblyScript, with npm install assemblyscript@" + assemblyScriptVersion + " in the plugin's folder"
)

// asc returns the compiler: the plugin's own, that of KLAMM_ASC_DIR, or the one
// that lies in the user's cache.
func asc(dir string) (string, error) {
	folders := []string{dir, os.Getenv("KLAMM_ASC_DIR")}
	if cache, err := os.UserCacheDir(); err == nil {
		folders = append(folders, filepath.Join(cache, "klamm", "assemblyscript-"+assemblyScriptVersion))
	}
	for _, folder := range folders {
		js := filepath.Join(folder, "node_modules", "assemblyscript", "bin", "asc.js")
		if folder != "" && isFile(js) {
			return filepath.Abs(js)
		}
	}
	return "", fmt.Errorf("%w: install %s", ErrNoCompiler, howAssemblyScript)
}

func versionAssemblyScript(ctx context.Context, dir string) (string, error) {
	js, err := asc(dir)
	if err != nil {
		return "", err
	}
	return versionOf(ctx, howAssemblyScript, "node", js)
}

func buildAssemblyScript(ctx context.Context, g *guest, out string) error {
	js, err := asc(g.dir)
	if err != nil {
		return err
	}
	return compile(ctx, g.dir, "node", slices.Concat([]string{js, g.source}, flagsAssemblyScript, []string{"-o", out})...)
}

// ---- commands ----

// versionOf returns the first line that a tool says about itself.
func versionOf(ctx context.Context, how, tool string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, tool, append(args, "--version")...).Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%w: install %s", ErrNoCompiler, how)
	case err != nil:
		return "", fmt.Errorf("%s --version: %w", tool, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line + "\n", nil
}

// compile runs a compiler in dir. An error is what it says.
func compile(ctx context.Context, dir, tool string, args ...string) error {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s in %s: %w\n%s", filepath.Base(tool), dir, err, strings.TrimSpace(text.String()))
	}
	return nil
}
