package plugintest

import (
	"encoding/binary"
	"encoding/json"
	"slices"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
)

var le = binary.LittleEndian

// shape is how a block is laid out.
type shape struct {
	batchHeader  int
	recordHeader int
	modCap       int
	flags        uint32 // unknown ones, in batch and records
	extraTopic   bool
}

var (
	plainShape = shape{batchHeader: abi.BatchHeaderSize, recordHeader: abi.RecordHeaderSize, modCap: 64 << 10}
	// stretchedShape is a block of a later minor version.
	stretchedShape = shape{batchHeader: 72, recordHeader: 80, modCap: 64 << 10, flags: 1 << 30, extraTopic: true}
)

// encoder builds a block in the order of docs/abi.md. It shares no code with the
// runtime's: a misunderstanding in one of them shows.
type encoder struct {
	c      *Case
	fields abi.Fields
	s      shape
	b      []byte
}

// encode returns the block of records[first:last] with an empty modification
// area at its end.
func encode(c *Case, h abi.Hook, fields abi.Fields, s shape, first, last int) []byte {
	e := &encoder{c: c, fields: fields, s: s}
	ack := h == abi.OnAcknowledgement || h == abi.OnCommit
	count := last - first
	e.b = make([]byte, s.batchHeader)
	for i := abi.BatchHeaderSize; i < s.batchHeader; i++ {
		e.b[i] = 0xa5
	}
	le.PutUint32(e.b[abi.BatchVerdictOff:], uint32(len(e.b)))
	e.b = append(e.b, make([]byte, count*abi.VerdictSize)...)
	names := e.topics(first, last)
	le.PutUint32(e.b[abi.BatchRecOff:], uint32(len(e.b)))
	for i := first; i < last; i++ {
		r := &c.Records[i]
		e.record(h, r, refOf(i), slices.Index(names, topicOf(r)))
		if ack {
			e.ack(i)
		}
	}
	e.header(ack, count)
	return append(e.b, make([]byte, s.modCap)...)
}

func (e *encoder) header(ack bool, count int) {
	magic := abi.MagicBatch
	if ack {
		magic = abi.MagicAck
	}
	le.PutUint32(e.b[abi.BatchMagic:], magic)
	le.PutUint16(e.b[abi.BatchSize:], uint16(e.s.batchHeader))
	le.PutUint16(e.b[abi.BatchRecordSize:], uint16(e.s.recordHeader))
	le.PutUint32(e.b[abi.BatchCount:], uint32(count))
	le.PutUint32(e.b[abi.BatchFlags:], e.s.flags)
	le.PutUint32(e.b[abi.BatchModOff:], uint32(len(e.b)))
	le.PutUint32(e.b[abi.BatchModCap:], uint32(e.s.modCap))
	le.PutUint64(e.b[abi.BatchNowMS:], uint64(e.c.now().UnixMilli()))
}

// topics writes the entries of all topics of the records and what they point at,
// and returns their names by index.
func (e *encoder) topics(first, last int) (names []string) {
	for i := first; i < last; i++ {
		if name := topicOf(&e.c.Records[i]); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	entries := names
	if e.s.extraTopic {
		entries = append(slices.Clone(names), "__later")
	}
	at := len(e.b)
	le.PutUint32(e.b[abi.BatchTopicsOff:], uint32(at))
	le.PutUint32(e.b[abi.BatchTopicsCount:], uint32(len(entries)))
	e.b = append(e.b, make([]byte, len(entries)*abi.TopicEntrySize)...)
	for i, name := range entries {
		e.topic(at+i*abi.TopicEntrySize, name)
	}
	return names
}

func (e *encoder) topic(at int, name string) {
	f := e.c.factsOf(name)
	put := func(field int, v int) { le.PutUint32(e.b[at+field:], uint32(v)) }
	put(abi.TopNameOff, len(e.b))
	put(abi.TopNameLen, len(name))
	e.bytes([]byte(name))
	if e.fields&abi.FieldTopicFacts != 0 {
		put(abi.TopPartitions, int(f.Partitions))
		put(abi.TopEpoch, int(f.Epoch))
		if f.Available != nil {
			put(abi.TopAvailOff, len(e.b))
			bits := make([]byte, (len(f.Available)+7)/8)
			for p, up := range f.Available {
				if up {
					bits[p/8] |= 1 << (p % 8)
				}
			}
			e.bytes(bits)
		}
	}
	if e.fields&abi.FieldLoad != 0 && f.Load != nil {
		put(abi.TopLoadOff, len(e.b))
		for _, n := range f.Load {
			e.b = le.AppendUint32(e.b, n)
		}
		e.bytes(nil)
	}
}

func (e *encoder) record(h abi.Hook, r *klamm.Record, ref uint64, topic int) {
	at := len(e.b)
	e.b = append(e.b, make([]byte, abi.RecordHeaderSize)...)
	for range e.s.recordHeader - abi.RecordHeaderSize {
		e.b = append(e.b, 0xa5)
	}
	u32 := func(field int, v int) { le.PutUint32(e.b[at+field:], uint32(v)) }
	flags := e.s.flags
	partition, offset := place(h, r)
	if e.fields&abi.FieldTimestamp != 0 {
		le.PutUint64(e.b[at+abi.RecTimestamp:], uint64(e.c.timestampMS(r)))
	}
	le.PutUint64(e.b[at+abi.RecOffset:], uint64(offset))
	u32(abi.RecPartition, int(partition))
	u32(abi.RecTopic, topic)
	le.PutUint64(e.b[at+abi.RecRef:], ref)
	flags |= e.body(at, r)
	u32(abi.RecFlags, int(flags))
	u32(abi.RecSize, len(e.b)-at)
	if h == abi.OnAcknowledgement || h == abi.OnCommit {
		u32(abi.RecSize, len(e.b)-at+abi.AckEntrySize)
	}
}

// body writes what the header of the record at at points to, and returns the
// flags of what is left out.
func (e *encoder) body(at int, r *klamm.Record) (omitted uint32) {
	u32 := func(field int, v int) { le.PutUint32(e.b[at+field:], uint32(v)) }
	u32(abi.RecKeyLen, -1)
	if e.fields&abi.FieldKey != 0 && r.Key != nil {
		u32(abi.RecKeyOff, len(e.b)-at)
		u32(abi.RecKeyLen, len(r.Key))
		e.bytes(r.Key)
	}
	u32(abi.RecValueLen, -1)
	if r.Value != nil {
		u32(abi.RecValueLen, len(r.Value))
		if e.fields&abi.FieldValue != 0 {
			u32(abi.RecValueOff, len(e.b)-at)
			e.bytes(r.Value)
		} else {
			omitted |= abi.FlagValueOmitted
		}
	}
	le.PutUint16(e.b[at+abi.RecHeaderCount:], uint16(len(r.Headers)))
	if e.fields&abi.FieldHeaders != 0 {
		u32(abi.RecHeadersOff, len(e.b)-at)
		e.b = append(e.b, headerTable(r.Headers, len(e.b)-at)...)
		e.bytes(nil)
	} else if len(r.Headers) > 0 {
		omitted |= abi.FlagHeadersOmitted
	}
	return omitted
}

func (e *encoder) ack(i int) {
	var a Ack
	if i < len(e.c.Acks) {
		a = e.c.Acks[i]
	}
	at := len(e.b)
	e.b = append(e.b, make([]byte, abi.AckEntrySize)...)
	le.PutUint32(e.b[at+abi.AckError:], uint32(a.Error))
	le.PutUint32(e.b[at+abi.AckFlags:], a.Flags)
	le.PutUint32(e.b[at+abi.AckLatencyUS:], uint32(a.Latency.Microseconds()))
	le.PutUint32(e.b[at+abi.AckReason:], uint32(a.Reason))
}

// bytes appends b and pads to the next multiple of 8.
func (e *encoder) bytes(b []byte) {
	e.b = append(e.b, b...)
	e.b = append(e.b, make([]byte, abi.Align8(len(e.b))-len(e.b))...)
}

// headerTable returns the entries of headers and their bytes; base is the
// table's own offset.
func headerTable(headers []klamm.Header, base int) []byte {
	b := make([]byte, len(headers)*abi.HeaderEntrySize)
	for i, h := range headers {
		at := i * abi.HeaderEntrySize
		le.PutUint32(b[at+abi.HdrKeyOff:], uint32(base+len(b)))
		le.PutUint32(b[at+abi.HdrKeyLen:], uint32(len(h.Key)))
		b = append(b, h.Key...)
		le.PutUint32(b[at+abi.HdrValueOff:], uint32(base+len(b)))
		n := len(h.Value)
		if h.Value == nil {
			n = -1
		}
		le.PutUint32(b[at+abi.HdrValueLen:], uint32(n))
		b = append(b, h.Value...)
	}
	return b
}

// encodeInit returns the block that klamm_init reads.
func encodeInit(config []byte) []byte {
	b := make([]byte, abi.InitHeaderSize)
	le.PutUint32(b[abi.InitMinor:], abi.Minor)
	le.PutUint32(b[abi.InitLanes:], 1)
	topics := append(le.AppendUint32(nil, uint32(len(DefaultTopic))), DefaultTopic...)
	for _, part := range []struct {
		at    int
		bytes []byte
	}{
		{abi.InitConfig, config},
		{abi.InitPlugin, []byte(pluginName)},
		{abi.InitChain, []byte(chainName)},
		{abi.InitClientID, []byte(clientID)},
		{abi.InitTopics, topics},
	} {
		le.PutUint32(b[part.at:], uint32(len(b)))
		le.PutUint32(b[part.at+4:], uint32(len(part.bytes)))
		b = append(b, part.bytes...)
	}
	return b
}

// What an instance under test is told of its surroundings.
const (
	pluginName = "plugin"
	chainName  = "chain"
	clientID   = "plugintest"
)

func (c *Case) configJSON() ([]byte, error) {
	if c.Config == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(c.Config)
}
