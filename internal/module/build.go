package module

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Build compiles the plugin in dir, and returns the path of the module: in Go
// package main and what it imports, in other languages one file, with the SDK in
// the folder klamm below. With out it is written there; else it lies in cacheDir,
// or in a new temporary folder when that is "" too. What is in cacheDir is not
// built again as long as the sources and the compiler are the same. A klamm.json
// beside the source becomes the module's manifest.
func Build(ctx context.Context, dir, out string, cacheDir string) (path string, err error) {
	s, err := open(ctx, dir)
	if err != nil {
		return "", err
	}
	if cacheDir == "" {
		if cacheDir, err = os.MkdirTemp("", "klamm-build-"); err != nil {
			return "", err
		}
		if out != "" {
			defer os.RemoveAll(cacheDir)
		}
	}
	built, err := s.build(ctx, cacheDir)
	if err != nil || out == "" {
		return built, err
	}
	wasm, err := os.ReadFile(built)
	if err != nil {
		return "", err
	}
	return out, writeFile(out, wasm)
}

// source is a plugin's folder, looked at.
type source interface {
	// build returns the path of the module in cacheDir.
	build(ctx context.Context, cacheDir string) (string, error)
	// watched lists the folders of what can be edited.
	watched() []string
}

func open(ctx context.Context, dir string) (source, error) {
	lang, file, err := languageOf(dir)
	if err != nil {
		return nil, err
	}
	if lang == Go {
		return inspect(ctx, dir)
	}
	full, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return inspectGuest(ctx, lang, full, file, "")
}

// goSource is a plugin's folder and everything that goes into its module.
type goSource struct {
	dir      string
	manifest []byte   // nil when there is none
	folders  []string // of packages that can be edited
	digest   string   // of all sources, the flags and the Go version
}

// buildFlags make the same bytes from the same sources wherever they lie.
var buildFlags = []string{"-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-w -buildid="}

// manifestFile is the name of a manifest beside the source.
const manifestFile = "klamm.json"

func inspect(ctx context.Context, dir string) (*goSource, error) {
	packages, err := list(ctx, dir)
	if err != nil {
		return nil, err
	}
	manifest, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	s := &goSource{dir: dir, manifest: manifest}
	return s, s.hash(ctx, packages)
}

// readManifest returns the manifest in dir, nil without one.
func readManifest(dir string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !json.Valid(b):
		return nil, fmt.Errorf("%s is not JSON", filepath.Join(dir, manifestFile))
	}
	return b, nil
}

// goPackage is what go list says of a package.
type goPackage struct {
	Dir, ImportPath, Name string
	Standard              bool
	GoFiles, EmbedFiles   []string
	OtherFiles            []string `json:"SFiles"`
	Module                *struct {
		Path, Version, GoMod string
		Main                 bool
		Replace              *struct{ Version string }
	}
}

// list returns the package in dir and all that it imports, but for the standard
// library.
func list(ctx context.Context, dir string) ([]goPackage, error) {
	out, err := runGo(ctx, dir, "list", "-deps", "-json=Dir,ImportPath,Name,Standard,GoFiles,EmbedFiles,SFiles,Module", ".")
	if err != nil {
		return nil, err
	}
	var packages []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if !p.Standard {
			packages = append(packages, p)
		}
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("folder %s holds no Go source for wasip1", dir)
	}
	if p := packages[len(packages)-1]; p.Name != "main" {
		return nil, fmt.Errorf("folder %s holds package %s; a plugin is package main", dir, p.Name)
	}
	return packages, nil
}

// editable reports whether the package's files can change under one version.
func (p *goPackage) editable() bool {
	m := p.Module
	return m == nil || m.Main || m.Version == "" || m.Replace != nil && m.Replace.Version == ""
}

func (s *goSource) hash(ctx context.Context, packages []goPackage) error {
	version, err := runGo(ctx, s.dir, "env", "GOVERSION", "GOFLAGS", "GOWASM")
	if err != nil {
		return err
	}
	h := sha256.New()
	fmt.Fprintf(h, "klamm build 1\n%s%q\n%q\n", version, buildFlags, s.manifest)
	for _, p := range packages {
		fmt.Fprintf(h, "%s\n", p.ImportPath)
		if !p.editable() {
			fmt.Fprintf(h, "%s\n", p.Module.Version)
			continue
		}
		if !slices.Contains(s.folders, p.Dir) {
			s.folders = append(s.folders, p.Dir)
		}
		for _, name := range slices.Concat(p.GoFiles, p.EmbedFiles, p.OtherFiles) {
			b, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%q %d\n", name, len(b))
			h.Write(b)
		}
	}
	s.digest = hex.EncodeToString(h.Sum(nil))
	return nil
}

func (s *goSource) build(ctx context.Context, cacheDir string) (string, error) {
	return kept(cacheDir, s.digest, s.manifest, func(out string) error {
		_, err := runGo(ctx, s.dir, slices.Concat([]string{"build"}, buildFlags, []string{"-o", out, "."})...)
		return err
	})
}

func (s *goSource) watched() []string { return s.folders }

// kept returns the path of the module of that digest in cacheDir. When it is not
// there, compile writes one, which gets the manifest.
func kept(cacheDir, digest string, manifest []byte, compile func(out string) error) (string, error) {
	folder := filepath.Join(cacheDir, "modules")
	path := filepath.Join(folder, digest+".wasm")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(folder, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	raw, err := filepath.Abs(filepath.Join(temp, "plugin.wasm"))
	if err != nil {
		return "", err
	}
	if err := compile(raw); err != nil {
		return "", err
	}
	wasm, err := os.ReadFile(raw)
	if err != nil {
		return "", err
	}
	return path, writeFile(path, WithManifest(wasm, manifest))
}

// writeFile writes b so that nobody ever sees half of it.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".klamm-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if e := f.Chmod(0o644); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// runGo runs the go command in dir for wasip1. An error is what the command
// says, with paths that start at the working directory, as dir does.
func runGo(ctx context.Context, dir string, args ...string) ([]byte, error) {
	tool, err := exec.LookPath("go")
	if err != nil {
		return nil, fmt.Errorf("building %s needs the Go toolchain, and no go command is in PATH: install Go 1.24 or newer (https://go.dev/dl/), or build the module elsewhere and name the .wasm file: %w", dir, err)
	}
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWASM=", "CGO_ENABLED=0")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("go %s in %s: %w", args[0], dir, context.Cause(ctx))
		}
		return nil, fmt.Errorf("go %s in %s: %w\n%s", args[0], dir, err, located(dir, stderr.String()))
	}
	return stdout.Bytes(), nil
}

// located rewrites file:line:column of compile errors, which the go command
// gives from its own folder on.
func located(dir, text string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		line = strings.TrimRight(line, "\r\n")
		if rest, ok := strings.CutPrefix(line, "./"); ok {
			line = filepath.Join(dir, rest)
		} else if strings.HasPrefix(line, "# ") {
			continue // the package's name
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
