package plugin

import (
	"errors"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Batch is the records of one call of on_send, on_consume or a partitioner.
type Batch struct {
	block
	verdicts uint32 // offset of the verdicts
	modOff   uint32 // start of the modification area
	modCap   uint32
	modUsed  uint32
	full     int // first record whose verdict found no room; count when none
	late     []lateRoute
	refused  bool
	fresh    [abi.BatchMax / 64]uint64
	hashes   [abi.BatchMax]uint32
}

// block is what batches of records, acknowledgements and commits share.
type block struct {
	b         []byte
	hook      abi.Hook
	count     int
	topicsOff uint32
	topics    int
	nowMS     int64
	current   int // index that At was last asked for, -1 before
	starts    [abi.BatchMax]uint32
	pulled    []pulled
}

var errBlock = errors.New("the host's block is malformed")

// open reads the header and finds the records. Only what all later accesses rely
// on is checked here; everything else is a slice of b and so within its bounds.
func (k *block) open(hook abi.Hook, b []byte, magic uint32) error {
	if len(b) < abi.BatchHeaderSize || u32(b, abi.BatchMagic) != magic {
		return errBlock
	}
	count := u32(b, abi.BatchCount)
	if count > abi.BatchMax {
		return errBlock
	}
	k.b, k.hook, k.count = b, hook, int(count)
	k.topicsOff, k.topics = u32(b, abi.BatchTopicsOff), int(u32(b, abi.BatchTopicsCount))
	k.nowMS = i64(b, abi.BatchNowMS)
	k.current = -1
	k.pulled = k.pulled[:0]
	return k.step(u32(b, abi.BatchRecOff), uint32(u16(b, abi.BatchRecordSize)))
}

// step finds where each record begins, from the first one on, by the size that
// each one's header gives. All of them at once, as a call for each costs more.
func (k *block) step(at, least uint32) error {
	if least < abi.RecordHeaderSize {
		return errBlock
	}
	for i := range k.starts[:k.count] {
		if uint64(at)+uint64(least) > uint64(len(k.b)) {
			return errBlock
		}
		size := u32(k.b, at+abi.RecSize)
		if size < least || uint64(at)+uint64(size) > uint64(len(k.b)) {
			return errBlock
		}
		k.starts[i] = at
		at += size
	}
	return nil
}

// Len returns the number of records.
func (k *block) Len() int { return k.count }

// Now returns the clock that claims use: the time when the records arrived, or
// their own time, as the state is configured. It is the same for the whole call.
func (k *block) Now() time.Time { return time.UnixMilli(k.nowMS) }

// start returns where record i begins, which is the current one from now on. It
// is small enough to be part of At, and At of its callers.
func (k *block) start(i int) uint32 {
	if uint(i) >= uint(k.count) {
		panic(errOutside)
	}
	k.current = i
	return k.starts[i]
}

var errOutside = errors.New("plugin: At of a record outside of the batch")

func (b *Batch) open(hook abi.Hook, mem []byte) error {
	if err := b.block.open(hook, mem, abi.MagicBatch); err != nil {
		return err
	}
	b.verdicts = u32(mem, abi.BatchVerdictOff)
	b.modOff, b.modCap = u32(mem, abi.BatchModOff), u32(mem, abi.BatchModCap)
	b.modUsed, b.full, b.late, b.refused = 0, b.count, b.late[:0], false
	if uint64(b.verdicts)+uint64(b.count)*abi.VerdictSize > uint64(len(mem)) ||
		uint64(b.modOff)+uint64(b.modCap) > uint64(len(mem)) || b.modOff%8 != 0 {
		return errBlock
	}
	return nil
}

// lateRoute is a partition for a record that has edits.
type lateRoute struct {
	i         int
	partition uint32
}

// finish ends the verdicts: late routes become edits, and what was said of records
// that did not fit is forgotten.
func (b *Batch) finish() {
	for _, l := range b.late {
		if r := b.At(l.i); r.open() {
			r.editPartition(int32(l.partition))
		}
	}
	for i := b.full; i < b.count; i++ {
		b.At(i).write(abi.PackVerdict(abi.Pass, 0, 0, 0))
	}
}

// At returns record i. It panics when i is not below Len.
func (b *Batch) At(i int) Record {
	return Record{Entry{&b.block, b.start(i), i}, b}
}

// All returns an iterator over the records and their indexes.
func (b *Batch) All() func(yield func(int, Record) bool) {
	return func(yield func(int, Record) bool) {
		for i := range b.count {
			if !yield(i, b.At(i)) {
				return
			}
		}
	}
}

// align8 rounds up to the next multiple of 8.
func align8(n uint32) uint32 { return (n + 7) &^ 7 }
