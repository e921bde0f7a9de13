//go:build !wasip1

package plugin

import (
	"slices"

	"github.com/klamm-io/klamm/sdk/abi"
)

// NativeHost is what a plugin's imports reach when the plugin is compiled
// natively. The methods mirror the imports of the ABI; plugintest implements it.
type NativeHost interface {
	Log(level int32, line []byte)
	DefineMetric(kind int32, name string) int32
	DefineReason(code uint16, name string)
	AddMetric(id int32, delta int64)
	ObserveMetric(id int32, v float64)
	Claim(index int, id []byte, ttlMS int64) int32
	ClaimBatch(mask *[abi.BatchMax / 64]uint64, ttlMS int64) int32
	StateGet(key, dst []byte) int32
	StatePut(key, value []byte, ttlMS int64) int32
	NowNS() int64
	Random(p []byte)
	HMAC(secret string, data []byte, out *[MACSize]byte) int32
	Value(index int, dst []byte) int32
	Headers(index int, dst []byte) int32
}

var (
	nativeHost NativeHost
	atStart    *registry // what the program registered before the first Start
)

// NativeStart makes a fresh instance of the plugin in this process: what the
// program's init functions registered or, when register is not nil, what that
// function registers. It is for test kits. There is one instance at a time, and
// the plugin's own package variables keep their values.
func NativeStart(host NativeHost, register func(), initBlock []byte) abi.InitResult {
	if atStart == nil {
		saved := reg
		atStart = &saved
	}
	nativeHost = host
	samples, puts, cur = samples[:0], puts[:0], nil
	if register != nil {
		reg = registry{}
		register()
	} else {
		reg = *atStart
		reg.settings = slices.Clone(reg.settings)
		reg.metrics = slices.Clone(reg.metrics)
		reg.reasons = slices.Clone(reg.reasons)
	}
	return initialise(initBlock)
}

// NativeCall runs a hook over a block, as the host runs a module's export.
func NativeCall(hook abi.Hook, block []byte) abi.CallResult { return call(hook, block) }

// NativeClose runs what OnClose registered.
func NativeClose() { end() }

func importLog(level int32, line []byte) { nativeHost.Log(level, line) }

func importDefineMetric(kind int32, name []byte) int32 {
	return nativeHost.DefineMetric(kind, string(name))
}

func importDefineReason(code uint16, name []byte) { nativeHost.DefineReason(code, string(name)) }

func importAddMetric(id int32, delta int64) { nativeHost.AddMetric(id, delta) }

func importObserveMetric(id int32, v float64) { nativeHost.ObserveMetric(id, v) }

func importClaim(i int, id []byte, ttlMS int64) int32 { return nativeHost.Claim(i, id, ttlMS) }

func importClaimBatch(mask *[abi.BatchMax / 64]uint64, ttlMS int64) int32 {
	return nativeHost.ClaimBatch(mask, ttlMS)
}

func importStateGet(key, dst []byte) int32 { return nativeHost.StateGet(key, dst) }

func importStatePut(key, v []byte, ttlMS int64) int32 { return nativeHost.StatePut(key, v, ttlMS) }

func importNowNS() int64 { return nativeHost.NowNS() }

func importRandom(p []byte) { nativeHost.Random(p) }

func importHMAC(name, data []byte, out *[MACSize]byte) int32 {
	return nativeHost.HMAC(string(name), data, out)
}

func importValue(i int, dst []byte) int32 { return nativeHost.Value(i, dst) }

func importHeaders(i int, dst []byte) int32 { return nativeHost.Headers(i, dst) }

// NativeRegistered reports whether the program's init functions have registered
// anything: then NativeStart needs no register function.
func NativeRegistered() bool {
	r := &reg
	if atStart != nil {
		r = atStart
	}
	return r.hooks != 0 || r.onInit != nil || len(r.settings) > 0
}

// collect is for the narrow memory of a module.
func collect() {}
