package registry

import (
	"context"
	"fmt"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/klamm-io/klamm/host/typed"
)

// Avro is a serde of T in Avro, by a schema in Avro's JSON. Fields of T are found
// by their tag `avro:"name"`. Data of another version of the schema is read as far
// as Avro resolves it: fields that it lacks get their defaults, others are left
// out.
func Avro[T any](c *Client, schema string) (typed.Serde[T], error) {
	s, err := avro.Parse(schema)
	if err != nil {
		return nil, fmt.Errorf("avro schema: %w", err)
	}
	return newSerde(c, &avroFormat[T]{text: schema, reader: s}), nil
}

// AvroFor is Avro with a schema made from the struct T.
func AvroFor[T any](c *Client) (typed.Serde[T], error) {
	s, err := avro.SchemaFor[T]()
	if err != nil {
		return nil, fmt.Errorf("avro schema: %w", err)
	}
	return newSerde(c, &avroFormat[T]{text: s.String(), reader: s}), nil
}

type avroFormat[T any] struct {
	text   string
	reader *avro.Schema
}

func (f *avroFormat[T]) schema() sr.Schema { return sr.Schema{Schema: f.text, Type: sr.TypeAvro} }
func (f *avroFormat[T]) index() []int      { return nil }

func (f *avroFormat[T]) name() string {
	root := f.reader.Root()
	switch {
	case root.Name == "":
		return root.Type
	case root.Namespace == "":
		return root.Name
	}
	return root.Namespace + "." + root.Name
}

func (f *avroFormat[T]) encode(dst []byte, v T) ([]byte, error) { return f.reader.AppendEncode(dst, v) }

func (f *avroFormat[T]) decoder(ctx context.Context, c *Client, writer sr.Schema) (func([]byte) (T, error), error) {
	cache := new(avro.SchemaCache)
	if err := addReferences(ctx, c, cache, writer.References, map[string]bool{}); err != nil {
		return nil, err
	}
	w, err := cache.Parse(writer.Schema)
	if err != nil {
		return nil, err
	}
	resolved, err := avro.Resolve(w, f.reader)
	if err != nil {
		return nil, err
	}
	return func(b []byte) (v T, err error) {
		rest, err := resolved.Decode(b, &v)
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("%d bytes are left after the value", len(rest))
		}
		return v, err
	}, nil
}

// maxReferences bounds how many schemas one may refer to.
const maxReferences = 1000

// addReferences gets the schemas that a schema refers to, those first that others
// refer to.
func addReferences(ctx context.Context, c *Client, cache *avro.SchemaCache, refs []sr.SchemaReference, seen map[string]bool) error {
	for _, r := range refs {
		key := fmt.Sprintf("%s/%d", r.Subject, r.Version)
		if seen[key] {
			continue
		}
		if seen[key] = true; len(seen) > maxReferences {
			return fmt.Errorf("it refers to more than %d schemas", maxReferences)
		}
		s, err := c.sr.SchemaByVersion(ctx, r.Subject, r.Version)
		if err != nil {
			return fmt.Errorf("it refers to version %d of subject %q: %w", r.Version, r.Subject, err)
		}
		if err := addReferences(ctx, c, cache, s.References, seen); err != nil {
			return err
		}
		if _, err := cache.Parse(s.Schema.Schema); err != nil {
			return fmt.Errorf("it refers to version %d of subject %q: %w", r.Version, r.Subject, err)
		}
	}
	return nil
}
