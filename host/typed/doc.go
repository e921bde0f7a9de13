// Package typed sends and reads records with keys and values of Go types.
//
//	orders := typed.NewProducer(p, typed.String(), typed.JSON[Order]())
//	res, err := orders.Send(ctx, &typed.Record[string, Order]{Topic: "orders", Key: "a-17", Value: order})
//
// A serde turns one type into bytes and back. This package has those that need
// the standard library alone: bytes, text, Kafka's big-endian numbers, JSON. Avro,
// Protobuf and JSON with a Schema Registry are in the module
// github.com/klamm-io/klamm/host/typed/registry, so that a program without a
// registry does not carry their libraries.
//
// # Plugins see bytes
//
// A record is serialised before its chain judges it, and deserialised after
// on_consume. Kafka's Java client has it the other way round: interceptors there
// get objects. A plugin here lives in a sandbox and may be written in any
// language, so it cannot hold Go values; and bytes are what the partitioner
// hashes, what the broker stores and what a plugin for reading sees. A plugin that
// wants a field of JSON or Avro reads it from the bytes. For those of a Schema
// Registry this means the five-byte prefix first.
//
// A record that cannot be serialised is refused by Send with a *Error: no plugin
// sees it, nothing is counted, and no callback is called.
//
// All functions and methods are safe for concurrent use where the serdes are,
// which is so for all of this package.
package typed
