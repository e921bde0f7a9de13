package plugintest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// result turns a verdict about r into what became of it. Bytes are copied.
func result(r *klamm.Record, v runtime.Verdict, declared func(uint16) string) (Result, error) {
	out := Result{Verdict: v.Code, Text: string(v.Text), Record: *r}
	out.Record.Topic = topicOf(r)
	out.Record.Headers = slices.Clone(r.Headers)
	switch v.Code {
	case abi.Drop, abi.DeadLetter, abi.Fail:
		out.Reason = reasonName(v.Reason, declared(v.Reason))
	case abi.Route:
		out.Partition = v.Partition
	case abi.ValueInPlace:
		out.Verdict = abi.Edit
		out.Record.Value = bytes.Clone(v.Value)
	case abi.Edit:
		for _, e := range v.Edits {
			if err := applyEdit(&out.Record, e); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

func applyEdit(r *klamm.Record, e runtime.Edit) error {
	value := bytes.Clone(e.Value)
	switch e.Op {
	case abi.OpAddHeader:
		r.Headers = append(r.Headers, klamm.Header{Key: string(e.Key), Value: value})
	case abi.OpRemoveHeaders:
		r.Headers = slices.DeleteFunc(r.Headers, func(h klamm.Header) bool { return h.Key == string(e.Key) })
	case abi.OpSetKey:
		r.Key = value
	case abi.OpSetValue:
		r.Value = value
	case abi.OpSetTopic:
		r.Topic = string(value)
	case abi.OpSetTimestamp:
		r.Timestamp = time.UnixMilli(int64(le.Uint64(value))).UTC()
	case abi.OpSetPartition:
		r.Target = 0
		if p := int32(le.Uint32(value)); p >= 0 {
			r.Target = klamm.ToPartition(p)
		}
	case abi.OpRemoveHeader:
		i := int(le.Uint32(value))
		if i >= len(r.Headers) {
			return fmt.Errorf("edit removes header %d of %d", i, len(r.Headers))
		}
		r.Headers = slices.Delete(r.Headers, i, i+1)
	default:
		return fmt.Errorf("unknown edit %d", e.Op)
	}
	return nil
}
