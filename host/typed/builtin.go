package typed

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

var errNull = errors.New("it is null; use Nullable where null is a value")

// Bytes leaves bytes as they are. nil is null.
func Bytes() Serde[[]byte] {
	return Func(func(_ *Field, v []byte) ([]byte, error) { return v, nil },
		func(_ *Field, b []byte) ([]byte, error) { return b, nil })
}

// String is text in UTF-8, as Kafka's StringSerializer writes it by default. It
// refuses other bytes and null.
func String() Serde[string] {
	return Func(func(_ *Field, v string) ([]byte, error) {
		if !utf8.ValidString(v) {
			return nil, errors.New("it is not UTF-8; use Bytes")
		}
		return []byte(v), nil
	}, func(_ *Field, b []byte) (string, error) {
		switch {
		case b == nil:
			return "", errNull
		case !utf8.Valid(b):
			return "", errors.New("it is not UTF-8; use Bytes")
		}
		return string(b), nil
	})
}

// number is a serde of size bytes, big-endian.
func number[T any](size int, to func([]byte, T), from func([]byte) T) Serde[T] {
	return Func(func(_ *Field, v T) ([]byte, error) {
		b := make([]byte, size)
		to(b, v)
		return b, nil
	}, func(_ *Field, b []byte) (zero T, err error) {
		switch {
		case b == nil:
			return zero, errNull
		case len(b) != size:
			return zero, fmt.Errorf("it has %d bytes, want %d", len(b), size)
		}
		return from(b), nil
	})
}

// Int16 is Kafka's ShortSerializer: two bytes, big-endian.
func Int16() Serde[int16] {
	return number(2, func(b []byte, v int16) { binary.BigEndian.PutUint16(b, uint16(v)) },
		func(b []byte) int16 { return int16(binary.BigEndian.Uint16(b)) })
}

// Int32 is Kafka's IntegerSerializer: four bytes, big-endian.
func Int32() Serde[int32] {
	return number(4, func(b []byte, v int32) { binary.BigEndian.PutUint32(b, uint32(v)) },
		func(b []byte) int32 { return int32(binary.BigEndian.Uint32(b)) })
}

// Int64 is Kafka's LongSerializer: eight bytes, big-endian.
func Int64() Serde[int64] {
	return number(8, func(b []byte, v int64) { binary.BigEndian.PutUint64(b, uint64(v)) },
		func(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) })
}

// Float32 is Kafka's FloatSerializer: the bits of IEEE 754, big-endian.
func Float32() Serde[float32] {
	return number(4, func(b []byte, v float32) { binary.BigEndian.PutUint32(b, math.Float32bits(v)) },
		func(b []byte) float32 { return math.Float32frombits(binary.BigEndian.Uint32(b)) })
}

// Float64 is Kafka's DoubleSerializer: the bits of IEEE 754, big-endian.
func Float64() Serde[float64] {
	return number(8, func(b []byte, v float64) { binary.BigEndian.PutUint64(b, math.Float64bits(v)) },
		func(b []byte) float64 { return math.Float64frombits(binary.BigEndian.Uint64(b)) })
}

// JSON is one JSON document by encoding/json. What follows the document is an
// error, null too unless T takes it; keys that T does not have are not.
func JSON[T any]() Serde[T] {
	return Func(func(_ *Field, v T) ([]byte, error) { return json.Marshal(v) },
		func(_ *Field, b []byte) (v T, err error) {
			if b == nil {
				return v, errNull
			}
			d := json.NewDecoder(bytes.NewReader(b))
			if err := d.Decode(&v); err != nil {
				return v, err
			}
			if _, err := d.Token(); err != io.EOF {
				return v, fmt.Errorf("there is more after its end at byte %d", d.InputOffset())
			}
			return v, nil
		})
}

// None is the type of a key or value that is always null.
type None struct{}

// Null is the serde of None, as for records without a key. It reads whatever is
// there as None.
func Null() Serde[None] {
	return Func(func(*Field, None) ([]byte, error) { return nil, nil },
		func(*Field, []byte) (None, error) { return None{}, nil })
}

// Nullable makes null a value: the nil pointer. A null value is a tombstone in a
// compacted topic.
func Nullable[T any](of Serde[T]) Serde[*T] { return nullable[T]{of} }

type nullable[T any] struct{ of Serde[T] }

func (n nullable[T]) Serialize(ctx context.Context, at *Field, v *T) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return n.of.Serialize(ctx, at, *v)
}

func (n nullable[T]) Deserialize(ctx context.Context, at *Field, b []byte) (*T, error) {
	if b == nil {
		return nil, nil
	}
	v, err := n.of.Deserialize(ctx, at, b)
	if err != nil {
		return nil, err
	}
	return &v, nil
}
