// Package wire is a plain encoding of a batch and its verdicts, for peers whose
// calls take bytes and give bytes. Both directions are little endian.
//
//	in:  u32 count, then for each record u32 key length, u32 value length, key, value
//	out: for each record u32 code, u32 partition or value length, value
package wire

import (
	"encoding/binary"
	"errors"

	"github.com/klamm-io/klamm/bench/internal/ops"
)

var le = binary.LittleEndian

// AppendRecord appends one record of a batch.
func AppendRecord(dst, key, value []byte) []byte {
	dst = le.AppendUint32(dst, uint32(len(key)))
	dst = le.AppendUint32(dst, uint32(len(value)))
	dst = append(dst, key...)
	return append(dst, value...)
}

// Judge does op on every record of in and appends the verdicts to out. claim is
// asked with the offset of a key in in and its length.
func Judge(op ops.Op, in, out []byte, claim func(off, n int) bool) []byte {
	at := 4
	for range le.Uint32(in) {
		k, v := int(le.Uint32(in[at:])), int(le.Uint32(in[at+4:]))
		at += 8
		key, value := in[at:at+k], in[at+k:at+k+v]
		switch op {
		case ops.Route:
			out = appendVerdict(out, ops.Routed, uint32(ops.Partition(key)))
		case ops.Dedup:
			code := ops.Passed
			if !claim(at, k) {
				code = ops.Dropped
			}
			out = appendVerdict(out, code, 0)
		case ops.Rewrite:
			start := len(out)
			out = ops.AppendRewritten(appendVerdict(out, ops.Replaced, 0), value)
			le.PutUint32(out[start+4:], uint32(len(out)-start-8))
		case ops.Mask:
			start := len(out)
			masked, ok := ops.AppendMasked(appendVerdict(out, ops.Replaced, 0), value)
			if out = masked; ok {
				le.PutUint32(out[start+4:], uint32(len(out)-start-8))
			} else {
				le.PutUint32(out[start:], uint32(ops.Passed))
			}
		default:
			out = appendVerdict(out, ops.Passed, 0)
		}
		at += k + v
	}
	return out
}

func appendVerdict(dst []byte, c ops.Code, arg uint32) []byte {
	return le.AppendUint32(le.AppendUint32(dst, uint32(c)), arg)
}

var errShort = errors.New("wire: fewer verdicts than records")

// Verdicts decodes in into out, with views of in.
func Verdicts(in []byte, out []ops.Result) error {
	for i := range out {
		if len(in) < 8 {
			return errShort
		}
		c, arg := ops.Code(le.Uint32(in)), le.Uint32(in[4:])
		in = in[8:]
		out[i] = ops.Result{Code: c}
		switch c {
		case ops.Routed:
			out[i].Partition = int32(arg)
		case ops.Replaced:
			if uint64(len(in)) < uint64(arg) {
				return errShort
			}
			out[i].Value, in = in[:arg], in[arg:]
		}
	}
	return nil
}
