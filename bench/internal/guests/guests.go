// Package guests finds and builds the modules that the benchmarks run.
package guests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/conformance/toolchain"
)

// Languages lists the languages of guests in the order of the tables.
var Languages = []string{"c", "go", "rust", "assemblyscript"}

// peers are the folders of guests for other implementations.
var peers = []string{"extism", "reflection", "goplugin"}

// Guest is a plugin of Klamm's ABI that does one operation.
type Guest struct {
	Wasm   []byte
	Config string // its table, as JSON
	Hook   abi.Hook
}

// shipped says which ready-made plugin does an operation. Pass and rewrite have
// none.
var shipped = map[ops.Op]struct {
	plugin, config string
	hook           abi.Hook
}{
	ops.Route: {"route-by", `{"by":"key"}`, abi.Partition},
	ops.Dedup: {"dedup", `{}`, abi.OnSend},
	ops.Mask:  {"mask", `{"fields":["email"]}`, abi.OnSend},
}

// Set is the guests that are there.
type Set struct {
	klamm map[string]map[ops.Op]Guest
	peer  map[string]map[string][]byte
}

// Klamm returns the guest of a language for an operation.
func (s *Set) Klamm(lang string, op ops.Op) (Guest, bool) {
	g, ok := s.klamm[lang][op]
	return g, ok
}

// Peer returns the module for another implementation.
func (s *Set) Peer(name, lang string) ([]byte, bool) {
	wasm, ok := s.peer[name][lang]
	return wasm, ok
}

// Load builds what has sources here and a toolchain, finds what others built,
// and says on log what is skipped and why. Only a Go guest that does not build is
// an error.
func Load(ctx context.Context, root, cacheDir string, languages []string, log io.Writer) (*Set, error) {
	s := &Set{klamm: map[string]map[ops.Op]Guest{}, peer: map[string]map[string][]byte{}}
	return s, inProject(root, func() error {
		for _, lang := range languages {
			if err := s.loadKlamm(ctx, root, cacheDir, lang, log); err != nil {
				return err
			}
			if err := s.loadPeers(ctx, root, cacheDir, lang, log); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Set) loadPeers(ctx context.Context, root, cacheDir, lang string, log io.Writer) error {
	for _, name := range peers {
		wasm, err := build(ctx, filepath.Join(root, "guests", name, lang), lang, cacheDir)
		switch {
		case err == nil:
			if s.peer[name] == nil {
				s.peer[name] = map[string][]byte{}
			}
			s.peer[name][lang] = wasm
		case lang == "go":
			return err
		case !errors.Is(err, errNoGuest):
			fmt.Fprintf(log, "skip %s in %s: %v\n", name, lang, err)
		}
	}
	return nil
}

// errNoGuest says that there are no sources.
var errNoGuest = errors.New("no guest in this language")

func (s *Set) loadKlamm(ctx context.Context, root, cacheDir, lang string, log io.Writer) error {
	s.klamm[lang] = map[ops.Op]Guest{}
	wasm, err := build(ctx, filepath.Join(root, "guests", "klamm", lang), lang, cacheDir)
	if err == nil {
		for _, op := range ops.All() {
			s.klamm[lang][op] = Guest{wasm, fmt.Sprintf(`{"op":%q}`, op), abi.OnSend}
		}
		return nil
	}
	if lang == "go" {
		return err
	}
	if !errors.Is(err, errNoGuest) {
		fmt.Fprintf(log, "klamm in %s: %v; taking the ready-made plugins\n", lang, err)
	}
	for _, op := range ops.All() {
		p, ok := shipped[op]
		if !ok {
			fmt.Fprintf(log, "skip %s of klamm in %s: no ready-made plugin does it\n", op, lang)
			continue
		}
		wasm, err := build(ctx, filepath.Join(root, "..", "plugins", p.plugin, lang), lang, cacheDir)
		if err != nil {
			fmt.Fprintf(log, "skip %s of klamm in %s: %v\n", op, lang, err)
			continue
		}
		s.klamm[lang][op] = Guest{wasm, p.config, p.hook}
	}
	return nil
}

// build returns the module of a folder: one that lies there, or made from its
// sources.
func build(ctx context.Context, dir, lang, cacheDir string) ([]byte, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, errNoGuest
	}
	if lang == "go" {
		path, err := module.Build(ctx, dir, "", cacheDir)
		if err != nil {
			return nil, err
		}
		return os.ReadFile(path)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.wasm"))
	switch {
	case err != nil:
		return nil, err
	case len(found) == 1:
		return os.ReadFile(found[0])
	case len(found) > 1:
		return nil, fmt.Errorf("%d modules in %s, want one", len(found), dir)
	}
	return toolchain.Build(ctx, module.Language(lang), dir)
}

// inProject runs f with the project's folder as the working directory, from
// which the toolchain looks for our SDKs.
func inProject(root string, f func() error) error {
	was, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := os.Chdir(filepath.Dir(root)); err != nil {
		return err
	}
	return errors.Join(f(), os.Chdir(was))
}

// Root returns the folder of the benchmarks' own module, for a working directory
// inside of it or of the project.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		for _, try := range []string{d, filepath.Join(d, "bench")} {
			b, err := os.ReadFile(filepath.Join(try, "go.mod"))
			if err == nil && strings.HasPrefix(string(b), "module github.com/klamm-io/klamm/bench\n") {
				return try, nil
			}
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is not inside of the project; run: cd bench && go run ./plugin", dir)
		}
	}
}

// Known reports whether lang is one of Languages.
func Known(lang string) bool { return slices.Contains(Languages, lang) }
