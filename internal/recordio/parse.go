package recordio

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klamm-io/klamm"
)

// A ParseError is a record that cannot be read. Column counts from 1, in
// characters of the line.
type ParseError struct {
	Column int
	Reason string
}

func (e *ParseError) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Reason) }

// maxDepth bounds how deep a value that is JSON itself may nest.
const maxDepth = 512

// ParseJSON reads one line that AppendJSON wrote, or that a person wrote: every
// member may be left out. Partition and Offset are then klamm.NoPartition and
// klamm.NoOffset, Timestamp is zero, the time of Send. A key or value that is an
// object, a list, a number or a boolean stands for its own JSON text, and a
// timestamp may be an RFC 3339 string.
//
// It is strict in everything else: unknown and repeated members ("key" beside
// "key_base64" too), text that is no UTF-8, lone surrogates, more after the
// object. The error is a *ParseError. The record shares no memory with line.
func ParseJSON(line []byte) (*klamm.Record, error) {
	rec := &klamm.Record{Partition: klamm.NoPartition, Offset: klamm.NoOffset}
	p := &parser{line: line}
	err := p.object(func(name string) error { return p.member(rec, name) })
	if err == nil {
		if p.space(); p.pos < len(line) {
			err = p.fail("more follows after the object")
		}
	}
	if err != nil {
		return nil, err
	}
	return rec, nil
}

// parser reads a line from left to right.
type parser struct {
	line []byte
	pos  int
}

func (p *parser) fail(format string, args ...any) error { return p.failAt(p.pos, format, args...) }

func (p *parser) failAt(pos int, format string, args ...any) error {
	return &ParseError{utf8.RuneCount(p.line[:min(pos, len(p.line))]) + 1, fmt.Sprintf(format, args...)}
}

func (p *parser) space() {
	for p.pos < len(p.line) && strings.IndexByte(" \t\r\n", p.line[p.pos]) >= 0 {
		p.pos++
	}
}

// peek returns the next byte that is no space, or 0.
func (p *parser) peek() byte {
	p.space()
	if p.pos < len(p.line) {
		return p.line[p.pos]
	}
	return 0
}

func (p *parser) expect(c byte, where string) error {
	switch {
	case p.peek() == c && p.pos < len(p.line):
		p.pos++
		return nil
	case p.pos >= len(p.line):
		return p.fail("the line ends where %q should follow %s", string(c), where)
	}
	return p.fail("%q should follow %s, there is %s", string(c), where, p.next())
}

// next shows the character that comes next.
func (p *parser) next() string {
	r, _ := utf8.DecodeRune(p.line[p.pos:])
	if r == utf8.RuneError {
		return fmt.Sprintf("the byte 0x%02x", p.line[p.pos])
	}
	return strconv.QuoteRune(r)
}

// object reads an object and calls member for each name, with the parser before
// the value. A name and the same with _base64 are one.
func (p *parser) object(member func(name string) error) error {
	if p.peek() != '{' {
		return p.fail("no JSON object")
	}
	p.pos++
	var seen []string
	for first := true; ; first = false {
		if p.peek() == '}' && first {
			p.pos++
			return nil
		}
		p.space()
		start := p.pos
		name, err := p.text()
		if err != nil {
			return err
		}
		base := strings.TrimSuffix(name, "_base64")
		for _, s := range seen {
			if s == base {
				return p.failAt(start, "%q is there twice", base)
			}
		}
		if err := p.expect(':', "a name"); err != nil {
			return err
		}
		if err := p.valueOf(name, start, member); err != nil {
			return err
		}
		seen = append(seen, base)
		if p.peek() == '}' {
			p.pos++
			return nil
		}
		if err := p.expect(',', "a member"); err != nil {
			return err
		}
	}
}

// errUnknown is what a member function answers for a name that it does not
// know; object says where the name stands.
type errUnknown struct{ known string }

func (e errUnknown) Error() string { return e.known }

func (p *parser) valueOf(name string, start int, member func(string) error) error {
	if p.peek() == 0 && p.pos >= len(p.line) {
		return p.fail("the line ends where the value of %q should be", name)
	}
	err := member(name)
	if u, ok := err.(errUnknown); ok {
		return p.failAt(start, "unknown member %q; there are %s", name, u.known)
	}
	return err
}

func (p *parser) member(rec *klamm.Record, name string) (err error) {
	switch name {
	case "topic":
		rec.Topic, err = p.name()
	case "topic_base64":
		rec.Topic, err = p.nameBase64()
	case "partition":
		var n int64
		n, err = p.integer(name, 32)
		rec.Partition = int32(n)
	case "offset":
		rec.Offset, err = p.integer(name, 64)
	case "timestamp":
		rec.Timestamp, err = p.timestamp()
	case "key":
		rec.Key, err = p.bytes()
	case "key_base64":
		rec.Key, err = p.base64()
	case "value":
		rec.Value, err = p.bytes()
	case "value_base64":
		rec.Value, err = p.base64()
	case "headers":
		rec.Headers, err = p.headers()
	default:
		err = errUnknown{"topic, partition, offset, timestamp, key, value and headers, and key_base64 and value_base64 for bytes that are no text"}
	}
	return err
}

func (p *parser) headers() ([]klamm.Header, error) {
	if p.null() {
		return nil, nil
	}
	if p.peek() != '[' {
		return nil, p.fail("headers are no list")
	}
	p.pos++
	var list []klamm.Header
	if p.peek() == ']' {
		p.pos++
		return nil, nil
	}
	for {
		h, err := p.header()
		if err != nil {
			return nil, err
		}
		list = append(list, h)
		if p.peek() == ']' {
			p.pos++
			return list, nil
		}
		if err := p.expect(',', "a header"); err != nil {
			return nil, err
		}
	}
}

func (p *parser) header() (h klamm.Header, err error) {
	p.space()
	start, keyed := p.pos, false
	err = p.object(func(name string) (err error) {
		switch name {
		case "key":
			keyed = true
			h.Key, err = p.name()
		case "key_base64":
			keyed = true
			h.Key, err = p.nameBase64()
		case "value":
			h.Value, err = p.bytes()
		case "value_base64":
			h.Value, err = p.base64()
		default:
			err = errUnknown{"key and value, and key_base64 and value_base64"}
		}
		return err
	})
	if err == nil && !keyed {
		err = p.failAt(start, "a header without a key")
	}
	return h, err
}

// name reads a string that cannot be null.
func (p *parser) name() (string, error) {
	if p.peek() != '"' {
		return "", p.fail("no string")
	}
	return p.text()
}

func (p *parser) nameBase64() (string, error) {
	b, err := p.base64()
	return string(b), err
}

func (p *parser) integer(name string, bits int) (int64, error) {
	p.space()
	start := p.pos
	for p.pos < len(p.line) && strings.IndexByte("+-.0123456789eE", p.line[p.pos]) >= 0 {
		p.pos++
	}
	text := string(p.line[start:p.pos])
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil || text[0] == '+' || !json.Valid([]byte(text)) {
		return 0, p.failAt(start, "%s is no whole number of %d bits", name, bits)
	}
	return n, nil
}

func (p *parser) timestamp() (time.Time, error) {
	if p.null() {
		return time.Time{}, nil
	}
	p.space()
	start := p.pos
	if p.peek() != '"' {
		ms, err := p.integer("timestamp", 64)
		return time.UnixMilli(ms), err
	}
	text, err := p.text()
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, p.failAt(start, "timestamp is neither milliseconds since 1970 nor an RFC 3339 time")
	}
	return at, nil
}

// null takes a null, if one is next.
func (p *parser) null() bool {
	p.space()
	if !bytes.HasPrefix(p.line[p.pos:], []byte("null")) {
		return false
	}
	p.pos += len("null")
	return true
}

// bytes reads a key or value: null, text, or any JSON as its own text.
func (p *parser) bytes() ([]byte, error) {
	if p.null() {
		return nil, nil
	}
	if p.peek() == '"' {
		text, err := p.text()
		return []byte(text), err
	}
	start := p.pos
	if err := p.skip(); err != nil {
		return nil, err
	}
	raw := p.line[start:p.pos]
	if !json.Valid(raw) || !utf8.Valid(raw) {
		return nil, p.failAt(start, "the value is no JSON")
	}
	return bytes.Clone(raw), nil
}

// skip passes over a value that is no string; that it is JSON is for others.
func (p *parser) skip() error {
	for start, depth := p.pos, 0; p.pos < len(p.line); p.pos++ {
		switch p.line[p.pos] {
		case '{', '[':
			if depth++; depth > maxDepth {
				return p.fail("the value nests deeper than %d", maxDepth)
			}
		case '"':
			if _, err := p.text(); err != nil {
				return err
			}
			p.pos--
		case '}', ']':
			if depth == 0 {
				return p.ended(start)
			}
			if depth--; depth == 0 {
				p.pos++
				return nil
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return p.ended(start)
			}
		}
	}
	return nil
}

// ended refuses a value of no length.
func (p *parser) ended(start int) error {
	if p.pos == start {
		return p.fail("no value")
	}
	return nil
}

func (p *parser) base64() ([]byte, error) {
	p.space()
	start := p.pos
	if p.peek() != '"' {
		return nil, p.fail("no string of base64")
	}
	text, err := p.text()
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(text, "\r\n") { // the decoder would skip them
		return nil, p.failAt(start, "no base64: it holds line ends")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, p.failAt(start, "no base64 (RFC 4648, with padding)")
	}
	return b, nil
}

// text reads a JSON string.
func (p *parser) text() (string, error) {
	if p.peek() != '"' {
		return "", p.fail("no string")
	}
	start := p.pos
	var out []byte
	for p.pos++; p.pos < len(p.line); {
		c := p.line[p.pos]
		switch {
		case c == '"':
			p.pos++
			return string(out), nil
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		case c < ' ':
			return "", p.fail("a control character in a string; write \\u%04x", c)
		case c < utf8.RuneSelf:
			out = append(out, c)
			p.pos++
		default:
			r, size := utf8.DecodeRune(p.line[p.pos:])
			if r == utf8.RuneError && size == 1 {
				return "", p.fail("the byte 0x%02x is no UTF-8; give bytes that are no text as key_base64 or value_base64", c)
			}
			out = append(out, p.line[p.pos:p.pos+size]...)
			p.pos += size
		}
	}
	return "", p.failAt(start, "the string has no end")
}

// escape reads what follows a backslash, with a second escape for the second
// half of a surrogate pair.
func (p *parser) escape() (rune, error) {
	start := p.pos
	p.pos++
	if p.pos >= len(p.line) {
		return 0, p.failAt(start, "the line ends in an escape")
	}
	c := p.line[p.pos]
	p.pos++
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, p.failAt(start, "unknown escape \\%s", p.charAt(p.pos-1))
	}
	r, ok := p.hex4()
	if !ok {
		return 0, p.failAt(start, "\\u needs four hexadecimal digits")
	}
	if r < 0xd800 || r > 0xdfff {
		return r, nil
	}
	if r < 0xdc00 && bytes.HasPrefix(p.line[p.pos:], []byte(`\u`)) {
		p.pos += 2
		if low, ok := p.hex4(); ok && low >= 0xdc00 && low <= 0xdfff {
			return (r-0xd800)<<10 | (low - 0xdc00) + 0x10000, nil
		}
	}
	return 0, p.failAt(start, "half of a surrogate pair is no text; give bytes that are no text as key_base64 or value_base64")
}

func (p *parser) charAt(pos int) string {
	r, _ := utf8.DecodeRune(p.line[pos:])
	return strings.Trim(strconv.QuoteRune(r), "'")
}

func (p *parser) hex4() (rune, bool) {
	if p.pos+4 > len(p.line) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(p.line[p.pos:p.pos+4]), 16, 16)
	p.pos += 4
	return rune(n), err == nil
}
