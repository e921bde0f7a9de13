package registry

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/klamm-io/klamm/host/typed"
)

// JSON is a serde of T in JSON by encoding/json, with a JSON Schema in the registry.
// The schema is not evaluated: neither what is written nor what is read is held
// against it. It needs a "title", which names it, for RecordName and
// TopicRecordName.
func JSON[T any](c *Client, schema string) (typed.Serde[T], error) {
	var head struct{ Title string }
	if err := json.Unmarshal([]byte(schema), &head); err != nil {
		return nil, fmt.Errorf("JSON schema: %w", err)
	}
	return newSerde(c, &jsonFormat[T]{text: schema, title: head.Title, of: typed.JSON[T]()}), nil
}

type jsonFormat[T any] struct {
	text, title string
	of          typed.Serde[T]
}

func (f *jsonFormat[T]) schema() sr.Schema { return sr.Schema{Schema: f.text, Type: sr.TypeJSON} }
func (f *jsonFormat[T]) name() string      { return f.title }
func (f *jsonFormat[T]) index() []int      { return nil }

func (f *jsonFormat[T]) encode(dst []byte, v T) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(dst, b...), err
}

func (f *jsonFormat[T]) decoder(context.Context, *Client, sr.Schema) (func([]byte) (T, error), error) {
	return func(b []byte) (T, error) { return f.of.Deserialize(context.Background(), nil, b) }, nil
}
