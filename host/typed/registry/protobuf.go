package registry

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/klamm-io/klamm/host/typed"
)

// Protobuf is a serde of a generated message, as in Protobuf[*shop.Order]. schema is
// the text of its .proto file; go:embed keeps the two together. References are the
// files that it imports, as their subjects have them.
//
// A message is known by its place in its file, so messages may be added to a file
// behind those that are there, and not moved.
func Protobuf[T proto.Message](c *Client, schema string, references ...sr.SchemaReference) (typed.Serde[T], error) {
	var zero T
	message := zero.ProtoReflect()
	if !message.Descriptor().FullName().IsValid() || schema == "" {
		return nil, fmt.Errorf("protobuf schema of %q: it is empty; give the text of the .proto file", message.Descriptor().FullName())
	}
	return newSerde(c, &protobufFormat[T]{
		text: sr.Schema{Schema: schema, Type: sr.TypeProtobuf, References: references},
		kind: message.Type(), place: place(message.Descriptor()),
	}), nil
}

type protobufFormat[T proto.Message] struct {
	text  sr.Schema
	kind  protoreflect.MessageType
	place []int
}

// place is the path of indexes that leads from the file to the message.
func place(d protoreflect.Descriptor) []int {
	if _, isFile := d.Parent().(protoreflect.FileDescriptor); isFile {
		return []int{d.Index()}
	}
	return append(place(d.Parent()), d.Index())
}

func (f *protobufFormat[T]) schema() sr.Schema { return f.text }
func (f *protobufFormat[T]) name() string      { return string(f.kind.Descriptor().FullName()) }
func (f *protobufFormat[T]) index() []int      { return f.place }

func (f *protobufFormat[T]) encode(dst []byte, v T) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(dst, v)
}

// decoder needs nothing of the writer's schema: fields are known by number.
func (f *protobufFormat[T]) decoder(context.Context, *Client, sr.Schema) (func([]byte) (T, error), error) {
	return func(b []byte) (T, error) {
		v := f.kind.New().Interface().(T)
		return v, proto.Unmarshal(b, v)
	}, nil
}
