// Package meter rewrites a WebAssembly module so that its host can stop it: the
// module counts what it executes, and calls the host whenever a slice of fuel is
// used up. It knows WebAssembly's binary format (core specification 2.0), but no
// engine.
//
// # What is added
//
// A mutable i64 global holds the fuel that is left. It is charged where a
// function begins and where a loop begins each of its rounds, for the most that
// can run until the next such place. Below zero the imported function
// klamm.yield, of type () -> (), is called; the host then sets the global, or
// ends the call by a trap. Two guests that do the same burn the same fuel.
//
// A mutable i32 global bounds how deeply calls nest: each function that calls
// others takes its weight from it and gives it back when it returns. Below zero
// is a trap (unreachable). The engine's own bound is 84 MB of stack, reached in
// up to a second with the memory kept afterwards. A trap leaves both globals as
// they are, so the host sets them before each call.
//
// Instructions that work on as many bytes or elements as their operands say are
// replaced by calls of functions at the module's end. These charge by operand
// first, one unit for 16 bytes, and do work above 256 KiB piece by piece with a charge for each, which
// guests cannot tell from the whole: what traps does so before the first byte.
//
// The start function becomes an export, so that it runs metered: the host calls
// it after instantiation, before anything else.
//
// # Numbers
//
// The new import stands behind the imported functions, so each function of the
// module itself gets the next number, everywhere, and names of functions in the
// custom section name follow. Functions without a name are named "$" and the
// number that they had. Nothing else is renumbered. Custom sections are kept
// except for debug information (.debug_*, source maps) and what linkers leave
// (reloc.*, linking), which hold offsets of code that has moved. Line tables are
// handed out instead, with a map from the code's new offsets to its old ones.
//
// # Sound, and about right
//
// No path from one charge to the next executes more than was charged. A region
// is charged for its longest path, not for all its instructions. A function that
// calls nothing outside of its loops and is small outside of them is not charged
// where it begins: every call instruction has paid for that already. Straight
// code of more than 65,536 units is charged on its way.
//
// Rewrite keeps invalid code invalid, and refuses what would let a guest reach
// the added globals or functions. It does not validate types: that is left to the
// engine.
package meter
