// Package recordio writes records as text and reads them back: as lines of
// JSON, byte for byte; as plain lines, the key before a delimiter; and by a
// format string, which is for people and cannot be read back.
//
// One record as JSON, on one line:
//
//	{"topic":"t","partition":0,"offset":7,"timestamp":1517363399650,
//	 "key":"k","value":"v","headers":[{"key":"h","value":null}]}
//
// Key and value stand under "key" and "value" as text where they are valid
// UTF-8, else under "key_base64" and "value_base64"; null, or absence, is Kafka's
// null, and "" is an empty byte string. Headers keep their order and may repeat;
// each has its key and value in the same way. The timestamp is in milliseconds
// since 1970.
//
// Functions and Format are safe for concurrent use; a Reader is not.
package recordio

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"github.com/klamm-io/klamm"
)

// AppendJSON appends rec as one line of JSON, newline included. ParseJSON gives
// back the same record, but for Target and LeaderEpoch, which say nothing about
// where a record came from, and for what a timestamp has below the millisecond.
func AppendJSON(dst []byte, rec *klamm.Record) []byte {
	dst = appendMember(append(dst, '{'), "topic", []byte(rec.Topic))
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(rec.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, rec.Offset, 10)
	if !rec.Timestamp.IsZero() {
		dst = append(dst, `,"timestamp":`...)
		dst = strconv.AppendInt(dst, rec.Timestamp.UnixMilli(), 10)
	}
	dst = appendMember(append(dst, ','), "key", rec.Key)
	dst = appendMember(append(dst, ','), "value", rec.Value)
	dst = append(dst, `,"headers":[`...)
	for i, h := range rec.Headers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendMember(append(dst, '{'), "key", []byte(h.Key))
		dst = append(appendMember(append(dst, ','), "value", h.Value), '}')
	}
	return append(dst, "]}\n"...)
}

// appendMember appends "name":"text", "name_base64":"..." for bytes that are no
// text, or "name":null.
func appendMember(dst []byte, name string, b []byte) []byte {
	dst = append(append(dst, '"'), name...)
	switch {
	case b == nil && (name == "key" || name == "value"):
		return append(dst, `":null`...)
	case utf8.Valid(b):
		return appendText(append(dst, `":`...), b)
	}
	dst = append(dst, `_base64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

const hexDigits = "0123456789abcdef"

// appendText appends valid UTF-8 as a JSON string. Nothing but quotes,
// backslashes and control characters is escaped, and U+2028 and U+2029, which
// some readers take for line ends.
func appendText(dst, text []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c < ' ' || c == 0x7f:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
		case c == 0xe2 && i+2 < len(text) && text[i+1] == 0x80 && text[i+2]&^1 == 0xa8:
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[text[i+2]&15])
			i += 2
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}
