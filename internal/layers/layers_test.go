package layers

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestTree holds the project itself to the layers.
func TestTree(t *testing.T) {
	for _, p := range check(t, filepath.Join("..", "..")) {
		t.Errorf("%s", p)
	}
}

// TestPlanted proves that the checker can fail: each violation planted in the
// fixture is found, and nothing else of it.
func TestPlanted(t *testing.T) {
	want := []string{
		`alone.go:3:8: imports "github.com/klamm-io/klamm": package "alone" has no row`,
		`first.go:3:8: imports "github.com/klamm-io/klamm/runtime": only one file of host`,
		`second.go:3:8: imports "github.com/klamm-io/klamm/runtime": only one file of host`,
		`library.go:3:8: imports "github.com/twmb/franz-go/pkg/kfake": only`,
		`unlisted.go:3:8: imports "example.com/unlisted": the library is not in the table`,
		`upward.go:3:8: imports "github.com/klamm-io/klamm/host": layer "partitioner" may import only`,
		`wazero_test.go:3:8: imports "github.com/tetratelabs/wazero": only ["runtime"`,
		`sdk.go:3:8: imports "github.com/BurntSushi/toml": only`,
	}
	got := check(t, filepath.Join("testdata", "planted"))
	for _, w := range want {
		if !contains(got, w) {
			t.Errorf("missing: %s", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
}

func TestForbidden(t *testing.T) {
	tests := []struct {
		name     string
		pkg      string
		imported string
		test     bool
		allowed  bool
	}{
		{"standard library", "sdk/abi", "encoding/binary", false, true},
		{"a subtree may import itself", "host", Module + "/host/internal/produce", false, true},
		{"runtime knows wazero", "runtime", "github.com/tetratelabs/wazero/api", false, true},
		{"guard does not", "runtime/guard", "github.com/tetratelabs/wazero", false, false},
		{"guard's tests try the engine", "runtime/guard", "github.com/tetratelabs/wazero", true, true},
		{"tests outside of runtime do not", "state", "github.com/tetratelabs/wazero", true, false},
		{"guard knows no runtime", "runtime/guard", Module + "/runtime", false, false},
		{"root imports nothing", ".", Module + "/sdk/abi", false, false},
		{"root is not the parent of unknown folders", "new", Module, false, false},
		{"plugins see the SDK", "plugins/dedup", Module + "/sdk/plugin", false, true},
		{"plugins see no host", "plugins/dedup", Module + "/host", false, false},
		{"tests go anywhere", "state", Module + "/host/hosttest", true, true},
		{"tests use any library", "state", "pgregory.net/rapid", true, true},
		{"host links no embedded broker", "host", Module + "/internal/broker", false, false},
		{"cmd wires everything", "cmd/klamm", Module + "/internal/broker", false, true},
		{"runtime reads the benchmarks' switch", "runtime", Module + "/internal/unmetered", false, true},
		{"nobody else may turn it", "cmd/klamm", Module + "/internal/unmetered", false, false},
		{"longest library wins", "host/internal/produce", "github.com/twmb/franz-go/pkg/kmsg", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			why := forbidden(tt.pkg, tt.imported, tt.test)
			if (why == "") != tt.allowed {
				t.Errorf("forbidden(%q, %q) = %q, want allowed %v", tt.pkg, tt.imported, why, tt.allowed)
			}
		})
	}
}

func check(t *testing.T, root string) []string {
	t.Helper()
	problems, err := Check(root)
	if err != nil {
		t.Fatal(err)
	}
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.String()
	}
	return lines
}

func contains(lines []string, part string) bool {
	for _, l := range lines {
		if strings.Contains(l, part) {
			return true
		}
	}
	return false
}
