package plugin

import (
	"bytes"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// space returns the first place from at on that is no white space.
func space(doc []byte, at int) int {
	for at < len(doc) {
		switch doc[at] {
		case ' ', '\n', '\r', '\t':
			at++
		default:
			return at
		}
	}
	return at
}

// stringEnd returns where the string that opens at at ends, and whether it has
// escapes in it.
func stringEnd(doc []byte, at int) (end int, escaped bool, err error) {
	for i := plain(doc, at+1); i < len(doc); i = plain(doc, i+1) {
		switch c := doc[i]; {
		case c == '"':
			return i + 1, escaped, nil
		case c < ' ':
			return 0, false, jsonError(i, "control character in a string")
		case c == '\\':
			escaped = true
			n := escapeLen(doc[i:])
			if n == 0 {
				return 0, false, jsonError(i, "bad escape in a string")
			}
			i += n - 1
		}
	}
	return 0, false, jsonError(len(doc), "a string does not end")
}

// plain returns the first place from at on, in a string, that could be its end,
// an escape or a control character. It looks at eight bytes at once: a byte of x
// is zero where the top bit of (x - ones) &^ x is set, but for false alarms above
// the first one.
func plain(doc []byte, at int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; at+8 <= len(doc); at += 8 {
		w := u64(doc, uint32(at))
		quote, slash := w^'"'*ones, w^'\\'*ones
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (w-' '*ones)&^w) & tops
		if found != 0 {
			return at + bits.TrailingZeros64(found)/8
		}
	}
	return at
}

// escapeLen returns the length of the escape that s starts with, 0 when it is
// none.
func escapeLen(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(s); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads \uXXXX.
func hex4(s []byte) (r rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for _, c := range s[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendUnescaped decodes the inside of a checked string.
func appendUnescaped(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			continue
		}
		switch i++; s[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, n := unescapeRune(s[i-1:])
			dst = utf8.AppendRune(dst, r)
			i += n - 2
		default:
			dst = append(dst, s[i])
		}
	}
	return dst
}

// unescapeRune decodes \uXXXX, or a pair of them that makes one character. Half
// a pair becomes U+FFFD.
func unescapeRune(s []byte) (r rune, n int) {
	r, _ = hex4(s)
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if low, ok := hex4(s[6:]); ok {
		if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
			return both, 12
		}
	}
	return utf8.RuneError, 6
}

// numberEnd returns where the number at at ends.
func numberEnd(doc []byte, at int) (int, error) {
	i := at
	if i < len(doc) && doc[i] == '-' {
		i++
	}
	whole := digits(doc, i)
	if whole == i || (doc[i] == '0' && whole > i+1) {
		return 0, jsonError(at, "a value expected")
	}
	i = whole
	if i < len(doc) && doc[i] == '.' {
		end := digits(doc, i+1)
		if end == i+1 {
			return 0, jsonError(end, "digits are missing")
		}
		i = end
	}
	if i < len(doc) && (doc[i] == 'e' || doc[i] == 'E') {
		i++
		if i < len(doc) && (doc[i] == '+' || doc[i] == '-') {
			i++
		}
		end := digits(doc, i)
		if end == i {
			return 0, jsonError(end, "digits are missing")
		}
		i = end
	}
	return i, nil
}

func digits(doc []byte, i int) int {
	for i < len(doc) && '0' <= doc[i] && doc[i] <= '9' {
		i++
	}
	return i
}

func literal(doc []byte, at int, word string) (int, error) {
	if len(doc)-at < len(word) || string(doc[at:at+len(word)]) != word {
		return 0, jsonError(at, "a value expected")
	}
	return at + len(word), nil
}

// JSONString returns what the string raw stands for; ok is false when raw, a
// value that a Paths found, is no string. It allocates only for escapes.
func JSONString(raw []byte) (s []byte, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, false
	}
	s = raw[1 : len(raw)-1]
	if bytes.IndexByte(s, '\\') < 0 {
		return s, true
	}
	return appendUnescaped(make([]byte, 0, len(s)), s), true
}

// AppendJSONString appends s to dst as a JSON string. Bytes that are no UTF-8
// become U+FFFD.
func AppendJSONString(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for len(s) > 0 {
		c := s[0]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s)
			dst, s = utf8.AppendRune(dst, r), s[n:]
			continue
		}
		s = s[1:]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
