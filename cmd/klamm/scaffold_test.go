package main

import (
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/sdk/plugintest"
)

// TestScaffoldOffline builds a new plugin of each language, without a network and,
// for Go, without a module cache, and runs its cases against the module.
func TestScaffoldOffline(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOMODCACHE", t.TempDir())
	for lang := range scaffolds {
		t.Run(string(lang), func(t *testing.T) { testScaffold(t, lang) })
	}
}

func testScaffold(t *testing.T, lang module.Language) {
	dir := filepath.Join(t.TempDir(), "my-redact")
	a := &app{streams: streams{out: io.Discard, talk: io.Discard}}
	if err := a.newPlugin(lang, "my-redact", dir); err != nil {
		t.Fatal(err)
	}
	cases, err := plugintest.Files(dir)
	if err != nil || len(cases) == 0 {
		t.Fatalf("case files %q, %v", cases, err)
	}
	reports, err := plugintest.RunFiles(t.Context(), dir, cases)
	if errors.Is(err, module.ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		for _, c := range r.Cases {
			for _, p := range c.Problems {
				t.Errorf("%s: %s: %s", filepath.Base(r.File), c.Name, p)
			}
		}
	}
}
