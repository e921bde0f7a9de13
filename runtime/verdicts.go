package runtime

import (
	"slices"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Verdicts are the checked answers of one Judge. Their bytes lie outside of
// guest memory and are valid until the seat's next Judge.
type Verdicts struct {
	// words are the verdicts as the guest wrote them. Of those with more to them
	// than a word, the argument is the number of their details, from 1.
	words   []abi.Verdict
	details []detail
	buf     []byte // modification areas and in-place values, copied out
	edits   []Edit

	secrets secrets
	pending int // edits that are checked and not in edits yet
	by      *Generation
}

// detail is bytes of buf: a text, a value or an edit list. For an edit list n
// counts the entries, which are edits from first to last once finish has run.
type detail struct {
	off, n      int
	edits       bool
	first, last int
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

// Why says for people why a record ends: its reason, which has that name, and the
// verdict's text.
func (v *Verdict) Why(name string) string {
	switch {
	case len(v.Text) == 0:
		return name
	case v.Reason == abi.ReasonOther || name == "":
		return string(v.Text)
	}
	return name + ": " + string(v.Text)
}

// Edit is one change to a record. Nil bytes are null. Lengths that an Op
// demands were checked: see abi.Op.
type Edit struct {
	Op         abi.Op
	Key, Value []byte
}

// Len returns how many records were judged. It is less than the block's Len
// when the output limit was reached: the rest must be judged in another block.
func (v *Verdicts) Len() int { return len(v.words) }

// Generation returns the one that was called. It may be newer than the one that
// Seat.Generation returned before. It is nil when the plugin has not got the hook
// any more and was not called.
func (v *Verdicts) Generation() *Generation { return v.by }

// Words returns the verdict of each record without what its argument stands for,
// but for ROUTE, where it is the partition. Of others it is 0 where At has no
// more to say. So it tells cheaply which records need At. It is valid as long as the
// verdicts.
func (v *Verdicts) Words() []abi.Verdict { return v.words }

// At returns the verdict of record i.
func (v *Verdicts) At(i int) Verdict {
	w := v.words[i]
	out := Verdict{Code: w.Code(), Reason: w.Reason()}
	if out.Code == abi.Route {
		out.Partition = int32(w.Arg())
		return out
	}
	if w.Arg() == 0 {
		return out
	}
	switch d := &v.details[w.Arg()-1]; out.Code {
	case abi.ValueInPlace:
		out.Value = v.buf[d.off : d.off+d.n : d.off+d.n]
	case abi.Edit:
		out.Edits = v.edits[d.first:d.last:d.last]
	default:
		out.Text = v.buf[d.off : d.off+d.n : d.off+d.n]
	}
	return out
}

// Memory kept between calls for verdicts is given back above these sizes, once a
// call has not needed it: calls that do would allocate it each time.
const (
	keepOutput = 1 << 20
	keepEdits  = 1 << 14
)

func (v *Verdicts) reset() {
	clear(v.edits) // views of buf
	lessOutput, fewerEdits := len(v.buf) <= keepOutput, len(v.edits) <= keepEdits
	v.words, v.details, v.buf, v.edits = v.words[:0], v.details[:0], v.buf[:0], v.edits[:0]
	v.pending = 0
	if lessOutput && cap(v.buf) > keepOutput {
		v.buf = nil
	}
	if fewerEdits && cap(v.edits) > keepEdits {
		v.edits = nil
	}
}

// passAll is the answer of a plugin that does not have the hook.
func (v *Verdicts) passAll(n int) {
	v.reset()
	clear(v.extend(n))
}

// extend makes room for n more words and returns them, which are not cleared.
func (v *Verdicts) extend(n int) []abi.Verdict {
	at := len(v.words)
	v.words = slices.Grow(v.words, n)[:at+n]
	return v.words[at:]
}
