// Package host runs producers, consumers and pipelines whose records pass
// through chains of plugins.
//
// All methods are safe for concurrent use unless they say otherwise. A record
// that Send, SendAsync or SendBatch accepts ends in exactly one completion, and
// at every moment
//
//	in = out + dropped + dead_lettered + failed + in_flight
//
// holds; after Flush, in_flight is 0.
package host
