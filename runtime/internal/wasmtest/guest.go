package wasmtest

import "github.com/klamm-io/klamm/sdk/abi"

// Locals of a hook's body: its parameters, the offset of the running record's
// header, its index, and a scratch i64.
const (
	Ptr     = 0 // the block
	Len     = 1
	Index   = 2 // of the record
	Verdict = 3 // address of its verdict
	At      = 4 // address of its header
	Scratch = 5 // i64
)

// Guest is a plugin under construction: memory, marker, klamm_alloc and
// klamm_init are there, unless they are replaced before Bytes.
type Guest struct {
	Module
	// Alloc is the body of klamm_alloc; nil takes fresh pages.
	Alloc []byte
	// Init is the body of klamm_init; nil answers with Hooks and Fields.
	Init []byte
	// Hooks and Fields are the answer of klamm_init.
	Hooks  abi.HookMask
	Fields [abi.HookCount]abi.Fields
	// Pages is the memory's least size; 0 stands for 1. There is no largest one.
	Pages int

	done bool
}

// FreshPages is the body of a klamm_alloc that grows the memory.
func FreshPages() []byte {
	return Seq(LocalGet(0), I32Const(65535), I32Add, I32Const(16), I32ShrU, MemoryGrow, I32Const(16), I32Shl)
}

// Hook adds a hook of which body is the whole function.
func (g *Guest) Hook(h abi.Hook, fields abi.Fields, body ...[]byte) {
	g.Hooks |= h.Mask()
	g.Fields[h] = fields
	g.Func(h.Export(), Types{I32, I32}, Types{I64}, Types{I32, I32, I32, I64}, body...)
}

// EachRecord adds a hook that runs body for every record and answers 0.
func (g *Guest) EachRecord(h abi.Hook, fields abi.Fields, body ...[]byte) {
	g.Hook(h, fields, ForEach(body...), I64Const(0))
}

// ForEach runs body for every record of the block, with the locals set.
func ForEach(body ...[]byte) []byte {
	return Seq(
		LocalGet(Ptr), LocalGet(Ptr), I32Load(abi.BatchVerdictOff), I32Add, LocalSet(Verdict),
		LocalGet(Ptr), LocalGet(Ptr), I32Load(abi.BatchRecOff), I32Add, LocalSet(At),
		Block, Loop,
		LocalGet(Index), LocalGet(Ptr), I32Load(abi.BatchCount), I32GeU, BrIf(1),
		Seq(body...),
		LocalGet(Index), I32Const(1), I32Add, LocalSet(Index),
		LocalGet(Verdict), I32Const(abi.VerdictSize), I32Add, LocalSet(Verdict),
		LocalGet(At), LocalGet(At), I32Load(abi.RecSize), I32Add, LocalSet(At),
		Br(0), End, End,
	)
}

// Answer writes a verdict for the running record.
func Answer(v abi.Verdict) []byte {
	return Seq(LocalGet(Verdict), I64Const(int64(v)), I64Store(0))
}

// IfIndex runs body for record i only.
func IfIndex(i int, body ...[]byte) []byte {
	return Seq(LocalGet(Index), I32Const(int32(i)), I32Eq, If, Seq(body...), End)
}

// Bytes completes the plugin and encodes it.
func (g *Guest) Bytes() []byte {
	if !g.done {
		g.done = true
		g.Memory(max(g.Pages, 1), -1)
		g.Func(abi.ExportMarker, nil, nil, nil)
		if g.Alloc == nil {
			g.Alloc = FreshPages()
		}
		g.Func(abi.ExportAlloc, Types{I32}, Types{I32}, nil, g.Alloc)
		if g.Init == nil {
			g.Init = I64Const(int64(abi.PackInit(g.Hooks, g.Fields, 0)))
		}
		g.Func(abi.ExportInit, Types{I32, I32}, Types{I64}, Types{I32}, g.Init)
	}
	return g.Module.Bytes()
}
