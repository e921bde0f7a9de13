package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestIndexPlaces(t *testing.T) {
	text := "a = 1 # c\n" +
		"[t.\"u v\"]\n" +
		"b . c = [ 'x', [ { d = \"\"\"\nm\"\"\" } ] ]\n" +
		"[[l]]\n" +
		"k = 1\n" +
		"[[l]]\n" +
		"k = 2\n"
	s := newSource("f", []byte(text))
	s.index = scan(text, s.bom)
	cases := []struct {
		path  string
		value Place
		key   Place
	}{
		{"a", Place{1, 5, 6}, Place{1, 1, 2}},
		{"t", Place{2, 1, 10}, Place{2, 1, 10}},
		{"t|u v", Place{2, 1, 10}, Place{2, 1, 10}},
		{"t|u v|b|c", Place{3, 9, 27}, Place{3, 1, 6}},
		{"t|u v|b|c|0", Place{3, 11, 14}, Place{3, 11, 14}},
		{"t|u v|b|c|1|0", Place{3, 18, 27}, Place{3, 18, 27}},
		{"t|u v|b|c|1|0|d", Place{3, 24, 27}, Place{3, 20, 21}},
		{"t|u v|b|c|7", Place{3, 9, 27}, Place{3, 1, 6}},
		{"l|0|k", Place{6, 5, 6}, Place{6, 1, 2}},
		{"l|1|k", Place{8, 5, 6}, Place{8, 1, 2}},
		{"l|1", Place{7, 1, 6}, Place{7, 1, 6}},
	}
	for _, c := range cases {
		path := strings.Split(c.path, "|")
		if got := s.At(path...); got != c.value {
			t.Errorf("At(%q) = %v, want %v", c.path, got, c.value)
		}
		if got := s.KeyAt(path...); got != c.key {
			t.Errorf("KeyAt(%q) = %v, want %v", c.path, got, c.key)
		}
	}
	if s.Has("t", "u v", "b", "x") || !s.Has("t", "u v", "b") {
		t.Error("Has is wrong")
	}
}

// writer makes TOML in every form that the format allows.
type writer struct {
	t *rapid.T
	b strings.Builder
}

func (w *writer) pick(options ...string) string { return rapid.SampledFrom(options).Draw(w.t, "form") }

func (w *writer) comment() string { return w.pick("", "", " # c", " # [x] = '\"", "\t") }

// blank may stand between the elements of lists and inline tables.
func (w *writer) blank() string { return w.pick("", " ", "\n", " # ]}\n ", "\r\n") }

func (w *writer) key(k string) string {
	switch w.pick("bare", "basic", "literal", "escaped") {
	case "basic":
		return `"` + k + `"`
	case "literal":
		return "'" + k + "'"
	case "escaped":
		return fmt.Sprintf(`"\u%04x%s"`, k[0], k[1:])
	}
	return k
}

func (w *writer) keys(path []string) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = w.key(p)
	}
	return strings.Join(parts, w.pick(".", " . ", ".\t"))
}

func (w *writer) value(depth int) string {
	kind := rapid.IntRange(0, 15).Draw(w.t, "kind")
	if depth > 3 && kind > 13 {
		kind = 0
	}
	switch kind {
	case 14:
		return w.list(depth)
	case 15:
		return w.inline(depth)
	}
	return []string{
		"0", "-1_000", "0xdead", "1.5e-3", "+inf", "nan", "true", "1979-05-27 07:32:00.5+01:00", "07:32:00",
		`"# \"] \\"`, `'\'`, "\"\"\"\n\\\"\"\" = [\\\\\"\"\"\"\"", "'''it''s # '''''", `""`,
	}[kind]
}

func (w *writer) list(depth int) string {
	s := "[" + w.blank()
	for range rapid.IntRange(0, 3).Draw(w.t, "length") {
		s += w.value(depth+1) + w.blank() + "," + w.blank()
	}
	if w.pick("trailing", "none") == "none" {
		s += w.value(depth+1) + w.blank()
	}
	return s + "]"
}

func (w *writer) inline(depth int) string {
	s := "{" + w.blank()
	for i := range rapid.IntRange(0, 3).Draw(w.t, "length") {
		if i > 0 {
			s += w.blank() + "," + w.blank()
		}
		path := []string{fmt.Sprintf("i%d", i), "j"}[:1+i%2]
		s += w.keys(path) + w.pick("=", " = ") + w.value(depth+1)
	}
	return s + w.blank() + "}"
}

// document is a file of headers and keys without a name twice.
func (w *writer) document() string {
	n := 0
	pairs := func() {
		for range rapid.IntRange(0, 3).Draw(w.t, "pairs") {
			n++
			path := []string{fmt.Sprintf("k%d", n), "x", "y"}[:rapid.IntRange(1, 3).Draw(w.t, "parts")]
			w.b.WriteString(w.pick("", "  ", "\t") + w.keys(path) + w.pick("=", " = ") + w.value(0) + w.comment() + w.pick("\n", "\r\n", "\n\n"))
		}
	}
	pairs()
	lists := []string{"l1", "l2"}
	for range rapid.IntRange(0, 5).Draw(w.t, "tables") {
		n++
		switch w.pick("table", "list", "under list") {
		case "table":
			w.b.WriteString("[" + w.keys([]string{fmt.Sprintf("t%d", n), "u"}[:1+n%2]) + "]" + w.comment() + "\n")
		case "list":
			w.b.WriteString("[[" + w.keys([]string{lists[n%2]}) + "]]" + w.comment() + "\n")
		case "under list":
			l := lists[n%2]
			w.b.WriteString("[[" + w.keys([]string{l}) + "]]\n[" + w.keys([]string{l, fmt.Sprintf("m%d", n)}) + "]\n")
		}
		pairs()
	}
	return w.b.String()
}

// TestIndexAgreesWithTheLibrary does so on files of every form. The fuzz test
// does it on files that are wrong as well.
func TestIndexAgreesWithTheLibrary(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &writer{t: rt}
		text := w.document()
		var tree map[string]any
		meta, err := decodeTOML(text, &tree)
		if err != nil {
			rt.Fatalf("the generator is wrong: %v\n%s", err, text)
		}
		s := newSource("f", []byte(text))
		s.index = scan(text, s.bom)
		if !sameKeys(s.index.keys, meta.Keys()) {
			rt.Fatalf("keys differ (-theirs +ours):\n%s\n%s", cmp.Diff(fmt.Sprint(meta.Keys()), fmt.Sprint(s.index.keys)), text)
		}
		checkPlaces(t, s, s.index.root, tree)
	})
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "abd", 1}, {"abc", "ab", 1}, {"ab", "abc", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
