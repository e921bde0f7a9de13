package produce

import (
	"github.com/klamm-io/klamm"
)

// Record is a record on its way into a batch. Append copies what it needs, so
// the caller keeps all of its bytes.
type Record struct {
	Topic       string
	Partition   int32
	TimestampMS int64 // create time
	Key, Value  []byte
	Headers     []klamm.Header
	// Ref is handed back in the record's Completion. The pipeline never looks
	// at it.
	Ref uint64
	// Reserved is how many bytes of buffer memory were reserved for the record.
	// They pass to the pipeline with Append, which frees them before the
	// completion.
	Reserved int
	// Txn is the transaction that the record belongs to, as Begin returned it.
	// A transactional pipeline refuses a record of any other than the open one.
	Txn uint32
	// NewBatch is set by Append: the record opened a batch, so its partition
	// had none to add it to. A sticky partitioner moves on by it (KIP-794).
	NewBatch bool
}

// Encoded is a record whose body, what a batch holds of it but for its place and
// time there, is encoded already: whoever has to keep a record's bytes for a while
// keeps them as they will be written. Its other fields are Record's. It has the
// size of a cache line.
type Encoded struct {
	Body        []byte // by PutBody; AppendEach copies it
	TimestampMS int64
	Ref         uint64
	Reserved    int32
	Txn         uint32
	Next        int32 // the next of its chain, -1: none
	NewBatch    bool  // set by AppendEach
}

// PutBody encodes a body into dst, which has room for UpperBound. It returns where
// copies of key and value begin in it, and its size. Headers are its end, each of
// HeaderSize bytes of which the value is the last.
func PutBody(dst, key, value []byte, headers []klamm.Header) (keyAt, valueAt, size int) {
	return putBody(dst, key, value, headers)
}

// HeaderSize returns how many bytes of a body a header takes.
func HeaderSize(h *klamm.Header) int {
	return varintSize(int64(len(h.Key))) + len(h.Key) + bytesSize(h.Value)
}

// Completion is the end of one batch of records of one partition. It belongs to
// the pipeline and is valid only during the call.
type Completion struct {
	Topic     string
	Partition int32
	// BaseOffset is the first record's offset; the others follow without gaps.
	// It is -1 on an error, with acks=0, and where the broker knew the batch
	// already but no longer its offset (DUPLICATE_SEQUENCE_NUMBER).
	BaseOffset int64
	// TimestampMS is the broker's time where the topic has LogAppendTime, else -1.
	TimestampMS int64
	// Err is nil when the broker has acknowledged the records. An error that is
	// klamm.ErrOutcomeUnknown leaves open whether they are in the log; any
	// other means that they are not.
	Err error
	// RecordErrs, where it is not nil, has an error of its own for each record
	// (KIP-467). Err is then the batch's.
	RecordErrs []error
	// Refs are the records' own, in the order of Append.
	Refs []uint64
	// Attempts is how often the batch was handed to a connection.
	Attempts int
}

// recordOverhead is what a record takes besides its bytes: its Ref, and the
// longest forms of its length, attributes, timestamp delta, offset delta, key
// length, value length and header count.
const recordOverhead = 8 + 5 + 1 + 10 + 5 + 5 + 5 + 5

// headerOverhead is the longest form of a header's two lengths.
const headerOverhead = 5 + 5

// UpperBound returns how many bytes of buffer memory a record of that key,
// value and headers takes at most. It is what Reserve is asked for. The header
// of the batch, 61 bytes for all of its records, is not counted.
func UpperBound(keyLen, valueLen int, headers []klamm.Header) int {
	n := recordOverhead + keyLen + valueLen
	for i := range headers {
		n += headerOverhead + len(headers[i].Key) + len(headers[i].Value)
	}
	return n
}
