package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// PluginJSON writes a plugin's table as the JSON object that the plugin gets:
// keys sorted, integers with all their digits, TOML datetimes as RFC 3339
// strings (local ones without an offset, as they were written), secrets in
// clear. Infinity and not-a-number have no JSON and are refused. A nil table is
// the empty object.
func PluginJSON(table map[string]any) ([]byte, error) {
	var b bytes.Buffer
	if err := writeTable(&b, "config", table); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// PluginSecrets returns the secrets in a plugin's table, in any order: strings
// with something from outside of the file.
func PluginSecrets(table map[string]any) (found [][]byte) {
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case Secret:
			found = append(found, []byte(v.Reveal()))
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(table)
	return found
}

func writeTable(b *bytes.Buffer, at string, table map[string]any) error {
	b.WriteByte('{')
	for i, key := range sortedKeys(table) {
		if i > 0 {
			b.WriteByte(',')
		}
		writeText(b, key)
		b.WriteByte(':')
		if err := writeValue(b, at+"."+key, table[key]); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeValue(b *bytes.Buffer, at string, v any) error {
	switch v := v.(type) {
	case string:
		writeText(b, v)
	case Secret:
		writeText(b, v.Reveal())
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case int:
		b.WriteString(strconv.Itoa(v))
	case float64:
		return writeFloat(b, at, v)
	case time.Time:
		writeText(b, datetime(v))
	case map[string]any:
		return writeTable(b, at, v)
	case []any:
		return writeList(b, at, v)
	case []string:
		return writeList(b, at, v)
	case []map[string]any:
		return writeList(b, at, v)
	default:
		return fmt.Errorf("%s: a %T has no place in a plugin's table; use strings, numbers, booleans, times, lists and tables", at, v)
	}
	return nil
}

func writeList[T any](b *bytes.Buffer, at string, list []T) error {
	b.WriteByte('[')
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := writeValue(b, fmt.Sprintf("%s[%d]", at, i), v); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func writeFloat(b *bytes.Buffer, at string, v float64) error {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return fmt.Errorf("%s: %v cannot be given to a plugin; use a finite number or a string", at, v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	b.Write(text)
	if !bytes.ContainsAny(text, ".e") {
		b.WriteString(".0") // it stays a float for readers that tell 1 from 1.0
	}
	return nil
}

// writeText writes s as a JSON string; "<" and its like stay as they are.
func writeText(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)         // a string always encodes, and a Buffer always takes it
	b.Truncate(b.Len() - 1) // Encode ends with a newline
}

// The TOML library marks local datetimes by the names of their locations.
var localLayouts = map[string]string{
	"datetime-local": "2006-01-02T15:04:05.999999999",
	"date-local":     "2006-01-02",
	"time-local":     "15:04:05.999999999",
}

func datetime(t time.Time) string {
	if layout, ok := localLayouts[t.Location().String()]; ok {
		return t.Format(layout)
	}
	return t.Format(time.RFC3339Nano)
}
