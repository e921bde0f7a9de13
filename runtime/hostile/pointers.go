package hostile

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/klamm-io/klamm/runtime/guard"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// edges are the values that pointers and lengths are tried with. The memory has
// three pages, then grows by the exchange block.
var edges = []uint32{0, 1, 4, 0xfffc, 0x10000, 0x2fff8, 0x30000, 0x400000, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff}

// argsAt is where the arguments of the calls lie: 16 words of 8 bytes each.
const (
	argsAt   = 4096
	argWords = 16
)

// edgeCalls are the arguments of one import: each pair of edges at even and odd
// parameters, and the other way round.
func edgeCalls() (data []byte, calls int) {
	for _, swap := range []int{0, 1} {
		for _, a := range edges {
			for _, b := range edges {
				for j := range argWords {
					v := a
					if (j+swap)%2 == 1 {
						v = b
					}
					data = binary.LittleEndian.AppendUint64(data, uint64(v))
				}
				calls++
			}
		}
	}
	return data, calls
}

// pointers has a module for each import, which is called with each pair of
// edges, by the number that the record carries as its timestamp.
func (c *corpus) pointers() {
	data, calls := edgeCalls()
	for _, module := range []string{abi.ImportModule, guard.WASIModule} {
		for _, name := range slices.Sorted(maps.Keys(guard.HostFunctions[module])) {
			c.add("P5", Any, edgeModule(module, name, data, abi.OnSend), "edges of %s.%s", module, name).Singles = calls
		}
	}
	for _, name := range []string{abi.ImportLog, abi.ImportMetricDef, abi.ImportReasonDef, abi.ImportHMAC, abi.ImportValue, abi.ImportClaim, abi.ImportStateGet} {
		c.add("P5", Any, edgeModule(abi.ImportModule, name, data, abi.Partition), "edges of %s in partition", name)
	}
	for _, name := range slices.Sorted(maps.Keys(guard.HostFunctions[abi.ImportModule])) {
		g := new(w.Guest)
		g.Init = w.Seq(callWith(g, abi.ImportModule, name, func(_ int, typ byte) []byte {
			if typ == w.I32 {
				return i32(-1)
			}
			return nil
		}), w.I64Const(int64(abi.PackInit(abi.OnSend.Mask(), [abi.HookCount]abi.Fields{}, 0))))
		g.EachRecord(abi.OnSend, 0)
		c.add("P5", Any, g.Bytes(), "%s with -1 everywhere, in klamm_init", name)
	}
}

func edgeModule(module, name string, data []byte, h abi.Hook) []byte {
	g := &w.Guest{Pages: 3}
	base := w.Seq(w.LocalGet(w.At), w.I32Load(abi.RecTimestamp), i32(argWords*8), w.I32Mul)
	body := callWith(g, module, name, func(i int, typ byte) []byte {
		at := argsAt + 8*i
		switch typ {
		case w.I64:
			return w.Seq(base, w.I64Load(at))
		case w.F64:
			return w.Seq(base, op(0x2b, 0), w.ULEB(uint64(at)))
		}
		return w.Seq(base, w.I32Load(at))
	})
	g.Data(argsAt, data)
	g.EachRecord(h, abi.FieldKey|abi.FieldTimestamp, body)
	return g.Bytes()
}
