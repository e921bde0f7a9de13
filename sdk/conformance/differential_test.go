package conformance

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/internal/module"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/conformance/toolchain"
)

// documents are JSON and nearly JSON. Which value a path finds, and the text
// about what is no JSON, must be those of the Go SDK.
var documents = []string{
	`{"a":1}`, ` { "a" : "x" } `, `{"a":{"b":[1,2,{"c":null}]}}`, `[{"a":1}]`, `"a"`, `1`, `null`, `true`, `false`, ``, ` `,
	`{"a":1,"a":2}`, `{"a":{"b":1},"a":{"b":2}}`, `{"a":{"b":1},"a":3}`, `{"\u0061":"\u00e9\ud83d\ude00\ud800x\udc00"}`,
	`{"a":"\"\\\/\b\f\n\r\t"}`, `{"a":"caf` + "\u00e9" + `"}`, "{\"a\":\"\xff\xfe\"}", `{"b":{"a":1},"a":[{"a":2}]}`,
	`{"a":-0}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1e+5}`, `{"a":1E-05}`, `{"a":-}`, `{"a":+1}`, `{"a":0x1}`,
	`{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1}}`, `{"a":1} x`, `[1,]`, `[1 2]`, `[`, `{`, `}`, `]`, `,`,
	`{"a":tru}`, `{"a":nul`, `{"a":"x`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\u12`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", `{"a":'x'}`,
	`{"a":[[[[1]]]]}`, strings.Repeat("[", 200) + strings.Repeat("]", 200), strings.Repeat("[", 10001) + strings.Repeat("]", 10001),
	strings.Repeat(`{"a":`, 50) + "1" + strings.Repeat("}", 50), `{"a":"` + strings.Repeat("0123456789", 30) + `"}`, "\ufeff{}",
	`{"a.b":1,"a":{"b":2}}`, `{"0":{"a":1}}`, `[[{"a":1},{"a":2}]]`, `{"a":4111111111111111}`, `{"a":"a.b@c.de"}`, `{"a":[]}`, `{"a":{}}`,
}

// table is a configuration.
type table = map[string]any

// bundled are the ready-made plugins, with configurations that look into values,
// and such as are wrong in some way or other.
var bundled = []struct {
	name   string
	hook   abi.Hook
	reads  []table
	starts []table
}{
	{
		"dedup", abi.OnSend,
		[]table{
			{"id": []any{"json:a"}, "on_missing": "dead_letter", "window": "90s"}, {"id": []any{"json:a.b", "json:$"}, "on_missing": "drop", "window": "1m30s"},
			{"id": "json:[0].a", "window": 90000}, {"id": []any{"key", "json:a", "header:h"}, "on_missing": "pass", "window": "1.5m"}, {"window": "0.025h"},
		},
		[]table{
			{}, {"id": ""}, {"id": []any{}}, {"id": []any{"key", 1}}, {"id": []any{"header:"}}, {"id": []any{"json:a["}}, {"id": true}, {"id": table{"a": 1}},
			{"window": ""}, {"window": "1"}, {"window": "1d"}, {"window": "-0s"}, {"window": "+1h"}, {"window": "1h-1m"}, {"window": ".s"}, {"window": "9223372036854775807ns"},
			{"window": "9223372036854775808ns"}, {"window": "-1us"}, {"window": "1\u00b5s"}, {"window": "3000000h"}, {"window": 9223372036855}, {"window": 1.5}, {"window": nil},
			{"on_missing": "fial"}, {"on_missing": ""}, {"on_missing": 1}, {"on_mising": "fail", "idd": 1, "wind": 2}, {"x": 1, "window": "x", "id": "y"}, {"\"q\"": 1}, {"window": strings.Repeat("9", 70)},
			{"window": strings.Repeat("\u00e9", 40)}, {"on_missing": "dead letter"}, {"ID": 1}, {"id": "json:a..b"}, {"id": "json:a]"}, {"id": "json:a\\"}, {"id": "json:[x]"}, {"id": "json:a[*]b"}, {"id": "json:.a"},
		},
	},
	{
		"route-by", abi.Partition,
		[]table{
			{"by": "json:a", "on_missing": "fail", "spread": 2}, {"by": "json:a.b[2].c", "on_missing": "fail"}, {"by": "json:a\\.b", "spread": 3, "hot": "1B"}, {"by": "key", "spread": 12, "hot": 5}, {"by": "header:h"},
		},
		[]table{
			{}, {"by": ""}, {"by": 1}, {"by": []any{"key"}}, {"by": "key", "spread": 0}, {"by": "key", "spread": -1}, {"by": "key", "spread": 1 << 21}, {"by": "key", "spread": "2"}, {"by": "key", "spread": 1e3},
			{"by": "key", "hot": "16 KiB"}, {"by": "key", "hot": "16k"}, {"by": "key", "hot": "-1"}, {"by": "key", "hot": "9000000000GiB"}, {"by": "key", "hot": true}, {"by": "key", "on_missing": "defualt"}, {"by": "headers:x", "spread": 0, "hott": 1},
		},
	},
	{
		"mask", abi.OnSend,
		[]table{
			{"fields": []any{"a"}}, {"fields": []any{"a", "a.b", "[*].a", "b"}, "mode": "null"}, {"fields": []any{"$"}, "mode": "hash"}, {"fields": []any{"a"}, "mode": "hash", "secret": "pepper"},
			{"fields": []any{"a", "0.a", "[0][1].a", "[*][*]"}, "mode": "partial", "keep": 2}, {"fields": "a.b", "mode": "partial", "keep": 0, "on_malformed": "drop"},
			{"fields": []any{"a.a.a.a.a", "b"}, "replacement": "\u00fc \"\\\u0001\U0001f600", "on_malformed": "pass"}, {"fields": "a", "mode": "partial", "on_malformed": "dead_letter"},
		},
		[]table{
			{}, {"fields": []any{}}, {"fields": ""}, {"fields": "a", "mode": ""}, {"fields": "a", "mode": "nul"}, {"fields": "a", "keep": -1}, {"fields": "a", "keep": 99999999999999}, {"fields": "a", "secret": "salt"},
			{"fields": slices.Repeat([]any{"a"}, 65)}, {"fields": slices.Repeat([]any{"a"}, 64)}, {"fields": "$.a[1].b\\.c.2"}, {"fields": "$$"}, {"fields": "$a"}, {"fields": "a", "replacement": nil}, {"fields": "a", "on_malformed": "deadletter"},
		},
	},
}

// TestAgainstGo compares the plugins of each language with those in Go: what they
// answer, and how they refuse a configuration, to the letter.
func TestAgainstGo(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bundled {
		folder := filepath.Join("../../plugins", b.name)
		m, err := module.Resolve(t.Context(), filepath.Join(folder, "wasm"), "", filepath.Join(cache, "klamm"))
		if err != nil {
			t.Fatal(err)
		}
		golang := loaderOf(t, m.Wasm)
		others := map[module.Language]*loader{}
		for _, lang := range toolchain.Languages() {
			wasm, err := toolchain.Build(t.Context(), lang, filepath.Join(folder, string(lang)))
			switch {
			case errors.Is(err, toolchain.ErrMissing):
				t.Log("left out: ", err)
			case err != nil:
				t.Fatal(err)
			default:
				others[lang] = loaderOf(t, wasm)
			}
		}
		t.Run(b.name, func(t *testing.T) {
			for _, config := range b.reads {
				compare(t, golang, others, b.hook, config, documentRecords())
			}
			for _, config := range b.starts {
				compare(t, golang, others, b.hook, config, []Record{{Partition: -1}})
			}
		})
	}
}

func loaderOf(t *testing.T, wasm []byte) *loader {
	t.Helper()
	l, err := open(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

// documentRecords are the documents, and as many that chance has spoiled.
func documentRecords() (records []Record) {
	rnd := rand.New(rand.NewPCG(1, 2))
	add := func(doc string) {
		r := Record{Partition: -1, Topic: "quakes", Key: []byte(documents[len(records)%len(documents)]), Value: []byte(doc)}
		if len(records)%3 == 0 {
			r.Key = nil
		}
		if len(records)%2 == 0 {
			r = r.with(header("h", doc[:min(len(doc), 5)]), Header{Key: "g"})
		}
		records = append(records, r)
	}
	for _, d := range documents {
		add(d)
	}
	const alphabet = `{}[]",:\\u0019aeE+-. ntfl` + "\n\x00\x80\xc3"
	for range 250 {
		d := []byte(documents[rnd.IntN(len(documents))])
		if len(d) > 400 {
			continue
		}
		for range 1 + rnd.IntN(3) {
			at := rnd.IntN(len(d) + 1)
			switch c := alphabet[rnd.IntN(len(alphabet))]; {
			case rnd.IntN(2) == 0:
				d = slices.Insert(d, at, c)
			case at < len(d) && rnd.IntN(2) == 0:
				d[at] = c
			case at < len(d):
				d = slices.Delete(d, at, at+1)
			}
		}
		add(string(d))
	}
	return records
}

// compare runs records through the Go module and the others, in batches of 100.
func compare(t *testing.T, golang *loader, others map[module.Language]*loader, hook abi.Hook, config table, records []Record) {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	w := way{c: &Case{Hook: hook, Config: string(text), Records: records}, batch: 100}
	want, errWant := w.play(t.Context(), golang)
	for lang, l := range others {
		got, err := w.play(t.Context(), l)
		if err != nil || errWant != nil {
			if err == nil || errWant == nil || err.Error() != errWant.Error() {
				t.Errorf("%s:\n  Go %v\n  %s %v", text, errWant, lang, err)
			}
			continue
		}
		bad := 0
		for i := range want.verdicts {
			if got.verdicts[i] != want.verdicts[i] && bad < 5 {
				bad++
				t.Errorf("%s, value %s:\n  Go %s\n  %s %s", text, show(records[i].Value), want.verdicts[i], lang, got.verdicts[i])
			}
		}
		if got, want := got.h.now.list(), want.h.now.list(); !slices.Equal(got, want) {
			t.Errorf("%s: effects of %s %q, Go's %q", text, lang, got, want)
		}
	}
}
