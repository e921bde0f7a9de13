package guard_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/runtime/guard"
)

// specDir is the folder of the WebAssembly specification's test suite that the
// engine's module carries, of a version or a proposal.
func specDir(t *testing.T, part string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	root := filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
	if err == nil {
		_, err = os.Stat(root)
	}
	if err != nil {
		t.Skipf("the specification's test suite is not in the module cache: %v", err)
	}
	return filepath.Join(root, part, "testdata")
}

type specCommand struct {
	Type       string `json:"type"`
	Line       int    `json:"line"`
	Filename   string `json:"filename"`
	Text       string `json:"text"`
	ModuleType string `json:"module_type"`
}

// validIn2 are the modules that version 1 calls invalid and version 2 does not,
// by version 1's reason, or by file.
var validIn2 = map[string]string{
	"multiple tables":           "reference types",
	"invalid result arity":      "multiple values",
	"unreached-invalid.87.wasm": "br_table in unreachable code, in unreached-valid.wast of version 2",
}

func newerThan1(c specCommand) bool { return validIn2[c.Text] != "" || validIn2[c.Filename] != "" }

func TestSpecificationSuite(t *testing.T) {
	for _, tt := range []struct {
		version                   string
		valid, invalid, malformed int // least numbers
	}{
		{"v1", 800, 900, 600},
		{"v2", 1600, 2000, 650},
	} {
		t.Run(tt.version, func(t *testing.T) {
			n := new(specCounts)
			for _, script := range specScripts(t, tt.version) {
				eachSpecModule(t, script, func(c specCommand, wasm []byte) { n.check(t, tt.version, c, wasm) })
			}
			t.Logf("%d valid modules accepted, %d invalid and %d malformed ones refused; passed over: %d that version 2 allows",
				n.valid, n.invalid, n.malformed, n.newer)
			if n.valid < tt.valid || n.invalid < tt.invalid || n.malformed < tt.malformed {
				t.Error("the suite has fewer modules than it should")
			}
		})
	}
}

// Modules of proposals that are not enabled are refused by the proposal's name.
func TestProposalsAreRefusedByName(t *testing.T) {
	for _, tt := range []struct {
		part, name string
		least      int
	}{
		{"tail-call", "tail calls", 5},
		{"threads", "threads", 5},
		{"exception-handling", "exception handling", 5},
		{"extended-const", "extended constant expressions", 5},
		{"typed-function-references", "typed function references", 5},
	} {
		t.Run(tt.part, func(t *testing.T) {
			refused := 0
			for _, script := range specScripts(t, tt.part) {
				eachSpecModule(t, script, func(c specCommand, wasm []byte) {
					if c.Type != "module" {
						return
					}
					_, err := validate(c, wasm)
					if err == nil {
						return
					}
					if refused++; !strings.Contains(err.Error(), "belongs to ") {
						t.Errorf("%s, line %d: %v", c.Filename, c.Line, err)
					}
					if strings.Contains(err.Error(), "belongs to "+tt.name) {
						tt.least--
					}
				})
			}
			if tt.least > 0 {
				t.Errorf("%d modules were refused, too few of them for %s", refused, tt.name)
			}
		})
	}
}

func specScripts(t *testing.T, part string) []string {
	t.Helper()
	scripts, err := filepath.Glob(filepath.Join(specDir(t, part), "*.json"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts of %s: %v", part, err)
	}
	return scripts
}

// eachSpecModule calls f for each binary module of a script.
func eachSpecModule(t *testing.T, script string, f func(c specCommand, wasm []byte)) {
	t.Helper()
	b, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Commands []specCommand }
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Commands {
		if c.Filename == "" || c.ModuleType == "text" {
			continue
		}
		wasm, err := os.ReadFile(filepath.Join(filepath.Dir(script), c.Filename))
		if err != nil {
			t.Fatal(err)
		}
		f(c, wasm)
	}
}

// validate checks without limits of size: the suite declares memories of 4 GiB
// and tables of as many elements.
func validate(c specCommand, wasm []byte) (*guard.Module, error) {
	return guard.Validate(c.Filename, wasm, guard.Limits{MemoryPages: 1 << 16, TableElements: 1 << 33})
}

type specCounts struct{ valid, invalid, malformed, newer int }

func (n *specCounts) check(t *testing.T, version string, c specCommand, wasm []byte) {
	t.Helper()
	_, err := validate(c, wasm)
	switch {
	case c.Type != "assert_invalid" && c.Type != "assert_malformed":
		if n.valid++; err != nil {
			t.Errorf("line %d: valid, but %v", c.Line, err)
		}
	case version == "v1" && newerThan1(c) && err == nil:
		n.newer++
	case err == nil:
		t.Errorf("%s, line %d: %s accepted, although %s", c.Filename, c.Line, c.Type, c.Text)
	case c.Type == "assert_invalid":
		n.invalid++
	default:
		n.malformed++
	}
}
