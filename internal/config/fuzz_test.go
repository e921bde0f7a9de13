package config

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// tomlSeeds hold each form that keys and values can take.
var tomlSeeds = []string{
	"",
	"a = 1",
	"\xef\xbb\xbfa = 1\r\nb = 2\r\n",
	"a.b.c = 1\na.b.d = 2 # c\n\"a\".'x y'.\"\\u00e9\" = 3",
	"[t]\na = \"q\\\"#\" # c\nb = 'l\\'\n[t.u]\nc = \"\"\"m\"\"\n \\\" = [\"\"\"\"\"\nd = '''r''x'''''\n",
	"[[x]]\na = 1\n[[x.y]]\nb = 2\n[x.z]\n[[x]]\n[[x.y]]",
	"a = [1, [2, {b = 3, c.d = 4}], # c\n {b = 5,},\n]\n",
	"i = { a = 1, \"b\" = { c = [ { d = 1 } ] }, # c\n e.f = 2 }\n",
	"d = 1979-05-27 07:32:00Z # c\ne = [1979-05-27 07:32:00.5 , 07:32:00]\nf = +inf\ng = -1_0.5e-3\nh = 0xdead",
	"[ a . \"b.c\" ]\n d . e = true\n",
	"x = \"\\\\\"\"\"\n",
	"s = \"\"\"\\\\\"\"\"\"\"\"\n",
	"[plugin.dedup]\nmodule = \"builtin:dedup\"\nlinger.ms = 5",
	"password = \"hunter2\nx",
	"a = 1\na = 2\n[b]\n[b]",
	strings.Repeat("[", 40), "a = " + strings.Repeat("{b=", 40), strings.Repeat("a.", 40) + "a = 1",
}

func seed(f *testing.F) {
	f.Helper()
	for _, s := range tomlSeeds {
		f.Add([]byte(s))
	}
	if text, err := os.ReadFile(referencePath); err == nil {
		f.Add(text)
	}
}

// FuzzKeyIndex demands that the index lists the same keys as the library for
// every text that the library accepts.
func FuzzKeyIndex(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		s := newSource("f", text)
		x := scan(string(text), s.bom)
		if x.tooDeep.valid() || len(text) > maxFileSize {
			return // never given to the library
		}
		var tree map[string]any
		meta, err := decodeTOML(string(text), &tree)
		if err != nil {
			return
		}
		if !sameKeys(x.keys, meta.Keys()) {
			t.Fatalf("keys differ\nours   %q\ntheirs %q", x.keys, meta.Keys())
		}
		s.index = x
		checkPlaces(t, s, x.root, tree)
	})
}

// checkPlaces demands that every value of the tree has a node, that key and
// value stand inside the text, and that the value's text is that value.
func checkPlaces(t *testing.T, s *Source, n *node, tree map[string]any) {
	t.Helper()
	for name, value := range tree {
		c := n.table().children[name]
		if c == nil || !c.key.valid() || c.key.end > len(s.Text) || c.value.end > len(s.Text) {
			t.Fatalf("key %q has no place: %+v", name, c)
		}
		sub, isTable := value.(map[string]any)
		if isTable {
			checkPlaces(t, s, c, sub)
			continue
		}
		if _, isTables := value.([]map[string]any); isTables {
			continue
		}
		text := string(s.Text[c.value.start:c.value.end])
		var got map[string]any
		if _, err := toml.Decode("v = "+text, &got); err != nil {
			t.Fatalf("the place of %q is not a value: %q: %v", name, text, err)
		}
		if !sameValue(got["v"], value) {
			t.Fatalf("the place of %q holds %q, want %v", name, text, value)
		}
	}
}

// sameValue compares, with NaN equal to itself.
func sameValue(a, b any) bool {
	x, isFloat := a.(float64)
	y, both := b.(float64)
	if isFloat && both && x != x && y != y {
		return true
	}
	if list, ok := a.([]any); ok {
		other, ok := b.([]any)
		if !ok || len(list) != len(other) {
			return false
		}
		for i := range list {
			if !sameValue(list[i], other[i]) {
				return false
			}
		}
		return true
	}
	if table, ok := a.(map[string]any); ok {
		other, ok := b.(map[string]any)
		if !ok || len(table) != len(other) {
			return false
		}
		for k := range table {
			if !sameValue(table[k], other[k]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b)
}

// FuzzParse demands that no text makes the reader panic, that every error has a
// place, and that a checked configuration stays right when it is checked again.
func FuzzParse(f *testing.F) {
	seed(f)
	nothing := Options{
		LookupEnv: func(string) (string, bool) { return "", false },
		ReadFile:  func(string) ([]byte, error) { return nil, os.ErrNotExist },
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, problems := Parse("f.toml", text, nothing)
		shown := problems.Error()
		for _, p := range problems.All() {
			if p.Place.Line == 0 && len(text) <= maxFileSize {
				t.Fatalf("no place: %+v\n%s", p, shown)
			}
			if p.What == "" {
				t.Fatalf("empty problem: %+v", p)
			}
		}
		if c == nil {
			if problems.Errors() == 0 {
				t.Fatal("no configuration and no error")
			}
			return
		}
		if again := c.Check(); again.Errors() > 0 {
			t.Fatalf("right when loaded, wrong when checked:\n%v", again)
		}
	})
}
