package runtime

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Block is a batch of records as the guest sees it. The host builds it, Judge
// or Notify copies it into the guest; one block may be given to several seats
// whose fields it covers. It is not safe for concurrent use; reuse it with Reset,
// so that it keeps its memory.
type Block struct {
	// Retry marks a repeated call for records that have been in a faulted one: its
	// faults do not count towards the breaker. Reset clears it.
	Retry bool
	// Stretched writes the block as a later minor version of the ABI might: longer
	// headers, unknown flags, one more topic. It serves tests of guests, which must
	// read it just the same. Set it before Reset.
	Stretched bool

	fields   abi.Fields
	nowMS    int64
	ack      bool
	headSize int // batch header
	recSize  int // record header
	fixed    int // bytes before the records, but for verdicts
	recs     []byte
	starts   []uint32 // of the records in recs
	topics   []topic
	facts    []byte // names, bitmaps and loads of topics
	open     bool   // the last record is not sealed yet
	due      int    // headers still to come
	entry    int    // offset of the next header entry in recs, 0 for none
	ackOf    acknowledgement
}

type topic struct {
	nameOff, nameLen   int // in facts
	availOff, availLen int // 0 length: none
	loadOff, loadLen   int
	partitions, epoch  uint32
}

type acknowledgement struct {
	code                      int32
	flags, latencyUS, reasonC uint32
	plugin                    uint16
}

// Head is a record without its headers. Bytes are copied by Add.
type Head struct {
	Topic       int // index that AddTopic returned
	Partition   int32
	Offset      int64
	TimestampMS int64
	Key         []byte // nil is null
	Value       []byte // nil is null
	Ref         uint64
	Flags       uint32
	Headers     int // how many times AddHeader follows
}

const (
	// modMin is the modification area that every block leaves room for.
	modMin    = 16 << 10
	blockRoom = abi.BlockMax - modMin

	stretchedBatch  = 72
	stretchedRecord = 80
	stretchedInit   = 72
	stretchFill     = 0xa5
	unknownFlag     = 1 << 30
)

var (
	zeros [abi.AckEntrySize]byte
	le    = binary.LittleEndian
)

// Reset empties the block. fields is what the hook asks to see, nowMS the clock
// that claims use, ack chooses an acknowledgement or commit block.
func (b *Block) Reset(fields abi.Fields, nowMS int64, ack bool) {
	b.Retry = false
	b.fields, b.nowMS, b.ack = fields, nowMS, ack
	b.headSize, b.recSize = abi.BatchHeaderSize, abi.RecordHeaderSize
	b.fixed = b.headSize
	if b.Stretched {
		b.headSize, b.recSize = stretchedBatch, stretchedRecord
		b.fixed = b.headSize + abi.TopicEntrySize
	}
	b.recs, b.starts = b.recs[:0], b.starts[:0]
	b.topics, b.facts = b.topics[:0], b.facts[:0]
	b.open, b.due = false, 0
}

// AddTopic adds a topic and its facts, or finds the one of that name, and
// returns its index. Facts and load are kept only where the fields ask for them.
func (b *Block) AddTopic(name string, partitions int32, epoch uint32, avail []bool, load []uint32) int {
	for i := len(b.topics) - 1; i >= 0; i-- {
		t := &b.topics[i]
		if string(b.facts[t.nameOff:t.nameOff+t.nameLen]) == name {
			return i
		}
	}
	t := topic{nameOff: len(b.facts), nameLen: len(name)}
	b.facts = append(b.facts, name...)
	if b.fields&abi.FieldTopicFacts != 0 {
		t.partitions, t.epoch = uint32(max(partitions, 0)), epoch
		t.availOff, t.availLen = len(b.facts), (len(avail)+7)/8
		b.facts = appendBitmap(b.facts, avail)
	}
	if b.fields&abi.FieldLoad != 0 {
		t.loadOff, t.loadLen = len(b.facts), 4*len(load)
		for _, n := range load {
			b.facts = le.AppendUint32(b.facts, n)
		}
	}
	b.fixed += abi.TopicEntrySize + abi.Align8(t.nameLen) + abi.Align8(t.availLen) + abi.Align8(t.loadLen)
	b.topics = append(b.topics, t)
	return len(b.topics) - 1
}

func appendBitmap(dst []byte, bits []bool) []byte {
	var c byte
	for i, set := range bits {
		if set {
			c |= 1 << (i % 8)
		}
		if i%8 == 7 || i == len(bits)-1 {
			dst = append(dst, c)
			c = 0
		}
	}
	return dst
}

// Add adds a record. Exactly h.Headers calls of AddHeader must follow, then
// SetAck in an acknowledgement block. It panics when the block holds
// abi.BatchMax records already: ask Full.
//
// A value that does not fit into the rest of the block, or that the fields do
// not ask for, is left out, with the flag that says so, and so are headers; the
// guest can pull them. A key that is not asked for reads as null.
func (b *Block) Add(h Head) { b.Append(&h) }

// Append is Add without the copy of a Head, which the caller fills anew for each
// record. The block does not keep h.
//
// It is one function, and writes two fields at a time, since it is called once
// for each record and plugin.
func (b *Block) Append(h *Head) {
	if b.open {
		b.seal()
	}
	if len(b.starts) == abi.BatchMax {
		panic("runtime: Add to a block that is full")
	}
	if uint(h.Topic) >= uint(len(b.topics)) {
		panic(fmt.Sprintf("runtime: Add with topic %d of %d", h.Topic, len(b.topics)))
	}
	// Key, value and the table of headers: offsets, 0 for what is not there, below
	// the lengths.
	key, value, headers := uint64(null)<<32, uint64(null)<<32, uint64(0)
	size, table, flags := b.recSize, 0, h.Flags
	if h.Key != nil && b.fields&abi.FieldKey != 0 {
		key = uint64(size) | uint64(len(h.Key))<<32
		size += abi.Align8(len(h.Key))
	}
	if h.Value != nil {
		value = uint64(len(h.Value)) << 32 // the true one even if it is left out
		if b.fields&abi.FieldValue == 0 || b.size()+abi.VerdictSize+size+len(h.Value) > blockRoom {
			flags |= abi.FlagValueOmitted
		} else {
			value |= uint64(size)
			size += abi.Align8(len(h.Value))
		}
	}
	if h.Headers > 0 {
		headers = uint64(min(h.Headers, 0xffff)) << 32 // 16 bits of 0 behind
		if table = b.table(h.Headers, size); table > 0 {
			headers |= uint64(size)
		} else {
			flags |= abi.FlagHeadersOmitted
		}
	}
	var timestamp uint64
	if b.fields&abi.FieldTimestamp != 0 {
		timestamp = uint64(h.TimestampMS)
	}
	at := len(b.recs)
	r := b.extend(size + table)
	b.starts = append(b.starts, uint32(at))
	// The size is the final one unless more follows.
	head := r[:abi.RecordHeaderSize]
	le.PutUint64(head[abi.RecSize:], uint64(size)|uint64(flags)<<32)
	le.PutUint64(head[abi.RecTimestamp:], timestamp)
	le.PutUint64(head[abi.RecOffset:], uint64(h.Offset))
	le.PutUint64(head[abi.RecPartition:], uint64(uint32(h.Partition))|uint64(h.Topic)<<32)
	le.PutUint64(head[abi.RecKeyOff:], key)
	le.PutUint64(head[abi.RecValueOff:], value)
	le.PutUint64(head[abi.RecHeadersOff:], headers)
	le.PutUint64(head[abi.RecRef:], h.Ref)
	if from := uint32(key); from > 0 {
		putPadded(r[from:], h.Key)
	}
	if from := uint32(value); from > 0 {
		putPadded(r[from:], h.Value)
	}
	if b.Stretched {
		stretch(r)
	}
	b.due, b.entry = h.Headers, 0
	if table > 0 {
		b.entry = at + size
		clear(r[size:])
	}
	// What has neither headers nor an answer is complete.
	b.open = b.ack || h.Headers > 0
}

// table returns the bytes that the entries of n headers take behind a record of
// size, 0 where headers are left out.
func (b *Block) table(n, size int) int {
	bytes := n * abi.HeaderEntrySize
	if b.fields&abi.FieldHeaders == 0 || n > 0xffff || bytes > abi.HeadersInBlock || b.size()+size+bytes > blockRoom {
		return 0
	}
	return bytes
}

const null = 1<<32 - 1 // -1, as a length

// stretch makes a record's header one of a later version.
func stretch(r []byte) {
	for i := abi.RecordHeaderSize; i < stretchedRecord; i++ {
		r[i] = stretchFill
	}
	le.PutUint32(r[abi.RecFlags:], le.Uint32(r[abi.RecFlags:])|unknownFlag)
}

// extend makes recs n bytes longer and returns these, which are not cleared.
func (b *Block) extend(n int) []byte {
	at := len(b.recs)
	if cap(b.recs)-at < n {
		b.recs = slices.Grow(b.recs, n)
	}
	b.recs = b.recs[:at+n]
	return b.recs[at:]
}

// putPadded copies s to dst and clears what is left up to a multiple of 8.
func putPadded(dst, s []byte) {
	if len(s)%8 != 0 {
		le.PutUint64(dst[len(s)&^7:], 0)
	}
	copy(dst, s)
}

// AddHeader adds a header of the record added last. A nil value is null.
func (b *Block) AddHeader(key string, value []byte) {
	if b.due == 0 {
		panic("runtime: AddHeader more often than Add was told")
	}
	b.due--
	if b.entry == 0 {
		return // left out
	}
	at := b.last()
	first := int(le.Uint32(b.recs[at+abi.RecHeadersOff:])) + at
	if grown := len(key) + len(value); len(b.recs)-first+grown > abi.HeadersInBlock || b.size()+grown > blockRoom {
		b.omitHeaders(at, first)
		return
	}
	keyOff := len(b.recs) - at
	b.recs = append(b.recs, key...)
	b.recs = append(b.recs, value...)
	e := b.recs[b.entry : b.entry+abi.HeaderEntrySize]
	le.PutUint32(e[abi.HdrKeyOff:], uint32(keyOff))
	le.PutUint32(e[abi.HdrKeyLen:], uint32(len(key)))
	le.PutUint32(e[abi.HdrValueOff:], uint32(keyOff+len(key)))
	le.PutUint32(e[abi.HdrValueLen:], uint32(lenOrNull(value)))
	b.entry += abi.HeaderEntrySize
}

// last returns where the record added last begins in recs.
func (b *Block) last() int { return int(b.starts[len(b.starts)-1]) }

// omitHeaders takes back the headers that were added so far to the record at at.
func (b *Block) omitHeaders(at, table int) {
	b.recs = b.recs[:table]
	b.entry = 0
	r := b.recs[at:]
	le.PutUint32(r[abi.RecHeadersOff:], 0)
	le.PutUint32(r[abi.RecFlags:], le.Uint32(r[abi.RecFlags:])|abi.FlagHeadersOmitted)
}

func lenOrNull(b []byte) int32 {
	if b == nil {
		return -1
	}
	return int32(len(b))
}

// SetAck sets the acknowledgement of the record added last: Kafka's error code
// or one of ours, flags of abi.Ack*, the time from Send to the answer, and for a
// dropped record its reason and the plugin's number.
func (b *Block) SetAck(code int32, flags, latencyUS, reason uint32, plugin uint16) {
	if !b.ack || !b.open {
		panic("runtime: SetAck without a record of an acknowledgement block")
	}
	b.ackOf = acknowledgement{code, flags, latencyUS, reason, plugin}
}

// seal ends the record added last: its size is known now.
func (b *Block) seal() {
	if !b.open {
		return
	}
	if b.due != 0 {
		panic(fmt.Sprintf("runtime: %d headers announced to Add and not added", b.due))
	}
	b.open = false
	b.pad()
	if b.ack {
		n := len(b.recs)
		b.recs = append(b.recs, zeros[:abi.AckEntrySize]...)
		a := b.recs[n:]
		le.PutUint32(a[abi.AckError:], uint32(b.ackOf.code))
		le.PutUint32(a[abi.AckFlags:], b.ackOf.flags)
		le.PutUint32(a[abi.AckLatencyUS:], b.ackOf.latencyUS)
		le.PutUint32(a[abi.AckReason:], b.ackOf.reasonC)
		le.PutUint16(a[abi.AckPlugin:], b.ackOf.plugin)
		b.ackOf = acknowledgement{}
	}
	at := b.last()
	le.PutUint32(b.recs[at+abi.RecSize:], uint32(len(b.recs)-at))
}

// pad fills recs up to the next multiple of 8.
func (b *Block) pad() {
	n := len(b.recs)
	b.recs = append(b.recs, zeros[:abi.Align8(n)-n]...)
}

// Len returns the number of records.
func (b *Block) Len() int { return len(b.starts) }

// Full reports whether the block holds abi.BatchMax records or abi.BlockMax
// bytes.
func (b *Block) Full() bool {
	return len(b.starts) == abi.BatchMax || !b.Fits(0)
}

// Fits reports whether a record of so many bytes in key, value and headers
// finds room without anything being left out. Count 16 bytes more for a header.
func (b *Block) Fits(bytes int) bool {
	const rounding = 3 * 8 // each of key, value and headers is 8-aligned
	return len(b.starts) < abi.BatchMax &&
		b.size()+b.recSize+abi.VerdictSize+abi.AckEntrySize+rounding+bytes <= blockRoom
}

// Key returns the key of record i, nil when it is null or was not asked for. It
// is valid until Reset.
func (b *Block) Key(i int) []byte {
	r := b.recs[b.starts[i]:]
	off, n := le.Uint32(r[abi.RecKeyOff:]), le.Uint32(r[abi.RecKeyLen:])
	if n == null {
		return nil
	}
	return r[off : off+n : off+n]
}

// size returns the bytes that the block takes so far, without a modification
// area.
func (b *Block) size() int { return b.prefix(len(b.starts)) + len(b.recs) }

// prefix returns the bytes before the records of a block of n.
func (b *Block) prefix(n int) int { return b.fixed + n*abi.VerdictSize }
