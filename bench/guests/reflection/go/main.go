//go:build wasip1

// Command go is the benchmark's plugin in the shape of Redpanda Connect's wasm
// processor: one call without arguments for each record, which reads and writes
// the record through host functions. The host gets memory for what it hands in
// by malloc, and gives it back by free after the call.
package main

import (
	"encoding/binary"
	"unsafe"

	"github.com/klamm-io/klamm/bench/internal/ops"
)

//go:wasmimport benthos_wasm v0_msg_as_bytes
func msgAsBytes() uint64

//go:wasmimport benthos_wasm v0_msg_set_bytes
func msgSetBytes(ptr, n uint32)

//go:wasmimport benthos_wasm v0_msg_get_meta
func msgGetMeta(key, keyLen uint32) uint64

//go:wasmimport benthos_wasm v0_msg_set_meta
func msgSetMeta(key, keyLen, value, valueLen uint32)

//go:wasmimport benthos_wasm v0_claim
func claimKey(key, n uint32) uint32

//go:wasmimport benthos_wasm v0_msg_delete
func msgDelete()

// arena is where malloc takes from. It starts again when all is given back,
// which is cheaper than any real allocator.
var (
	arena      [1 << 20]byte
	used, live uint32
	out        []byte
	number     [4]byte
)

//go:wasmexport malloc
func malloc(n uint32) uint32 {
	if live == 0 {
		used = 0
	}
	at := used
	used, live = used+(n+7)&^7, live+1
	return address(arena[at:])
}

//go:wasmexport free
func free(uint32) { live-- }

func address(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

func view(ptrLen uint64) []byte {
	return arena[uint32(ptrLen>>32)-address(arena[:]):][:uint32(ptrLen)]
}

var keyName, partitionName = []byte("key"), []byte("partition")

func key() []byte { return view(msgGetMeta(address(keyName), uint32(len(keyName)))) }

func value() []byte { return view(msgAsBytes()) }

//go:wasmexport pass
func pass() {
	key()
	value()
}

//go:wasmexport route
func route() {
	binary.LittleEndian.PutUint32(number[:], uint32(ops.Partition(key())))
	msgSetMeta(address(partitionName), uint32(len(partitionName)), address(number[:]), 4)
}

//go:wasmexport dedup
func dedup() {
	k := key()
	if claimKey(address(k), uint32(len(k))) == 0 {
		msgDelete()
	}
}

//go:wasmexport rewrite
func rewrite() {
	out = ops.AppendRewritten(out[:0], value())
	msgSetBytes(address(out), uint32(len(out)))
}

//go:wasmexport mask
func mask() {
	masked, ok := ops.AppendMasked(out[:0], value())
	if out = masked; ok {
		msgSetBytes(address(out), uint32(len(out)))
	}
}

func main() {}
