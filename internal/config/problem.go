package config

import (
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode"
)

// Severity tells an error from a warning.
type Severity uint8

// The severities.
const (
	Error Severity = iota
	Warning
)

func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Problem is one mistake of a configuration.
type Problem struct {
	Severity Severity
	// Path is the setting's, outermost table first. It is empty for mistakes
	// of the text itself.
	Path []string
	// Place is zero for a configuration built in Go.
	Place Place
	// What is wrong, and what to write instead; the latter may be empty.
	What       string
	Suggestion string
}

const (
	// maxShown is how many problems are printed.
	maxShown = 20
	// maxKept is how many are kept; the others are counted. A file that is no
	// configuration at all can hold a mistake every four bytes.
	maxKept = 1000
)

// Problems are the mistakes of one configuration. As an error they print as
// they are shown to people: up to 20, sorted by place, each with its source
// line. It is not safe for concurrent use.
type Problems struct {
	source *Source
	list   []Problem
	more   int // errors beyond maxKept
	// unknownIn are the tables that hold an unknown key. What such a table
	// lacks is most likely that key, so it is not reported as missing too.
	unknownIn map[string]bool
	// outside are the values that references stood for. They may be secrets, so
	// problems show the references instead.
	outside []outsideValue
	known   map[string]bool // paths that have an error
	sound   *Config
}

type outsideValue struct{ value, written string }

// NewProblems returns an empty list for the configuration of s, which may be
// nil.
func NewProblems(s *Source) *Problems { return &Problems{source: s} }

// Add adds a problem of the setting at path, at its value's place.
func (p *Problems) Add(path []string, severity Severity, what, suggestion string) {
	if !p.full(severity) {
		p.addAt(p.source.At(path...), path, severity, what, suggestion)
	}
}

// Join adds the errors of o, which were found in the same file; warnings are
// not taken over.
func (p *Problems) Join(o *Problems) {
	for _, q := range o.list {
		if q.Severity == Error && !p.full(Error) {
			p.addAt(q.Place, q.Path, q.Severity, q.What, q.Suggestion)
		}
	}
	p.more += o.more
}

// full reports whether nothing more is kept, and counts what is not.
func (p *Problems) full(s Severity) bool {
	if len(p.list) < maxKept {
		return false
	}
	if s == Error {
		p.more++
	}
	return true
}

// AddKey is Add at the place of the setting's key.
func (p *Problems) AddKey(path []string, severity Severity, what, suggestion string) {
	if !p.full(severity) {
		p.addAt(p.source.KeyAt(path...), path, severity, what, suggestion)
	}
}

func (p *Problems) addAt(at Place, path []string, severity Severity, what, suggestion string) {
	path = append([]string(nil), path...)
	what, suggestion = p.scrub(what), p.scrub(suggestion)
	p.list = append(p.list, Problem{severity, path, at, what, suggestion})
	if severity == Error {
		if p.known == nil {
			p.known = map[string]bool{}
		}
		p.known[joinPath(path)] = true
	}
}

// hide makes problems show written for value from now on. Short values hide
// nothing worth it, and would garble the text.
func (p *Problems) hide(value, written string) {
	for _, o := range p.outside {
		if o.value == value {
			return
		}
	}
	if len(value) < 4 || value == written || len(p.outside) == maxKept {
		return
	}
	p.outside = append(p.outside, outsideValue{value, written})
	if quoted := strconv.Quote(value); quoted[1:len(quoted)-1] != value {
		p.outside = append(p.outside, outsideValue{quoted[1 : len(quoted)-1], written})
	}
}

func (p *Problems) scrub(text string) string {
	for _, o := range p.outside {
		if !strings.Contains(o.written, o.value) {
			text = strings.ReplaceAll(text, o.value, o.written)
		}
	}
	return text
}

// missing adds an error of a key that its table lacks.
func (p *Problems) missing(table []string, key, what, suggestion string) {
	if p.unknownIn[joinPath(table)] || p.has(join(table, key)) {
		return
	}
	if !p.full(Error) {
		p.addAt(p.source.KeyAt(table...), join(table, key), Error, what, suggestion)
	}
}

// has reports whether an error of the setting at path is kept.
func (p *Problems) has(path []string) bool { return p.known[joinPath(path)] }

// All returns the problems sorted by place, errors before warnings at the same.
func (p *Problems) All() []Problem {
	if p == nil {
		return nil
	}
	sorted := append([]Problem(nil), p.list...)
	sort.SliceStable(sorted, func(i, j int) bool {
		a, b := sorted[i], sorted[j]
		if a.Place.Line != b.Place.Line {
			return a.Place.Line < b.Place.Line
		}
		if a.Place.Col != b.Place.Col {
			return a.Place.Col < b.Place.Col
		}
		return a.Severity < b.Severity
	})
	return sorted
}

// Errors counts the errors.
func (p *Problems) Errors() int {
	if p == nil {
		return 0
	}
	return p.count(Error) + p.more
}

// Warnings counts the warnings.
func (p *Problems) Warnings() int {
	if p == nil {
		return 0
	}
	return p.count(Warning)
}

func (p *Problems) count(s Severity) (n int) {
	for i := range p.list {
		if p.list[i].Severity == s {
			n++
		}
	}
	return n
}

// Err returns p as an error when it holds one, and nil when all are warnings.
func (p *Problems) Err() error {
	if p.Errors() == 0 {
		return nil
	}
	return p
}

// Summary is "5 errors, 1 warning".
func (p *Problems) Summary() string {
	return plural(p.Errors(), "error") + ", " + plural(p.Warnings(), "warning")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

// Error prints the problems without colours.
func (p *Problems) Error() string {
	var b strings.Builder
	p.Render(&b, false)
	return strings.TrimSuffix(b.String(), "\n")
}

// Render prints the problems as people read them, with colours if asked.
func (p *Problems) Render(w io.Writer, colour bool) {
	all := p.All()
	lines := map[int]string{} // as they may be shown
	for i, q := range all {
		if i == maxShown {
			fmt.Fprintf(w, "and %d more\n", len(all)-maxShown+p.more)
			return
		}
		p.render(w, q, lines, colour)
	}
}

func (p *Problems) render(w io.Writer, q Problem, lines map[int]string, colour bool) {
	where, what := pathName(q.Path), q.What
	if p.source == nil {
		what = strings.TrimPrefix(what, where+": ") // it is not said twice
	} else {
		where = p.source.Path
		if q.Place.Line > 0 {
			where = fmt.Sprintf("%s:%d:%d", p.source.Path, q.Place.Line, q.Place.Col)
		}
	}
	if where != "" {
		where += ": "
	}
	fmt.Fprintf(w, "%s%s %s\n", where, paint(q.Severity, q.Severity.String()+":", colour), what)
	suggestion := ""
	if q.Suggestion != "" {
		suggestion = " " + q.Suggestion
	}
	if p.source == nil || q.Place.Line == 0 {
		if suggestion != "" {
			fmt.Fprintf(w, " %s\n", suggestion)
		}
		return
	}
	line, ok := lines[q.Place.Line]
	if !ok {
		line = p.source.shown(q.Place.Line - 1)
		lines[q.Place.Line] = line
	}
	text, pad, carets := excerpt(line, q.Place)
	number := strconv.Itoa(q.Place.Line)
	margin := strings.Repeat(" ", len(number))
	fmt.Fprintf(w, "%s |\n%s | %s\n%s | %s%s%s\n", margin, number, text, margin, pad, paint(q.Severity, carets, colour), suggestion)
}

func paint(s Severity, text string, colour bool) string {
	switch {
	case !colour:
		return text
	case s == Warning:
		return "\x1b[33m" + text + "\x1b[0m"
	}
	return "\x1b[31m" + text + "\x1b[0m"
}

// maxWidth is how much of a line is shown. Of a longer one it is the stretch
// about the place.
const maxWidth = 160

// excerpt returns what is shown of the line of a place, and what puts the carets
// under the place.
func excerpt(line string, at Place) (text, pad, carets string) {
	letters := []rune(line)
	from, to := at.Col-1, at.End-1
	if len(letters) > maxWidth {
		start := min(max(0, from-maxWidth/3), len(letters))
		end := min(start+maxWidth, len(letters))
		letters = append([]rune("... "), letters[start:end]...)
		from, to = from-start+len("... "), to-start+len("... ")
	}
	var b strings.Builder
	for _, r := range letters[:min(max(from, 0), len(letters))] {
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return string(letters), b.String(), strings.Repeat("^", max(1, min(to, len(letters))-from))
}

// secretKey matches the names of settings whose values are never shown.
var secretKey = regexp.MustCompile(`(?i)(pass|pwd|secret|token|credential|private|api_?key)`)

// isSecretKey reports whether a key, perhaps a misspelt one, is a secret's.
func isSecretKey(key string) bool {
	return secretKey.MatchString(key) || nearest(key, []string{"password", "passphrase", "secret", "token"}) != ""
}

// keyBeforeEquals finds the keys of a line that is perhaps no TOML.
var keyBeforeEquals = regexp.MustCompile(`([\w-]+)["']?[ \t]*=[ \t]*`)

// shown returns a line of the source without secrets and control characters.
func (s *Source) shown(line int) string {
	text := s.lineText(line)
	if at := s.secretFrom(line); at >= 0 && at <= len(text) {
		text = text[:at] + Redacted
	}
	return strings.Map(func(r rune) rune {
		if r != '\t' && (unicode.IsControl(r) || r == unicode.ReplacementChar) {
			return '?'
		}
		return r
	}, text)
}

// secretFrom returns where in the line a secret starts, or -1.
func (s *Source) secretFrom(line int) int {
	from := -1
	text := s.lineText(line)
	for _, m := range keyBeforeEquals.FindAllStringSubmatchIndex(text, -1) {
		if isSecretKey(text[m[2]:m[3]]) {
			from = m[1]
			break
		}
	}
	start := s.lines[line]
	end := start + len(text)
	for n := range s.secret {
		if n.value.start <= end && n.value.end > start {
			if at := max(n.value.start-start, 0); from < 0 || at < from {
				from = at
			}
		}
	}
	return from
}

// pathName writes a path as TOML does: plugin.dedup.on_send[1].
func pathName(path []string) string {
	var b strings.Builder
	for i, part := range path {
		switch {
		case i > 0 && strings.Trim(part, "0123456789") == "" && part != "":
			b.WriteString("[" + part + "]")
			continue
		case i > 0:
			b.WriteByte('.')
		}
		if strings.IndexFunc(part, func(r rune) bool { return r > 127 || !isBareKeyByte(byte(r)) }) >= 0 || part == "" {
			part = strconv.Quote(part)
		}
		b.WriteString(part)
	}
	return b.String()
}

// tableName is pathName in brackets, or "the top level".
func tableName(path []string) string {
	if len(path) == 0 {
		return "the top level"
	}
	return "[" + pathName(path) + "]"
}
