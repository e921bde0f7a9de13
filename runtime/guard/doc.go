// Package guard decides whether a module may reach the WebAssembly engine. It
// reads the module once, with limits, before anything is allocated by a count
// that the module declares, and lists everything that is wrong with it.
//
// It knows WebAssembly's binary format (core specification 2.0, the features
// that the engine enables) and Klamm's ABI, but no engine. Functions are safe for
// concurrent use.
package guard
