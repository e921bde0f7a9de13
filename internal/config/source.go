package config

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// Source is a configuration file's text and the place of each of its keys. It
// prints as its path only: the text may hold secrets.
type Source struct {
	Path string
	Text []byte

	index *index
	text  string // Text
	lines []int  // byte offset of each line's start
	bom   int    // bytes of the byte order mark
	// alias maps the path of a setting that was written with dots (linger.ms)
	// to where it stands.
	alias map[string]*node
	// secret marks the values that are never shown.
	secret map[*node]bool
}

// Place is a stretch of one line of a file. Line and Col count from 1, Col in
// characters; End is the column behind the last one. The zero Place is unknown.
type Place struct{ Line, Col, End int }

func newSource(path string, text []byte) *Source {
	s := &Source{Path: path, Text: text, text: string(text), alias: map[string]*node{}, secret: map[*node]bool{}, lines: []int{0}}
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} { // the ones that the TOML reader skips
		if strings.HasPrefix(s.text, mark) {
			s.bom = len(mark)
		}
	}
	s.lines[0] = s.bom
	for i, c := range text {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// At returns the place of the setting at path, such as "plugin", "dedup",
// "module": its value's, or its header's for a table. An element of a list is
// named by its index in decimal. Where the path is not in the file, the place
// is that of the innermost table that is. It is zero on a nil Source.
func (s *Source) At(path ...string) Place {
	n := s.innermost(path)
	switch {
	case n == nil:
		return Place{}
	case n.value.valid():
		return s.place(n.value)
	}
	return s.place(n.key)
}

// KeyAt is At for the key instead of the value.
func (s *Source) KeyAt(path ...string) Place {
	n := s.innermost(path)
	switch {
	case n == nil:
		return Place{}
	case n.key.valid():
		return s.place(n.key)
	}
	return s.place(n.value)
}

// Has reports whether the file gives the setting at path.
func (s *Source) Has(path ...string) bool { return s.find(path) != nil }

// markSecrets finds the values that are never shown: those of keys with a
// telling name, and all that stands in a table "secrets".
func (s *Source) markSecrets() {
	var walk func(n *node, secret bool)
	walk = func(n *node, secret bool) {
		if secret && n.value.valid() {
			s.secret[n] = true
		}
		for key, c := range n.children {
			walk(c, secret || isSecretKey(key) && (c.kind != tableNode || key == "secrets"))
		}
		for _, e := range n.elements {
			walk(e, secret)
		}
	}
	walk(s.index.root, false)
}

// find returns the node of path, or nil.
func (s *Source) find(path []string) *node {
	if s == nil || s.index == nil {
		return nil
	}
	if n := s.alias[joinPath(path)]; n != nil {
		return n
	}
	return s.index.find(path)
}

// innermost returns the node of the longest leading part of path that the file
// gives, or nil.
func (s *Source) innermost(path []string) *node {
	for i := len(path); i > 0; i-- {
		if n := s.find(path[:i]); n != nil {
			return n
		}
	}
	return nil
}

// place turns byte offsets into a place. A stretch over several lines ends
// with its first.
func (s *Source) place(at span) Place {
	if !at.valid() {
		return Place{}
	}
	start := max(min(at.start, len(s.text)), s.bom)
	line := sort.SearchInts(s.lines, start+1) - 1
	text := s.lineText(line)
	col := start - s.lines[line]
	end := min(at.end-s.lines[line], len(text))
	before := utf8.RuneCountInString(text[:min(col, len(text))])
	length := 1
	if col < end {
		length = utf8.RuneCountInString(text[col:end])
	}
	return Place{Line: line + 1, Col: before + 1, End: before + 1 + length}
}

// lineText returns the line of that index without its end.
func (s *Source) lineText(line int) string {
	if line < 0 || line >= len(s.lines) {
		return ""
	}
	end := len(s.text)
	if line+1 < len(s.lines) {
		end = s.lines[line+1] - 1
	}
	return strings.TrimSuffix(s.text[s.lines[line]:end], "\r")
}

// joinPath makes one string of a path; no key can hold a NUL.
func joinPath(path []string) string { return strings.Join(path, "\x00") }

// String returns the path.
func (s *Source) String() string {
	if s == nil {
		return ""
	}
	return s.Path
}

// GoString returns what %#v prints.
func (s *Source) GoString() string { return fmt.Sprintf("config.Source(%q)", s.String()) }

// Format prints the path under every verb.
func (s *Source) Format(f fmt.State, verb rune) { fmt.Fprint(f, s.String()) }

// MarshalJSON writes the path.
func (s *Source) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }
