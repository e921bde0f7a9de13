package runtime

import "github.com/klamm-io/klamm/sdk/abi"

// Verdicts are the checked answers of one Judge. Their bytes lie outside of
// guest memory and are valid until the seat's next Judge.
type Verdicts struct {
	judged []judged
	buf    []byte // modification areas and in-place values, copied out
	edits  []Edit

	pending int // edits that are checked and not in edits yet
	by      *Generation
}

// judged is one record's verdict; off and n are bytes of buf.
type judged struct {
	code       abi.Code
	reason     uint16
	partition  int32
	off, n     int
	edit, last int // range of edits
}

// Verdict is what a plugin decided about one record.
type Verdict struct {
	Code      abi.Code
	Reason    uint16
	Partition int32  // of ROUTE; -1 clears an explicit one
	Text      []byte // valid UTF-8, may be empty
	Value     []byte // of VALUE_IN_PLACE
	Edits     []Edit // of EDIT
}

// Edit is one change to a record. Nil bytes are null. Lengths that an Op
// demands were checked: see abi.Op.
type Edit struct {
	Op         abi.Op
	Key, Value []byte
}

// Len returns how many records were judged. It is less than the block's Len
// when the output limit was reached: the rest must be judged in another block.
func (v *Verdicts) Len() int { return len(v.judged) }

// Generation returns the one that was called. It may be newer than the one that
// Seat.Generation returned before. It is nil when the plugin has not got the hook
// any more and was not called.
func (v *Verdicts) Generation() *Generation { return v.by }

// At returns the verdict of record i.
func (v *Verdicts) At(i int) Verdict {
	j := &v.judged[i]
	out := Verdict{Code: j.code, Reason: j.reason, Partition: j.partition}
	switch j.code {
	case abi.Drop, abi.DeadLetter, abi.Fail:
		out.Text = v.buf[j.off : j.off+j.n : j.off+j.n]
	case abi.ValueInPlace:
		out.Value = v.buf[j.off : j.off+j.n : j.off+j.n]
	case abi.Edit:
		out.Edits = v.edits[j.edit:j.last:j.last]
	}
	return out
}

// Memory kept between calls for verdicts is given back above these sizes.
const (
	keepOutput = 1 << 20
	keepEdits  = 1 << 14
)

func (v *Verdicts) reset() {
	clear(v.edits) // views of buf
	v.judged, v.buf, v.edits = v.judged[:0], v.buf[:0], v.edits[:0]
	v.pending = 0
	if cap(v.buf) > keepOutput {
		v.buf = nil
	}
	if cap(v.edits) > keepEdits {
		v.edits = nil
	}
}

// passAll is the answer of a plugin that does not have the hook.
func (v *Verdicts) passAll(n int) {
	v.reset()
	for range n {
		v.judged = append(v.judged, judged{})
	}
}
