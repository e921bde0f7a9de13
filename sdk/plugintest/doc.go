// Package plugintest tests a plugin without a broker. It runs the same cases
// natively, where a debugger and coverage work, and as a WebAssembly module in
// the real runtime, and compares the two.
//
// Beside what a case wants it checks what holds for every good plugin: a second
// run gives the same, so does a run in which the records come in other batches,
// one in which the modification area is almost always full, and one with blocks
// as a later minor version of the ABI may lay them out.
//
//	func TestPlugin(t *testing.T) {
//		plugintest.Run(t, ".", []plugintest.Case{{
//			Name:    "the second of a key is dropped",
//			Records: []klamm.Record{{Key: []byte("a")}, {Key: []byte("a")}},
//			Want:    []plugintest.Want{{}, {Verdict: abi.Drop, Reason: "duplicate"}},
//		}})
//	}
//
// Cases can also stand in TOML files, which klamm plugin test runs: see File.
package plugintest
