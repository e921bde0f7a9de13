// Package source reads the parts of a record that plugins name in their
// configuration: "key", "header:NAME" and "json:PATH".
package source

import (
	"errors"
	"strconv"
	"strings"

	"github.com/klamm-io/klamm/sdk/plugin"
)

type kind uint8

const (
	key kind = iota
	header
	json
)

type spec struct {
	text   string
	kind   kind
	header string
	path   int // index in paths
}

// Set is the sources of one plugin, read together: the value is scanned once.
type Set struct {
	list    []spec
	paths   *plugin.Paths
	doc     []byte
	matches []plugin.Match
}

// Parse reads a list of sources.
func Parse(list []string) (*Set, error) {
	s := &Set{}
	var paths []plugin.Path
	for _, text := range list {
		one := spec{text: text}
		prefix, rest, _ := strings.Cut(text, ":")
		switch {
		case text == "key":
		case prefix == "header" && rest != "":
			one.kind, one.header = header, rest
		case prefix == "json" && rest != "":
			path, err := plugin.ParsePath(rest)
			if err != nil {
				return nil, err
			}
			one.kind, one.path = json, len(paths)
			paths = append(paths, path)
		default:
			return nil, errors.New(strconv.Quote(text) + ` is none of "key", "header:NAME", "json:PATH"`)
		}
		s.list = append(s.list, one)
	}
	if len(s.list) == 0 {
		return nil, errors.New(`the list is empty; it takes "key", "header:NAME" and "json:PATH"`)
	}
	var err error
	if len(paths) > 0 {
		s.paths, err = plugin.NewPaths(paths...)
	}
	return s, err
}

// Check is a rule for plugin.Strings.
func Check(list []string) error {
	_, err := Parse(list)
	return err
}

// Fields returns what the sources need to see of a record.
func (s *Set) Fields() (f plugin.Fields) {
	for _, one := range s.list {
		f |= [...]plugin.Fields{key: plugin.Key, header: plugin.Headers, json: plugin.Value}[one.kind]
	}
	return f
}

// KeyOnly reports whether the key is the one and only source.
func (s *Set) KeyOnly() bool { return len(s.list) == 1 && s.list[0].kind == key }

// Len returns the number of sources.
func (s *Set) Len() int { return len(s.list) }

// Name returns source i as it was configured.
func (s *Set) Name(i int) string { return s.list[i].text }

// Open makes e the record that Get reads. The error says that its value is no
// JSON where JSON is needed; a null value has no fields and is no error.
func (s *Set) Open(e plugin.Entry) (err error) {
	if s.paths == nil {
		return nil
	}
	s.doc, s.matches = e.Value(), nil
	if s.doc != nil {
		s.matches, err = s.paths.Scan(s.doc)
	}
	return err
}

// Get returns source i of the record. A JSON string comes decoded; another JSON
// value comes as it is written, with text false. What is null is not there.
func (s *Set) Get(e plugin.Entry, i int) (value []byte, text, ok bool) {
	switch one := s.list[i]; one.kind {
	case key:
		return e.Key(), true, e.HasKey()
	case header:
		value, _ = e.Header(one.header)
		return value, true, value != nil
	default:
		raw, ok := plugin.Last(s.doc, s.matches, one.path)
		if !ok || string(raw) == "null" {
			return nil, false, false
		}
		if value, ok := plugin.JSONString(raw); ok {
			return value, true, true
		}
		return raw, false, true
	}
}
