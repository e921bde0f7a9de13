// Package layers checks that imports point down the list of layers that
// docs/architecture.md draws. Only its test uses it.
package layers

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Module is the path that our own imports start with.
const Module = "github.com/klamm-io/klamm"

// row says which of our packages the packages at and under Path may import,
// beside those under Path itself. A trailing "/..." in May means the subtree.
type row struct {
	Path string
	May  []string
}

// everything is the May of the top layer.
const everything = "..."

// table is the list of layers, lowest first. The row with the longest matching
// path counts.
var table = []row{
	{".", nil},
	{"sdk", nil},
	{"sdk/abi", nil},
	{"sdk/plugin", []string{"sdk/abi"}},
	{"internal/unmetered", nil}, // a switch that only benchmarks turn
	{"runtime", []string{"sdk/abi", "internal/unmetered"}},
	{"runtime/guard", []string{"sdk/abi"}},
	{"runtime/meter", nil},
	{"internal/filelock", nil},
	{"state", []string{".", "internal/filelock"}},
	{"state/backendtest", []string{".", "state"}},
	{"state/redis", []string{".", "state"}},
	// It knows the topic by an interface: the host reaches it, with its own
	// connections and its own transactions.
	{"state/kafka", []string{".", "state"}},
	{"state/kafka/kafkatest", []string{".", "state", "state/kafka"}},
	{"interceptor", []string{".", "sdk/abi", "runtime", "state"}},
	{"partitioner", []string{".", "sdk/abi", "runtime"}},
	{"internal/config", []string{"."}},
	{"plugins", []string{"sdk/plugin"}},
	{"internal/module", []string{"plugins"}},
	{"host/internal/cluster", []string{".", "internal/config"}},
	{"host/internal/produce", []string{".", "internal/config", "host/internal/cluster"}},
	{"host/internal/consume", []string{".", "internal/config", "host/internal/cluster"}},
	// Of sdk/plugin it has the JSON paths: rekey finds ids as dedup's module does.
	{"host", []string{".", "sdk/abi", "sdk/plugin", "runtime", "state", "state/kafka", "interceptor", "partitioner", "internal/config", "internal/module", "host/internal/..."}},
	{"internal/broker", []string{".", "internal/config", "internal/filelock"}},
	{"host/saramaplugin", []string{".", "interceptor", "host"}},
	{"host/typed", []string{".", "host"}},
	{"host/hosttest", []string{".", "internal/config", "internal/broker", "host"}},
	{"sdk/plugintest", []string{".", "sdk/abi", "sdk/plugin", "runtime", "state", "internal/module"}},
	{"sdk/conformance", []string{"sdk/abi", "sdk/plugin", "runtime", "internal/module"}},
	{"internal/metrics", []string{".", "interceptor", "host"}},
	{"internal/admin", []string{".", "host"}},
	{"internal/demo", []string{"."}},
	{"internal/recordio", []string{"."}},
	{"internal/kafkaerrors", []string{"."}},
	{"internal/layers", nil},
	{"internal/faultproxy", nil},
	{"internal/kafkatest", nil},
	{"internal/checker", []string{"."}},
	{"internal/checker/trial", []string{".", "interceptor", "host", "internal/config", "internal/broker", "internal/faultproxy", "internal/checker"}},
	{"host/faulttest", []string{".", "host", "internal/..."}},
	{"host/killtest", []string{".", "host", "interceptor", "internal/..."}}, // faulttest's hosts are of its own process
	{"cmd", []string{everything}},
}

// libraries says which packages may import a library. One that is not listed
// is refused: adding a dependency is a decision. "!" takes a subtree out again,
// but for its tests.
var libraries = map[string][]string{
	"github.com/tetratelabs/wazero":      {"runtime", "!runtime/guard", "!runtime/meter"},
	"github.com/IBM/sarama":              {"host"},
	"github.com/rcrowley/go-metrics":     {"host/internal"},
	"github.com/twmb/franz-go/pkg/kadm":  {"internal/checker", "internal/kafkatest"},
	"github.com/twmb/franz-go/pkg/kbin":  {"internal/faultproxy"},
	"github.com/twmb/franz-go/pkg/kerr":  {"internal/broker", "internal/checker", "internal/kafkatest"},
	"github.com/twmb/franz-go/pkg/kfake": {"internal/broker", "internal/checker/trial", "host/hosttest", "cmd"},
	"github.com/twmb/franz-go/pkg/kgo":   {"internal/checker", "internal/kafkatest"},
	// Its logins, where it judges what brokers that ask for one have.
	"github.com/twmb/franz-go/pkg/sasl/plain": {"internal/checker"},
	"github.com/twmb/franz-go/pkg/sasl/scram": {"internal/checker"},
	"github.com/twmb/franz-go/pkg/kmsg":       {"host", "internal/broker", "internal/faultproxy", "internal/checker"},
	"github.com/BurntSushi/toml":              {"internal/config", "cmd", "sdk/plugintest"},
	"github.com/dchest/siphash":               {"state"},
	"github.com/xdg-go/scram":                 {"host/internal/cluster"},
	"github.com/klauspost/compress":           {"host/internal"},
	"github.com/pierrec/lz4":                  {"host/internal"},
	"github.com/prometheus/client_golang":     {"internal/metrics"},
	"github.com/prometheus/client_model":      {"internal/metrics"},
	"github.com/fsnotify/fsnotify":            {"host"},
	"github.com/spf13":                        {"cmd"},
	"github.com/google/go-cmp":                {"state/backendtest"},
	"github.com/redis/go-redis":               {"state/redis"},
	"pgregory.net/rapid":                      {"state/backendtest"},
	"golang.org/x/term":                       {"cmd"},
	"golang.org/x/sys":                        {"runtime", "cmd"},
}

// switches are packages that one layer alone may import, whatever the table
// allows to others.
var switches = map[string]string{"internal/unmetered": "runtime"}

// engineFiles is how many of host's own files may import runtime: the one that
// builds the engine. The rest sees plugins through interceptor and partitioner.
const engineFiles = 1

// Problem is one import that the layers forbid.
type Problem struct {
	Pos    token.Position
	Import string
	Why    string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s: imports %q: %s", p.Pos, p.Import, p.Why)
}

// Check reads every Go file under root, the module's folder, and returns every
// forbidden import. Test files may import any package of ours and any library
// but wazero, which stays runtime's alone. Folders named testdata and modules
// of their own are left out.
func Check(root string) ([]Problem, error) {
	c := &checker{root: root, fset: token.NewFileSet()}
	if err := filepath.WalkDir(root, c.visit); err != nil {
		return nil, err
	}
	if len(c.engine) > engineFiles {
		for _, pos := range c.engine {
			c.problems = append(c.problems, Problem{pos, Module + "/runtime", "only one file of host builds the engine"})
		}
	}
	return c.problems, nil
}

type checker struct {
	root     string
	fset     *token.FileSet
	problems []Problem
	engine   []token.Position // imports of runtime in host's own files
}

func (c *checker) visit(file string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if d.IsDir() {
		return c.folder(file, d.Name())
	}
	if strings.HasSuffix(file, ".go") {
		return c.file(file)
	}
	return nil
}

func (c *checker) folder(dir, name string) error {
	if dir == c.root {
		return nil
	}
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (c *checker) file(file string) error {
	parsed, err := parser.ParseFile(c.fset, file, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(c.root, filepath.Dir(file))
	if err != nil {
		return err
	}
	pkg, test := filepath.ToSlash(rel), strings.HasSuffix(file, "_test.go")
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		pos := c.fset.Position(spec.Pos())
		if why := forbidden(pkg, imported, test); why != "" {
			c.problems = append(c.problems, Problem{pos, imported, why})
		}
		if pkg == "host" && !test && imported == Module+"/runtime" {
			c.engine = append(c.engine, pos)
		}
	}
	return nil
}

// forbidden returns why pkg, a path inside the module, may not import the
// package imported, or "".
func forbidden(pkg, imported string, test bool) string {
	if ours, ok := inside(imported); ok {
		if test {
			return ""
		}
		return forbiddenOurs(pkg, ours)
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	return forbiddenLibrary(pkg, imported, test)
}

func inside(imported string) (string, bool) {
	if imported == Module {
		return ".", true
	}
	return strings.CutPrefix(imported, Module+"/")
}

func forbiddenOurs(pkg, ours string) string {
	r, ok := rowOf(pkg)
	if !ok {
		return fmt.Sprintf("package %q has no row in the table of layers", pkg)
	}
	if under(ours, r.Path) && r.Path != "." {
		return ""
	}
	if owner, ok := switches[ours]; ok && owner != r.Path {
		return fmt.Sprintf("only %q may import it", owner)
	}
	for _, may := range r.May {
		if may == everything || may == ours {
			return ""
		}
		if tree, ok := strings.CutSuffix(may, "/..."); ok && under(ours, tree) {
			return ""
		}
	}
	return fmt.Sprintf("layer %q may import only %q", r.Path, r.May)
}

func forbiddenLibrary(pkg, imported string, test bool) string {
	owner, ok := libraryOf(imported)
	switch {
	case test && owner != "github.com/tetratelabs/wazero":
		return ""
	case !ok:
		return "the library is not in the table of libraries"
	}
	allowed := false
	for _, may := range libraries[owner] {
		if not, ok := strings.CutPrefix(may, "!"); ok {
			allowed = allowed && (test || !under(pkg, not))
		} else {
			allowed = allowed || under(pkg, may)
		}
	}
	if allowed {
		return ""
	}
	return fmt.Sprintf("only %q may import that library", libraries[owner])
}

func rowOf(pkg string) (row, bool) {
	for p := pkg; ; p = path.Dir(p) {
		if i := slices.IndexFunc(table, func(r row) bool { return r.Path == p }); i >= 0 && (p != "." || pkg == ".") {
			return table[i], true
		}
		if p == "." {
			return row{}, false
		}
	}
}

func libraryOf(imported string) (string, bool) {
	for p := imported; p != "."; p = path.Dir(p) {
		if _, ok := libraries[p]; ok {
			return p, true
		}
	}
	return "", false
}

// under reports whether pkg is tree or inside it.
func under(pkg, tree string) bool {
	return pkg == tree || strings.HasPrefix(pkg, tree+"/")
}
