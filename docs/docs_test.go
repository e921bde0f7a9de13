// Package docs tests that the documents keep to what is in the tree.
package docs

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// tree are the names of all tests: functions, and scripts as TestScripts/NAME.
func tree(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() != ".." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if filepath.Base(filepath.Dir(path)) == "scripts" {
			names["TestScripts/"+strings.TrimSuffix(d.Name(), ".txt")] = true
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				names[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// rows are the rows of a document's tables, by their first cell.
func rows(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 3 || strings.HasPrefix(cells[0], "-") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if found[cells[0]] != nil && cells[0] != "case" && cells[0] != "row" {
			t.Errorf("%s: %s has two rows", file, cells[0])
		}
		found[cells[0]] = cells[1:]
	}
	return found
}

var rewrite = flag.Bool("rewrite", false, "write the tests that are named after a row into it, and take out those that are gone")

// enter writes each row's tests anew: those named after it, and of the others
// those that are still there.
func enter(t *testing.T, file string, names map[string]bool, after func(name string) []string) {
	t.Helper()
	if !*rewrite {
		return
	}
	byRow := map[string][]string{}
	for name := range names {
		for _, id := range after(name) {
			byRow[id] = append(byRow[id], name)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) == 6 {
			if own := byRow[strings.TrimSpace(cells[1])]; own != nil {
				cells[3], cells[4] = entered(names, cells[3], own), strings.Replace(cells[4], " open: transactions ", " passed ", 1)
				cells[4] = strings.Replace(cells[4], " not covered yet ", "  ", 1)
			}
		}
		out.WriteString(strings.Join(cells, "|"))
	}
	if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func entered(names map[string]bool, cell string, own []string) string {
	all := map[string]bool{}
	for _, name := range own {
		all["`"+name+"`"] = true
	}
	for _, m := range quoted.FindAllString(cell, -1) {
		if found, _ := named(names, []string{m}); len(found) > 0 {
			all[m] = true
		}
	}
	return " " + strings.Join(slices.Sorted(maps.Keys(all)), "<br>") + " "
}

var quoted = regexp.MustCompile("`((?:Test|Fuzz)[^`]*)`")

// named returns the tests that cells name. A part of a test behind a slash is
// left out where the tree has no such name.
func named(names map[string]bool, cells []string) (found, missing []string) {
	for _, m := range quoted.FindAllStringSubmatch(strings.Join(cells, " "), -1) {
		name := m[1]
		if function, _, sub := strings.Cut(name, "/"); sub && !strings.HasPrefix(name, "TestScripts/") {
			name = function
		}
		if names[name] {
			found = append(found, name)
		} else {
			missing = append(missing, m[1])
		}
	}
	return found, missing
}

var caseID = regexp.MustCompile(`C\d{3}`)

// cases is how many there are: the numbers up to C145 have gaps.
const cases = 109

// TestConformance holds conformance.md to the tree: each test that it names is
// there, each case has a test or says why not, and no test of a case is left out.
func TestConformance(t *testing.T) {
	names := tree(t)
	enter(t, "conformance.md", names, func(name string) []string { return caseID.FindAllString(name, -1) })
	table := rows(t, "conformance.md")
	count := 0
	for id, cells := range table {
		if !caseID.MatchString(id) {
			continue
		}
		count++
		found, missing := named(names, cells)
		for _, m := range missing {
			t.Errorf("%s names %s, which is not in the tree", id, m)
		}
		if len(found) == 0 && !strings.Contains(cells[len(cells)-1], "exception") && !strings.Contains(cells[len(cells)-1], "open") {
			t.Errorf("%s has no test, and is no exception", id)
		}
	}
	if count != cases {
		t.Errorf("there are %d cases, want %d", count, cases)
	}
	for name := range names {
		for _, id := range caseID.FindAllString(name, -1) {
			if found, _ := named(names, table[id]); !slices.Contains(found, name) {
				t.Errorf("the row of %s does not name %s; go test ./docs -rewrite enters it", id, name)
			}
		}
	}
}

// TestFaults holds faults.md to the tree in the same way: a test named after a
// row stands in it.
func TestFaults(t *testing.T) {
	names := tree(t)
	enter(t, "faults.md", names, func(name string) []string {
		if m := faultID.FindStringSubmatch(name); m != nil {
			return m[1:]
		}
		return nil
	})
	table := rows(t, "faults.md")
	for id, cells := range table {
		found, missing := named(names, cells)
		for _, m := range missing {
			t.Errorf("%s names %s, which is not in the tree", id, m)
		}
		if faultID.MatchString("Test"+id+"_") && len(found) == 0 && !strings.Contains(strings.Join(cells, " "), "not covered") {
			t.Errorf("%s has no test, and does not say so", id)
		}
	}
	for name := range names {
		if m := faultID.FindStringSubmatch(name); m != nil {
			if found, _ := named(names, table[m[1]]); !slices.Contains(found, name) {
				t.Errorf("the row of %s does not name %s; go test ./docs -rewrite enters it", m[1], name)
			}
		}
	}
}

var faultID = regexp.MustCompile(`^Test(?:Scripts/)?([ABNMETHPWCRS]\d{1,2})_`)
