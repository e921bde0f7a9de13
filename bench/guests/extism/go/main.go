//go:build wasip1

// Command go is the benchmark's plugin for Extism in Go. It speaks Extism's ABI
// itself, in the way of its plugin development kit: input is loaded and output
// stored eight bytes a call of the host.
package main

import (
	"encoding/binary"

	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/wire"
)

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_offset
func inputOffset() uint64

//go:wasmimport extism:host/env input_load_u64
func inputLoadU64(off uint64) uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoadU8(off uint64) uint32

//go:wasmimport extism:host/env alloc
func alloc(n uint64) uint64

//go:wasmimport extism:host/env store_u64
func storeU64(off, v uint64)

//go:wasmimport extism:host/env store_u8
func storeU8(off uint64, v uint32)

//go:wasmimport extism:host/env output_set
func outputSet(off, n uint64)

// claim asks the host for a key, which lies in the memory that it shares.
//
//go:wasmimport extism:host/user claim
func claim(off, n uint64) uint64

// Kept from call to call, so that the guest's allocator is not what is measured.
var in, out []byte

func input() []byte {
	n := int(inputLength())
	if cap(in) < n {
		in = make([]byte, n)
	}
	in = in[:n]
	i := 0
	for ; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(in[i:], inputLoadU64(uint64(i)))
	}
	for ; i < n; i++ {
		in[i] = byte(inputLoadU8(uint64(i)))
	}
	return in
}

func output(b []byte) {
	n := len(b)
	at := alloc(uint64(n))
	i := 0
	for ; i+8 <= n; i += 8 {
		storeU64(at+uint64(i), binary.LittleEndian.Uint64(b[i:]))
	}
	for ; i < n; i++ {
		storeU8(at+uint64(i), uint32(b[i]))
	}
	outputSet(at, uint64(n))
}

func run(op ops.Op) uint32 {
	b := input()
	base := uint64(0)
	if op == ops.Dedup {
		base = inputOffset()
	}
	out = wire.Judge(op, b, out[:0], func(off, n int) bool {
		return claim(base+uint64(off), uint64(n)) != 0
	})
	output(out)
	return 0
}

//go:wasmexport pass
func pass() uint32 { return run(ops.Pass) }

//go:wasmexport route
func route() uint32 { return run(ops.Route) }

//go:wasmexport dedup
func dedup() uint32 { return run(ops.Dedup) }

//go:wasmexport rewrite
func rewrite() uint32 { return run(ops.Rewrite) }

//go:wasmexport mask
func mask() uint32 { return run(ops.Mask) }

func main() {}
