//go:build wasip1

package plugin

import (
	"unsafe"

	"github.com/klamm-io/klamm/sdk/abi"
)

func importLog(level int32, line []byte) { hostLog(level, ptr(line), size(line)) }

func importDefineMetric(kind int32, name []byte) int32 {
	return hostMetricDef(kind, ptr(name), size(name))
}

func importDefineReason(code uint16, name []byte) {
	hostReasonDef(int32(code), ptr(name), size(name))
}

func importAddMetric(id int32, delta int64) { hostMetricAdd(id, delta) }

func importObserveMetric(id int32, v float64) { hostMetricObserve(id, v) }

func importClaim(i int, id []byte, ttlMS int64) int32 {
	return hostClaim(int32(i), ptr(id), size(id), ttlMS)
}

func importClaimBatch(mask *[abi.BatchMax / 64]uint64, ttlMS int64) int32 {
	return hostClaimBatch(unsafe.Pointer(mask), ttlMS)
}

func importStateGet(key, dst []byte) int32 {
	return hostStateGet(ptr(key), size(key), ptr(dst), size(dst))
}

func importStatePut(key, v []byte, ttlMS int64) int32 {
	return hostStatePut(ptr(key), size(key), ptr(v), size(v), ttlMS)
}

func importNowNS() int64 { return hostNowNS() }

func importRandom(p []byte) { hostRandom(ptr(p), size(p)) }

func importHMAC(name, data []byte, out *[MACSize]byte) int32 {
	return hostHMAC(ptr(name), size(name), ptr(data), size(data), unsafe.Pointer(out))
}

func importValue(i int, dst []byte) int32 { return hostValue(int32(i), ptr(dst), size(dst)) }

func importHeaders(i int, dst []byte) int32 { return hostHeaders(int32(i), ptr(dst), size(dst)) }

func ptr(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func size(b []byte) uint32 { return uint32(len(b)) }

//go:wasmimport klamm log
//go:noescape
func hostLog(level int32, p unsafe.Pointer, n uint32)

//go:wasmimport klamm metric_def
//go:noescape
func hostMetricDef(kind int32, p unsafe.Pointer, n uint32) int32

//go:wasmimport klamm reason_def
//go:noescape
func hostReasonDef(code int32, p unsafe.Pointer, n uint32)

//go:wasmimport klamm metric_add
func hostMetricAdd(id int32, delta int64)

//go:wasmimport klamm metric_observe
func hostMetricObserve(id int32, v float64)

//go:wasmimport klamm claim
//go:noescape
func hostClaim(index int32, k unsafe.Pointer, klen uint32, ttlMS int64) int32

//go:wasmimport klamm claim_batch
//go:noescape
func hostClaimBatch(mask unsafe.Pointer, ttlMS int64) int32

//go:wasmimport klamm state_get
//go:noescape
func hostStateGet(k unsafe.Pointer, klen uint32, v unsafe.Pointer, vcap uint32) int32

//go:wasmimport klamm state_put
//go:noescape
func hostStatePut(k unsafe.Pointer, klen uint32, v unsafe.Pointer, vlen uint32, ttlMS int64) int32

//go:wasmimport klamm now_ns
func hostNowNS() int64

//go:wasmimport klamm random
//go:noescape
func hostRandom(p unsafe.Pointer, n uint32)

//go:wasmimport klamm hmac
//go:noescape
func hostHMAC(name unsafe.Pointer, nlen uint32, p unsafe.Pointer, n uint32, out unsafe.Pointer) int32

//go:wasmimport klamm value
//go:noescape
func hostValue(index int32, p unsafe.Pointer, n uint32) int32

//go:wasmimport klamm headers
//go:noescape
func hostHeaders(index int32, p unsafe.Pointer, n uint32) int32
