// Package jsonrec writes records as lines of JSON and reads them back byte for
// byte: null and empty stay apart, headers keep their order and repeat, and
// bytes that are no UTF-8 go as base64.
//
//	{"topic":"t","partition":0,"offset":7,"timestamp":1517363399650,
//	 "key":"k","value":"v","headers":[{"key":"h","value":null}]}
//
// Key and value stand under "key" and "value" as text, or under "key_base64"
// and "value_base64"; null or absence is Kafka's null. A header does the same.
package jsonrec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/klamm-io/klamm"
)

// Append appends rec as one line of JSON, newline included.
func Append(dst []byte, rec *klamm.Record) []byte {
	dst = append(dst, `{"topic":`...)
	dst = appendString(dst, rec.Topic)
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(rec.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, rec.Offset, 10)
	if !rec.Timestamp.IsZero() {
		dst = append(dst, `,"timestamp":`...)
		dst = strconv.AppendInt(dst, rec.Timestamp.UnixMilli(), 10)
	}
	dst = appendBytes(append(dst, ','), "key", rec.Key)
	dst = appendBytes(append(dst, ','), "value", rec.Value)
	dst = append(dst, `,"headers":[`...)
	for i, h := range rec.Headers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendHeader(dst, h)
	}
	return append(dst, "]}\n"...)
}

func appendHeader(dst []byte, h klamm.Header) []byte {
	dst = append(dst, '{')
	if utf8.ValidString(h.Key) {
		dst = append(dst, `"key":`...)
		dst = appendString(dst, h.Key)
	} else {
		dst = append(dst, `"key_base64":`...)
		dst = appendBase64(dst, []byte(h.Key))
	}
	return append(appendBytes(append(dst, ','), "value", h.Value), '}')
}

// appendBytes appends a member of the name, or of name_base64 where the bytes
// are no text.
func appendBytes(dst []byte, name string, b []byte) []byte {
	dst = append(append(dst, '"'), name...)
	switch {
	case b == nil:
		return append(dst, `":null`...)
	case utf8.Valid(b):
		return appendString(append(dst, `":`...), string(b))
	}
	return appendBase64(append(dst, `_base64":`...), b)
}

func appendBase64(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

func appendString(dst []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // "<" stays readable; there is no HTML here
	_ = enc.Encode(s)        // a string cannot fail
	return append(dst, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// Parse reads one line that Append wrote, or a person: any member may be left
// out, and a key or value that is an object, array, number or boolean stands
// for its own JSON text. Without "timestamp" it is zero, the time of Send.
//
// Unknown and repeated members are errors, and so is text that JSON would
// change on the way: invalid UTF-8 and lone surrogates.
func Parse(line []byte) (*klamm.Record, error) {
	if err := textSurvives(line); err != nil {
		return nil, err
	}
	rec := &klamm.Record{Partition: klamm.NoPartition, Offset: klamm.NoOffset}
	err := members(line, func(name string, raw json.RawMessage) error {
		switch name {
		case "topic":
			return stringMember(raw, &rec.Topic)
		case "partition":
			return json.Unmarshal(raw, &rec.Partition)
		case "offset":
			return json.Unmarshal(raw, &rec.Offset)
		case "timestamp":
			return timestamp(raw, &rec.Timestamp)
		case "key", "key_base64":
			return bytesMember(name, raw, &rec.Key)
		case "value", "value_base64":
			return bytesMember(name, raw, &rec.Value)
		case "headers":
			return headers(raw, &rec.Headers)
		}
		return errUnknown
	})
	if err != nil {
		return nil, err
	}
	return rec, nil
}

var errUnknown = errors.New("unknown member; known are topic, partition, offset, timestamp, key, value, headers, and key_base64 and value_base64 for bytes that are no text")

// members calls each for every member of a JSON object and refuses members
// that repeat, "x" beside "x_base64" included.
func members(object []byte, each func(name string, raw json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(object))
	if err := delim(dec, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return plain(err)
		}
		name, _ := token.(string) // inside an object it is one
		base, _ := bytes.CutSuffix([]byte(name), []byte("_base64"))
		if seen[string(base)] {
			return fmt.Errorf("%q stands there twice", base)
		}
		seen[string(base)] = true
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return plain(err)
		}
		if err := each(name, raw); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	if err := delim(dec, '}'); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more follows after the object")
	}
	return nil
}

func delim(dec *json.Decoder, want json.Delim) error {
	token, err := dec.Token()
	if err != nil {
		return plain(err)
	}
	if token != want {
		return fmt.Errorf("no JSON object: it starts with %v", token)
	}
	return nil
}

// plain says where the JSON breaks off instead of "unexpected EOF".
func plain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON breaks off at the end of the line")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("no JSON at byte %d: %w", syntax.Offset, err)
	}
	return err
}

func stringMember(raw json.RawMessage, into *string) error {
	if raw[0] != '"' {
		return errors.New("no string")
	}
	return json.Unmarshal(raw, into)
}

func timestamp(raw json.RawMessage, into *time.Time) error {
	var ms int64
	if err := json.Unmarshal(raw, &ms); err != nil {
		return errors.New("no integer of milliseconds since 1970")
	}
	*into = time.UnixMilli(ms)
	return nil
}

func bytesMember(name string, raw json.RawMessage, into *[]byte) error {
	encoded := len(name) > len("_base64") && name[len(name)-len("_base64"):] == "_base64"
	switch {
	case encoded && raw[0] != '"':
		return errors.New("no string of base64")
	case encoded:
		return decodeBase64(raw, into)
	case string(raw) == "null":
		*into = nil
		return nil
	case raw[0] != '"':
		*into = bytes.Clone(raw)
		return nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	*into = []byte(s)
	return nil
}

func decodeBase64(raw json.RawMessage, into *[]byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return fmt.Errorf("no base64: %w", err)
	}
	*into = b
	return nil
}

func headers(raw json.RawMessage, into *[]klamm.Header) error {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return errors.New(`no list of {"key":..., "value":...}`)
	}
	for i, item := range list {
		h, err := header(item)
		if err != nil {
			return fmt.Errorf("header %d: %w", i, err)
		}
		*into = append(*into, h)
	}
	return nil
}

func header(raw json.RawMessage) (klamm.Header, error) {
	var h klamm.Header
	keyed := false
	err := members(raw, func(name string, raw json.RawMessage) error {
		switch name {
		case "key":
			keyed = true
			return stringMember(raw, &h.Key)
		case "key_base64":
			keyed = true
			var key []byte
			err := bytesMember(name, raw, &key)
			h.Key = string(key)
			return err
		case "value", "value_base64":
			return bytesMember(name, raw, &h.Value)
		}
		return errors.New("unknown member; a header has key and value, or key_base64 and value_base64")
	})
	if err == nil && !keyed {
		err = errors.New(`no "key"`)
	}
	return h, err
}

// textSurvives refuses what encoding/json would silently turn into U+FFFD.
func textSurvives(line []byte) error {
	if !utf8.Valid(line) {
		return errors.New("no valid UTF-8; give such bytes as key_base64 or value_base64")
	}
	for i := 0; i+5 < len(line); i++ {
		if line[i] != '\\' {
			continue
		}
		if line[i+1] != 'u' {
			i++ // an escape of two bytes
			continue
		}
		switch surrogate(line[i:]) {
		case high:
			if i+11 < len(line) && line[i+6] == '\\' && line[i+7] == 'u' && surrogate(line[i+6:]) == low {
				i += 11
				continue
			}
			return fmt.Errorf("a lone surrogate at byte %d is no text; use key_base64 or value_base64", i)
		case low:
			return fmt.Errorf("a lone surrogate at byte %d is no text; use key_base64 or value_base64", i)
		}
		i += 5
	}
	return nil
}

const (
	none = iota
	high
	low
)

// surrogate classes the escape \uXXXX that b starts with.
func surrogate(b []byte) int {
	r, err := strconv.ParseUint(string(b[2:6]), 16, 32)
	switch {
	case err != nil || r < 0xD800 || r > 0xDFFF:
		return none
	case r < 0xDC00:
		return high
	}
	return low
}
