package plugin

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting is one key of the plugin's table in the configuration, of type T. It
// has its value once the instance starts: in OnInit and in hooks.
type Setting[T any] struct {
	name     string
	def, v   T
	set      bool
	required bool
	parse    func(raw []byte) (T, error)
	checks   []func(T) error
}

// Get returns the value, the default when the configuration has none.
func (s *Setting[T]) Get() T { return s.v }

// IsSet reports whether the configuration has the key.
func (s *Setting[T]) IsSet() bool { return s.set }

// Required makes a configuration without the key an error.
func (s *Setting[T]) Required() *Setting[T] {
	s.required = true
	return s
}

// Check adds a rule. Its error is shown behind the name of the key.
func (s *Setting[T]) Check(rule func(T) error) *Setting[T] {
	s.checks = append(s.checks, rule)
	return s
}

// Duration declares a setting such as "10m" or "1h30m"; a plain number is in
// milliseconds, Kafka's unit. Like all settings it is declared while the program
// starts.
func Duration(name string, def time.Duration) *Setting[time.Duration] {
	return add(&Setting[time.Duration]{name: name, def: def, parse: parseDuration})
}

// Int declares a setting that is a whole number.
func Int(name string, def int64) *Setting[int64] {
	return add(&Setting[int64]{name: name, def: def, parse: parseInt})
}

// Float declares a setting that is a number.
func Float(name string, def float64) *Setting[float64] {
	return add(&Setting[float64]{name: name, def: def, parse: parseFloat})
}

// Bool declares a setting that is true or false.
func Bool(name string, def bool) *Setting[bool] {
	return add(&Setting[bool]{name: name, def: def, parse: parseBool})
}

// String declares a setting that is a string.
func String(name string, def string) *Setting[string] {
	return add(&Setting[string]{name: name, def: def, parse: parseString})
}

// Strings declares a setting that is a list of strings; a single string is a
// list of one.
func Strings(name string, def ...string) *Setting[[]string] {
	return add(&Setting[[]string]{name: name, def: def, parse: parseStrings})
}

// Size declares a setting in bytes: "16KiB", "1MiB", or a plain number.
func Size(name string, def int64) *Setting[int64] {
	return add(&Setting[int64]{name: name, def: def, parse: parseSize})
}

// OneOf is a rule for String: the value is one of those.
func OneOf(values ...string) func(string) error {
	return func(v string) error {
		if slices.Contains(values, v) {
			return nil
		}
		return errors.New(strconv.Quote(v) + " is none of " + strings.Join(values, ", ") + didYouMean(v, values))
	}
}

// Positive is a rule for numbers and durations: the value is above zero.
func Positive[T int64 | float64 | time.Duration](v T) error {
	if v > 0 {
		return nil
	}
	return errors.New("must be above 0")
}

// setting is a Setting of any type, as bind sees it.
type setting interface {
	key() string
	reset()
	bind(raw []byte) error
	finish() error
}

func add[T any](s *Setting[T]) *Setting[T] {
	s.v = s.def
	reg.settings = append(reg.settings, s)
	return s
}

func (s *Setting[T]) key() string { return s.name }

func (s *Setting[T]) reset() { s.v, s.set = s.def, false }

func (s *Setting[T]) bind(raw []byte) (err error) {
	s.set = true
	s.v, err = s.parse(raw)
	return err
}

func (s *Setting[T]) finish() error {
	if s.required && !s.set {
		return errors.New("is required")
	}
	for _, rule := range s.checks {
		if err := rule(s.v); err != nil {
			return err
		}
	}
	return nil
}

func wrong(raw []byte, want string) error {
	return errors.New(cut(string(raw), 60) + " is not " + want)
}

func parseString(raw []byte) (string, error) {
	s, ok := JSONString(raw)
	if !ok {
		return "", wrong(raw, "a string")
	}
	return string(s), nil
}

func parseStrings(raw []byte) ([]string, error) {
	if s, ok := JSONString(raw); ok {
		return []string{string(s)}, nil
	}
	list := []string{}
	err := eachElement(raw, func(element []byte) error {
		s, err := parseString(element)
		list = append(list, s)
		return err
	})
	if err != nil {
		return nil, wrong(raw, "a list of strings")
	}
	return list, nil
}

func parseBool(raw []byte) (bool, error) {
	switch string(raw) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, wrong(raw, "true or false")
}

func parseInt(raw []byte) (int64, error) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, wrong(raw, "a whole number")
	}
	return n, nil
}

func parseFloat(raw []byte) (float64, error) {
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || raw[0] == '"' {
		return 0, wrong(raw, "a number")
	}
	return f, nil
}

func parseDuration(raw []byte) (time.Duration, error) {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		if n > math.MaxInt64/int64(time.Millisecond) || n < math.MinInt64/int64(time.Millisecond) {
			return 0, wrong(raw, "a duration of less than 292 years")
		}
		return time.Duration(n) * time.Millisecond, nil
	}
	if s, ok := JSONString(raw); ok {
		if d, err := time.ParseDuration(string(s)); err == nil {
			return d, nil
		}
	}
	return 0, wrong(raw, `a duration, as "500ms", "10m" or "24h"`)
}

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"KiB", KiB}, {"MiB", MiB}, {"GiB", 1 << 30}, {"B", 1}, {"", 1}}

func parseSize(raw []byte) (int64, error) {
	s, ok := JSONString(raw)
	if !ok {
		s = raw
	}
	for _, u := range sizeUnits {
		number, found := strings.CutSuffix(string(s), u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			break
		}
		return n * u.bytes, nil
	}
	return 0, wrong(raw, `a size, as "16KiB" or "1MiB"`)
}
