package jsonrec

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
)

var anyBytes = rapid.OneOf(
	rapid.Just([]byte(nil)),
	rapid.Just([]byte{}),
	rapid.SliceOf(rapid.Byte()),
	rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
	rapid.Just([]byte("\xff\x00<&>\u2028\ufffd\\ud800\"")),
)

var anyHeader = rapid.Custom(func(t *rapid.T) klamm.Header {
	key := rapid.OneOf(rapid.SampledFrom([]string{"", "a", "a", "\xff"}), rapid.String()).Draw(t, "header")
	return klamm.Header{Key: key, Value: anyBytes.Draw(t, "header value")}
})

var anyRecord = rapid.Custom(func(t *rapid.T) *klamm.Record {
	rec := &klamm.Record{
		Topic:     rapid.StringMatching(`[a-zA-Z0-9._-]{1,20}`).Draw(t, "topic"),
		Partition: rapid.Int32Min(0).Draw(t, "partition"),
		Offset:    rapid.Int64Min(0).Draw(t, "offset"),
		Timestamp: time.UnixMilli(rapid.Int64Range(-1, 1<<45).Draw(t, "timestamp")),
		Key:       anyBytes.Draw(t, "key"),
		Value:     anyBytes.Draw(t, "value"),
	}
	if n := rapid.IntRange(0, 4).Draw(t, "headers"); n > 0 {
		rec.Headers = rapid.SliceOfN(anyHeader, n, n).Draw(t, "header list")
	}
	return rec
})

// TestRoundTrip: what consume prints, produce takes back byte for byte.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecord.Draw(t, "record")
		line := Append(nil, want)
		if n := bytes.Count(line, []byte("\n")); n != 1 || line[len(line)-1] != '\n' {
			t.Fatalf("%q is not one line", line)
		}
		got, err := Parse(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s\n-want +got\n%s", line, diff)
		}
	})
}

func TestAppend(t *testing.T) {
	rec := &klamm.Record{
		Topic: "t", Partition: 1, Offset: 7, Timestamp: time.UnixMilli(1517363399650), Value: []byte{0xff},
		Headers: []klamm.Header{{Key: "h", Value: []byte("<1>")}, {Key: "h"}, {Key: "\xfe", Value: []byte{}}},
	}
	want := `{"topic":"t","partition":1,"offset":7,"timestamp":1517363399650,"key":null,"value_base64":"/w==",` +
		`"headers":[{"key":"h","value":"<1>"},{"key":"h","value":null},{"key_base64":"/g==","value":""}]}` + "\n"
	if got := string(Append(nil, rec)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestParseByHand(t *testing.T) {
	tests := []struct {
		name, line string
		key, value []byte
	}{
		{"nothing", `{}`, nil, nil},
		{"text", `{"key":"k","value":""}`, []byte("k"), []byte{}},
		{"a JSON object is its own text", `{"value":{"a": [1, 2]}}`, nil, []byte(`{"a": [1, 2]}`)},
		{"numbers keep their digits", `{"key":12345678901234567890,"value":1.50}`, []byte("12345678901234567890"), []byte("1.50")},
		{"booleans", `{"value":true}`, nil, []byte("true")},
		{"surrogate pair", `{"value":"\ud83d\ude00"}`, nil, []byte("\U0001F600")},
		{"a backslash before ud800 is text", `{"value":"\\ud800"}`, nil, []byte(`\ud800`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec, err := Parse([]byte(tt.line))
			if err != nil {
				t.Fatal(err)
			}
			if !cmp.Equal(rec.Key, tt.key) || !cmp.Equal(rec.Value, tt.value) {
				t.Errorf("got key %q value %q, want %q %q", rec.Key, rec.Value, tt.key, tt.value)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"empty", ``, "breaks off"},
		{"torn", `{"value":"a`, "breaks off"},
		{"no object", `[1]`, "no JSON object"},
		{"two objects", `{} {}`, "more follows"},
		{"unknown member", `{"vlaue":"a"}`, `"vlaue": unknown member`},
		{"other case", `{"Value":"a"}`, `"Value": unknown member`},
		{"twice", `{"value":"a","value":"b"}`, "twice"},
		{"text and base64", `{"value":"a","value_base64":"YQ=="}`, "twice"},
		{"bad base64", `{"value_base64":"*"}`, "no base64"},
		{"base64 with stray bits", `{"value_base64":"YR=="}`, "no base64"},
		{"base64 null", `{"value_base64":null}`, "no string"},
		{"invalid UTF-8", "{\"value\":\"\xff\"}", "no valid UTF-8"},
		{"lone high surrogate", `{"value":"\ud800"}`, "lone surrogate"},
		{"lone low surrogate", `{"value":"x\udc00"}`, "lone surrogate"},
		{"two high surrogates", `{"value":"\ud800\ud800"}`, "lone surrogate"},
		{"timestamp text", `{"timestamp":"now"}`, "milliseconds"},
		{"headers object", `{"headers":{}}`, "no list"},
		{"header without key", `{"headers":[{"value":"a"}]}`, `header 0: no "key"`},
		{"header unknown", `{"headers":[{"key":"a","val":1}]}`, `"val": unknown member`},
		{"topic number", `{"topic":1}`, "no string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec, err := Parse([]byte(tt.line))
			if err == nil {
				t.Fatalf("got %+v, want an error", rec)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
		})
	}
}

// FuzzParse: whatever is taken is printed and taken again as the same record.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"topic":"t","key":"k","value":{"a":1},"headers":[{"key":"h","value":null}]}`,
		`{"value_base64":"/w==","timestamp":-1}`,
		`{"headers":[{"key_base64":"/w==","value":"\ud83d\ude00"}]}`,
		`{"value":"\\\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		rec, err := Parse(line)
		if err != nil {
			return
		}
		again, err := Parse(Append(nil, rec))
		if err != nil {
			t.Fatalf("%q was taken, its print is not: %v", line, err)
		}
		if diff := cmp.Diff(rec, again); diff != "" {
			t.Fatalf("%q: %s", line, diff)
		}
	})
}
