package runtime

import "github.com/klamm-io/klamm/sdk/abi"

// Verdicts are the checked answers of one Judge. Their bytes lie outside of
// guest memory and are valid until the seat's next Judge.
type Verdicts struct{}

// Verdict is what a plugin decided about one record.
type Verdict struct {
	Code      abi.Code
	Reason    uint16
	Partition int32  // of ROUTE; -1 clears an explicit one
	Text      []byte // valid UTF-8, may be empty
	Value     []byte // of VALUE_IN_PLACE
	Edits     []Edit // of EDIT
}

// Edit is one change to a record. Nil bytes are null.
type Edit struct {
	Op         abi.Op
	Key, Value []byte
}

// Len returns how many records were judged. It is less than the block's Len
// when the output limit was reached: the rest must be judged in another block.
func (v *Verdicts) Len() int { return 0 }

// At returns the verdict of record i. Edits of one call of At are valid until
// the next.
func (v *Verdicts) At(i int) Verdict { return Verdict{} }
