// Package conformance checks that a guest reads and answers blocks as the ABI
// says. It runs one table of cases through a module that implements the small
// plugin which README.md describes: its records tell it what to answer.
//
// The guests of all our SDKs pass the same table with the same results; a guest
// without an SDK can too. Every case runs in the real runtime, in batches of
// several sizes, with blocks as they are and as a later minor version of the ABI
// may lay them out.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, wasm)
//	}
package conformance
