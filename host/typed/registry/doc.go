// Package registry has serdes for records whose schemas are in a Schema Registry
// (Confluent's, Redpanda's, Karapace, Apicurio's compatible API): Avro, Protobuf and
// JSON, for package typed.
//
//	c, err := registry.NewClient(registry.Config{URLs: []string{"http://localhost:8081"}})
//	value, err := registry.Avro[Order](c, orderSchema)
//	orders := typed.NewProducer(p, typed.String(), value)
//
// The bytes are those of the registry's wire format: a zero, the schema's id in four
// bytes, for Protobuf the message's place in its file, then the data. Plugins of the
// chain see them so.
//
// It is a module of its own, so that programs without a registry do not carry its
// libraries.
//
// Schemas are asked for once and kept: ids never change what they mean. What could
// not be asked for is asked for again with the next record. Serdes are safe for
// concurrent use.
package registry
