package plugin

import (
	"iter"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Entry is what can be read of a record, in every hook. Slices that it returns
// are views of the block: valid until the hook returns, not to be written to.
type Entry struct {
	k  *block
	at uint32 // start of the record
	i  int
}

// Index returns the record's index in the batch.
func (e Entry) Index() int { return e.i }

// Ref returns the record's identity: unique in the host's process, and the same
// for all plugins, calls, retries and the acknowledgement.
func (e Entry) Ref() uint64 { return u64(e.k.b, e.at+abi.RecRef) }

// Offset returns the record's offset, -1 in on_send.
func (e Entry) Offset() int64 { return i64(e.k.b, e.at+abi.RecOffset) }

// Partition returns the record's partition, -1 when it has none yet.
func (e Entry) Partition() int32 { return i32(e.k.b, e.at+abi.RecPartition) }

// Timestamp returns the record's time, in milliseconds precision. Ask for the
// field Timestamp to see it.
func (e Entry) Timestamp() time.Time { return time.UnixMilli(i64(e.k.b, e.at+abi.RecTimestamp)) }

// Transactional reports whether the record is part of a transaction.
func (e Entry) Transactional() bool { return e.flags()&abi.FlagTransactional != 0 }

// HasKey reports whether the key is not null.
func (e Entry) HasKey() bool { return i32(e.k.b, e.at+abi.RecKeyLen) >= 0 }

// Key returns the key, nil when it is null.
func (e Entry) Key() []byte { return e.field(abi.RecKeyOff) }

// HasValue reports whether the value is not null.
func (e Entry) HasValue() bool { return e.ValueLen() >= 0 }

// ValueLen returns the length of the value, -1 when it is null. It costs nothing
// even for a value that was left out of the block.
func (e Entry) ValueLen() int { return int(i32(e.k.b, e.at+abi.RecValueLen)) }

// Value returns the value, nil when it is null. A value that was too large for
// the block is fetched from the host, once.
func (e Entry) Value() []byte {
	if e.flags()&abi.FlagValueOmitted != 0 {
		return e.pullValue()
	}
	return e.field(abi.RecValueOff)
}

// Header returns the value of the last header of that key, as Kafka's lastHeader
// does. The value is nil when it is null; ok tells whether there is a header.
func (e Entry) Header(key string) (value []byte, ok bool) {
	t := e.table()
	for i := t.n - 1; i >= 0; i-- {
		if string(t.key(i)) == key {
			return t.value(i), true
		}
	}
	return nil, false
}

// Headers iterates over the values of all headers of that key, in order.
func (e Entry) Headers(key string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		t := e.table()
		for i := range t.n {
			if string(t.key(i)) == key && !yield(t.value(i)) {
				return
			}
		}
	}
}

// AllHeaders iterates over keys and values of all headers, in order.
func (e Entry) AllHeaders() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		t := e.table()
		for i := range t.n {
			if !yield(t.key(i), t.value(i)) {
				return
			}
		}
	}
}

// HeaderCount returns the number of headers.
func (e Entry) HeaderCount() int { return int(u16(e.k.b, e.at+abi.RecHeaderCount)) }

func (e Entry) flags() uint32 { return u32(e.k.b, e.at+abi.RecFlags) }

// field returns the bytes whose offset and length stand at at in the record's
// header, nil for a negative length.
func (e Entry) field(at uint32) []byte {
	w := u64(e.k.b, e.at+at)
	return view(e.k.b, e.at+uint32(w), int32(w>>32))
}

// headerTable is the 16-byte entries of a record's headers. Offsets count from
// the start of b.
type headerTable struct {
	b  []byte
	at uint32
	n  int
}

func (e Entry) table() headerTable {
	n := e.HeaderCount()
	if n == 0 {
		return headerTable{}
	}
	if e.flags()&abi.FlagHeadersOmitted != 0 {
		return headerTable{e.pullHeaders(n), 0, n}
	}
	return headerTable{e.k.b[e.at:], u32(e.k.b, e.at+abi.RecHeadersOff), n}
}

func (t headerTable) key(i int) []byte {
	at := t.at + uint32(i)*abi.HeaderEntrySize
	return view(t.b, u32(t.b, at+abi.HdrKeyOff), i32(t.b, at+abi.HdrKeyLen))
}

func (t headerTable) value(i int) []byte {
	at := t.at + uint32(i)*abi.HeaderEntrySize
	return view(t.b, u32(t.b, at+abi.HdrValueOff), i32(t.b, at+abi.HdrValueLen))
}
