package plugintest

import (
	"errors"
	"fmt"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// decode reads verdict i of a native call from its block.
func decode(block []byte, h abi.Hook, i, used int) (runtime.Verdict, error) {
	at := int(le.Uint32(block[abi.BatchVerdictOff:])) + i*abi.VerdictSize
	w := abi.Verdict(le.Uint64(block[at:]))
	v := runtime.Verdict{Code: w.Code(), Reason: w.Reason()}
	if !v.Code.Allowed(h) || w.Flags() != 0 {
		return v, fmt.Errorf("record %d: verdict %s is not allowed in %s", i, v.Code, h)
	}
	mod := int(le.Uint32(block[abi.BatchModOff:]))
	area := block[mod : mod+used]
	var err error
	switch v.Code {
	case abi.Route:
		v.Partition = int32(w.Arg())
	case abi.Drop, abi.DeadLetter, abi.Fail:
		if w.Arg() != 0 {
			off := int(w.Arg()) - mod
			n := int(le.Uint32(area[off:]))
			v.Text = area[off+4 : off+4+n]
		}
	case abi.Edit:
		v.Edits, err = decodeEdits(area[int(w.Arg())-mod:])
	case abi.ValueInPlace:
		v.Value, err = valueOf(block, i)
	}
	return v, err
}

func decodeEdits(list []byte) (edits []runtime.Edit, err error) {
	n, size := int(le.Uint32(list)), int(le.Uint32(list[4:]))
	rest := list[abi.EditHeaderSize : abi.EditHeaderSize+size]
	for range n {
		klen, vlen := int32(le.Uint32(rest[abi.EditKLen:])), int32(le.Uint32(rest[abi.EditVLen:]))
		total := int(le.Uint32(rest[abi.EditTotal:]))
		key := nullable(rest[abi.EditEntrySize:total], klen)
		value := nullable(rest[abi.EditEntrySize+len(key):total], vlen)
		edits = append(edits, runtime.Edit{Op: abi.Op(le.Uint16(rest[abi.EditOp:])), Key: key, Value: value})
		rest = rest[total:]
	}
	if len(rest) > 0 {
		return nil, errors.New("bytes behind the last edit of a list")
	}
	return edits, nil
}

func nullable(b []byte, n int32) []byte {
	if n < 0 {
		return nil
	}
	return b[:n:n]
}

// valueOf returns the value of record i as it stands in the block now.
func valueOf(block []byte, i int) ([]byte, error) {
	at := int(le.Uint32(block[abi.BatchRecOff:]))
	for range i {
		at += int(le.Uint32(block[at+abi.RecSize:]))
	}
	n := int32(le.Uint32(block[at+abi.RecValueLen:]))
	if n < 0 || le.Uint32(block[at+abi.RecFlags:])&abi.FlagValueOmitted != 0 {
		return nil, errors.New("value_in_place for a record whose value is not in the block")
	}
	off := at + int(le.Uint32(block[at+abi.RecValueOff:]))
	return block[off : off+int(n)], nil
}
