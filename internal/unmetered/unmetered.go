// Package unmetered is the switch by which benchmarks measure what the meter
// costs: an engine that is started under its context runs plugins that count no
// fuel and no depth, so that one that hangs hangs the process.
//
// No configuration reaches it, and packages outside of this module cannot
// import it. Of those inside only runtime may, which reads the switch; the table
// of layers and its test hold them to that.
package unmetered

import "context"

type key struct{}

// With returns a context under which an engine that starts counts nothing.
func With(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, true) }

// Is reports whether ctx comes from With.
func Is(ctx context.Context) bool { return ctx.Value(key{}) != nil }
