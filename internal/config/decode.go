package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// decoder carries values from the TOML library's tree into the structs. The
// library's own mapping stops at the first mistake, takes keys in the wrong
// case and has no place for unknown ones; this one goes on and reports all.
type decoder struct {
	source   *Source
	expander *expander
	problems *Problems
	config   *Config
}

// field is one key of a struct.
type field struct {
	index int
	table bool // takes a table: a struct or a map
}

// fieldsOf maps the keys of a struct type.
func fieldsOf(t reflect.Type) map[string]field {
	fields := make(map[string]field, t.NumField())
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("toml")
		if key == "" || key == "-" {
			continue
		}
		kind := t.Field(i).Type.Kind()
		fields[key] = field{i, kind == reflect.Struct || kind == reflect.Map}
	}
	return fields
}

// table decodes a TOML table into a struct.
func (d *decoder) table(path []string, table map[string]any, into reflect.Value) {
	fields := fieldsOf(into.Type())
	given := map[string]string{} // setting -> the key that gave it
	for _, name := range keysInOrder(into.Type(), table) {
		value := table[name]
		f, known := fields[name]
		sub, isTable := value.(map[string]any)
		switch {
		case known && (f.table || !isTable):
			d.field(path, name, name, given, value, into.Field(f.index))
		case isTable && d.dotted(path, name, sub, fields, given, into):
		case known:
			d.field(path, name, name, given, value, into.Field(f.index))
		default:
			d.unknown(path, name, isTable, into.Type())
		}
	}
}

// keysInOrder returns the known keys of table in the order of the struct, as
// [plugin.NAME] inherits from [plugins], and then the others.
func keysInOrder(t reflect.Type, table map[string]any) []string {
	keys := make([]string, 0, len(table))
	known := map[string]bool{}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("toml")
		known[key] = true
		if _, ok := table[key]; ok {
			keys = append(keys, key)
		}
	}
	for _, key := range sortedKeys(table) {
		if !known[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// field decodes one setting and refuses a second one of the same name.
func (d *decoder) field(path []string, setting, written string, given map[string]string, value any, into reflect.Value) {
	at := join(path, setting)
	if earlier, ok := given[setting]; ok {
		first, second := earlier, written
		d.problems.addAt(d.source.KeyAt(append(path[:len(path):len(path)], strings.Split(second, ".")...)...), at, Error,
			fmt.Sprintf("%q and %q are the same setting", first, second), "keep one of them")
		return
	}
	given[setting] = written
	d.value(at, value, into)
}

// dotted decodes Kafka's own names: linger.ms = 5, which TOML reads as a table
// linger with a key ms, is linger_ms. It reports false when the table is no
// such name.
func (d *decoder) dotted(path []string, name string, table map[string]any, fields map[string]field, given map[string]string, into reflect.Value) bool {
	leaves := leavesOf([]string{name}, table)
	n := d.source.find(join(path, name))
	isName := n != nil && n.dotted
	for _, leaf := range leaves {
		_, known := fields[strings.Join(leaf.path, "_")]
		isName = isName || known
	}
	if !isName {
		return false
	}
	for _, leaf := range leaves {
		setting, written := strings.Join(leaf.path, "_"), strings.Join(leaf.path, ".")
		f, known := fields[setting]
		if !known {
			d.unknownAt(append(path[:len(path):len(path)], leaf.path...), path, written, setting, false, into.Type())
			continue
		}
		if n := d.source.find(append(path[:len(path):len(path)], leaf.path...)); n != nil && given[setting] == "" {
			d.source.alias[joinPath(join(path, setting))] = n
		}
		d.field(path, setting, written, given, leaf.value, into.Field(f.index))
	}
	return true
}

type leaf struct {
	path  []string
	value any
}

// leavesOf lists the values of nested tables with their keys.
func leavesOf(path []string, table map[string]any) (leaves []leaf) {
	for _, key := range sortedKeys(table) {
		at := join(path, key)
		if sub, ok := table[key].(map[string]any); ok && len(sub) > 0 {
			leaves = append(leaves, leavesOf(at, sub)...)
			continue
		}
		leaves = append(leaves, leaf{at, table[key]})
	}
	return leaves
}

// value decodes any value into a field.
func (d *decoder) value(path []string, value any, into reflect.Value) {
	if into.Kind() == reflect.Pointer {
		target := reflect.New(into.Type().Elem())
		into.Set(target)
		into = target.Elem()
	}
	if t, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(path, value, t)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		if table, ok := value.(map[string]any); ok {
			d.table(path, table, into)
			return
		}
		d.wrongType(path, "a table "+tableName(path), value)
	case reflect.Map:
		d.named(path, value, into)
	case reflect.Slice:
		d.list(path, value, into)
	default:
		d.scalar(path, value, into)
	}
}

// named decodes tables under names, such as all [plugin.NAME], and free-form
// tables.
func (d *decoder) named(path []string, value any, into reflect.Value) {
	table, ok := value.(map[string]any)
	if !ok {
		d.wrongType(path, "tables "+tableName(join(path, "NAME")), value)
		return
	}
	if free, ok := into.Addr().Interface().(*map[string]any); ok {
		*free = d.freeTable(path, table)
		return
	}
	into.Set(reflect.MakeMapWithSize(into.Type(), len(table)))
	for _, name := range sortedKeys(table) {
		at := join(path, name)
		element := reflect.New(into.Type().Elem()).Elem()
		d.presetElement(element, name)
		if _, isTable := table[name].(map[string]any); element.Kind() == reflect.Struct && !isTable {
			d.problems.AddKey(at, Error, fmt.Sprintf("key %q stands directly in %s", name, tableName(path)),
				fmt.Sprintf("settings go into a named table, such as %s", tableName(join(path, "NAME"))))
			continue
		}
		if problem := badName(name); problem != "" {
			d.problems.AddKey(at, Error, fmt.Sprintf("%q is not a name: %s", name, problem), `use letters, digits, ".", "_" and "-"`)
		}
		d.value(at, table[name], element)
		into.SetMapIndex(reflect.ValueOf(name), element)
	}
}

// presetElement gives a named table its defaults.
func (d *decoder) presetElement(element reflect.Value, name string) {
	switch e := element.Addr().Interface().(type) {
	case *Plugin:
		*e = defaultPlugin(d.config.Plugins)
	case *Chain:
		*e = defaultChain()
	case *Pipeline:
		*e = defaultPipeline(name)
	case *State:
		*e = defaultState()
	}
}

// badName says what is wrong with the name of a plugin, chain, pipeline or
// state: names appear in metrics, logs, file names and on command lines.
func badName(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > 64:
		return "it is longer than 64 letters"
	case name[0] == '-' || name[0] == '.':
		return fmt.Sprintf("it starts with %q", name[:1])
	}
	for _, r := range name {
		if r > 127 || !isBareKeyByte(byte(r)) && r != '.' {
			return fmt.Sprintf("it holds %q", r)
		}
	}
	return ""
}

// freeTable returns a plugin's own table with the references in its strings
// replaced. What came from outside the file is kept as a Secret.
func (d *decoder) freeTable(path []string, table map[string]any) map[string]any {
	out := make(map[string]any, len(table))
	for _, key := range sortedKeys(table) {
		out[key] = d.free(join(path, key), table[key])
	}
	return out
}

func (d *decoder) free(path []string, value any) any {
	switch v := value.(type) {
	case string:
		s, found, ok := d.expand(path, v)
		if ok && found {
			return Secret(s)
		}
		return s
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			d.problems.Add(path, Error, fmt.Sprintf("%v cannot be given to a plugin", v), "use a finite number or a string")
		}
	case map[string]any:
		return d.freeTable(path, v)
	case []any:
		for i := range v {
			v[i] = d.free(join(path, strconv.Itoa(i)), v[i])
		}
	case []map[string]any:
		for i := range v {
			v[i] = d.freeTable(join(path, strconv.Itoa(i)), v[i])
		}
	}
	return value
}

func (d *decoder) list(path []string, value any, into reflect.Value) {
	list, ok := value.([]any)
	if !ok {
		suggestion := ""
		if s, isText := value.(string); isText && len(s) < 200 {
			suggestion = fmt.Sprintf("write [%q]", s)
		}
		d.problems.Add(path, Error, fmt.Sprintf("%s: want a list, found %s", pathName(path), typeName(value)), suggestion)
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
	for i, v := range list {
		d.value(join(path, strconv.Itoa(i)), v, into.Index(i))
	}
}

// text decodes into a type with rules of its own.
func (d *decoder) text(path []string, value any, into encoding.TextUnmarshaler) {
	written := ""
	switch v := value.(type) {
	case string:
		written = v
	case int64:
		if _, isNumber := into.(interface{ isNumber() }); !isNumber {
			d.wrongType(path, describe(into), value)
			return
		}
		written = strconv.FormatInt(v, 10)
	default:
		d.wrongType(path, describe(into), value)
		return
	}
	s, found, ok := d.expand(path, written)
	if !ok {
		return
	}
	if err := into.UnmarshalText([]byte(s)); err != nil {
		d.refused(path, written, found, err)
	}
}

// refused reports a value that its type does not take. A value from outside the
// file is not shown.
func (d *decoder) refused(path []string, written string, expanded bool, err error) {
	var e *valueError
	if !errors.As(err, &e) {
		e = &valueError{err.Error(), ""}
	}
	what, suggestion := e.what, e.suggestion
	if expanded {
		what, suggestion = fmt.Sprintf("what %q stands for is not right for this setting", written), ""
	}
	d.problems.Add(path, Error, pathName(path)+": "+what, suggestion)
}

func (d *decoder) scalar(path []string, value any, into reflect.Value) {
	s, isText := value.(string)
	found := false
	if isText {
		var ok bool
		if s, found, ok = d.expand(path, s); !ok {
			return
		}
	}
	switch into.Kind() {
	case reflect.String:
		if isText {
			into.SetString(s)
			return
		}
		d.wrongType(path, "a string", value)
	case reflect.Bool:
		b, ok := value.(bool)
		if found {
			parsed, err := strconv.ParseBool(s)
			b, ok = parsed, err == nil
		}
		if ok {
			into.SetBool(b)
			return
		}
		d.wrongType(path, "true or false", value)
	default:
		n, ok := value.(int64)
		if found {
			parsed, err := strconv.ParseInt(s, 10, 64)
			n, ok = parsed, err == nil
		}
		if !ok {
			d.wrongType(path, "a whole number", value)
			return
		}
		if into.OverflowInt(n) {
			d.problems.Add(path, Error, fmt.Sprintf("%s: %d is out of range", pathName(path), n), "")
			return
		}
		into.SetInt(n)
	}
}

// expand replaces the references of a string, and reports what cannot be.
func (d *decoder) expand(path []string, s string) (out string, found, ok bool) {
	out, found, err := d.expander.expand(s)
	if err == nil {
		if found {
			d.problems.hide(out, s)
		}
		return out, found, true
	}
	var e *valueError
	errors.As(err, &e)
	d.problems.Add(path, Error, pathName(path)+": "+e.what, e.suggestion)
	return s, found, false
}

func (d *decoder) wrongType(path []string, want string, value any) {
	suggestion := ""
	switch v := value.(type) {
	case int64:
		if want == "a string" {
			suggestion = fmt.Sprintf("write \"%d\"", v)
		}
	case string:
		if _, err := strconv.ParseInt(v, 10, 64); err == nil && want == "a whole number" || v == "true" || v == "false" {
			suggestion = "write " + v + " without quotes"
		}
	}
	if isSecretKey(path[len(path)-1]) {
		suggestion = ""
	}
	d.problems.Add(path, Error, fmt.Sprintf("%s: want %s, found %s", pathName(path), want, typeName(value)), suggestion)
}

// typeName names the TOML type of a value.
func typeName(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case time.Time:
		return "a datetime"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	}
	return "a list"
}

// isNumber marks the types that take plain numbers too.
func (d *Duration) isNumber() {}
func (z *Size) isNumber()     {}
func (a *Acks) isNumber()     {}

// describe says what a type with rules takes.
func describe(t encoding.TextUnmarshaler) string {
	switch t.(type) {
	case *Duration:
		return `a duration such as "5ms", or a whole number of milliseconds`
	case *Size:
		return `a size such as "16KiB", or a whole number of bytes`
	case *Acks:
		return `"all", 1 or 0`
	}
	return "a string"
}

// join returns path with one more part, in memory of its own.
func join(path []string, part string) []string {
	return append(path[:len(path):len(path)], part)
}
