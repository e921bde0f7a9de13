package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write docs/configuration.md anew from config.toml")

const (
	referencePath = "../../config.toml"
	docPath       = "../../docs/configuration.md"
)

// setting is one key of config.toml.
type setting struct {
	table     []string // with the name in plugin.dedup and its like
	key       string
	value     string
	commented bool
	line      int
	text      string // the sentences above it
}

var (
	headerLine  = regexp.MustCompile(`^\[([a-z.-]+)\]$`)
	settingLine = regexp.MustCompile(`^(# )?([a-z_0-9]+) = (.+)$`)
)

func referenceText(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tableText is a header of config.toml with the sentences above it.
type tableText struct{ name, text string }

// reference reads config.toml as people do: line by line.
func reference(t testing.TB) (settings []setting, tables []tableText) {
	t.Helper()
	var table []string
	var text []string
	for i, line := range strings.Split(referenceText(t), "\n") {
		if sentence, ok := strings.CutPrefix(line, "##"); ok {
			text = append(text, strings.TrimSpace(sentence))
			continue
		}
		if m := headerLine.FindStringSubmatch(line); m != nil {
			table = strings.Split(m[1], ".")
			tables = append(tables, tableText{m[1], strings.Join(text, " ")})
		} else if m := settingLine.FindStringSubmatch(line); m != nil {
			settings = append(settings, setting{table, m[2], m[3], m[1] != "", i + 1, strings.Join(text, " ")})
		} else if line != "" {
			t.Fatalf("config.toml:%d: neither a sentence, a header nor a key: %q", i+1, line)
		}
		text = nil
	}
	return settings, tables
}

func (s setting) free() bool { return s.table != nil && s.table[len(s.table)-1] == "config" }

// generic is the table's name in the reference: plugin.NAME for plugin.dedup.
func generic(table []string) string {
	g := append([]string(nil), table...)
	if len(g) > 1 && contains([]string{"plugin", "chain", "pipeline", "state"}, g[0]) {
		g[1] = "NAME"
	}
	return strings.Join(g, ".")
}

func TestReferenceLoads(t *testing.T) {
	c, problems := Parse("config.toml", []byte(referenceText(t)), Options{})
	if len(problems.All()) > 0 {
		t.Fatalf("config.toml has problems:\n%v", problems)
	}
	if got, _ := c.ChainFor("quakes"); got != "quakes" {
		t.Errorf("ChainFor(quakes) = %q", got)
	}
	if got, ok := c.PipelineChain("clean"); got != "quakes" || !ok {
		t.Errorf("PipelineChain(clean) = %q, %v", got, ok)
	}
}

func TestReferenceLoadsWithEveryKeyUncommented(t *testing.T) {
	text := regexp.MustCompile(`(?m)^# ([a-z_0-9]+ = )`).ReplaceAllString(referenceText(t), "$1")
	c, problems := Parse("config.toml", []byte(text), Options{})
	if len(problems.All()) > 0 {
		t.Fatalf("config.toml has problems:\n%v", problems)
	}
	plain, _ := Parse("config.toml", []byte(referenceText(t)), Options{})
	// What is shown is the default, so nothing may change. nil lists and those
	// that say the same are one.
	for _, c := range []*Config{c, plain} {
		c.Source = nil
		quakes := c.Chain["quakes"]
		quakes.OnAcknowledgement = quakes.AcknowledgementList()
		c.Chain["quakes"] = quakes
		clean := c.Pipeline["clean"]
		clean.Chain, _ = c.PipelineChain("clean")
		c.Pipeline["clean"] = clean
	}
	opts := cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())
	maps := cmp.FilterValues(func(a, b map[string]Secret) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())
	if diff := cmp.Diff(plain, c, opts, maps); diff != "" {
		t.Errorf("uncommenting changes the configuration (-as it stands +uncommented):\n%s", diff)
	}
}

// TestReferenceIsComplete holds config.toml against the structs: every key is
// there once, none is that does not exist, and commented ones show the default.
func TestReferenceIsComplete(t *testing.T) {
	settings, _ := reference(t)
	shown := map[string]int{}
	for _, s := range settings {
		if !s.free() {
			shown[generic(s.table)+"."+s.key]++
		}
	}
	eachKey(func(table, key string, _ reflect.Type) {
		name := table + "." + key
		if shown[name] == 0 {
			t.Errorf("config.toml does not show %s", name)
		}
		delete(shown, name)
	})
	for name := range shown {
		t.Errorf("config.toml shows %s, which does not exist", name)
	}
}

// eachKey calls f for every key of the structs but those that are tables.
func eachKey(f func(table, key string, t reflect.Type)) {
	eachTable(reflect.TypeFor[Config](), nil, func(path []string, t reflect.Type) {
		for i := range t.NumField() {
			key, kind := t.Field(i).Tag.Get("toml"), t.Field(i).Type
			isMapOfTables := kind.Kind() == reflect.Map && kind.Elem().Kind() == reflect.Struct
			if key == "-" || kind.Kind() == reflect.Struct || isMapOfTables || kind == reflect.TypeFor[map[string]any]() {
				continue
			}
			f(strings.Join(path, "."), key, kind)
		}
	})
}

func TestReferenceHasASentenceForEveryKey(t *testing.T) {
	settings, _ := reference(t)
	for _, s := range settings {
		if s.commented && (s.text == "" || !strings.HasSuffix(s.text, ".") && !strings.HasSuffix(s.text, " ...")) {
			t.Errorf("config.toml:%d: %s: %q is no sentence", s.line, s.key, s.text)
		}
	}
}

// TestReferenceMutations changes one letter of each key, in turn, and demands
// an error at that line and column that names the right key.
func TestReferenceMutations(t *testing.T) {
	settings, _ := reference(t)
	lines := strings.Split(referenceText(t), "\n")
	if _, problems := Parse("config.toml", []byte(referenceText(t)), Options{}); len(problems.All()) > 0 {
		t.Fatal("config.toml is wrong as it stands")
	}
	count := 0
	for _, s := range settings {
		if s.free() {
			continue
		}
		for _, bad := range mutations(s.key) {
			count++
			mutant := append([]string(nil), lines...)
			mutant[s.line-1] = bad + " = " + s.value
			_, problems := Parse("config.toml", []byte(strings.Join(mutant, "\n")), Options{})
			want := fmt.Sprintf("config.toml:%d:1: error: unknown key %q in %s", s.line, bad, tableName(s.table))
			if got := problems.Error(); !strings.Contains(got, want) || !meant(got, s.key) {
				t.Errorf("%q for %q: want %q and the right key, got:\n%s", bad, s.key, want, got)
			}
			if problems.Errors() != 1 {
				t.Errorf("%q for %q: want one error, got:\n%v", bad, s.key, problems)
			}
		}
	}
	if count < 100 {
		t.Errorf("only %d mutations", count)
	}
}

// meant reports whether a suggestion names the word.
func meant(problems, word string) bool {
	for _, line := range strings.Split(problems, "\n") {
		if _, suggestion, ok := strings.Cut(line, "did you mean "); ok && strings.Contains(suggestion, strconv.Quote(word)) {
			return true
		}
	}
	return false
}

// mutations are slips of one letter: one changed, one doubled, one left out, two
// swapped, one in capitals.
func mutations(key string) []string {
	i := len(key) / 2
	all := []string{
		key[:i] + "q" + key[i+1:],
		key[:i] + key[i:i+1] + key[i:],
		strings.ToUpper(key[:1]) + key[1:],
	}
	if len(key) > 2 {
		all = append(all, key[:i]+key[i+1:])
		if key[i] != key[i-1] {
			all = append(all, key[:i-1]+key[i:i+1]+key[i-1:i]+key[i+1:])
		}
	}
	return all
}

// TestReferenceHeaderMutations does the same with the tables' names.
func TestReferenceHeaderMutations(t *testing.T) {
	lines := strings.Split(referenceText(t), "\n")
	for i, line := range lines {
		m := headerLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		parts := strings.Split(m[1], ".")
		for j, part := range parts {
			if j == 1 && parts[0] == "pipeline" {
				continue // nothing refers to pipelines, so any name is right
			}
			if j == 1 && parts[0] == "chain" {
				continue // the chain of a topic is found by the topic
			}
			mutant := append([]string(nil), lines...)
			bad := append([]string(nil), parts...)
			bad[j] = part[:len(part)-1] + "q"
			mutant[i] = "[" + strings.Join(bad, ".") + "]"
			_, problems := Parse("config.toml", []byte(strings.Join(mutant, "\n")), Options{})
			if got := problems.Error(); problems.Errors() == 0 || !meant(got, part) && !strings.Contains(got, fmt.Sprintf("did you mean %q (line", bad[j])) {
				t.Errorf("%s for %s: got:\n%s", mutant[i], line, got)
			}
		}
	}
}

// TestConfigurationDoc holds the tables of docs/configuration.md against
// config.toml and the structs. Run with -rewrite to write them anew.
func TestConfigurationDoc(t *testing.T) {
	const begin, end = "<!-- keys: begin -->\n", "<!-- keys: end -->\n"
	text, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("docs/configuration.md has no lines %q and %q", begin, end)
	}
	want := head + begin + keyTables(t) + end + tail
	if *rewrite {
		if err := os.WriteFile(docPath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("docs/configuration.md differs from config.toml; run go test ./internal/config -run Doc -rewrite:\n%s", diff)
	}
}

// keyTables writes one table of keys for each table of the configuration.
func keyTables(t *testing.T) string {
	t.Helper()
	settings, tables := reference(t)
	byName := map[string]setting{}
	intro := map[string]string{}
	for _, s := range settings {
		if !s.free() {
			byName[generic(s.table)+"."+s.key] = s
		}
	}
	for _, table := range tables {
		if g := generic(strings.Split(table.name, ".")); intro[g] == "" {
			intro[g] = table.text
		}
	}
	var b strings.Builder
	last := "?"
	eachKey(func(table, key string, kind reflect.Type) {
		if table != last {
			title := "[" + table + "]"
			if table == "" {
				title = "Top level"
			}
			fmt.Fprintf(&b, "\n### %s\n\n", title)
			if intro[table] != "" {
				fmt.Fprintf(&b, "%s\n\n", intro[table])
			}
			b.WriteString("| key | type | default | |\n|---|---|---|---|\n")
			last = table
		}
		s := byName[table+"."+key]
		value := "required"
		if s.commented {
			value = "`" + s.value + "`"
		} else if d := defaultOf(table, key); d != "" {
			value = "`" + d + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", key, docType(kind), value, strings.ReplaceAll(s.text, "|", `\|`))
	})
	b.WriteByte('\n')
	return b.String()
}

// defaultOf is the default of a key that config.toml gives another value.
func defaultOf(table, key string) string {
	switch table + "." + key {
	case ".version":
		return "1"
	case "cluster.bootstrap_servers":
		return fmt.Sprintf("[%s]", quoteList(Default().Cluster.BootstrapServers))
	case "cluster.embedded.topics", "chain.NAME.topics", "chain.NAME.on_send":
		return "[]"
	case "plugin.NAME.state":
		return `""`
	case "chain.NAME.partitioner":
		return `"` + defaultChain().Partitioner + `"`
	}
	return ""
}

func docType(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[Duration]():
		return "duration"
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[Secret]():
		return "secret"
	case reflect.TypeFor[map[string]Secret]():
		return "table of secrets"
	case reflect.TypeFor[[]string]():
		return "list of strings"
	case reflect.TypeFor[Acks](), reflect.TypeFor[Compression]():
		return "word"
	}
	switch {
	case t.Kind() == reflect.String && t.Name() != "string":
		return "word"
	case t.Kind() == reflect.Int:
		return "integer"
	case t.Kind() == reflect.Bool:
		return "boolean"
	}
	return "string"
}
