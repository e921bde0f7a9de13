package module

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pluginSource is a guest without an SDK, so that it builds offline and fast.
const pluginSource = `package main

//go:wasmexport klamm_abi_1
func marker() {}

func main() {}
`

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func pluginFolder(t *testing.T, main string) string {
	t.Helper()
	return folder(t, map[string]string{"go.mod": "module example.com/p\n\ngo 1.24\n", "main.go": main})
}

func TestResolveErrors(t *testing.T) {
	dir := folder(t, map[string]string{
		"empty/readme.txt":    "",
		"tests/x_test.go":     "package x",
		"library/go.mod":      "module example.com/l\n\ngo 1.24\n",
		"library/library.go":  "package library",
		"broken/go.mod":       "module example.com/b\n\ngo 1.24\n",
		"broken/main.go":      "package main\n\nfunc main() {\n\tvar x int = \"a\"\n}\n",
		"syntax/go.mod":       "module example.com/s\n\ngo 1.24\n",
		"syntax/main.go":      "package main\n\nfunc main( {}\n",
		"manifest/go.mod":     "module example.com/m\n\ngo 1.24\n",
		"manifest/main.go":    pluginSource,
		"manifest/klamm.json": "{",
		"large.wasm":          strings.Repeat("x", sizeMax+1),
	})
	tests := []struct{ name, ref, want string }{
		{"unknown builtin", "builtin:dedpu", `module "builtin:dedpu": no such builtin; did you mean "builtin:dedup"? (there are dedup, mask, route-by)`},
		{"nothing like a builtin", "builtin:encrypt", `no such builtin (there are dedup, mask, route-by)`},
		{"a registry", "oci://ghcr.io/x/y", `modules are not fetched by oci`},
		{"empty", "", "module is empty"},
		{"file that is not there", "gone.wasm", `module "gone.wasm": nothing is at ` + filepath.Join(dir, "gone.wasm")},
		{"folder without source", "empty", "holds no source in Go, C, Rust or AssemblyScript"},
		{"folder with tests only", "tests", "holds no source in Go, C, Rust or AssemblyScript"},
		{"a library", "library", "holds package library; a plugin is package main"},
		{"a Go file", "broken/main.go", `a single Go file is not built; name its folder`},
		{"compile error", "broken", filepath.Join(dir, "broken", "main.go") + ":4:"},
		{"syntax error", "syntax", "main.go:3:"},
		{"manifest that is no JSON", "manifest", "klamm.json is not JSON"},
		{"too large", "large.wasm", "is larger than 16 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Resolve(t.Context(), tt.ref, dir, "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	if _, err := Resolve(t.Context(), "gone.wasm", dir, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

func TestResolveFile(t *testing.T) {
	dir := folder(t, map[string]string{"p.wasm": "\x00asm"})
	m, err := Resolve(t.Context(), "p.wasm", dir, "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "p.wasm")
	if string(m.Wasm) != "\x00asm" || m.Path != path || len(m.Watch) != 1 || m.Watch[0] != path {
		t.Errorf("got %+v", m)
	}
}

func TestResolveBuiltin(t *testing.T) {
	m, err := Resolve(t.Context(), "builtin:mask", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if m.Env != nil || !strings.Contains(string(m.Manifest), `"protects": true`) || len(m.Watch) != 0 {
		t.Errorf("got env %v, manifest %s, watch %v", m.Env, m.Manifest, m.Watch)
	}
}

// TestBuildCache follows one plugin: built once, taken from the cache, built
// again when its source changes.
func TestBuildCache(t *testing.T) {
	dir, cache := pluginFolder(t, pluginSource), t.TempDir()
	first := resolve(t, dir, cache)
	if len(first.Watch) != 1 || !sameFolder(t, first.Watch[0], dir) {
		t.Errorf("watch %q, want %q", first.Watch, dir)
	}
	built := onlyFile(t, cache)
	mark := append(bytes.Clone(first.Wasm), 0, 1, 0) // an empty custom section
	if err := os.WriteFile(built, mark, 0o644); err != nil {
		t.Fatal(err)
	}
	if again := resolve(t, dir, cache); !bytes.Equal(again.Wasm, mark) {
		t.Error("the same sources were built again")
	}
	if err := os.WriteFile(filepath.Join(dir, "klamm.json"), []byte(`{"name":"p"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	with := resolve(t, dir, cache)
	if want := WithManifest(first.Wasm, []byte(`{"name":"p"}`)); !bytes.Equal(with.Wasm, want) {
		t.Error("the manifest is not the module's last section")
	}
}

func TestBuildOut(t *testing.T) {
	dir, out := pluginFolder(t, pluginSource), filepath.Join(t.TempDir(), "p.wasm")
	path, err := Build(t.Context(), dir, out, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil || path != out || !bytes.HasPrefix(b, []byte("\x00asm")) {
		t.Errorf("path %q, %d bytes, %v", path, len(b), err)
	}
}

func TestBuildWithoutGo(t *testing.T) {
	dir := pluginFolder(t, pluginSource)
	t.Setenv("PATH", t.TempDir())
	_, err := Build(t.Context(), dir, "", t.TempDir())
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "https://go.dev/dl/") {
		t.Errorf("got %v", err)
	}
}

func TestBuildCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, pluginFolder(t, pluginSource), "", t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func resolve(t *testing.T, dir, cache string) *Module {
	t.Helper()
	m, err := Resolve(t.Context(), dir, "", cache)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func onlyFile(t *testing.T, cache string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cache, "modules", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("cache holds %q, %v; want one file", files, err)
	}
	return files[0]
}

func sameFolder(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}

// A compiler that has the target and no linker builds nothing: Debian's, alone.
func TestRustWithoutLinker(t *testing.T) {
	sysroot := filepath.Join(folder(t, map[string]string{
		filepath.Join("rust[1]", "lib", "rustlib", targetRust, "lib", "libcore.rlib"): "",
	}), "rust[1]") // no pattern
	bin := t.TempDir()
	fake := filepath.Join(bin, "fake-rustc")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho '"+sysroot+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(fake).Run(); err != nil {
		t.Skip("no shell here to stand in for a compiler:", err)
	}
	t.Setenv("RUSTC", fake)
	t.Setenv("PATH", bin)
	switch tools, err := findRust(t.Context()); {
	case err == nil && tools.rustc == fake:
		t.Errorf("got %+v, want none without a linker", tools)
	case err != nil && (!errors.Is(err, ErrNoCompiler) || !strings.Contains(err.Error(), fake+" has no linker") || strings.Contains(err.Error(), "not there")):
		t.Errorf("got %v, want ErrNoCompiler that tells of the linker", err)
	}
	own := filepath.Join(sysroot, "lib", "rustlib", "x86_64-unknown-linux-gnu", "bin", "rust-lld")
	if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if tools, err := findRust(t.Context()); err != nil || tools != (toolsRust{rustc: fake}) {
		t.Errorf("got %+v, %v; want the compiler with its own linker", tools, err)
	}
}
