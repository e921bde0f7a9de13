package runtime

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

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

	fields    abi.Fields
	nowMS     int64
	id        uint64
	ack       bool
	headSize  int // batch header
	recSize   int // record header
	recs      []byte
	marks     []mark
	topics    []topic
	facts     []byte // names, bitmaps and loads of topics
	open      bool   // the last record is not sealed yet
	due       int    // headers still to come
	entry     int    // offset of the next header entry in recs
	ackOf     acknowledgement
	topicSize int
}

// mark is where a record lies in recs. Offsets inside the record are relative
// to its start; a negative length means that the bytes are not there.
type mark struct {
	at                int
	keyOff, keyLen    int32
	valueOff, valueLn int32
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
	batchID atomic.Uint64
	zeros   [abi.AckEntrySize]byte
	le      = binary.LittleEndian
)

// Reset empties the block. fields is what the hook asks to see, nowMS the clock
// that claims use, ack chooses an acknowledgement or commit block.
func (b *Block) Reset(fields abi.Fields, nowMS int64, ack bool) {
	b.Retry = false
	b.fields, b.nowMS, b.ack = fields, nowMS, ack
	b.id = batchID.Add(1)
	b.headSize, b.recSize = abi.BatchHeaderSize, abi.RecordHeaderSize
	if b.Stretched {
		b.headSize, b.recSize = stretchedBatch, stretchedRecord
	}
	b.recs, b.marks = b.recs[:0], b.marks[:0]
	b.topics, b.facts, b.topicSize = b.topics[:0], b.facts[:0], 0
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
	b.topicSize += abi.TopicEntrySize + abi.Align8(t.nameLen) + abi.Align8(t.availLen) + abi.Align8(t.loadLen)
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
func (b *Block) Add(h Head) {
	b.seal()
	if len(b.marks) == abi.BatchMax {
		panic("runtime: Add to a block that is full")
	}
	if h.Topic < 0 || h.Topic >= len(b.topics) {
		panic(fmt.Sprintf("runtime: Add with topic %d of %d", h.Topic, len(b.topics)))
	}
	m, flags, size := b.place(h)
	table := 0
	b.due, b.entry = h.Headers, 0
	if h.Headers > 0 {
		table = h.Headers * abi.HeaderEntrySize
		if b.fields&abi.FieldHeaders == 0 || h.Headers > 0xffff || table > abi.HeadersInBlock || b.size()+size+table > blockRoom {
			flags |= abi.FlagHeadersOmitted
			table = 0
		} else {
			b.entry = m.at + size
		}
	}
	r := b.extend(size + table)
	b.putHead(r, m, h, flags)
	if m.keyLen >= 0 {
		putPadded(r[m.keyOff:], h.Key)
	}
	if m.valueLn >= 0 {
		putPadded(r[m.valueOff:], h.Value)
	}
	clear(r[size:])
	b.marks = append(b.marks, m)
	b.open = true
}

// place decides where key and value of a record go and what is left out, and
// returns the size of the record without headers.
func (b *Block) place(h Head) (m mark, flags uint32, size int) {
	m = mark{at: len(b.recs), keyLen: -1, valueLn: -1}
	flags, size = h.Flags, b.recSize
	if h.Key != nil && b.fields&abi.FieldKey != 0 {
		m.keyOff, m.keyLen = int32(size), int32(len(h.Key))
		size += abi.Align8(len(h.Key))
	}
	if h.Value == nil {
		return m, flags, size
	}
	if b.fields&abi.FieldValue == 0 || b.size()+abi.VerdictSize+size+len(h.Value) > blockRoom {
		return m, flags | abi.FlagValueOmitted, size
	}
	m.valueOff, m.valueLn = int32(size), int32(len(h.Value))
	return m, flags, size + abi.Align8(len(h.Value))
}

// extend makes recs n bytes longer and returns these, which are not cleared.
func (b *Block) extend(n int) []byte {
	at := len(b.recs)
	b.recs = slices.Grow(b.recs, n)[:at+n]
	return b.recs[at:]
}

// putPadded copies s to dst and clears what is left up to a multiple of 8.
func putPadded(dst, s []byte) {
	n := copy(dst, s)
	clear(dst[n:abi.Align8(n)])
}

// putHead writes every byte of a record's header. The size follows when the
// record is sealed.
func (b *Block) putHead(r []byte, m mark, h Head, flags uint32) {
	for i := abi.RecordHeaderSize; i < b.recSize; i++ {
		r[i] = stretchFill
	}
	if b.Stretched {
		flags |= unknownFlag
	}
	var timestamp int64
	if b.fields&abi.FieldTimestamp != 0 {
		timestamp = h.TimestampMS
	}
	valueLen := int32(-1) // the true one even if the value is left out
	if h.Value != nil {
		valueLen = int32(len(h.Value))
	}
	headers := uint32(0)
	if b.entry != 0 {
		headers = uint32(b.entry - m.at)
	}
	r = r[:abi.RecordHeaderSize]
	le.PutUint32(r[abi.RecFlags:], flags)
	le.PutUint64(r[abi.RecTimestamp:], uint64(timestamp))
	le.PutUint64(r[abi.RecOffset:], uint64(h.Offset))
	le.PutUint32(r[abi.RecPartition:], uint32(h.Partition))
	le.PutUint32(r[abi.RecTopic:], uint32(h.Topic))
	le.PutUint32(r[abi.RecKeyOff:], uint32(m.keyOff))
	le.PutUint32(r[abi.RecKeyLen:], uint32(m.keyLen))
	le.PutUint32(r[abi.RecValueOff:], uint32(m.valueOff))
	le.PutUint32(r[abi.RecValueLen:], uint32(valueLen))
	le.PutUint32(r[abi.RecHeadersOff:], headers)
	le.PutUint32(r[abi.RecHeaderCount:], uint32(min(h.Headers, 0xffff))) // and the 16 bits behind it
	le.PutUint64(r[abi.RecRef:], h.Ref)
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
	m := &b.marks[len(b.marks)-1]
	first := int(le.Uint32(b.recs[m.at+abi.RecHeadersOff:])) + m.at
	if grown := len(key) + len(value); len(b.recs)-first+grown > abi.HeadersInBlock || b.size()+grown > blockRoom {
		b.omitHeaders(m, first)
		return
	}
	keyOff := len(b.recs) - m.at
	b.recs = append(b.recs, key...)
	b.recs = append(b.recs, value...)
	e := b.recs[b.entry : b.entry+abi.HeaderEntrySize]
	le.PutUint32(e[abi.HdrKeyOff:], uint32(keyOff))
	le.PutUint32(e[abi.HdrKeyLen:], uint32(len(key)))
	le.PutUint32(e[abi.HdrValueOff:], uint32(keyOff+len(key)))
	le.PutUint32(e[abi.HdrValueLen:], uint32(lenOrNull(value)))
	b.entry += abi.HeaderEntrySize
}

// omitHeaders takes back the headers that were added so far.
func (b *Block) omitHeaders(m *mark, table int) {
	b.recs = b.recs[:table]
	b.entry = 0
	r := b.recs[m.at:]
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
	at := b.marks[len(b.marks)-1].at
	le.PutUint32(b.recs[at+abi.RecSize:], uint32(len(b.recs)-at))
}

// pad fills recs up to the next multiple of 8.
func (b *Block) pad() {
	n := len(b.recs)
	b.recs = append(b.recs, zeros[:abi.Align8(n)-n]...)
}

// Len returns the number of records.
func (b *Block) Len() int { return len(b.marks) }

// Full reports whether the block holds abi.BatchMax records or abi.BlockMax
// bytes.
func (b *Block) Full() bool {
	return len(b.marks) == abi.BatchMax || !b.Fits(0)
}

// Fits reports whether a record of so many bytes in key, value and headers
// finds room without anything being left out. Count 16 bytes more for a header.
func (b *Block) Fits(bytes int) bool {
	const rounding = 3 * 8 // each of key, value and headers is 8-aligned
	return len(b.marks) < abi.BatchMax &&
		b.size()+b.recSize+abi.VerdictSize+abi.AckEntrySize+rounding+bytes <= blockRoom
}

// Key returns the key of record i, nil when it is null or was not asked for. It
// is valid until Reset.
func (b *Block) Key(i int) []byte {
	m := &b.marks[i]
	if m.keyLen < 0 {
		return nil
	}
	off := m.at + int(m.keyOff)
	return b.recs[off : off+int(m.keyLen) : off+int(m.keyLen)]
}

// size returns the bytes that the block takes so far, without a modification
// area.
func (b *Block) size() int { return b.prefix(len(b.marks)) + len(b.recs) }

// prefix returns the bytes before the records of a block of n.
func (b *Block) prefix(n int) int {
	size := b.headSize + n*abi.VerdictSize + b.topicSize
	if b.Stretched {
		size += abi.TopicEntrySize
	}
	return size
}
