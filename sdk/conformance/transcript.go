package conformance

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// describe writes a verdict down: what the guest answered, not what came of it.
func describe(v runtime.Verdict, reason func(uint16) string) string {
	switch v.Code {
	case abi.Drop, abi.DeadLetter, abi.Fail:
		s := v.Code.String() + " " + reason(v.Reason)
		if len(v.Text) > 0 {
			s += " " + show(v.Text)
		}
		return s
	case abi.Route:
		return fmt.Sprintf("route %d", v.Partition)
	case abi.ValueInPlace:
		return "in_place " + show(v.Value)
	case abi.Edit:
		var parts []string
		for _, e := range v.Edits {
			parts = append(parts, describeEdit(e))
		}
		return "edit " + strings.Join(parts, ", ")
	}
	return v.Code.String()
}

func describeEdit(e runtime.Edit) string {
	switch e.Op {
	case abi.OpAddHeader:
		return "add " + string(e.Key) + "=" + show(e.Value)
	case abi.OpRemoveHeaders:
		return "remove " + string(e.Key)
	case abi.OpSetKey:
		return "key " + show(e.Value)
	case abi.OpSetValue:
		return "value " + show(e.Value)
	case abi.OpSetTopic:
		return "topic " + string(e.Value)
	case abi.OpSetTimestamp:
		return "time " + strconv.FormatInt(int64(binary.LittleEndian.Uint64(e.Value)), 10)
	case abi.OpSetPartition:
		return "partition " + strconv.Itoa(int(int32(binary.LittleEndian.Uint32(e.Value))))
	case abi.OpRemoveHeader:
		return "remove_at " + strconv.Itoa(int(binary.LittleEndian.Uint32(e.Value)))
	}
	return fmt.Sprintf("op %d", e.Op)
}

// shown is how many bytes are written down as they are.
const shown = 600

// show writes bytes down, null and empty apart, long ones as a digest.
func show(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case len(b) > shown:
		return digest(b)
	}
	return strconv.Quote(string(b))
}

// digest is how the guest writes bytes down: ~ for null, else their number and
// FNV-1a hash.
func digest(b []byte) string {
	if b == nil {
		return "~"
	}
	h := fnv.New32a()
	h.Write(b)
	return fmt.Sprintf("%d:%08x", len(b), h.Sum32())
}

// headersDigest is the digest of all headers: the key, a zero byte, then 0 for
// null or 1 and the value, and a zero byte.
func headersDigest(headers []Header) string {
	b := []byte{}
	for _, h := range headers {
		b = append(b, h.Key...)
		b = append(b, 0)
		if h.Value == nil {
			b = append(b, 0)
		} else {
			b = append(append(b, 1), h.Value...)
		}
		b = append(b, 0)
	}
	return fmt.Sprintf("%d/%s", len(headers), digest(b))
}

// dumpOf is what the guest must read of record number i (from 0) when the hook
// asks for those fields.
func dumpOf(h abi.Hook, i int, r *Record, fields abi.Fields) string {
	key, timestamp := r.Key, r.Timestamp
	if fields&abi.FieldKey == 0 {
		key = nil
	}
	if fields&abi.FieldTimestamp == 0 {
		timestamp = 0
	}
	valueLen := -1
	if r.Value != nil {
		valueLen = len(r.Value)
	}
	partition, offset := place(h, r)
	s := fmt.Sprintf("ref=%d key=%s vlen=%d value=%s headers=%s ts=%d off=%d part=%d tx=%d",
		refOf(i), digest(key), valueLen, digest(r.Value), headersDigest(r.Headers), timestamp, offset, partition, bit(r.Transactional))
	f := facts[r.topic()]
	if fields&abi.FieldTopicFacts == 0 {
		f.partitions, f.epoch, f.available = 0, 0, nil
	}
	if fields&abi.FieldLoad == 0 {
		f.load = nil
	}
	s += fmt.Sprintf(" topic=%s parts=%d epoch=%d", r.topic(), f.partitions, f.epoch)
	for p := range f.partitions {
		load := uint32(0)
		if int(p) < len(f.load) {
			load = f.load[p]
		}
		s += fmt.Sprintf(" %d:%d", bit(f.available == nil || f.available[p]), load)
	}
	return s + fmt.Sprintf(" now=%d", int64(nowMS))
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// refOf is the identity of record i: larger than 32 bits.
func refOf(i int) uint64 { return 1<<40 + uint64(i) }

// place is partition and offset as the hook sees them.
func place(h abi.Hook, r *Record) (partition int32, offset int64) {
	if h == abi.OnSend || h == abi.Partition {
		return r.Partition, -1
	}
	return r.Partition, r.Offset
}

// ackLine is what the guest logs of acknowledgement i.
func ackLine(i int, r *Record) string {
	a := r.Ack
	return fmt.Sprintf("log 1 ack %s err=%d dropped=%d retried=%d aborted=%d earlier=%d latency=%d reason=%d plugin=%d",
		dumpOf(abi.OnAcknowledgement, i, r, 63), a.Error, bit(a.Flags&abi.AckDropped != 0), bit(a.Flags&abi.AckRetried != 0),
		bit(a.Flags&abi.AckAborted != 0), bit(a.Flags&abi.AckEarlierGeneration != 0), a.Latency.Microseconds(), a.Reason, a.Plugin)
}
