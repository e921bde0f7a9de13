package plugin

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFindJSON(t *testing.T) {
	const quake = `{"type":"Feature", "properties": {"net":"uw","mag":-0.3e1,"tags":[ {"a":1},{"a":[2]} ]},"id":"x\"y"}`
	tests := []struct{ name, doc, path, want string }{
		{"nested", quake, "properties.net", `"uw"`},
		{"number", quake, "properties.mag", `-0.3e1`},
		{"escaped value", quake, "id", `"x\"y"`},
		{"with a dollar", quake, "$.properties.net", `"uw"`},
		{"object", quake, "properties.tags[0]", `{"a":1}`},
		{"index in brackets", quake, "properties.tags[1].a", `[2]`},
		{"index between dots", quake, "properties.tags.1.a.0", `2`},
		{"last of every element", quake, "properties.tags[*].a", `[2]`},
		{"whole document", quake, "$", quake},
		{"whole scalar", " 1 ", "$", "1"},
		{"not there", quake, "properties.place", ""},
		{"too deep", quake, "properties.net.x", ""},
		{"index out of range", quake, "properties.tags[2]", ""},
		{"index into an object", `{"0":1}`, "[0]", ""},
		{"number as a name", `{"0":1}`, "0", "1"},
		{"name in an array", `[1]`, "a", ""},
		{"escaped name", `{"\u0061\/\n":1}`, "a/\n", "1"},
		{"surrogates in a name", `{"\ud83d\ude00":1}`, "\U0001f600", "1"},
		{"half a surrogate", `{"\ud83d":1}`, "\ufffd", "1"},
		{"dot in a name", `{"a.b":1,"a":{"b":2}}`, `a\.b`, "1"},
		{"the last of a name counts", `{"a":1,"a":2}`, "a", "2"},
		{"a later object hides an earlier one", `{"a":{"b":1},"a":{"c":2}}`, "a.b", ""},
		{"a later object without escapes too", `{"\u0061":{"b":1},"a":3}`, "a.b", ""},
		{"elements hide none", `{"a":[{"b":1},{"c":2}]}`, "a[*].b", "1"},
		{"empty containers", `{"a":{},"b":[],"c":[[],{}]}`, "c[1]", "{}"},
		{"white space", "\t{ \"a\" :\r\n[ 1 , 2 ] } ", "a[1]", "2"},
		{"name that starts with a dollar", `{"$x":1}`, "$x", "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, err := ParsePath(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			got, ok, err := FindJSON([]byte(tt.doc), path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, ok, tt.want)
			}
		})
	}
}

func TestScanErrors(t *testing.T) {
	tests := []struct{ doc, want string }{
		{"", "byte 0: a value is missing"},
		{" ", "byte 1: a value is missing"},
		{"{", "byte 1: a name in quotes is missing"},
		{`{"a"}`, `byte 4: ":" expected`},
		{`{"a":}`, "byte 5: a value expected"},
		{`{"a":1,}`, "byte 7: a name in quotes is missing"},
		{`{"a":1]`, `byte 6: "," or a closing bracket expected`},
		{`[1 2]`, `byte 3: "," or a closing bracket expected`},
		{`[1,]`, "byte 3: a value expected"},
		{`[1`, "byte 2: unexpected end"},
		{`1 1`, "byte 2: something follows the value"},
		{`01`, "byte 0: a value expected"},
		{`1.`, "byte 2: digits are missing"},
		{`1e+`, "byte 3: digits are missing"},
		{`tru`, "byte 0: a value expected"},
		{`"a`, "byte 2: a string does not end"},
		{`"\x"`, "byte 1: bad escape in a string"},
		{`"\u12g4"`, "byte 1: bad escape in a string"},
		{"\"\n\"", "byte 1: control character in a string"},
		{strings.Repeat("[", 10001), "byte 10000: nested deeper than 10000"},
	}
	p, err := NewPaths()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		_, err := p.Scan([]byte(tt.doc))
		if err == nil || err.Error() != "not JSON at "+tt.want {
			t.Errorf("%.20q: got %v, want %s", tt.doc, err, tt.want)
		}
	}
	deep := strings.Repeat("[", 10000) + strings.Repeat("]", 10000)
	if _, err := p.Scan([]byte(deep)); err != nil {
		t.Errorf("10000 levels: %v", err)
	}
}

func TestParsePathErrors(t *testing.T) {
	for path, want := range map[string]string{
		"":       "a name is missing",
		".":      "a name is missing",
		"$.":     "a name is missing",
		"a..b":   "a name is missing",
		"a.":     "a name is missing",
		"a[":     `"[" without "]"`,
		"a[x]":   "[x] is neither an index nor [*]",
		"a[-1]":  "[-1] is neither an index nor [*]",
		"a[0]b":  `"." or "[" must follow "]"`,
		"a]":     `"]" without "["`,
		`a\`:     `nothing follows "\"`,
		"a[1e3]": "[1e3] is neither an index nor [*]",
	} {
		if _, err := ParsePath(path); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", path, err, want)
		}
	}
	if _, err := NewPaths(make([]Path, MaxPaths+1)...); err == nil {
		t.Error("65 paths were taken")
	}
}

// TestScanAll looks for as many paths as there can be, twice, and at what they
// share.
func TestScanAll(t *testing.T) {
	var paths []Path
	doc := []byte(`{`)
	for i := range MaxPaths {
		path, err := ParsePath("k" + strconv.Itoa(i))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
		doc = append(doc, `"k`+strconv.Itoa(i)+`":{"v":[`+strconv.Itoa(i)+`]},`...)
	}
	doc[len(doc)-1] = '}'
	p, err := NewPaths(paths...)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		matches, err := p.Scan(doc)
		if err != nil || len(matches) != MaxPaths {
			t.Fatalf("%d matches, %v", len(matches), err)
		}
		for i := range MaxPaths {
			if got, _ := Last(doc, matches, i); string(got) != `{"v":[`+strconv.Itoa(i)+`]}` {
				t.Errorf("path %d: got %s", i, got)
			}
		}
	}
}

func TestScanAllocates(t *testing.T) {
	path, err := ParsePath("properties.net")
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPaths(path)
	if err != nil {
		t.Fatal(err)
	}
	doc := []byte(`{"a":[1,{"b":null}],"properties":{"net":"uw","x":"\u0061"}}`)
	if n := testing.AllocsPerRun(100, func() {
		matches, err := p.Scan(doc)
		if raw, ok := Last(doc, matches, 0); err != nil || !ok || string(raw) != `"uw"` {
			t.Fatal(string(raw), ok, err)
		}
	}); n != 0 {
		t.Errorf("Scan allocates %v times", n)
	}
}

// FuzzScan compares with encoding/json: what is JSON, and what a path of two
// names leads to.
func FuzzScan(f *testing.F) {
	for _, doc := range []string{
		`{"a":{"b":1}}`, `{"a":{"b":1},"a":{"b":2,"b":"x"}}`, `{"a":[{"b":[]}]}`, `[1,2]`, `{"\u0061":{"\u0062":"\ud800"}}`,
		`{"a":{"b":-0.0E+1}} `, `{"a":}`, `"\"`, `{"a":{"b":{}},"c":[[]]}`, `nul`, `{"a":{"c":1},"a":3}`, `[[[`, `{"b":{"a":null}}`,
	} {
		f.Add([]byte(doc), "a", "b")
	}
	f.Add([]byte(`{"0":{"1":5}}`), "0", "1")
	f.Add([]byte(`[[1,[2]],3]`), "0", "1")
	f.Fuzz(func(t *testing.T, doc []byte, first, second string) {
		if first == "" || second == "" || !utf8.ValidString(first) || !utf8.ValidString(second) {
			return
		}
		escape := strings.NewReplacer(`.`, `\.`, `[`, `\[`, `]`, `\]`, `\`, `\\`, `$`, `\$`)
		path, err := ParsePath(escape.Replace(first) + "." + escape.Replace(second))
		if err != nil {
			t.Fatal(err)
		}
		raw, ok, err := FindJSON(doc, path)
		if (err == nil) != json.Valid(doc) {
			t.Fatalf("%q: error %v, encoding/json says valid = %v", doc, err, json.Valid(doc))
		}
		if err != nil || !utf8.Valid(doc) {
			return // encoding/json mends what is no UTF-8, and so changes names
		}
		want, wantOK := lookUp(t, doc, first, second)
		if ok != wantOK || ok && !bytes.Equal(bytes.TrimSpace(raw), bytes.TrimSpace(want)) {
			t.Fatalf("%q: %q.%q is %q, %v; encoding/json finds %q, %v", doc, first, second, raw, ok, want, wantOK)
		}
	})
}

// lookUp is FindJSON by encoding/json.
func lookUp(t *testing.T, doc []byte, names ...string) (json.RawMessage, bool) {
	t.Helper()
	for _, name := range names {
		switch doc = bytes.TrimSpace(doc); doc[0] {
		case '{':
			members := map[string]json.RawMessage{}
			if err := json.Unmarshal(doc, &members); err != nil {
				t.Fatal(err)
			}
			v, ok := members[name]
			if !ok {
				return nil, false
			}
			doc = v
		case '[':
			var elements []json.RawMessage
			if err := json.Unmarshal(doc, &elements); err != nil {
				t.Fatal(err)
			}
			i, ok := arrayIndex(name)
			if !ok || i >= len(elements) {
				return nil, false
			}
			doc = elements[i]
		default:
			return nil, false
		}
	}
	return doc, true
}

// FuzzJSONString takes strings to JSON and back, and compares both ways with
// encoding/json.
func FuzzJSONString(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\/\b\f\n\r\t\x00\x1f", "\u00e9\u2028\U0001f600", "\xff\xfe", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := AppendJSONString(nil, []byte(s))
		var std string
		if err := json.Unmarshal(quoted, &std); err != nil {
			t.Fatalf("%q: %v", quoted, err)
		}
		back, ok := JSONString(quoted)
		if want := strings.ToValidUTF8(s, "\ufffd"); !ok || utf8.ValidString(s) && (std != want || string(back) != want) {
			t.Fatalf("%q became %q: encoding/json reads %q, JSONString %q, %v", s, quoted, std, back, ok)
		}
		theirs, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, ok := JSONString(theirs); !ok || utf8.ValidString(s) && string(back) != s {
			t.Fatalf("encoding/json's %q reads as %q, %v", theirs, back, ok)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	path, err := ParsePath("properties.net")
	if err != nil {
		b.Fatal(err)
	}
	p, err := NewPaths(path)
	if err != nil {
		b.Fatal(err)
	}
	doc := []byte(`{"type":"Feature","properties":{"mag":0.31,"place":"37km NNE of Amboy, Washington","time":1517363399650,` +
		`"url":"https://earthquake.usgs.gov/earthquakes/eventpage/uw61345682","felt":null,"net":"uw","code":"61345682"},"id":"uw61345682"}`)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Scan(doc); err != nil {
			b.Fatal(err)
		}
	}
}
