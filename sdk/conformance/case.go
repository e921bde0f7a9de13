package conformance

import (
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Case is records that pass one hook of a fresh instance, and what must come of
// it.
type Case struct {
	Name string
	// Hook is the hook to call. The zero value is on_send.
	Hook abi.Hook
	// Config is the guest's table as JSON, "" for {}.
	Config string
	// OutputMax is the most bytes that a call may return, 0 for the runtime's
	// default. The least is 16 KiB.
	OutputMax int
	// Whole keeps the records in one batch. Else they also run one by one, and at
	// the front of batches of 64 and 512.
	Whole bool

	Records []Record

	// Want says what must come of each record, in the words of README.md. It has
	// the length of Records, but for hooks without verdicts.
	Want []string
	// Effects are the log lines in order, then sums of metrics, observations and
	// what was put. Nil leaves them unchecked.
	Effects []string
	// Fault is the fault that the call must end with: its kind, then a part of the
	// error.
	Fault [2]string
	// Refused is a part of the error that loading must end with.
	Refused string
	// Rewinds demands that the modification area had to grow, and the call to be
	// made again.
	Rewinds bool
	// Parts demands that the records took several calls, as the area could not
	// grow.
	Parts bool
}

// Record is a record as a hook sees it. Key and Value are null when nil.
type Record struct {
	Topic         string // "" is "orders"
	Partition     int32
	Offset        int64
	Timestamp     int64 // ms
	Key, Value    []byte
	Headers       []Header
	Transactional bool
	Ack           Ack
}

// Header is a header; a nil Value is null.
type Header struct {
	Key   string
	Value []byte
}

// Ack is what became of a record.
type Ack struct {
	Error   int32
	Flags   uint32
	Latency time.Duration
	Reason  uint32
	Plugin  uint16
}

// The surroundings that an instance is told of.
const (
	pluginName = "conf"
	chainName  = "chain"
	clientID   = "client"
	nowMS      = 1_767_225_600_123
	secretName = "pepper"
	secret     = "key"
)

// facts are what the host knows of the topics that cases use.
var facts = map[string]struct {
	partitions int32
	epoch      uint32
	available  []bool
	load       []uint32
}{
	"orders": {3, 7, []bool{true, false, true}, []uint32{10, 0, 4_000_000_000}},
	"quakes": {12, 1, nil, nil},
}

func (r *Record) topic() string {
	if r.Topic == "" {
		return "orders"
	}
	return r.Topic
}
