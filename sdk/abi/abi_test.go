package abi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// reserved are fields that version 1 only keeps room for.
var reserved = map[string]string{
	"BatchSize":     "readers of later minors tell by it what is there",
	"BatchFlags":    "readers ignore what they do not know",
	"BatchReserved": "it is zero",
	"InitMinor":     "plugins of later minors ask for it; the manifest's min_minor is what the host checks",
	"InitFlags":     "readers ignore what they do not know",
}

// Every field of a header or an entry is written or read by the host, read or
// written by the SDK, and stands in the document: what nobody needs must not be
// frozen.
func TestEveryFieldIsUsed(t *testing.T) {
	host := words(t, "../../runtime")
	sdk := words(t, "../plugin")
	doc, err := os.ReadFile("../../docs/abi.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, offset := range fields(t) {
		if !host[name] && name != "RecTopic" && name != "RecHeaderCount" { // these are one word with a neighbour
			t.Errorf("%s: the host does not know it", name)
		}
		if _, ok := reserved[name]; ok == sdk[name] {
			t.Errorf("%s: reserved %t, used by the SDK %t", name, ok, sdk[name])
		}
		if row := regexp.MustCompile(`(?m)^\| ` + offset + ` \| `); !row.Match(doc) {
			t.Errorf("%s: no row for offset %s in docs/abi.md", name, offset)
		}
	}
}

// fields are the offsets of abi.go by name.
func fields(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "abi.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	prefix := regexp.MustCompile(`^(Batch|Rec|Hdr|Top|Ack|Init|Edit)[A-Z]`)
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 || spec.Type != nil {
			return true
		}
		name := spec.Names[0].Name
		value, ok := spec.Values[0].(*ast.BasicLit)
		if ok && prefix.MatchString(name) && !strings.HasSuffix(name, "HeaderSize") && !strings.HasSuffix(name, "EntrySize") && name != "BatchMax" {
			found[name] = value.Value
		}
		return true
	})
	if len(found) < 40 {
		t.Fatalf("%d fields found", len(found))
	}
	return found
}

// words are the names of package abi that a folder's code, tests apart, uses.
func words(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", dir, err)
	}
	used := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "abi" {
					used[s.Sel.Name] = true
				}
			}
			return true
		})
	}
	return used
}
