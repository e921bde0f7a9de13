package meter

// Instructions of the code that is added.
const (
	opSelect  = 0x1b
	opI32LtS  = 0x48
	opI32LtU  = 0x49
	opI32GtU  = 0x4b
	opI32LeU  = 0x4d
	opI64GeS  = 0x59
	opI64GtU  = 0x56
	opI32Add  = 0x6a
	opI32Sub  = 0x6b
	opI32Or   = 0x72
	opI64Add  = 0x7c
	opI64Sub  = 0x7d
	opI64Shl  = 0x86
	opI64ShrU = 0x88
	opI64Ext  = 0xad // from an unsigned i32
)

// appendCharge takes cost from the fuel and calls yield when there was less.
func (m *module) appendCharge(b []byte, cost int64) []byte {
	if m.o.Off {
		return b
	}
	m.res.Checks++
	b = appendU32(append(b, opGlobalGet), m.fuelGlobal())
	b = appendS64(append(b, opI64Const), cost)
	return m.appendSpend(b)
}

// appendSpend expects the fuel and a cost on the stack. That the likely branch
// comes first matters: the engine keeps what is in registers along it.
func (m *module) appendSpend(b []byte) []byte {
	b = appendU32(append(b, opI64Sub, opGlobalSet), m.fuelGlobal())
	b = appendU32(append(b, opGlobalGet), m.fuelGlobal())
	b = append(b, opI64Const, 0, opI64GeS, opIf, typeEmpty, opElse, opCall)
	return append(appendU32(b, m.yieldFunc()), opEnd)
}
