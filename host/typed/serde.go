package typed

import (
	"context"
	"fmt"

	"github.com/klamm-io/klamm"
)

// Serializer turns values into a key's or a value's bytes.
type Serializer[T any] interface {
	// Serialize returns the bytes of v; nil is Kafka's null. They are read
	// before Send returns and not kept, so v may own them. It may add headers to
	// at.Headers, and may wait for ctx, as when it asks a registry.
	Serialize(ctx context.Context, at *Field, v T) ([]byte, error)
}

// Deserializer turns a key's or a value's bytes into values.
type Deserializer[T any] interface {
	// Deserialize returns the value of b, which is nil for Kafka's null. b
	// belongs to the handler's call; what outlives it must be copied.
	Deserialize(ctx context.Context, at *Field, b []byte) (T, error)
}

// Serde is both.
type Serde[T any] interface {
	Serializer[T]
	Deserializer[T]
}

// Field says which field of which record is at work.
type Field struct {
	Topic string
	Key   bool // the record's key; its value otherwise
	// Headers are the record's, as Kafka's serialisers see them. A serializer
	// may change them: those of the key first, then those of the value. They are
	// a copy of the caller's.
	Headers []klamm.Header
}

// Header returns the value of the last header of that key.
func (f *Field) Header(key string) (value []byte, ok bool) {
	for i := len(f.Headers) - 1; i >= 0; i-- {
		if f.Headers[i].Key == key {
			return f.Headers[i].Value, true
		}
	}
	return nil, false
}

// SetHeader replaces the headers of that key by one, at the end.
func (f *Field) SetHeader(key string, value []byte) {
	kept := f.Headers[:0]
	for _, h := range f.Headers {
		if h.Key != key {
			kept = append(kept, h)
		}
	}
	f.Headers = append(kept, klamm.Header{Key: key, Value: value})
}

func (f *Field) name() string {
	if f.Key {
		return "key"
	}
	return "value"
}

// Error is a key or value that could not be turned into bytes or back.
type Error struct {
	Topic string
	Key   bool // of the key; of the value otherwise
	// Partition and Offset say where the record was read; klamm.NoPartition and
	// klamm.NoOffset where it was to be sent.
	Partition int32
	Offset    int64
	Err       error
}

func (e *Error) Error() string {
	field := (&Field{Key: e.Key}).name()
	if e.Partition == klamm.NoPartition {
		return fmt.Sprintf("topic %q: serialize the %s: %v", e.Topic, field, e.Err)
	}
	return fmt.Sprintf("topic %q partition %d offset %d: deserialize the %s: %v", e.Topic, e.Partition, e.Offset, field, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// funcs is a serde of two functions.
type funcs[T any] struct {
	to   func(*Field, T) ([]byte, error)
	from func(*Field, []byte) (T, error)
}

func (s funcs[T]) Serialize(_ context.Context, at *Field, v T) ([]byte, error) { return s.to(at, v) }
func (s funcs[T]) Deserialize(_ context.Context, at *Field, b []byte) (T, error) {
	return s.from(at, b)
}

// Func makes a serde of two functions. They get the field, with its headers.
func Func[T any](to func(*Field, T) ([]byte, error), from func(*Field, []byte) (T, error)) Serde[T] {
	return funcs[T]{to, from}
}
