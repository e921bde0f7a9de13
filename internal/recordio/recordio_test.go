package recordio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
)

// sameRecord tells null from empty, but not a nil list of headers from an
// empty one, which Kafka does not know either.
func sameRecord(a, b *klamm.Record) string {
	noHeaders := func(a, b []klamm.Header) bool { return len(a) == 0 && len(b) == 0 }
	return cmp.Diff(a, b, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }), cmp.FilterValues(noHeaders, cmp.Ignore()))
}

// anyBytes are null, empty, text of every kind, or bytes that are no text.
func anyBytes() *rapid.Generator[[]byte] {
	return rapid.OneOf(
		rapid.Just([]byte(nil)), rapid.Just([]byte{}),
		rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
		rapid.SliceOfN(rapid.Byte(), 0, 20),
		rapid.SampledFrom([][]byte{[]byte("\u2028\u2029\u00e9\U0001F600"), []byte("null"), []byte("\x00\x7f\"\\/<>&"), []byte("\xed\xa0\x80"), []byte("{\"a\":1}"), []byte("\r\n")}),
	)
}

func anyRecord(t *rapid.T) *klamm.Record {
	text := rapid.Map(anyBytes(), func(b []byte) string { return string(b) })
	rec := &klamm.Record{
		Topic:     text.Draw(t, "topic"),
		Partition: rapid.Int32().Draw(t, "partition"),
		Offset:    rapid.Int64().Draw(t, "offset"),
		Key:       anyBytes().Draw(t, "key"),
		Value:     anyBytes().Draw(t, "value"),
	}
	if ms := rapid.Int64().Draw(t, "timestamp"); ms%3 != 0 {
		rec.Timestamp = time.UnixMilli(ms)
	}
	names := []string{"h", "h", "", text.Draw(t, "header")} // some repeat
	for range rapid.IntRange(0, 4).Draw(t, "headers") {
		rec.Headers = append(rec.Headers, klamm.Header{Key: rapid.SampledFrom(names).Draw(t, "name"), Value: anyBytes().Draw(t, "header value")})
	}
	return rec
}

// TestJSONRoundTrip is the promise: what consume prints, produce takes back.
func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rec := anyRecord(t)
		line := AppendJSON(nil, rec)
		if !utf8.Valid(line) || !json.Valid(line) || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("not one line of JSON: %q", line)
		}
		got, err := ParseJSON(line)
		if err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		if diff := sameRecord(rec, got); diff != "" {
			t.Fatalf("(-sent +read):\n%s\n%s", diff, line)
		}
		for i := range line {
			line[i] = 'x' // the record is the caller's
		}
		if diff := sameRecord(rec, got); diff != "" {
			t.Fatalf("the record shares memory with the line:\n%s", diff)
		}
	})
}

// TestJSONIsWhatOthersRead holds the output against encoding/json.
func TestJSONIsWhatOthersRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rec := anyRecord(t)
		var got struct {
			Topic          *string
			TopicBase64    []byte `json:"topic_base64"`
			Partition      int32
			Offset         int64
			Key, Value     *string
			KeyBase64      []byte `json:"key_base64"`
			ValueBase64    []byte `json:"value_base64"`
			Headers        []map[string]any
			Timestamp      *int64
			ExtraIsRefused struct{} `json:"-"`
		}
		d := json.NewDecoder(bytes.NewReader(AppendJSON(nil, rec)))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		check := func(name string, want []byte, text *string, encoded []byte) {
			switch {
			case want == nil && (text != nil || encoded != nil), want != nil && text == nil && encoded == nil,
				text != nil && *text != string(want), encoded != nil && !bytes.Equal(encoded, want):
				t.Fatalf("%s: got %v, %q, want %q", name, text, encoded, want)
			}
		}
		check("key", rec.Key, got.Key, got.KeyBase64)
		check("value", rec.Value, got.Value, got.ValueBase64)
		check("topic", []byte(rec.Topic), got.Topic, got.TopicBase64)
		if got.Partition != rec.Partition || got.Offset != rec.Offset || len(got.Headers) != len(rec.Headers) || (got.Timestamp == nil) != rec.Timestamp.IsZero() {
			t.Fatalf("got %+v, want %+v", got, rec)
		}
	})
}

func TestParseJSONFromPeople(t *testing.T) {
	blank := klamm.Record{Partition: -1, Offset: -1}
	with := func(f func(*klamm.Record)) *klamm.Record { r := blank; f(&r); return &r }
	cases := []struct {
		line string
		want *klamm.Record
	}{
		{`{}`, &blank},
		{` { "value" : "v" } ` + "\r", with(func(r *klamm.Record) { r.Value = []byte("v") })},
		{`{"value":""}`, with(func(r *klamm.Record) { r.Value = []byte{} })},
		{`{"value":null}`, &blank},
		{`{"value":{"a": [1, "}"]}}`, with(func(r *klamm.Record) { r.Value = []byte(`{"a": [1, "}"]}`) })},
		{`{"value":[ ] ,"key":-1.5e3}`, with(func(r *klamm.Record) { r.Value, r.Key = []byte(`[ ]`), []byte("-1.5e3") })},
		{`{"value":true}`, with(func(r *klamm.Record) { r.Value = []byte("true") })},
		{`{"key_base64":"/wA="}`, with(func(r *klamm.Record) { r.Key = []byte{0xff, 0} })},
		{`{"key_base64":""}`, with(func(r *klamm.Record) { r.Key = []byte{} })},
		{`{"value":"\ud83d\ude00\/\b\u00e9"}`, with(func(r *klamm.Record) { r.Value = []byte("\U0001F600/\b\u00e9") })},
		{`{"timestamp":-1}`, with(func(r *klamm.Record) { r.Timestamp = time.UnixMilli(-1) })},
		{`{"timestamp":"2018-01-31T01:49:59.65Z"}`, with(func(r *klamm.Record) { r.Timestamp = time.UnixMilli(1517363399650) })},
		{`{"timestamp":null,"headers":null}`, &blank},
		{`{"headers":[]}`, &blank},
		{`{"headers":[{"key":"a"},{"value":"1","key":"a"},{"key":"","value":null}]}`,
			with(func(r *klamm.Record) {
				r.Headers = []klamm.Header{{Key: "a"}, {Key: "a", Value: []byte("1")}, {}}
			})},
	}
	for _, c := range cases {
		t.Run(c.line, func(t *testing.T) {
			got, err := ParseJSON([]byte(c.line))
			if err != nil {
				t.Fatal(err)
			}
			if diff := sameRecord(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseJSONRefuses(t *testing.T) {
	cases := []struct{ line, want string }{
		{``, `column 1: no JSON object`},
		{`x`, `column 1: no JSON object`},
		{`[]`, `column 1: no JSON object`},
		{`{`, `column 2: no string`},
		{`{"value":"v"`, `column 13: the line ends where "," should follow a member`},
		{`{"value":`, `column 10: the line ends where the value of "value" should be`},
		{`{"value" "v"}`, `column 10: ":" should follow a name, there is '"'`},
		{`{"value":"v"}}`, `column 14: more follows after the object`},
		{`{"value":"v"} {"value":"w"}`, `column 15: more follows after the object`},
		{`{"value":"v",}`, `column 14: no string`},
		{`{"value":"v" "key":"k"}`, `column 14: "," should follow a member, there is '"'`},
		{`{"vaule":"v"}`, `column 2: unknown member "vaule"; there are topic, partition, offset, timestamp, key, value and headers, and key_base64 and value_base64 for bytes that are no text`},
		{`{"key":"a","key":"b"}`, `column 12: "key" is there twice`},
		{`{"key":"a","key_base64":"YQ=="}`, `column 12: "key" is there twice`},
		{`{"topic":null}`, `column 10: no string`},
		{`{"topic":1}`, `column 10: no string`},
		{`{"partition":2147483648}`, `column 14: partition is no whole number of 32 bits`},
		{`{"partition":1.0}`, `column 14: partition is no whole number of 32 bits`},
		{`{"offset":01}`, `column 11: offset is no whole number of 64 bits`},
		{`{"offset":"1"}`, `column 11: offset is no whole number of 64 bits`},
		{`{"timestamp":"yesterday"}`, `column 14: timestamp is neither milliseconds since 1970 nor an RFC 3339 time`},
		{`{"key_base64":null}`, `column 15: no string of base64`},
		{`{"key_base64":"/wA"}`, `column 15: no base64 (RFC 4648, with padding)`},
		{`{"key_base64":"_wA="}`, `column 15: no base64 (RFC 4648, with padding)`},
		{`{"key_base64":"/wA=\n"}`, `column 15: no base64: it holds line ends`},
		{`{"value":tru}`, `column 10: the value is no JSON`},
		{`{"value":}`, `column 10: no value`},
		{`{"value":{"a":}}`, `column 10: the value is no JSON`},
		{`{"value":[` + strings.Repeat("[", 600) + `]}`, `column 522: the value nests deeper than 512`},
		{`{"value":"\ud83d"}`, `column 11: half of a surrogate pair is no text; give bytes that are no text as key_base64 or value_base64`},
		{`{"value":"\ude00"}`, `column 11: half of a surrogate pair is no text; give bytes that are no text as key_base64 or value_base64`},
		{`{"value":"\x"}`, `column 11: unknown escape \x`},
		{`{"value":"\u12g4"}`, `column 11: \u needs four hexadecimal digits`},
		{"{\"value\":\"\u00e9\xff\"}", `column 12: the byte 0xff is no UTF-8; give bytes that are no text as key_base64 or value_base64`},
		{"{\"value\":\"a\tb\"}", `column 12: a control character in a string; write \u0009`},
		{`{"value":"abc`, `column 10: the string has no end`},
		{`{"headers":{}}`, `column 12: headers are no list`},
		{`{"headers":[{}]}`, `column 13: a header without a key`},
		{`{"headers":[{"key":null}]}`, `column 20: no string`},
		{`{"headers":[{"key":"a","val":"b"}]}`, `column 24: unknown member "val"; there are key and value, and key_base64 and value_base64`},
		{`{"headers":[{"key":"a"} {"key":"b"}]}`, `column 25: "," should follow a header, there is '{'`},
		{`{"headers":["a"]}`, `column 13: no JSON object`},
	}
	for _, c := range cases {
		t.Run(c.line[:min(len(c.line), 40)], func(t *testing.T) {
			rec, err := ParseJSON([]byte(c.line))
			var parse *ParseError
			if rec != nil || !errors.As(err, &parse) || err.Error() != c.want {
				t.Errorf("got %v, %v\nwant %s", rec, err, c.want)
			}
		})
	}
}

// FuzzParseJSON demands that what is read is written and read again the same,
// and that what encoding/json refuses is refused.
func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"topic":"t","partition":0,"offset":7,"timestamp":1,"key":"k","value":"v","headers":[{"key":"h","value":null}]}`,
		`{"key_base64":"/wA=","value":{"a":[1,"\ud83d\ude00"]}}`, `{"timestamp":"2018-01-31T01:49:59.65Z"}`, "{\"value\":\"\xff\"}", `{"value":nul}`, `{"offset":-9223372036854775808}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		rec, err := ParseJSON(line)
		if err != nil {
			var parse *ParseError
			if !errors.As(err, &parse) || parse.Column < 1 || parse.Reason == "" {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		if !json.Valid(line) {
			t.Fatalf("accepted what is no JSON: %q", line)
		}
		rec.Timestamp = rec.Timestamp.Truncate(time.Millisecond)
		again, err := ParseJSON(AppendJSON(nil, rec))
		if err != nil {
			t.Fatal(err)
		}
		if diff := sameRecord(rec, again); diff != "" {
			t.Fatalf("(-first +second):\n%s", diff)
		}
	})
}

func readAll(t *testing.T, r *Reader) (lines []string) {
	t.Helper()
	for {
		rec, err := r.Read()
		var bad *LineError
		switch {
		case errors.Is(err, io.EOF):
			return lines
		case errors.As(err, &bad):
			lines = append(lines, err.Error())
		case err != nil:
			t.Fatal(err)
		default:
			show := func(b []byte) string {
				if b == nil {
					return "null"
				}
				return fmt.Sprintf("%q", b)
			}
			lines = append(lines, fmt.Sprintf("%d: %s %s", r.Line(), show(rec.Key), show(rec.Value)))
		}
	}
}

func TestReader(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	cases := []struct {
		name, in string
		o        ReaderOptions
		want     []string
	}{
		{"nothing", "", ReaderOptions{}, nil},
		{"values", "a\n\nb:c\r\nd", ReaderOptions{}, []string{`1: null "a"`, `2: null ""`, `3: null "b:c\r"`, `4: null "d"`}},
		{"keys", "a:b:c\nd\n:e\nf:\n", ReaderOptions{KeyDelimiter: ":"}, []string{`1: "a" "b:c"`, `2: null "d"`, `3: "" "e"`, `4: "f" ""`}},
		{"long delimiter", "a->b\na-b\n", ReaderOptions{KeyDelimiter: "->"}, []string{`1: "a" "b"`, `2: null "a-b"`}},
		{"empty is null", "\n:\nk:\n", ReaderOptions{KeyDelimiter: ":", EmptyIsNull: true}, []string{`1: null null`, `2: null null`, `3: "k" null`}},
		{"json", "{\"value\":\"a\"}\n\n{\"valeu\":1}\n{\"value\":\"b\"}", ReaderOptions{JSON: true}, []string{
			`1: null "a"`,
			`line 3: column 2: unknown member "valeu"; there are topic, partition, offset, timestamp, key, value and headers, and key_base64 and value_base64 for bytes that are no text`,
			`4: null "b"`,
		}},
		{"just short enough", "1234\n1234", ReaderOptions{MaxLine: 4}, []string{`1: null "1234"`, `2: null "1234"`}},
		{"too long", "12345\na\n" + long + "\nb\n" + long, ReaderOptions{MaxLine: 4}, []string{
			"line 1: the line is too long: more than 4 bytes", `2: null "a"`, "line 3: the line is too long: more than 4 bytes", `4: null "b"`,
			"line 5: the line is too long: more than 4 bytes",
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, readAll(t, NewReader(strings.NewReader(c.in), c.o))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, readAll(t, NewReader(iotest.OneByteReader(strings.NewReader(c.in)), c.o))); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReaderTellsTheErrorBelow(t *testing.T) {
	below := errors.New("broken pipe")
	r := NewReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(below)), ReaderOptions{})
	if rec, err := r.Read(); err != nil || string(rec.Value) != "a" {
		t.Fatalf("got %v, %v", rec, err)
	}
	if rec, err := r.Read(); !errors.Is(err, below) {
		t.Errorf("got %v, %v", rec, err)
	}
}

func TestReaderGivesRecordsAway(t *testing.T) {
	r := NewReader(strings.NewReader("k1:v1\nk2:v2\n"), ReaderOptions{KeyDelimiter: ":"})
	first, _ := r.Read()
	if _, err := r.Read(); err != nil || string(first.Key) != "k1" || string(first.Value) != "v1" {
		t.Errorf("the first record became %q %q, %v", first.Key, first.Value, err)
	}
}

func TestFormat(t *testing.T) {
	rec := &klamm.Record{
		Topic: "t", Partition: 3, Offset: 42, Timestamp: time.UnixMilli(1517363399650), Key: []byte("k\xff"), Value: []byte(`v"`),
		Headers: []klamm.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}},
	}
	cases := []struct{ format, want string }{
		{`%t %p %o\n`, "t 3 42\n"},
		{`%k=%v`, "k\xff=v\""},
		{`%k{hex} %k{base64} %v{json} %k{json}`, `6bff a/8= "v\"" "k` + "\uFFFD" + `"`},
		{`%T %K %V %H`, "1 2 2 2"},
		{`%d %d{rfc3339}`, "1517363399650 2018-01-31T01:49:59.65Z"},
		{`%h{%k=%v(%V) }`, "a=1(1) a=(-1) "},
		{`%h{%{%v{json}%}}`, `{"1"}{null}`},
		{`%%\t\x41\0\u00e9`, "%\tA\x00\u00e9"},
		{`}`, "}"},
		{"\u65e5%p", "\u65e53"},
		{``, ""},
	}
	for _, c := range cases {
		t.Run(c.format, func(t *testing.T) {
			f, err := ParseFormat(c.format)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(f.Append([]byte("> "), rec)); got != "> "+c.want {
				t.Errorf("got %q, want %q", got, "> "+c.want)
			}
		})
	}
	f, err := ParseFormat("%k|%K|%v{json}|%d|%d{rfc3339}|%h{x}")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(f.Append(nil, &klamm.Record{})), "|-1|null|-1||"; got != want {
		t.Errorf("nulls: got %q, want %q", got, want)
	}
	if got, want := string(f.Append(nil, &klamm.Record{Key: []byte{}, Value: []byte{}})), `|0|""|-1||`; got != want {
		t.Errorf("empty: got %q, want %q", got, want)
	}
}

func TestFormatRefuses(t *testing.T) {
	for format, want := range map[string]string{
		`a%`:          `format "a%": at byte 1: a single % ends the format`,
		`%x`:          "unknown verb %x",
		"%\u65e5":     "unknown verb %\u65e5",
		`%k{gzip}`:    "unknown encoding {gzip}; there are {hex} {base64} {json}",
		`%k{hex`:      "no closing brace",
		`%d{unix}`:    "unknown time format {unix}",
		`%h`:          "%h needs braces",
		`%h{%k`:       "%h{ has no closing brace",
		`%h{%h{%k}}`:  "%h inside of %h",
		`\q`:          "unknown escape",
		`%t{hex}%p\z`: `at byte 9`,
	} {
		if _, err := ParseFormat(format); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", format, err, want)
		}
	}
}

func FuzzFormat(f *testing.F) {
	for _, s := range []string{`%t %k %v\n`, `%h{%k=%v{hex} }`, `%`, `\x4`, `%d{rfc3339}%%%{`, "%\xff"} {
		f.Add(s)
	}
	rec := &klamm.Record{Topic: "t", Key: []byte("\xff"), Headers: []klamm.Header{{Key: "h"}}}
	f.Fuzz(func(t *testing.T, s string) {
		if format, err := ParseFormat(s); err == nil {
			format.Append(nil, rec)
		}
	})
}

func BenchmarkParseJSON(b *testing.B) {
	line := AppendJSON(nil, &klamm.Record{Topic: "orders", Key: []byte("k-1234"), Value: bytes.Repeat([]byte("v"), 100), Headers: []klamm.Header{{Key: "h", Value: []byte("1")}}})
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := ParseJSON(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	rec := &klamm.Record{Topic: "orders", Key: []byte("k-1234"), Value: bytes.Repeat([]byte("v"), 100), Headers: []klamm.Header{{Key: "h", Value: []byte("1")}}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendJSON(buf[:0], rec)
	}
}

// TestByteOrderMark: before JSON it is no part of it; in a line of text every
// byte counts.
func TestByteOrderMark(t *testing.T) {
	r := NewReader(strings.NewReader("\ufeff{\"value\":\"\ufeffa\"}\n\ufeff{\"value\":\"b\"}\n"), ReaderOptions{JSON: true})
	if rec, err := r.Read(); err != nil || string(rec.Value) != "\ufeffa" {
		t.Errorf("got %v, %v", rec, err)
	}
	var at *LineError
	if _, err := r.Read(); !errors.As(err, &at) || at.Line != 2 {
		t.Errorf("within the stream: %v", err)
	}
	r = NewReader(strings.NewReader("\ufeffa\n"), ReaderOptions{})
	if rec, err := r.Read(); err != nil || string(rec.Value) != "\ufeffa" {
		t.Errorf("plain: got %v, %v", rec, err)
	}
}
