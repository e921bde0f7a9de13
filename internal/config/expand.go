package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxSecretFile bounds what ${file:} reads.
const maxSecretFile = 64 << 10

// expander replaces ${env:NAME} and ${file:PATH} inside strings. It sees only
// values that are parsed already, so nothing it inserts can change the
// structure of the configuration.
type expander struct {
	lookupEnv func(string) (string, bool)
	readFile  func(string) ([]byte, error)
	dir       string // relative files start here
}

// expand returns s with its references replaced. found tells whether there was
// any. "$${" stands for "${".
func (x *expander) expand(s string) (out string, found bool, err error) {
	if !strings.Contains(s, "${") {
		return s, false, nil
	}
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), found, nil
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		kind, rest, isReference := cutKind(s[i+2:])
		if !isReference {
			b.WriteString("${")
			s = s[i+2:]
			continue
		}
		body, tail, closed := strings.Cut(rest, "}")
		if !closed {
			return "", true, &valueError{fmt.Sprintf("${%s: has no closing }", kind), `write "$${" for a literal "${"`}
		}
		value, err := x.resolve(kind, body)
		if err != nil {
			return "", true, err
		}
		b.WriteString(value)
		s, found = tail, true
	}
}

// cutKind cuts the word before the colon, as in env:NAME.
func cutKind(s string) (kind, rest string, ok bool) {
	end := strings.IndexFunc(s, func(r rune) bool { return r < 'a' || r > 'z' })
	if end <= 0 || s[end] != ':' {
		return "", "", false
	}
	return s[:end], s[end+1:], true
}

// resolve answers one reference: its kind, and NAME, NAME:-default or
// NAME:?message.
func (x *expander) resolve(kind, body string) (string, error) {
	name, fallback, hasDefault := strings.Cut(body, ":-")
	message := ""
	if !hasDefault {
		name, message, _ = strings.Cut(body, ":?")
	}
	var value, problem string
	switch kind {
	case "env":
		value, problem = x.env(name)
	case "file":
		value, problem = x.file(name)
	default:
		e := &valueError{what: fmt.Sprintf("${%s:} is unknown", kind), suggestion: `there are ${env:NAME} and ${file:PATH}; write "$${" for a literal "${"`}
		if n := nearest(kind, []string{"env", "file"}); n != "" {
			e.suggestion = fmt.Sprintf("did you mean ${%s:}?", n)
		}
		return "", e
	}
	switch {
	case hasDefault && value == "":
		return fallback, nil // as the shell does: unset or empty
	case problem != "" && message != "":
		return "", &valueError{problem + ": " + message, ""}
	case name == "":
		return "", &valueError{problem, fmt.Sprintf("write its name behind the colon, as in ${%s:%s}", kind, map[string]string{"env": "HOME", "file": "/run/secrets/kafka"}[kind])}
	case problem != "":
		return "", &valueError{problem, fmt.Sprintf("provide it, or write ${%s:%s:-default}", kind, name)}
	case message != "" && value == "":
		return "", &valueError{fmt.Sprintf("${%s:%s} is empty: %s", kind, name, message), ""}
	}
	return value, nil
}

func (x *expander) env(name string) (value, problem string) {
	if name == "" {
		return "", "${env:} names no variable"
	}
	value, ok := x.lookupEnv(name)
	if !ok {
		return "", fmt.Sprintf("environment variable %q is not set", name)
	}
	if !utf8.ValidString(value) {
		return "", fmt.Sprintf("environment variable %q is not UTF-8", name)
	}
	return value, ""
}

// file returns a file's text without the line end that editors leave.
func (x *expander) file(name string) (value, problem string) {
	if name == "" {
		return "", "${file:} names no file"
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(x.dir, path)
	}
	text, err := x.readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Sprintf("file %q does not exist", path)
	case err != nil:
		return "", fmt.Sprintf("file %q cannot be read: %v", path, err)
	case len(text) > maxSecretFile:
		return "", fmt.Sprintf("file %q is larger than %s", path, Size(maxSecretFile))
	case !utf8.Valid(text):
		return "", fmt.Sprintf("file %q is not UTF-8", path)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), ""
}
