package runtime

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/klamm-io/klamm/sdk/abi"
)

// badVerdict is nonsense in an answer; index is the record's in the Block, -1
// when it is no record's.
type badVerdict struct {
	index   int
	problem string
}

func bad(index int, format string, args ...any) *badVerdict {
	return &badVerdict{index, fmt.Sprintf(format, args...)}
}

// plain says which codes each hook may answer with that need no more than their
// word, as bits: a route, and what ends a record without a text.
var plain = func() (bits [abi.HookCount]uint64) {
	for h := range abi.Hook(abi.HookCount) {
		for _, c := range []abi.Code{abi.Pass, abi.Drop, abi.Route, abi.DeadLetter, abi.Fail} {
			if c.Allowed(h) {
				bits[h] |= 1 << c
			}
		}
	}
	return bits
}()

// isPlain reports whether w is right as it stands, given the plain codes of its
// hook.
func isPlain(w abi.Verdict, codes uint64) bool {
	if codes>>w.Code()&1 == 0 || w.Flags() != 0 {
		return false
	}
	if w.Code() == abi.Route {
		return int32(w.Arg()) >= -1
	}
	return w.Arg() == 0
}

// take checks the answers of a call for done records and copies them out. mem
// is the block in guest memory, used the bytes of the modification area that the
// guest says it filled. Nothing that the guest wrote is trusted: it may be any
// bytes at all.
func (v *Verdicts) take(mem []byte, l layout, h abi.Hook, b *Block, done, used int) *badVerdict {
	v.buf = append(v.buf[:0], mem[l.mod:l.mod+used]...)
	area := modArea{start: l.mod, used: used}
	from, codes := mem[l.verdicts:], plain[h]
	for i, words := 0, v.extend(done); i < len(words); i++ {
		w := abi.Verdict(le.Uint64(from[i*abi.VerdictSize:]))
		words[i] = w
		if w == 0 || isPlain(w, codes) {
			continue
		}
		d, problem := v.one(mem, l, area, h, b, i, w)
		if problem != "" {
			return bad(i, "%s", problem)
		}
		v.details = append(v.details, d)
		words[i] = abi.PackVerdict(w.Code(), 0, w.Reason(), uint32(len(v.details)))
	}
	return nil
}

// modArea is the used modification area; it was copied to the start of buf.
type modArea struct{ start, used int }

// at translates an offset in the guest's block into one of buf, of a thing that
// takes at least least bytes.
func (a modArea) at(off uint32, least int) (in int, left int, ok bool) {
	rel := int64(off) - int64(a.start)
	if rel < 0 || rel+int64(least) > int64(a.used) {
		return 0, 0, false
	}
	return int(rel), a.used - int(rel), true
}

// one checks a verdict that is not plain and finds its details.
func (v *Verdicts) one(mem []byte, l layout, a modArea, h abi.Hook, b *Block, i int, w abi.Verdict) (d detail, problem string) {
	switch c := w.Code(); {
	case !c.Allowed(h):
		return d, fmt.Sprintf("code %d (%s) is not allowed in %s", uint8(c), c, h)
	case w.Flags() != 0:
		return d, fmt.Sprintf("unknown flags 0x%02x", w.Flags())
	}
	switch w.Code() {
	case abi.Drop, abi.DeadLetter, abi.Fail:
		problem = v.text(&d, a, w.Arg())
	case abi.Route:
		problem = fmt.Sprintf("partition %d", int32(w.Arg()))
	case abi.ValueInPlace:
		off, n, ok := b.inPlace(l, i)
		if !ok {
			return d, "value_in_place for a record whose value is not in the block"
		}
		d.off, d.n = len(v.buf), n
		v.buf = append(v.buf, mem[off:off+n]...)
	case abi.Edit:
		problem = v.editList(&d, a, w.Arg())
	}
	return d, problem
}

func (v *Verdicts) text(d *detail, a modArea, off uint32) string {
	at, left, ok := a.at(off, 4)
	if !ok {
		return fmt.Sprintf("text at %d is outside of the used modification area", off)
	}
	n := le.Uint32(v.buf[at:])
	if n > abi.TextMax {
		return fmt.Sprintf("text of %d bytes, the limit is %d", n, abi.TextMax)
	}
	if int(n) > left-4 {
		return fmt.Sprintf("text of %d bytes runs out of the used modification area", n)
	}
	d.off, d.n = at+4, int(n)
	said := v.buf[d.off : d.off+d.n]
	s := v.secrets.scrub(said)
	if valid := utf8.Valid(s); !valid || len(s) != len(said) || bytes.ContainsFunc(s, unprintable) {
		// It ends up in logs, on terminals and in headers of dead letters.
		if !valid {
			s = bytes.ToValidUTF8(s, []byte("\ufffd"))
		}
		d.off = len(v.buf)
		v.buf = appendEscaped(v.buf, s, abi.TextMax)
		d.n = len(v.buf) - d.off
	}
	return ""
}

// editsMax is how many edits the records of one block may have together.
const editsMax = 1 << 16

// editList checks a list completely; its entries are turned into Edits when buf
// does not move any more.
func (v *Verdicts) editList(d *detail, a modArea, off uint32) string {
	at, left, ok := a.at(off, abi.EditHeaderSize)
	if !ok || off%8 != 0 {
		return fmt.Sprintf("edit list at %d is outside of the used modification area, or not 8-aligned", off)
	}
	n, size := le.Uint32(v.buf[at:]), le.Uint32(v.buf[at+4:])
	if int64(size) > int64(left-abi.EditHeaderSize) || size%8 != 0 {
		return fmt.Sprintf("edit list of %d bytes runs out of the used modification area, or is not 8-aligned", size)
	}
	if int64(n)*abi.EditEntrySize > int64(size) {
		return fmt.Sprintf("edit list of %d entries in %d bytes", n, size)
	}
	// Records may share a list, so the modification area bounds no sum.
	if v.pending += int(n); v.pending > editsMax {
		return fmt.Sprintf("more than %d edits in one call", editsMax)
	}
	d.off, d.n, d.edits = at+abi.EditHeaderSize, int(n), true
	rest := v.buf[d.off : d.off+int(size)]
	for i := range int(n) {
		total, problem := checkEdit(rest)
		if problem != "" {
			return fmt.Sprintf("edit %d of %d: %s", i, n, problem)
		}
		rest = rest[total:]
	}
	if len(rest) > 0 {
		return fmt.Sprintf("edit list with %d bytes behind its last entry", len(rest))
	}
	return ""
}

// checkEdit checks the entry at the start of b and returns its size.
func checkEdit(b []byte) (total int, problem string) {
	if len(b) < abi.EditEntrySize {
		return 0, "cut off"
	}
	size := int64(le.Uint32(b[abi.EditTotal:]))
	klen, vlen := int32(le.Uint32(b[abi.EditKLen:])), int32(le.Uint32(b[abi.EditVLen:]))
	switch {
	case le.Uint16(b[abi.EditFlags:]) != 0:
		return 0, fmt.Sprintf("unknown flags 0x%04x", le.Uint16(b[abi.EditFlags:]))
	case klen < -1 || vlen < -1:
		return 0, fmt.Sprintf("key length %d, value length %d", klen, vlen)
	case size%8 != 0 || size > int64(len(b)):
		return 0, fmt.Sprintf("size of %d bytes, %d left", size, len(b))
	case abi.EditEntrySize+int64(max(klen, 0))+int64(max(vlen, 0)) > size:
		return 0, fmt.Sprintf("key of %d and value of %d bytes in an entry of %d", klen, vlen, size)
	}
	return int(size), checkOp(abi.Op(le.Uint16(b[abi.EditOp:])), klen, vlen)
}

func checkOp(op abi.Op, klen, vlen int32) string {
	switch op {
	case abi.OpAddHeader, abi.OpRemoveHeaders:
		if klen < 0 {
			return "a header needs a key"
		}
	case abi.OpSetKey, abi.OpSetValue:
	case abi.OpSetTopic:
		if vlen <= 0 {
			return "a topic needs a name"
		}
	case abi.OpSetTimestamp:
		if vlen != 8 {
			return fmt.Sprintf("a timestamp of %d bytes", vlen)
		}
	case abi.OpSetPartition, abi.OpRemoveHeader:
		if vlen != 4 {
			return fmt.Sprintf("a number of %d bytes", vlen)
		}
	default:
		return fmt.Sprintf("unknown operation %d", op)
	}
	return ""
}

// finish turns the checked edit lists into Edits.
func (v *Verdicts) finish() {
	for i := range v.details {
		d := &v.details[i]
		if !d.edits {
			continue
		}
		d.first = len(v.edits)
		at := d.off
		for range d.n {
			e := v.buf[at:]
			klen, vlen := int32(le.Uint32(e[abi.EditKLen:])), int32(le.Uint32(e[abi.EditVLen:]))
			key := nullable(e[abi.EditEntrySize:], klen)
			value := nullable(e[abi.EditEntrySize+len(key):], vlen)
			v.edits = append(v.edits, Edit{Op: abi.Op(le.Uint16(e[abi.EditOp:])), Key: key, Value: value})
			at += int(le.Uint32(e[abi.EditTotal:]))
		}
		d.last = len(v.edits)
	}
}

// nullable returns the first n bytes of b, nil for a negative n. Empty is not
// nil.
func nullable(b []byte, n int32) []byte {
	if n < 0 {
		return nil
	}
	return b[:n:n]
}
