package plugin

import (
	"errors"
	"slices"
	"strconv"
)

// bind gives the settings their values from the plugin's table, and returns
// every problem.
func bind(table []byte) (problems []error) {
	for _, s := range reg.settings {
		s.reset()
	}
	if space(table, 0) == len(table) {
		table = []byte("{}")
	}
	wrong := map[string]bool{}
	err := eachMember(table, func(name string, raw []byte) error {
		s := settingOf(name)
		if s == nil {
			problems = append(problems, unknownKey(name))
		} else if err := s.bind(raw); err != nil {
			wrong[name] = true
			problems = append(problems, keyError(name, err))
		}
		return nil
	})
	if err != nil {
		return append(problems, errors.New("configuration table: "+err.Error()))
	}
	for _, s := range reg.settings {
		if wrong[s.key()] {
			continue
		}
		if err := s.finish(); err != nil {
			problems = append(problems, keyError(s.key(), err))
		}
	}
	return problems
}

func settingOf(name string) setting {
	i := slices.IndexFunc(reg.settings, func(s setting) bool { return s.key() == name })
	if i < 0 {
		return nil
	}
	return reg.settings[i]
}

func keyError(name string, err error) error {
	return errors.New("config key " + strconv.Quote(name) + ": " + err.Error())
}

func unknownKey(name string) error {
	known := make([]string, len(reg.settings))
	for i, s := range reg.settings {
		known[i] = s.key()
	}
	slices.Sort(known)
	hint := didYouMean(name, known)
	if hint == "" {
		hint = "; this plugin has none"
		for i, k := range known {
			if i == 0 {
				hint = "; known are "
			} else {
				hint += ", "
			}
			hint += k
		}
	}
	return errors.New("unknown config key " + strconv.Quote(name) + hint)
}

// didYouMean returns `; did you mean "..."?`, or "" when nothing known is near.
func didYouMean(word string, known []string) string {
	best, least := "", 3
	if len(word) < 4 {
		least = 2
	}
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + strconv.Quote(best) + "?"
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make a into b.
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// eachMember calls f with every member of the object table, in order.
func eachMember(table []byte, f func(name string, raw []byte) error) error {
	return eachPart(table, '{', func(doc []byte, at int) (int, error) {
		if at >= len(doc) || doc[at] != '"' {
			return 0, jsonError(at, "a name in quotes is missing")
		}
		end, _, err := stringEnd(doc, at)
		if err != nil {
			return 0, err
		}
		name, _ := JSONString(doc[at:end])
		at = space(doc, end)
		if at >= len(doc) || doc[at] != ':' {
			return 0, jsonError(at, `":" expected`)
		}
		at = space(doc, at+1)
		if end, err = valueEnd(doc, at); err != nil {
			return 0, err
		}
		return end, f(string(name), doc[at:end])
	})
}

// eachElement calls f with every element of the array list.
func eachElement(list []byte, f func(raw []byte) error) error {
	return eachPart(list, '[', func(doc []byte, at int) (int, error) {
		end, err := valueEnd(doc, at)
		if err != nil {
			return 0, err
		}
		return end, f(doc[at:end])
	})
}

// eachPart walks over what the commas of an object or array keep apart.
func eachPart(doc []byte, opening byte, part func(doc []byte, at int) (end int, err error)) error {
	at := space(doc, 0)
	if at >= len(doc) || doc[at] != opening {
		return jsonError(at, `"`+string(rune(opening))+`" expected`)
	}
	if at = space(doc, at+1); at < len(doc) && doc[at] == closing(opening == '{') {
		return trailing(doc, at+1)
	}
	for {
		end, err := part(doc, at)
		if err != nil {
			return err
		}
		at = space(doc, end)
		switch {
		case at < len(doc) && doc[at] == ',':
			at = space(doc, at+1)
		case at < len(doc) && doc[at] == closing(opening == '{'):
			return trailing(doc, at+1)
		default:
			return jsonError(at, `"," or a closing bracket expected`)
		}
	}
}

func trailing(doc []byte, at int) error {
	if at = space(doc, at); at < len(doc) {
		return jsonError(at, "something follows the value")
	}
	return nil
}

// valueEnd returns where the value at at ends. What is inside of an array or
// object is left to the setting that parses it.
func valueEnd(doc []byte, at int) (end int, err error) {
	if at >= len(doc) {
		return 0, jsonError(at, "a value expected")
	}
	switch doc[at] {
	case '{', '[':
		return bracketEnd(doc, at)
	case '"':
		end, _, err = stringEnd(doc, at)
		return end, err
	case 't':
		return literal(doc, at, "true")
	case 'f':
		return literal(doc, at, "false")
	case 'n':
		return literal(doc, at, "null")
	}
	return numberEnd(doc, at)
}

// bracketEnd returns where the bracket that opens at at is closed.
func bracketEnd(doc []byte, at int) (int, error) {
	level := 0
	for i := at; i < len(doc); i++ {
		switch doc[i] {
		case '"':
			end, _, err := stringEnd(doc, i)
			if err != nil {
				return 0, err
			}
			i = end - 1
		case '{', '[':
			level++
		case '}', ']':
			if level--; level == 0 {
				return i + 1, nil
			}
		}
	}
	return 0, jsonError(len(doc), "unexpected end")
}
