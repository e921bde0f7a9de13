package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/klamm-io/klamm/sdk/plugintest"
)

// TestScaffoldOffline builds a new plugin with Go alone, no network and no
// module cache, and runs its cases against the module.
func TestScaffoldOffline(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOMODCACHE", t.TempDir())
	dir := filepath.Join(t.TempDir(), "my-redact")
	files, err := scaffoldFiles("my-redact")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cases, err := plugintest.Files(dir)
	if err != nil || len(cases) == 0 {
		t.Fatalf("case files %q, %v", cases, err)
	}
	reports, err := plugintest.RunFiles(t.Context(), dir, cases)
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
