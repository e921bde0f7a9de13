package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/klamm-io/klamm/host/typed"
)

// format is one schema language for one type.
type format[T any] interface {
	schema() sr.Schema
	// name is the schema's full name, for subjects.
	name() string
	// index is a Protobuf message's place in its file, nil in other languages.
	index() []int
	encode(dst []byte, v T) ([]byte, error)
	// decoder makes what reads data of a writer's schema.
	decoder(ctx context.Context, c *Client, writer sr.Schema) (func([]byte) (T, error), error)
}

// serde puts the wire format around a format.
type serde[T any] struct {
	c *Client
	f format[T]

	mu       sync.RWMutex
	ids      map[string]int // by subject
	decoders map[int]func([]byte) (T, error)
}

func newSerde[T any](c *Client, f format[T]) typed.Serde[T] {
	return &serde[T]{c: c, f: f, ids: map[string]int{}, decoders: map[int]func([]byte) (T, error){}}
}

var wire = new(sr.ConfluentHeader)

// maxIndex bounds how deep a Protobuf message may be nested.
const maxIndex = 32

var errNull = errors.New("it is null; use typed.Nullable where null is a value")

func (s *serde[T]) Serialize(ctx context.Context, at *typed.Field, v T) ([]byte, error) {
	subject := s.c.subject(at, s.f.name())
	id, err := s.id(ctx, subject)
	if err != nil {
		return nil, err
	}
	b, err := wire.AppendEncode(make([]byte, 0, 64), id, s.f.index())
	if err != nil {
		return nil, fmt.Errorf("subject %q, schema %d: %w", subject, id, err)
	}
	if b, err = s.f.encode(b, v); err != nil {
		return nil, fmt.Errorf("subject %q, schema %d: %w", subject, id, err)
	}
	return b, nil
}

func (s *serde[T]) id(ctx context.Context, subject string) (int, error) {
	if id, ok := s.keptID(subject); ok {
		return id, nil
	}
	done, err := s.c.turn(ctx)
	if err != nil {
		return 0, &SchemaError{Subject: subject, What: "look it up", Err: err}
	}
	defer done()
	if id, ok := s.keptID(subject); ok {
		return id, nil
	}
	id, err := s.c.id(ctx, subject, s.f.schema())
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[subject] = id
	return id, nil
}

func (s *serde[T]) keptID(subject string) (int, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok := s.ids[subject]
	return id, ok
}

func (s *serde[T]) Deserialize(ctx context.Context, _ *typed.Field, b []byte) (zero T, err error) {
	if b == nil {
		return zero, errNull
	}
	id, data, err := wire.DecodeID(b)
	if err != nil {
		return zero, fmt.Errorf("it has no schema id in front (%d bytes, starting with %x): %w", len(b), b[:min(5, len(b))], err)
	}
	if want := s.f.index(); want != nil {
		var got []int
		if got, data, err = wire.DecodeIndex(data, maxIndex); err != nil {
			return zero, fmt.Errorf("schema %d: the message's place in its file: %w", id, err)
		}
		if !slices.Equal(got, want) {
			return zero, fmt.Errorf("schema %d: it is message %v of its file, want %v (%s)", id, got, want, s.f.name())
		}
	}
	decode, err := s.decoder(ctx, id)
	if err != nil {
		return zero, err
	}
	v, err := decode(data)
	if err != nil {
		return zero, fmt.Errorf("schema %d: %w", id, err)
	}
	return v, nil
}

func (s *serde[T]) decoder(ctx context.Context, id int) (func([]byte) (T, error), error) {
	s.mu.RLock()
	decode := s.decoders[id]
	s.mu.RUnlock()
	if decode != nil {
		return decode, nil
	}
	writer, err := s.c.schema(ctx, id)
	if err != nil {
		return nil, err
	}
	if want := s.f.schema().Type; writer.Type != want {
		return nil, &SchemaError{ID: id, What: "read it", Err: fmt.Errorf("it is %s, want %s", writer.Type, want)}
	}
	if decode, err = s.f.decoder(ctx, s.c, writer); err != nil {
		return nil, &SchemaError{ID: id, What: "read it", Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decoders[id] = decode
	return decode, nil
}
