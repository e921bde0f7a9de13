// Package layout prints records by a format string of % verbs, those that rpk
// made people used to:
//
//	%t %k %v    topic, key, value          %T %K %V   their lengths in bytes
//	%p %o %d    partition, offset, timestamp in ms since 1970
//	%H          number of headers          %h{...}    for each header; inside %k %v %K %V are the header's
//	%%          a percent sign             \n \t \r \\ \xHH   as in Go
//
// %t, %k and %v take {hex}, {base64} or {json}; %d takes {rfc3339}. A null key
// or value prints nothing, its length is -1, and {json} prints null.
package layout

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klamm-io/klamm"
)

// Layout is a parsed format. It is safe for concurrent use.
type Layout struct{ parts []part }

// part appends one piece of a record; h is the running header inside %h{}.
type part func(dst []byte, rec *klamm.Record, h *klamm.Header) []byte

// Parse reads a format.
func Parse(format string) (*Layout, error) {
	p := parser{rest: format}
	parts, err := p.parts(false)
	if err != nil {
		return nil, fmt.Errorf("format %q: at byte %d: %w", format, len(format)-len(p.rest), err)
	}
	return &Layout{parts}, nil
}

// Append appends rec.
func (l *Layout) Append(dst []byte, rec *klamm.Record) []byte {
	for _, p := range l.parts {
		dst = p(dst, rec, nil)
	}
	return dst
}

type parser struct{ rest string }

// parts reads to the end, or inside %h{...} to its closing brace.
func (p *parser) parts(inHeader bool) ([]part, error) {
	var out []part
	for p.rest != "" {
		switch c := p.rest[0]; {
		case c == '}' && inHeader:
			p.rest = p.rest[1:]
			return out, nil
		case c == '%':
			next, err := p.verb(inHeader)
			if err != nil {
				return nil, err
			}
			out = append(out, next)
		case c == '\\':
			b, err := p.escape()
			if err != nil {
				return nil, err
			}
			out = append(out, literal(b))
		default:
			end := plain(p.rest)
			out = append(out, literal([]byte(p.rest[:end])))
			p.rest = p.rest[end:]
		}
	}
	if inHeader {
		return nil, fmt.Errorf("%%h{ has no closing brace")
	}
	return out, nil
}

// plain returns how many bytes of s, whose first is plain text, are so.
func plain(s string) int {
	if end := strings.IndexAny(s[1:], "%\\}"); end >= 0 {
		return 1 + end
	}
	return len(s)
}

func literal(b []byte) part {
	return func(dst []byte, _ *klamm.Record, _ *klamm.Header) []byte { return append(dst, b...) }
}

func (p *parser) escape() ([]byte, error) {
	if strings.HasPrefix(p.rest, `\0`) {
		p.rest = p.rest[2:]
		return []byte{0}, nil
	}
	r, multibyte, tail, err := strconv.UnquoteChar(p.rest, 0)
	if err != nil {
		return nil, fmt.Errorf("unknown escape; known are \\n \\t \\r \\\\ \\0 \\xHH")
	}
	p.rest = tail
	if !multibyte {
		return []byte{byte(r)}, nil
	}
	return utf8.AppendRune(nil, r), nil
}

func (p *parser) verb(inHeader bool) (part, error) {
	if len(p.rest) < 2 {
		return nil, fmt.Errorf("a percent sign ends the format; write %%%% for one")
	}
	c := p.rest[1]
	p.rest = p.rest[2:]
	switch c {
	case '%', '{', '}':
		return literal([]byte{c}), nil
	case 'h':
		if inHeader {
			return nil, fmt.Errorf("%%h inside %%h")
		}
		return p.headers()
	case 't', 'k', 'v':
		return p.text(fields[c])
	case 'T', 'K', 'V':
		return length(fields[c+'a'-'A']), nil
	case 'd':
		return p.timestamp()
	case 'p':
		return number(func(r *klamm.Record) int64 { return int64(r.Partition) }), nil
	case 'o':
		return number(func(r *klamm.Record) int64 { return r.Offset }), nil
	case 'H':
		return number(func(r *klamm.Record) int64 { return int64(len(r.Headers)) }), nil
	}
	return nil, fmt.Errorf("unknown verb %%%c; known are %%t %%k %%v %%T %%K %%V %%p %%o %%d %%H %%h{...} %%%%", c)
}

type field func(rec *klamm.Record, h *klamm.Header) []byte

var fields = map[byte]field{
	't': func(rec *klamm.Record, _ *klamm.Header) []byte { return []byte(rec.Topic) },
	'k': func(rec *klamm.Record, h *klamm.Header) []byte {
		if h != nil {
			return []byte(h.Key)
		}
		return rec.Key
	},
	'v': func(rec *klamm.Record, h *klamm.Header) []byte {
		if h != nil {
			return h.Value
		}
		return rec.Value
	},
}

var encodings = map[string]func(dst, b []byte) []byte{
	"":       func(dst, b []byte) []byte { return append(dst, b...) },
	"hex":    hex.AppendEncode,
	"base64": base64.StdEncoding.AppendEncode,
	"json": func(dst, b []byte) []byte {
		if b == nil {
			return append(dst, "null"...)
		}
		text, _ := json.Marshal(string(b)) // a string cannot fail
		return append(dst, text...)
	},
}

func (p *parser) text(f field) (part, error) {
	name, err := p.modifier()
	if err != nil {
		return nil, err
	}
	encode, ok := encodings[name]
	if !ok {
		return nil, fmt.Errorf("unknown encoding {%s}; known are {hex} {base64} {json}", name)
	}
	return func(dst []byte, rec *klamm.Record, h *klamm.Header) []byte { return encode(dst, f(rec, h)) }, nil
}

// modifier reads "{name}" if one follows.
func (p *parser) modifier() (string, error) {
	if !strings.HasPrefix(p.rest, "{") {
		return "", nil
	}
	name, rest, ok := strings.Cut(p.rest[1:], "}")
	if !ok {
		return "", fmt.Errorf("no closing brace; write %%{ for a brace")
	}
	p.rest = rest
	return name, nil
}

func length(f field) part {
	return func(dst []byte, rec *klamm.Record, h *klamm.Header) []byte {
		b := f(rec, h)
		if b == nil {
			return append(dst, "-1"...)
		}
		return strconv.AppendInt(dst, int64(len(b)), 10)
	}
}

func number(f func(*klamm.Record) int64) part {
	return func(dst []byte, rec *klamm.Record, _ *klamm.Header) []byte {
		return strconv.AppendInt(dst, f(rec), 10)
	}
}

func (p *parser) timestamp() (part, error) {
	name, err := p.modifier()
	if err != nil {
		return nil, err
	}
	switch name {
	case "":
		return number(func(r *klamm.Record) int64 { return r.Timestamp.UnixMilli() }), nil
	case "rfc3339":
		return func(dst []byte, rec *klamm.Record, _ *klamm.Header) []byte {
			return rec.Timestamp.UTC().AppendFormat(dst, time.RFC3339Nano)
		}, nil
	}
	return nil, fmt.Errorf("unknown time format {%s}; known is {rfc3339}", name)
}

func (p *parser) headers() (part, error) {
	if !strings.HasPrefix(p.rest, "{") {
		return nil, fmt.Errorf("%%h needs braces, as %%h{%%k=%%v }")
	}
	p.rest = p.rest[1:]
	inner, err := p.parts(true)
	if err != nil {
		return nil, err
	}
	return func(dst []byte, rec *klamm.Record, _ *klamm.Header) []byte {
		for i := range rec.Headers {
			for _, in := range inner {
				dst = in(dst, rec, &rec.Headers[i])
			}
		}
		return dst
	}, nil
}
