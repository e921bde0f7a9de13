// Package interceptor runs records through chains of interceptors: WASM plugins
// and native Go ones, in list order, each with a failure policy.
//
// A Chain is what the configuration says. A Lane is one place where its records
// are judged, one batch at a time and in order; it owns one instance of each of
// the chain's plugins. A Batch holds the records, and says of each what became
// of it.
//
// Each call of a plugin is a small transaction. Its claims, puts, metric changes
// and edits take effect for a record only when that record's verdict is
// accepted; what a faulted call did is undone, and the rest of its records are
// judged again in smaller batches until only the culprit is left.
//
// A Chain is safe for concurrent use. A Lane's methods say what may run at the
// same time.
package interceptor
