package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// valueError is a value that a type refuses, and what to write instead.
type valueError struct{ what, suggestion string }

func (e *valueError) Error() string {
	if e.suggestion == "" {
		return e.what
	}
	return e.what + "; " + e.suggestion
}

// UnmarshalText reads "5ms", "1m30s" or a plain number of milliseconds.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n < 0 || n > math.MaxInt64/int64(time.Millisecond) {
			return &valueError{fmt.Sprintf("%s ms is out of range", s), ""}
		}
		*d = Duration(n) * Duration(time.Millisecond)
		return nil
	}
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return &valueError{fmt.Sprintf("%q is not a duration", s), `write a number and a unit, such as "5ms", "30s" or "1h"`}
	case v < 0:
		return &valueError{fmt.Sprintf("%q is negative", s), ""}
	}
	*d = Duration(v)
	return nil
}

// String writes d with units and without empty ones: "2m", not "2m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText is the inverse of UnmarshalText.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// UnmarshalText reads "16KiB", "1MiB", "1GiB" or a plain number of bytes.
func (z *Size) UnmarshalText(text []byte) error {
	s := string(text)
	digits := s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
	unit := strings.TrimSpace(s[len(digits):])
	factor := int64(1)
	if unit != "" {
		factor = 0
		for _, u := range sizeUnits {
			if u.name == unit {
				factor = u.bytes
			}
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case factor == 0 && err == nil:
		return unknownUnit(s, digits, unit)
	case errors.Is(err, strconv.ErrRange) || err == nil && n > math.MaxInt64/factor:
		return &valueError{fmt.Sprintf("%q is out of range", s), ""}
	case err != nil:
		return &valueError{fmt.Sprintf("%q is not a size", s), `write "16KiB", "1MiB" or a plain number of bytes`}
	}
	*z = Size(n * factor)
	return nil
}

// unknownUnit tells 16KB from 16KiB: the first is 16,000 for some and 16,384
// for others, and Kafka's settings are exact.
func unknownUnit(s, digits, unit string) error {
	for _, u := range sizeUnits[:3] {
		if strings.EqualFold(unit[:1], u.name[:1]) && len(unit) <= 3 {
			if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n <= math.MaxInt64/u.bytes {
				return &valueError{
					fmt.Sprintf("%q is not a size Kafka can use exactly", s),
					fmt.Sprintf("use \"%s%s\" (%d) or a plain number of bytes", digits, u.name, n*u.bytes),
				}
			}
		}
	}
	return &valueError{fmt.Sprintf("%q has no unit of size", s), `use "KiB", "MiB", "GiB" or a plain number of bytes`}
}

// String writes z in the largest unit that needs no fraction.
func (z Size) String() string {
	for _, u := range sizeUnits[:3] {
		if z != 0 && int64(z)%u.bytes == 0 {
			return strconv.FormatInt(int64(z)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(z), 10)
}

// MarshalText is the inverse of UnmarshalText.
func (z Size) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// Redacted stands for a Secret wherever one is printed.
const Redacted = "[redacted]"

// Reveal returns the secret itself. What it returns must not be printed.
func (s Secret) Reveal() string { return string(s) }

// String returns Redacted, or "" where there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Redacted
}

// GoString returns what %#v prints.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// Format redacts s under every verb, %x and %q among them.
func (s Secret) Format(f fmt.State, verb rune) {
	if verb == 'q' || verb == 'v' && f.Flag('#') {
		fmt.Fprint(f, s.GoString())
		return
	}
	fmt.Fprint(f, s.String())
}

// MarshalText redacts s in JSON, TOML, XML and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON redacts s.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(s.String())), nil }

// LogValue redacts s in log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// UnmarshalText takes the text as it is.
func (s *Secret) UnmarshalText(text []byte) error { *s = Secret(text); return nil }

// Acknowledgements that the producer waits for.
const (
	AcksAll    Acks = -1 // of all replicas in sync
	AcksNone   Acks = 0
	AcksLeader Acks = 1
)

var acksWords = []string{"all", "1", "0"}

// UnmarshalText reads "all" (or -1), 0 and 1.
func (a *Acks) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case "all", "-1":
		*a = AcksAll
	case "0":
		*a = AcksNone
	case "1":
		*a = AcksLeader
	default:
		return &valueError{fmt.Sprintf("%q is none of \"all\", 1, 0", s), ""}
	}
	return nil
}

// String returns "all", "0" or "1".
func (a Acks) String() string {
	if a == AcksAll {
		return "all"
	}
	return strconv.Itoa(int(a))
}

// MarshalText is the inverse of UnmarshalText.
func (a Acks) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Kafka's codecs.
const (
	CompressionNone   Compression = 0
	CompressionGzip   Compression = 1
	CompressionSnappy Compression = 2
	CompressionLZ4    Compression = 3
	CompressionZstd   Compression = 4
)

var compressionNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// UnmarshalText reads a codec's name.
func (c *Compression) UnmarshalText(text []byte) error {
	for i, name := range compressionNames {
		if name == string(text) {
			*c = Compression(i)
			return nil
		}
	}
	return notOneOf(string(text), compressionNames)
}

// String returns the codec's name.
func (c Compression) String() string {
	if c < 0 || int(c) >= len(compressionNames) {
		return "compression(" + strconv.Itoa(int(c)) + ")"
	}
	return compressionNames[c]
}

// MarshalText is the inverse of UnmarshalText.
func (c Compression) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// The words of the settings that choose one of several.
var (
	offsetResets        = []string{"earliest", "latest", "none"}
	transports          = []string{"klamm", string(TransportSarama)}
	metadataRecoveries  = []string{"rebootstrap", "none"}
	isolationLevels     = []string{"read_committed", "read_uncommitted"}
	groupProtocols      = []string{"classic", string(ConsumerProtocol)}
	assignors           = []string{"range", "sticky", "cooperative-sticky"}
	onErrors            = []string{string(Fail), string(Pass), string(Drop), string(DeadLetter)}
	partitionerOnErrors = []string{"default", "fail"}
	onUnknowns          = []string{"release", "hold"}
	guarantees          = []string{"at_least_once", string(ExactlyOnce)}
)

// UnmarshalText reads earliest, latest or none.
func (v *OffsetReset) UnmarshalText(text []byte) error { return setWord(v, text, offsetResets) }

// UnmarshalText reads klamm or sarama.
func (v *Transport) UnmarshalText(text []byte) error { return setWord(v, text, transports) }

// UnmarshalText reads rebootstrap or none.
func (v *MetadataRecovery) UnmarshalText(text []byte) error {
	return setWord(v, text, metadataRecoveries)
}

// UnmarshalText reads read_committed or read_uncommitted.
func (v *IsolationLevel) UnmarshalText(text []byte) error { return setWord(v, text, isolationLevels) }

// UnmarshalText reads classic or consumer.
func (v *GroupProtocol) UnmarshalText(text []byte) error { return setWord(v, text, groupProtocols) }

// UnmarshalText reads range, sticky or cooperative-sticky.
func (v *Assignor) UnmarshalText(text []byte) error { return setWord(v, text, assignors) }

// UnmarshalText reads fail, pass, drop or dead_letter.
func (v *OnError) UnmarshalText(text []byte) error { return setWord(v, text, onErrors) }

// UnmarshalText reads default or fail.
func (v *PartitionerOnError) UnmarshalText(text []byte) error {
	return setWord(v, text, partitionerOnErrors)
}

// UnmarshalText reads release or hold.
func (v *OnUnknown) UnmarshalText(text []byte) error { return setWord(v, text, onUnknowns) }

// UnmarshalText reads at_least_once or exactly_once.
func (v *Guarantee) UnmarshalText(text []byte) error { return setWord(v, text, guarantees) }

func setWord[T ~string](v *T, text []byte, words []string) error {
	for _, w := range words {
		if w == string(text) {
			*v = T(w)
			return nil
		}
	}
	return notOneOf(string(text), words)
}

func notOneOf(s string, words []string) *valueError {
	e := &valueError{what: fmt.Sprintf("%q is none of %s", s, quoteList(words))}
	if n := nearest(s, words); n != "" {
		e.suggestion = fmt.Sprintf("did you mean %q?", n)
	}
	return e
}

func quoteList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	return strings.Join(quoted, ", ")
}
