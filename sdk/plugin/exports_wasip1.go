//go:build wasip1

package plugin

import (
	goruntime "runtime"
	"unsafe"

	"github.com/klamm-io/klamm/sdk/abi"
)

// exchange is the memory that the host writes blocks into. The variable pins it;
// 8-byte words align it.
var exchange []uint64

//go:wasmexport klamm_abi_1
func exportMarker() {}

//go:wasmexport klamm_alloc
func exportAlloc(size uint32) unsafe.Pointer {
	exchange = nil
	if size >= large {
		collect()
	}
	exchange = make([]uint64, (uint64(size)+7)/8)
	return unsafe.Pointer(unsafe.SliceData(exchange))
}

//go:wasmexport klamm_init
func exportInit(p unsafe.Pointer, n uint32) uint64 { return uint64(initialise(mem(p, n))) }

//go:wasmexport klamm_on_send
func exportOnSend(p unsafe.Pointer, n uint32) uint64 { return uint64(call(abi.OnSend, mem(p, n))) }

//go:wasmexport klamm_on_ack
func exportOnAck(p unsafe.Pointer, n uint32) uint64 {
	return uint64(call(abi.OnAcknowledgement, mem(p, n)))
}

//go:wasmexport klamm_on_consume
func exportOnConsume(p unsafe.Pointer, n uint32) uint64 {
	return uint64(call(abi.OnConsume, mem(p, n)))
}

//go:wasmexport klamm_on_commit
func exportOnCommit(p unsafe.Pointer, n uint32) uint64 { return uint64(call(abi.OnCommit, mem(p, n))) }

//go:wasmexport klamm_partition
func exportPartition(p unsafe.Pointer, n uint32) uint64 {
	return uint64(call(abi.Partition, mem(p, n)))
}

//go:wasmexport klamm_close
func exportClose() { end() }

func mem(p unsafe.Pointer, n uint32) []byte { return unsafe.Slice((*byte)(p), n) }

func collect() { goruntime.GC() }
