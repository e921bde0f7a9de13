package interceptor

import (
	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// encoding says which records the block holds, so that the next link with the
// same fields gets it as it is when the last one changed nothing.
type encoding struct {
	first   *Item
	count   int
	full    bool // no more records went in
	fields  abi.Fields
	changes int
}

// encode fills the block with the first items, at most limit, and returns how
// many there are in it.
func (r *run) encode(items []*Item, fields abi.Fields, limit int) int {
	want := min(len(items), limit, abi.BatchMax)
	e := &r.encoded
	same := e.first == items[0] && e.fields == fields && e.changes == r.changes
	if same && (e.count == want || e.full && e.count < want) {
		return e.count
	}
	*e = encoding{first: items[0], fields: fields, changes: r.changes}
	topics := blockTopics{block: &r.block, fields: fields, facts: r.batch.Topics}
	r.block.Reset(fields, r.batch.NowMS, false)
	head := runtime.Head{Offset: klamm.NoOffset, TimestampMS: r.batch.NowMS}
	for i, it := range items[:want] {
		// The first record goes in whatever its size: what does not fit is pulled.
		if i > 0 && !r.block.Fits(asked(&it.Record, fields)) {
			e.full = true
			break
		}
		head.Topic = topics.index(it.Record.Topic)
		r.add(it, &head)
		e.count++
	}
	return e.count
}

// headerRoom is what a header takes in a block besides its bytes.
const headerRoom = abi.HeaderEntrySize

// asked returns how many bytes of a record go into a block.
func asked(rec *klamm.Record, fields abi.Fields) int {
	n := 0
	if fields&abi.FieldKey != 0 {
		n += len(rec.Key)
	}
	if fields&abi.FieldValue != 0 {
		n += len(rec.Value)
	}
	if fields&abi.FieldHeaders != 0 && len(rec.Headers) > 0 {
		n += askedHeaders(rec.Headers)
	}
	return n
}

func askedHeaders(hs []klamm.Header) (n int) {
	for i := range hs {
		n += headerRoom + len(hs[i].Key) + len(hs[i].Value)
	}
	return n
}

// add adds a record; head has its topic, and is otherwise that of the record
// before.
func (r *run) add(it *Item, head *runtime.Head) {
	rec := &it.Record
	head.Key, head.Value, head.Ref, head.Headers = rec.Key, rec.Value, it.Ref, len(rec.Headers)
	if r.encoded.fields&abi.FieldTimestamp != 0 {
		if head.TimestampMS = r.batch.NowMS; !rec.Timestamp.IsZero() {
			head.TimestampMS = rec.Timestamp.UnixMilli()
		}
	}
	head.Partition = r.partition(it)
	if r.hook == abi.OnConsume {
		head.Offset = rec.Offset
	}
	r.block.Append(head)
	for i := range rec.Headers {
		r.block.AddHeader(rec.Headers[i].Key, rec.Headers[i].Value)
	}
}

// blockTopics adds each topic to a block once, with the facts that were asked
// for.
type blockTopics struct {
	block  *runtime.Block
	fields abi.Fields
	facts  TopicFacts
	last   string
	at     int
	any    bool
}

func (t *blockTopics) index(topic string) int {
	if t.any && t.last == topic {
		return t.at
	}
	return t.add(topic)
}

func (t *blockTopics) add(topic string) int {
	var (
		partitions int32
		epoch      uint32
		available  []bool
		load       []uint32
	)
	if t.facts != nil && t.fields&(abi.FieldTopicFacts|abi.FieldLoad) != 0 {
		if n, e, a, l, known := t.facts.Facts(topic); known {
			partitions, epoch, available, load = n, e, a, l
		}
	}
	t.at = t.block.AddTopic(topic, partitions, epoch, available, load)
	t.last, t.any = topic, true
	return t.at
}
