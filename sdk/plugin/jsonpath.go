package plugin

import (
	"errors"
	"strconv"
	"strings"
)

// Path leads to a value inside of a JSON document.
type Path struct {
	text  string
	steps []step
}

type step struct {
	key   string // "" for [3] and [*]
	index int    // -1 when key is not a number
	any   bool   // [*]
}

// ParsePath reads a path: names and array indexes, as in
//
//	properties.net
//	items[0].sku   or   items.0.sku
//	items[*].email
//	$.card.number  (the leading $. says nothing)
//	a\.b           (a dot, bracket or backslash that is part of a name)
//
// A number between dots is an index in an array and a name in an object. [*] is
// every element of an array. "$" is the whole document.
func ParsePath(text string) (Path, error) {
	p := Path{text: text}
	rest := text
	if rest == "$" {
		return p, nil
	}
	rest = strings.TrimPrefix(rest, "$")
	if rest != text && rest != "" && rest[0] != '.' && rest[0] != '[' {
		rest = text // a name that starts with a dollar sign
	} else {
		rest = strings.TrimPrefix(rest, ".")
	}
	for {
		s, after, err := parseStep(rest)
		if err != nil {
			return Path{}, errors.New("path " + strconv.Quote(text) + ": " + err.Error())
		}
		p.steps = append(p.steps, s)
		switch {
		case after == "":
			return p, nil
		case after[0] == '.':
			after = after[1:]
		case after[0] != '[':
			return Path{}, errors.New("path " + strconv.Quote(text) + `: "." or "[" must follow "]"`)
		}
		rest = after
	}
}

// String returns the path as it was written.
func (p Path) String() string { return p.text }

// parseStep takes one step from the front of s.
func parseStep(s string) (st step, rest string, err error) {
	if strings.HasPrefix(s, "[") {
		return parseBracket(s)
	}
	var name []byte
	i := 0
	for ; i < len(s) && s[i] != '.' && s[i] != '['; i++ {
		if s[i] == ']' {
			return st, "", errors.New(`"]" without "["`)
		}
		if s[i] == '\\' {
			if i++; i == len(s) {
				return st, "", errors.New(`nothing follows "\"`)
			}
		}
		name = append(name, s[i])
	}
	if len(name) == 0 {
		return st, "", errors.New("a name is missing")
	}
	st = step{key: string(name), index: -1}
	if n, ok := arrayIndex(st.key); ok {
		st.index = n
	}
	return st, s[i:], nil
}

func parseBracket(s string) (st step, rest string, err error) {
	inside, rest, ok := strings.Cut(s[1:], "]")
	if !ok {
		return st, "", errors.New(`"[" without "]"`)
	}
	if inside == "*" {
		return step{any: true, index: -1}, rest, nil
	}
	n, ok := arrayIndex(inside)
	if !ok {
		return st, "", errors.New("[" + inside + "] is neither an index nor [*]")
	}
	return step{index: n}, rest, nil
}

func arrayIndex(s string) (int, bool) {
	if s == "" || len(s) > 9 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

func (s step) hasIndex(i int) bool { return s.any || s.index == i }

func (s step) hasKey(key []byte) bool {
	return s.key != "" && string(key) == s.key
}
