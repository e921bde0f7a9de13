package layout

import (
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
)

var quake = &klamm.Record{
	Topic: "quakes", Partition: 3, Offset: 42, Timestamp: time.UnixMilli(1517363399650),
	Key: []byte("k\xff"), Value: []byte{},
	Headers: []klamm.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}},
}

func TestAppend(t *testing.T) {
	tests := []struct{ name, format, want string }{
		{"empty", ``, ""},
		{"plain text with a brace", `a}b`, "a}b"},
		{"place", `%t/%p@%o %d\n`, "quakes/3@42 1517363399650\n"},
		{"time", `%d{rfc3339}`, "2018-01-31T01:49:59.65Z"},
		{"lengths", `%T %K %V %H`, "6 2 0 2"},
		{"encodings", `%k{hex} %k{base64} %t{json}`, `6bff a/8= "quakes"`},
		{"headers", `%h{%k=%v{json} %V;}`, `a="1" 1;a=null -1;`},
		{"escapes", `\t\x41\\\0%%%{%}`, "\tA\\\x00%{}"},
		{"unicode", `§%p§`, "§3§"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := Parse(tt.format)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(l.Append(nil, quake)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, format, want string }{
		{"unknown verb", `%q`, "unknown verb %q"},
		{"percent at the end", `a%`, "ends the format"},
		{"unknown encoding", `%v{hexx}`, "unknown encoding {hexx}"},
		{"open brace", `%v{hex`, "no closing brace"},
		{"open header", `%h{%k`, "no closing brace"},
		{"bare header", `%h`, "needs braces"},
		{"nested header", `%h{%h{}}`, "%h inside %h"},
		{"escape", `\q`, "unknown escape"},
		{"time format", `%d{go}`, "unknown time format"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse(tt.format); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

// FuzzParse: no format makes Parse or Append panic.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`%t %k{hex} %h{%k=%v}`, `\`, `%`, `%h{`, `}`, "\\u12"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, format string) {
		if l, err := Parse(format); err == nil {
			l.Append(nil, quake)
		}
	})
}
