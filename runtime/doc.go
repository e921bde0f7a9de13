// Package runtime runs plugins: WebAssembly modules of Klamm's ABI, each in a
// sandbox with limits on memory, time, output and capabilities. It is the only
// package that imports wazero, and it knows no Kafka: what claims, state and
// metrics mean is the business of the Host that a Seat is given.
//
// An Engine compiles modules. A Plugin is a module under a name, with
// generations of which one is active. A Seat is one lane's place at a plugin: it
// owns an instance, calls it with Blocks and reads Verdicts.
//
// Engine, Module, Plugin and Generation are safe for concurrent use. A Seat's
// methods take the seat's lock. Block and Verdicts belong to one goroutine.
package runtime
