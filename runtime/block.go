package runtime

import "github.com/klamm-io/klamm/sdk/abi"

// Block is a batch of records as the guest sees it. The host builds it, Judge
// or Notify copies it into the guest. It is not safe for concurrent use; reuse
// it with Reset, so that it keeps its memory.
type Block struct {
	// Retry marks a repeated call for records that have been in a faulted one: its
	// faults do not count towards the breaker. Reset clears it.
	Retry bool
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

// Reset empties the block. fields is what the hook asks to see, nowMS the clock
// that claims use, ack chooses an acknowledgement or commit block.
func (b *Block) Reset(fields abi.Fields, nowMS int64, ack bool) {}

// AddTopic adds a topic and its facts, or finds the one of that name, and
// returns its index.
func (b *Block) AddTopic(name string, partitions int32, epoch uint32, avail []bool, load []uint32) int {
	return 0
}

// Add adds a record. Exactly h.Headers calls of AddHeader must follow, then
// SetAck in an acknowledgement block.
func (b *Block) Add(h Head) {}

// AddHeader adds a header of the record added last. A nil value is null.
func (b *Block) AddHeader(key string, value []byte) {}

// SetAck sets the acknowledgement of the record added last.
func (b *Block) SetAck(code int32, flags, latencyUS, reason uint32, plugin uint16) {}

// Len returns the number of records.
func (b *Block) Len() int { return 0 }

// Full reports whether the block holds abi.BatchMax records or abi.BlockMax
// bytes.
func (b *Block) Full() bool { return false }

// Key returns the key of record i, nil when it is null or was not asked for.
func (b *Block) Key(i int) []byte { return nil }
