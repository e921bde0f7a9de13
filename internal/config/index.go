package config

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// The TOML library tells no position of unknown keys and wrong ones of keys in
// [[array]] tables and inline tables. So the index below reads the structure of
// the source a second time: it finds keys and values, decodes the former and
// skips the latter. It trusts the library to refuse what is no TOML; what it
// promises is to list the same keys, in the same order, for every text that the
// library accepts (a fuzz test and every Parse compare the two), and never to
// panic or recurse deeply on the others.

const (
	// maxDepth bounds how deep tables and lists may nest, and how many parts a
	// key may have. The library recurses without a limit, and its time grows
	// with the square of the parts.
	maxDepth = 32
	// maxFileSize bounds a configuration file.
	maxFileSize = 1 << 20
)

// span is a stretch of the source in bytes. The zero span is none.
type span struct{ start, end int }

func (s span) valid() bool { return s.end > s.start }

type nodeKind uint8

const (
	scalarNode nodeKind = iota
	tableNode
	listNode
	tableListNode // [[name]]
)

// node is a key of the source with what stands under it.
type node struct {
	kind  nodeKind
	key   span // the last part of the key, or the whole header; none for list elements
	value span // none for tables that are made by headers and dotted keys
	// dotted: the table was made by a dotted key, not by a header or braces.
	dotted   bool
	header   bool // a header of its own names the table
	children map[string]*node
	elements []*node
}

func (n *node) child(name string) *node {
	if c := n.children[name]; c != nil {
		return c
	}
	if n.children == nil {
		n.children = map[string]*node{}
	}
	c := &node{kind: tableNode}
	n.children[name] = c
	return c
}

// table is the table that a key under n goes to: of a list the last element.
func (n *node) table() *node {
	if n.kind == tableListNode && len(n.elements) > 0 {
		return n.elements[len(n.elements)-1]
	}
	return n
}

// again is a key that is given twice.
type again struct {
	path          []string
	first, second span
}

type index struct {
	root *node
	keys [][]string // as MetaData.Keys lists them
	// twice is the first key that is given a second time, if any.
	twice *again
	// tooDeep is where maxDepth is exceeded, if it is.
	tooDeep span
}

func (x *index) find(path []string) *node {
	n := x.root
	for _, part := range path {
		if n.kind == listNode || n.kind == tableListNode {
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(n.elements) {
				return nil
			}
			n = n.elements[i]
			continue
		}
		if n = n.children[part]; n == nil {
			return nil
		}
	}
	return n
}

// scanner walks the source once.
type scanner struct {
	text  string
	pos   int
	depth int
	index *index
	bad   bool // no TOML: what follows is not indexed
}

// scan indexes the text from byte offset bom on. On a text that is no TOML the
// index ends where that shows.
func scan(text string, bom int) *index {
	s := &scanner{text: text, pos: bom, index: &index{root: &node{kind: tableNode}}}
	table, path := s.index.root, []string(nil)
	for s.blank(); s.pos < len(s.text) && !s.bad; s.blank() {
		if s.peek() == '[' {
			table, path = s.header()
		} else {
			s.pair(table, path)
		}
		s.lineEnd()
	}
	return s.index
}

func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.pos >= len(s.text) {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) spaces() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.pos++
	}
}

// blank skips spaces, line ends and comments.
func (s *scanner) blank() {
	for {
		switch s.peek() {
		case ' ', '\t', '\n', '\r':
			s.pos++
		case '#':
			s.comment()
		default:
			return
		}
	}
}

func (s *scanner) comment() {
	if i := strings.IndexByte(s.text[s.pos:], '\n'); i >= 0 {
		s.pos += i
	} else {
		s.pos = len(s.text)
	}
}

// lineEnd demands that nothing but a comment follows on the line.
func (s *scanner) lineEnd() {
	s.spaces()
	if s.peek() == '#' {
		s.comment()
	}
	if s.pos < len(s.text) && s.peek() != '\n' && s.peek() != '\r' {
		s.bad = true
	}
}

// header reads [a.b] or [[a.b]] and returns the table it opens.
func (s *scanner) header() (*node, []string) {
	start := s.pos
	s.pos++
	list := s.take('[')
	parts, _ := s.keyParts(']')
	if !s.take(']') || list && !s.take(']') {
		s.bad = true
	}
	if s.bad {
		return s.index.root, nil
	}
	s.index.keys = append(s.index.keys, parts)
	at := span{start, s.pos}
	parent := s.index.root
	for _, part := range parts[:len(parts)-1] {
		parent = parent.child(part).table()
		if !parent.key.valid() {
			parent.key = at
		}
	}
	n := parent.child(parts[len(parts)-1])
	if list {
		n.kind = tableListNode
		n.key = at
		n.elements = append(n.elements, &node{kind: tableNode, key: at})
		return n.table(), parts
	}
	if n.value.valid() || n.header {
		s.index.repeat(parts, n.key, at)
	}
	n.key, n.dotted, n.header = at, false, true
	return n.table(), parts
}

func (x *index) repeat(path []string, first, second span) {
	if x.twice == nil {
		x.twice = &again{path, first, second}
	}
}

// pair reads key = value into table, whose own key is path.
func (s *scanner) pair(table *node, path []string) {
	parts, last := s.keyParts('=')
	if s.bad || !s.take('=') {
		s.bad = true
		return
	}
	full := append(append(make([]string, 0, len(path)+len(parts)), path...), parts...)
	s.index.keys = append(s.index.keys, full)
	for i, part := range parts[:len(parts)-1] {
		table = table.child(part).table()
		if !table.key.valid() {
			table.key, table.dotted = span{last[0].start, last[i].end}, true
		}
	}
	name := parts[len(parts)-1]
	if old := table.children[name]; old != nil {
		s.index.repeat(full, old.key, last[len(last)-1])
	}
	n := table.child(name)
	n.key = span{last[0].start, last[len(last)-1].end}
	s.spaces()
	s.value(n, full)
}

// keyParts reads the parts of a dotted key up to the byte end, and where each
// stands.
func (s *scanner) keyParts(end byte) (parts []string, at []span) {
	for {
		s.spaces()
		start := s.pos
		part, ok := s.keyPart()
		if !ok {
			s.bad = true
			return nil, nil
		}
		parts, at = append(parts, part), append(at, span{start, s.pos})
		if len(parts) > maxDepth {
			s.tooDeep(start)
			return nil, nil
		}
		s.spaces()
		if s.peek() == end {
			return parts, at
		}
		if !s.take('.') {
			s.bad = true
			return nil, nil
		}
	}
}

func (s *scanner) keyPart() (string, bool) {
	start := s.pos
	switch s.peek() {
	case '"':
		if !s.basicString() {
			return "", false
		}
		return unescape(s.text[start+1 : s.pos-1])
	case '\'':
		if !s.literalString() {
			return "", false
		}
		return s.text[start+1 : s.pos-1], true
	}
	for isBareKeyByte(s.peek()) {
		s.pos++
	}
	return s.text[start:s.pos], s.pos > start
}

func isBareKeyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// value reads a value into n, whose key is path.
func (s *scanner) value(n *node, path []string) {
	start := s.pos
	n.kind = scalarNode
	ok := true
	switch s.peek() {
	case '"':
		ok = s.quoted('"', s.basicString)
	case '\'':
		ok = s.quoted('\'', s.literalString)
	case '[':
		s.list(n, path)
	case '{':
		s.inlineTable(n, path)
	default:
		ok = s.bareValue()
	}
	s.bad = s.bad || !ok
	n.value = span{start, s.pos}
}

func (s *scanner) list(n *node, path []string) {
	n.kind = listNode
	if !s.enter() {
		return
	}
	for s.blank(); !s.bad && !s.take(']'); s.blank() {
		e := &node{}
		n.elements = append(n.elements, e)
		s.value(e, path)
		s.separator(']')
	}
	s.depth--
}

func (s *scanner) inlineTable(n *node, path []string) {
	n.kind = tableNode
	if !s.enter() {
		return
	}
	for s.blank(); !s.bad && !s.take('}'); s.blank() {
		s.pair(n, path)
		s.separator('}')
	}
	s.depth--
}

// enter takes the opening bracket and counts the depth.
func (s *scanner) enter() bool {
	if s.depth++; s.depth > maxDepth {
		s.tooDeep(s.pos)
		return false
	}
	s.pos++
	return true
}

// separator demands a comma, or that end comes next.
func (s *scanner) separator(end byte) {
	s.blank()
	if !s.take(',') && s.peek() != end {
		s.bad = true
	}
}

func (s *scanner) tooDeep(pos int) {
	s.bad = true
	if !s.index.tooDeep.valid() {
		s.index.tooDeep = span{pos, pos + 1}
	}
}

// quoted reads a string of one line by short, or one of several lines.
func (s *scanner) quoted(quote byte, short func() bool) bool {
	three := strings.Repeat(string(quote), 3)
	if !strings.HasPrefix(s.text[s.pos:], three) {
		return short()
	}
	for s.pos += 3; s.pos < len(s.text); {
		switch c := s.text[s.pos]; {
		case c == '\\' && quote == '"':
			s.pos += 2
		case c == quote:
			run := len(s.text[s.pos:]) - len(strings.TrimLeft(s.text[s.pos:], string(quote)))
			if s.pos += run; run >= 3 {
				return true // the last three of the run close the string
			}
		default:
			s.pos++
		}
	}
	s.pos = len(s.text)
	return false
}

func (s *scanner) basicString() bool {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '"':
			s.pos++
			return true
		case '\\':
			s.pos++
		case '\n':
			return false
		}
	}
	s.pos = len(s.text)
	return false
}

func (s *scanner) literalString() bool {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '\'':
			s.pos++
			return true
		case '\n':
			return false
		}
	}
	return false
}

// bareValue reads a number, a boolean or a datetime. The latter may hold a
// space between date and time, and the library takes it with any number of them.
func (s *scanner) bareValue() bool {
	start := s.pos
	for c := s.peek(); isBareKeyByte(c) || c == '+' || c == '.' || c == ':'; c = s.peek() {
		s.pos++
		if (c == '-' || c == ':') && '0' <= s.text[start] && s.text[start] <= '9' {
			s.datetimeRest()
			break
		}
	}
	return s.pos > start
}

func (s *scanner) datetimeRest() {
	for strings.IndexByte("0123456789-+:.tTzZ eE", s.peek()) >= 0 && s.pos < len(s.text) {
		s.pos++
	}
	for s.text[s.pos-1] == ' ' {
		s.pos--
	}
}

// unescape decodes the inside of a basic string. It reports false for what is
// none.
func unescape(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i >= len(s) {
			return "", false
		}
		if j := strings.IndexByte(`btnfre"\`, s[i]); j >= 0 {
			b.WriteByte("\b\t\n\f\r\x1b\"\\"[j])
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]]
		if digits == 0 || i+digits >= len(s) {
			return "", false
		}
		r, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32)
		if err != nil || !utf8.ValidRune(rune(r)) {
			return "", false
		}
		b.WriteRune(rune(r))
		i += digits
	}
	return b.String(), true
}
