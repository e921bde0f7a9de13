package plugin

import (
	"unicode/utf8"

	"github.com/klamm-io/klamm/sdk/abi"
)

// edit adds one edit to the record's list. The verdict says where the list is;
// one of another kind is turned into edits first.
func (r Record) edit(op abi.Op, key, value []byte) {
	list, ok := r.list(abi.EditEntrySize + align8(uint32(len(key)+len(value))))
	if ok {
		ok = r.b.appendEdit(list, op, key, value)
	}
	if !ok {
		r.b.full = r.i
		return
	}
	r.write(abi.PackVerdict(abi.Edit, 0, 0, list))
}

func (r Record) editPartition(partition int32) {
	var v [4]byte
	putU32(v[:], 0, uint32(partition))
	r.edit(abi.OpSetPartition, nil, v[:])
}

// list returns the offset of the record's edit list, which is made, or moved to
// the end of the area, so that it can grow there.
func (r Record) list(need uint32) (off uint32, ok bool) {
	v := r.verdict()
	switch v.Code() {
	case abi.Edit:
		return r.b.listAtEnd(v.Arg(), need)
	case abi.Route:
		var p [4]byte
		putU32(p[:], 0, v.Arg())
		off, ok = r.b.newList()
		return off, ok && r.b.appendEdit(off, abi.OpSetPartition, nil, p[:])
	case abi.ValueInPlace:
		off, ok = r.b.newList()
		return off, ok && r.b.appendEdit(off, abi.OpSetValue, nil, r.Value())
	}
	return r.b.newList()
}

func (b *Batch) newList() (off uint32, ok bool) {
	off, ok = b.room(abi.EditHeaderSize)
	if ok {
		putU64(b.b, off, 0)
	}
	return off, ok
}

// listAtEnd returns where the list at off ends up so that need bytes can follow
// it. Its old place is lost when another record's bytes are in between.
func (b *Batch) listAtEnd(off, need uint32) (uint32, bool) {
	size := abi.EditHeaderSize + u32(b.b, off+4)
	if off+size == b.modOff+b.modUsed {
		return off, true
	}
	if uint64(b.modUsed)+uint64(size)+uint64(need) > uint64(b.modCap) {
		return 0, false
	}
	to, _ := b.room(size)
	copy(b.b[to:to+size], b.b[off:off+size])
	return to, true
}

// appendEdit writes an entry behind the list at off, which is the last thing in
// the area.
func (b *Batch) appendEdit(off uint32, op abi.Op, key, value []byte) bool {
	if uint64(len(key))+uint64(len(value)) > uint64(b.modCap) {
		return false
	}
	total := abi.EditEntrySize + align8(uint32(len(key)+len(value)))
	at, ok := b.room(total)
	if !ok {
		return false
	}
	putU16(b.b, at+abi.EditOp, uint16(op))
	putU16(b.b, at+abi.EditFlags, 0)
	putU32(b.b, at+abi.EditKLen, uint32(lenOrNull(key)))
	putU32(b.b, at+abi.EditVLen, uint32(lenOrNull(value)))
	putU32(b.b, at+abi.EditTotal, total)
	rest := b.b[at+abi.EditEntrySize : at+total]
	n := copy(rest, key)
	n += copy(rest[n:], value)
	clear(rest[n:])
	putU32(b.b, off, u32(b.b, off)+1)
	putU32(b.b, off+4, u32(b.b, off+4)+total)
	return true
}

func lenOrNull(b []byte) int32 {
	if b == nil {
		return -1
	}
	return int32(len(b))
}

// text writes a verdict's text and returns where it is, 0 for an empty one.
func (b *Batch) text(s string) (off uint32, ok bool) {
	s = cut(s, abi.TextMax)
	off, ok = b.room(4 + uint32(len(s)))
	if ok {
		putU32(b.b, off, uint32(len(s)))
		copy(b.b[off+4:], s)
	}
	return off, ok
}

// room takes n bytes, rounded up to 8, from the modification area.
func (b *Batch) room(n uint32) (off uint32, ok bool) {
	n = align8(n)
	if uint64(b.modUsed)+uint64(n) > uint64(b.modCap) {
		return 0, false
	}
	off = b.modOff + b.modUsed
	b.modUsed += n
	return off, true
}

// cut shortens s to at most n bytes without cutting a character in two.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
