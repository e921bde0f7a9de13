package partitioner_test

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/klamm-io/klamm/sdk/abi"
)

// The guest of these tests answers with what a record's key says: its first
// eight bytes are the verdict, or one of the orders below. Shorter keys pass.
const (
	orderTrap  = math.MaxInt64 - iota
	orderSpin  // never return
	orderLoad  // ROUTE to 1 if partition 0 has more queued, else to 0
	orderPull  // pull the value; it is the verdict
	orderCount // add 1 to the guest's metric, then pass
	orderFacts // ROUTE to the number of partitions less one, if partition 0 is available
)

// key returns the key that orders a verdict, or one of the orders.
func key[V ~uint64 | ~int](order V) []byte {
	return binary.LittleEndian.AppendUint64(nil, uint64(order))
}

func routeTo(p int32) []byte { return key(abi.PackVerdict(abi.Route, 0, 0, uint32(p))) }

// Types and opcodes of WebAssembly's binary format.
const (
	i32, i64 = 0x7f, 0x7e

	opUnreachable, opBlock, opLoop, opIf, opElse, opEnd   = 0x00, 0x02, 0x03, 0x04, 0x05, 0x0b
	opBr, opBrIf, opCall, opDrop                          = 0x0c, 0x0d, 0x10, 0x1a
	opLocalGet, opLocalSet, opI32Const, opI64Const        = 0x20, 0x21, 0x41, 0x42
	opI32Load, opI64Load, opI32Load8U, opI64Store, opGrow = 0x28, 0x29, 0x2d, 0x37, 0x40
	opI32And, opI32Eq, opI32GeU, opI32GtU, opI32LtS       = 0x71, 0x46, 0x4f, 0x4b, 0x48
	opI32Add, opI32Sub, opI32Shl, opI32ShrU               = 0x6a, 0x6b, 0x74, 0x76
	opI64Eq, opI64Or, opI64Shl, opI64ExtendU              = 0x51, 0x84, 0x86, 0xad
	void                                                  = 0x40
	imports, value, metricDef, metricAdd                  = 3, 0, 1, 2
	ptr, _, index, verdict, at, order, topicAt            = 0, 1, 2, 3, 4, 5, 6 // locals
	scratch, metricName                                   = 16, 32              // addresses
)

func cat(parts ...[]byte) []byte { return slices.Concat(parts...) }

func op(code ...byte) []byte { return code }

func uleb(v int) []byte { return binary.AppendUvarint(nil, uint64(v)) }

func sleb(v int64) []byte {
	var b []byte
	for {
		low := byte(v & 0x7f)
		v >>= 7
		if v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

func c32(v int) []byte       { return cat(op(opI32Const), sleb(int64(int32(v)))) }
func c64(v int64) []byte     { return cat(op(opI64Const), sleb(v)) }
func get(local byte) []byte  { return op(opLocalGet, local) }
func set(local byte) []byte  { return op(opLocalSet, local) }
func load32(off int) []byte  { return cat(op(opI32Load, 0), uleb(off)) }
func sized(b []byte) []byte  { return cat(uleb(len(b)), b) }
func str(s string) []byte    { return sized([]byte(s)) }
func vec(v ...[]byte) []byte { return cat(uleb(len(v)), cat(v...)) }
func when(o int64, body ...[]byte) []byte {
	return cat(get(order), c64(o), op(opI64Eq, opIf, void), cat(body...), op(opEnd))
}

// routeBool makes order a ROUTE to the i32 on the stack.
func routeBool() []byte {
	return cat(op(opI64ExtendU), c64(32), op(opI64Shl), c64(int64(abi.Route)), op(opI64Or), set(order))
}

// perRecord is the loop's body.
func perRecord() []byte {
	return cat(
		// Shorter keys pass.
		op(opBlock, void),
		get(at), load32(abi.RecKeyLen), c32(8), op(opI32LtS, opBrIf, 0),
		get(at), get(at), load32(abi.RecKeyOff), op(opI32Add, opI64Load, 0, 0), set(order),
		when(orderTrap, op(opUnreachable)),
		when(orderSpin, op(opLoop, void, opBr, 0, opEnd)),
		when(orderCount, c32(0), c64(1), op(opCall, metricAdd), c64(0), set(order)),
		when(orderPull,
			get(index), c32(scratch), c32(8), op(opCall, value, opDrop),
			c32(scratch), op(opI64Load, 0, 0), set(order)),
		when(orderLoad,
			get(topicAt), load32(abi.TopLoadOff), get(ptr), op(opI32Add), load32(0),
			get(topicAt), load32(abi.TopLoadOff), get(ptr), op(opI32Add), load32(4),
			op(opI32GtU), routeBool()),
		when(orderFacts,
			get(topicAt), load32(abi.TopPartitions), c32(1), op(opI32Sub),
			get(topicAt), load32(abi.TopAvailOff), get(ptr), op(opI32Add, opI32Load8U, 0, 0), c32(1), op(opI32And),
			op(opI32Sub), c32(1), op(opI32Add), // one more where it is not available: out of range
			routeBool()),
		get(verdict), get(order), op(opI64Store, 0, 0),
		op(opEnd),
	)
}

// guest returns the module. Its partition hook asks for fields.
func guest(fields abi.Fields) []byte {
	partition := cat(
		get(ptr), get(ptr), load32(abi.BatchVerdictOff), op(opI32Add), set(verdict),
		get(ptr), get(ptr), load32(abi.BatchRecOff), op(opI32Add), set(at),
		get(ptr), get(ptr), load32(abi.BatchTopicsOff), op(opI32Add), set(topicAt),
		op(opBlock, void, opLoop, void),
		get(index), get(ptr), load32(abi.BatchCount), op(opI32GeU, opBrIf, 1),
		perRecord(),
		get(index), c32(1), op(opI32Add), set(index),
		get(verdict), c32(abi.VerdictSize), op(opI32Add), set(verdict),
		get(at), get(at), load32(abi.RecSize), op(opI32Add), set(at),
		op(opBr, 0, opEnd, opEnd), c64(0),
	)
	var asked [abi.HookCount]abi.Fields
	asked[abi.Partition] = fields
	const name = "keys"
	initialise := cat(
		c32(int(abi.MetricCounter)), c32(metricName), c32(len(name)), op(opCall, metricDef, opDrop),
		c64(int64(abi.PackInit(abi.Partition.Mask(), asked, 0))),
	)
	alloc := cat(get(0), c32(0xffff), op(opI32Add), c32(16), op(opI32ShrU), op(opGrow, 0), c32(16), op(opI32Shl))

	funcType := func(params, results []byte) []byte { return cat(op(0x60), sized(params), sized(results)) }
	code := func(locals []byte, body []byte) []byte { return sized(cat(locals, body, op(opEnd))) }
	imported := func(name string, typ byte) []byte { return cat(str(abi.ImportModule), str(name), op(0, typ)) }
	exported := func(name string, kind, i byte) []byte { return cat(str(name), op(kind, i)) }
	section := func(id byte, body []byte) []byte { return cat(op(id), sized(body)) }
	return cat(
		[]byte("\x00asm\x01\x00\x00\x00"),
		section(1, vec(
			funcType(nil, nil), funcType(op(i32), op(i32)), funcType(op(i32, i32), op(i64)),
			funcType(op(i32, i32, i32), op(i32)), funcType(op(i32, i64), nil))),
		section(2, vec(imported(abi.ImportValue, 3), imported(abi.ImportMetricDef, 3), imported(abi.ImportMetricAdd, 4))),
		section(3, vec(op(0), op(1), op(2), op(2))),
		section(5, vec(op(0, 1))),
		section(7, vec(
			exported(abi.ExportMemory, 2, 0), exported(abi.ExportMarker, 0, imports),
			exported(abi.ExportAlloc, 0, imports+1), exported(abi.ExportInit, 0, imports+2),
			exported(abi.ExportPartition, 0, imports+3))),
		section(10, vec(
			code(vec(), nil), code(vec(), alloc), code(vec(), initialise),
			code(vec(op(3, i32), op(1, i64), op(1, i32)), partition))),
		section(11, vec(cat(op(0), c32(metricName), op(opEnd), str(name)))),
	)
}
