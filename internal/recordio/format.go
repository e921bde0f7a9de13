package recordio

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klamm-io/klamm"
)

// Format prints records by a format string, in the words of rpk:
//
//	%t %k %v   topic, key and value       %T %K %V   their lengths in bytes
//	%p %o      partition and offset       %d         timestamp, ms since 1970
//	%H         number of headers          %h{...}    what is in the braces for each header,
//	                                                 where %k %v %K %V are the header's
//	%%         a percent sign             %{ %}      braces inside %h{}
//	\n \t \r \\ \0 \xHH                   as in Go
//
// %t, %k and %v take {hex}, {base64} or {json}, and %d takes {rfc3339}. A null
// prints nothing, its length is -1, and its {json} is null. There is no way
// back from such text; use JSON where records are to be read again.
type Format struct{ parts []part }

// part appends one piece of a record. h is the header inside %h{}, else nil.
type part func(dst []byte, rec *klamm.Record, h *klamm.Header) []byte

// ParseFormat reads a format string. Its error tells the byte at fault.
func ParseFormat(s string) (*Format, error) {
	p := &formatParser{rest: s}
	parts, err := p.parts(false)
	if err != nil {
		return nil, fmt.Errorf("format %q: at byte %d: %w", s, len(s)-len(p.rest), err)
	}
	return &Format{parts}, nil
}

// Append appends rec.
func (f *Format) Append(dst []byte, rec *klamm.Record) []byte {
	for _, p := range f.parts {
		dst = p(dst, rec, nil)
	}
	return dst
}

type formatParser struct{ rest string }

// parts reads to the end, or inside of %h{} to its closing brace.
func (p *formatParser) parts(inHeader bool) (parts []part, err error) {
	for p.rest != "" {
		var next part
		switch c := p.rest[0]; {
		case c == '}' && inHeader:
			p.rest = p.rest[1:]
			return parts, nil
		case c == '%':
			next, err = p.verb(inHeader)
		case c == '\\':
			next, err = p.escape()
		default:
			next = p.plain()
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, next)
	}
	if inHeader {
		return nil, fmt.Errorf("%%h{ has no closing brace")
	}
	return parts, nil
}

func (p *formatParser) plain() part {
	end := strings.IndexAny(p.rest[1:], "%\\}") + 1
	if end == 0 {
		end = len(p.rest)
	}
	text := p.rest[:end]
	p.rest = p.rest[end:]
	return literal(text)
}

func literal(s string) part {
	return func(dst []byte, _ *klamm.Record, _ *klamm.Header) []byte { return append(dst, s...) }
}

func (p *formatParser) escape() (part, error) {
	if strings.HasPrefix(p.rest, `\0`) {
		p.rest = p.rest[2:]
		return literal("\x00"), nil
	}
	r, multibyte, tail, err := strconv.UnquoteChar(p.rest, 0)
	if err != nil {
		return nil, fmt.Errorf(`unknown escape; there are \n \t \r \\ \0 \xHH`)
	}
	p.rest = tail
	if multibyte {
		return literal(string(r)), nil
	}
	return literal(string([]byte{byte(r)})), nil
}

// field returns the bytes that a verb stands for.
type field func(rec *klamm.Record, h *klamm.Header) []byte

func topicOf(rec *klamm.Record, _ *klamm.Header) []byte { return []byte(rec.Topic) }

func keyOf(rec *klamm.Record, h *klamm.Header) []byte {
	if h != nil {
		return []byte(h.Key)
	}
	return rec.Key
}

func valueOf(rec *klamm.Record, h *klamm.Header) []byte {
	if h != nil {
		return h.Value
	}
	return rec.Value
}

var fields = map[byte]field{'t': topicOf, 'k': keyOf, 'v': valueOf}

func (p *formatParser) verb(inHeader bool) (part, error) {
	if len(p.rest) < 2 {
		return nil, fmt.Errorf("a single %% ends the format; write %%%% for one")
	}
	c := p.rest[1]
	p.rest = p.rest[2:]
	switch c {
	case '%', '{', '}':
		return literal(string(c)), nil
	case 't', 'k', 'v':
		return p.text(fields[c])
	case 'T', 'K', 'V':
		return length(fields[c-'A'+'a']), nil
	case 'p':
		return number(func(r *klamm.Record) int64 { return int64(r.Partition) }), nil
	case 'o':
		return number(func(r *klamm.Record) int64 { return r.Offset }), nil
	case 'H':
		return number(func(r *klamm.Record) int64 { return int64(len(r.Headers)) }), nil
	case 'd':
		return p.timestamp()
	case 'h':
		if inHeader {
			return nil, fmt.Errorf("%%h inside of %%h")
		}
		return p.headers()
	}
	r, _ := utf8.DecodeRuneInString(string([]byte{c}) + p.rest)
	return nil, fmt.Errorf("unknown verb %%%c; there are %%t %%k %%v %%T %%K %%V %%p %%o %%d %%H %%h{...} %%%%", r)
}

// modifier reads the {word} behind a verb, if there is one.
func (p *formatParser) modifier() (string, error) {
	if !strings.HasPrefix(p.rest, "{") {
		return "", nil
	}
	word, rest, closed := strings.Cut(p.rest[1:], "}")
	if !closed {
		return "", fmt.Errorf("no closing brace; write %%{ for a brace")
	}
	p.rest = rest
	return word, nil
}

func (p *formatParser) text(f field) (part, error) {
	word, err := p.modifier()
	if err != nil {
		return nil, err
	}
	encode, ok := encodings[word]
	if !ok {
		return nil, fmt.Errorf("unknown encoding {%s}; there are {hex} {base64} {json}", word)
	}
	return func(dst []byte, rec *klamm.Record, h *klamm.Header) []byte { return encode(dst, f(rec, h)) }, nil
}

var encodings = map[string]func(dst, b []byte) []byte{
	"":       func(dst, b []byte) []byte { return append(dst, b...) },
	"hex":    hex.AppendEncode,
	"base64": base64.StdEncoding.AppendEncode,
	"json":   appendAsJSON,
}

// appendAsJSON writes bytes that are no text with U+FFFD in place of what is
// wrong: a format is for people.
func appendAsJSON(dst, b []byte) []byte {
	if b == nil {
		return append(dst, "null"...)
	}
	return appendText(dst, []byte(strings.ToValidUTF8(string(b), "\uFFFD")))
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
	return func(dst []byte, rec *klamm.Record, _ *klamm.Header) []byte { return strconv.AppendInt(dst, f(rec), 10) }
}

// timestamp prints -1, Kafka's NO_TIMESTAMP, for a record without one.
func (p *formatParser) timestamp() (part, error) {
	word, err := p.modifier()
	switch {
	case err != nil:
		return nil, err
	case word == "rfc3339":
		return func(dst []byte, rec *klamm.Record, _ *klamm.Header) []byte {
			if rec.Timestamp.IsZero() {
				return dst
			}
			return rec.Timestamp.UTC().AppendFormat(dst, time.RFC3339Nano)
		}, nil
	case word == "":
		return number(func(r *klamm.Record) int64 {
			if r.Timestamp.IsZero() {
				return -1
			}
			return r.Timestamp.UnixMilli()
		}), nil
	}
	return nil, fmt.Errorf("unknown time format {%s}; there is {rfc3339}", word)
}

func (p *formatParser) headers() (part, error) {
	if !strings.HasPrefix(p.rest, "{") {
		return nil, fmt.Errorf("%%h needs braces, as in %%h{%%k=%%v }")
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
