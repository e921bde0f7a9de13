package guests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/sdk/abi"
)

// TestRoot finds the module from inside of it and from the project.
func TestRoot(t *testing.T) {
	here, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(here, "internal", "guests", "guests.go")); err != nil {
		t.Error(err)
	}
	t.Chdir(filepath.Dir(here))
	if from, err := Root(); err != nil || from != here {
		t.Errorf("from the project: %q, %v; want %q", from, err, here)
	}
	t.Chdir(t.TempDir())
	if from, err := Root(); err == nil {
		t.Errorf("from elsewhere: %q, want an error", from)
	}
}

// TestLoad takes a language for which somebody else has put modules, and says
// what is not there.
func TestLoad(t *testing.T) {
	root := filepath.Join(t.TempDir(), "bench")
	put(t, filepath.Join(root, "..", "plugins", "route-by", "rust", "route_by.wasm"), "r")
	put(t, filepath.Join(root, "..", "plugins", "mask", "rust", "a.wasm"), "a")
	put(t, filepath.Join(root, "..", "plugins", "mask", "rust", "b.wasm"), "b")
	put(t, filepath.Join(root, "guests", "klamm", "assemblyscript", "bench.wasm"), "all")
	put(t, filepath.Join(root, "guests", "extism", "rust", "bench.wasm"), "e")
	var log strings.Builder
	set, err := Load(t.Context(), root, "", []string{"rust", "assemblyscript"}, &log)
	if err != nil {
		t.Fatal(err)
	}
	if g, ok := set.Klamm("rust", ops.Route); !ok || string(g.Wasm) != "r" || g.Hook != abi.Partition {
		t.Errorf("route in rust: %+v, %v", g, ok)
	}
	for _, op := range ops.All() {
		if _, ok := set.Klamm("rust", op); ok != (op == ops.Route) {
			t.Errorf("%s in rust: %v", op, ok)
		}
		if g, ok := set.Klamm("assemblyscript", op); !ok || g.Config != `{"op":"`+string(op)+`"}` {
			t.Errorf("%s in assemblyscript: %+v, %v", op, g, ok)
		}
	}
	if wasm, ok := set.Peer("extism", "rust"); !ok || string(wasm) != "e" {
		t.Errorf("extism in rust: %q, %v", wasm, ok)
	}
	for _, want := range []string{
		"skip pass of klamm in rust: no ready-made plugin does it\n",
		"skip dedup of klamm in rust: no guest in this language\n",
		"skip mask of klamm in rust: 2 modules in ",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log.String())
		}
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
