package interceptor

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// edit applies an edit list to a copy of the record, in order, and keeps the
// copy when all of it is allowed.
func (r *run) edit(p *place, it *Item, edits []runtime.Edit) (kind string, err error) {
	size := 0
	for i := range edits {
		size += len(edits[i].Key) + len(edits[i].Value) + headerSize
	}
	if !r.batch.arena.room(size) {
		return "edit", fmt.Errorf("the edits of a batch of %d records take more than %d MiB", len(r.batch.Items), arenaMost>>20)
	}
	ed := editor{r: r, rec: it.Record}
	for i := range edits {
		if err := ed.one(&edits[i]); err != nil {
			return "edit", fmt.Errorf("edit %d: %w", i+1, err)
		}
	}
	from, to := it.Record.Topic, ed.rec.Topic
	if err := r.lane.chain.checkTopic(p.link, it.Origin(), from, to); err != nil {
		return "topic_refused", err
	}
	if it.origin == "" && to != from {
		it.origin = from
	}
	if ed.listed {
		ed.rec.Headers = r.batch.arena.list(r.headers)
	}
	it.Record, it.edited = ed.rec, true
	return "", nil
}

// editor is a record while its edits are applied. Its headers are in run.headers
// once one of them was edited.
type editor struct {
	r      *run
	rec    klamm.Record
	listed bool
	steps  int // over headers, while looking for some to remove
}

// stepsMost bounds the time that the edits of one record may take.
const stepsMost = 1 << 20

func (e *editor) one(ed *runtime.Edit) error {
	switch ed.Op {
	case abi.OpAddHeader, abi.OpRemoveHeaders, abi.OpRemoveHeader:
		return e.header(ed)
	case abi.OpSetKey:
		e.rec.Key = e.r.batch.arena.copy(ed.Value)
	case abi.OpSetValue:
		e.rec.Value = e.r.batch.arena.copy(ed.Value)
	case abi.OpSetTopic:
		e.rec.Topic = e.r.lane.intern(ed.Value)
	case abi.OpSetTimestamp:
		return e.timestamp(ed.Value)
	case abi.OpSetPartition:
		if len(ed.Value) != 4 {
			return fmt.Errorf("a partition has 4 bytes, got %d", len(ed.Value))
		}
		return route(&e.rec, int32(binary.LittleEndian.Uint32(ed.Value)))
	default:
		return fmt.Errorf("unknown operation %d", ed.Op)
	}
	return nil
}

func (e *editor) timestamp(value []byte) error {
	if len(value) != 8 {
		return fmt.Errorf("a timestamp has 8 bytes, got %d", len(value))
	}
	ms := int64(binary.LittleEndian.Uint64(value))
	if ms < 0 {
		return fmt.Errorf("timestamp %d is before 1970", ms)
	}
	e.rec.Timestamp = time.UnixMilli(ms)
	return nil
}

func (e *editor) header(ed *runtime.Edit) error {
	if !e.listed {
		e.r.headers = append(e.r.headers[:0], e.rec.Headers...)
		e.listed = true
	}
	list := e.r.headers
	if ed.Op != abi.OpAddHeader {
		if e.steps += len(list); e.steps > stepsMost {
			return fmt.Errorf("too many headers are removed, of %d", len(list))
		}
	}
	switch ed.Op {
	case abi.OpAddHeader:
		e.r.batch.arena.used += len(ed.Key)
		list = append(list, klamm.Header{Key: e.r.lane.intern(ed.Key), Value: e.r.batch.arena.copy(ed.Value)})
	case abi.OpRemoveHeaders:
		kept := list[:0]
		for _, h := range list {
			if h.Key != string(ed.Key) {
				kept = append(kept, h)
			}
		}
		list = kept
	case abi.OpRemoveHeader:
		if len(ed.Value) != 4 {
			return fmt.Errorf("a header's index has 4 bytes, got %d", len(ed.Value))
		}
		i := binary.LittleEndian.Uint32(ed.Value)
		if int64(i) >= int64(len(list)) {
			return fmt.Errorf("remove header %d of %d", i, len(list))
		}
		list = append(list[:i], list[i+1:]...)
	}
	e.r.headers = list
	return nil
}
