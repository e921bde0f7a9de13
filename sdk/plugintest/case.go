package plugintest

import (
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
)

// DefaultTopic is the topic of records that name none.
const DefaultTopic = "test"

// Case is records that pass one hook of a fresh instance, and what shall become
// of them.
type Case struct {
	Name string
	// Hook is the hook to call. The zero value is on_send.
	Hook abi.Hook
	// Config is the plugin's table in the configuration.
	Config map[string]any
	// Secrets are those that the configuration lists for the plugin.
	Secrets map[string][]byte
	// Facts describe topics. A topic without facts has one partition.
	Facts map[string]Facts
	// Now is the clock of the batches. Default: 2026-01-01 00:00 UTC.
	Now time.Time
	// InFlight makes a claim of an id that an earlier record owns answer that the
	// record is on its way. Default: that it was delivered. Claims run out by the
	// records' timestamps.
	InFlight bool

	Records []klamm.Record
	// Acks are what became of the records, for on_acknowledgement. Records beyond
	// its length were delivered.
	Acks []Ack

	// Want says what shall become of each record, in order. Its length must be
	// that of Records, but for hooks without verdicts.
	Want []Want
	// WantMetrics are sums of counters, and the number of observations of
	// histograms. Metrics that are not named may have any value.
	WantMetrics map[string]int64
	// WantState is what the plugin shall have put.
	WantState map[string]string
	// WantLog are texts that some log line must contain, each.
	WantLog []string
	// WantInit is a text in the error that loading the plugin must end with. No
	// records are sent then.
	WantInit string
	// WantError is a text in the error that the calls must end with.
	WantError string
}

// Facts describe a topic.
type Facts struct {
	Partitions int32
	Epoch      uint32
	Available  []bool   // nil: all are
	Load       []uint32 // nil: none is known
}

// Ack is what became of a record.
type Ack struct {
	Error   int32 // Kafka's code, or one of abi.Err*
	Flags   uint32
	Latency time.Duration
	Reason  uint16
}

// Want is what shall become of a record. Its zero value wants it to pass
// unchanged.
type Want struct {
	// Verdict is wanted. ValueInPlace and Edit count as the same.
	Verdict abi.Code
	// Reason is the reason's name; "" is not checked.
	Reason string
	// Text must be contained in the verdict's text.
	Text string
	// Partition is checked for Route.
	Partition int32
	// Record is the record after the edits, checked for Edit. Its empty topic
	// stands for that of the record that came in.
	Record *klamm.Record
}

// Result is what became of a record.
type Result struct {
	Verdict   abi.Code // Edit also for ValueInPlace
	Reason    string
	Text      string
	Partition int32        // of Route
	Record    klamm.Record // after the edits
}

// Outcome is what came of a run of a case.
type Outcome struct {
	Results []Result
	Metrics map[string]int64
	State   map[string]string
	Logs    []string
}

var defaultNow = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (c *Case) now() time.Time {
	if c.Now.IsZero() {
		return defaultNow
	}
	return c.Now
}

func topicOf(r *klamm.Record) string {
	if r.Topic == "" {
		return DefaultTopic
	}
	return r.Topic
}

func (c *Case) factsOf(topic string) Facts {
	f, ok := c.Facts[topic]
	if !ok {
		f.Partitions = 1
	}
	return f
}

// refOf is the identity of record i of a case.
func refOf(i int) uint64 { return uint64(i) + 1 }

// timestampMS returns a record's time, the case's when it has none.
func (c *Case) timestampMS(r *klamm.Record) int64 {
	if r.Timestamp.IsZero() {
		return c.now().UnixMilli()
	}
	return r.Timestamp.UnixMilli()
}

// place returns partition and offset as the hook sees them.
func place(h abi.Hook, r *klamm.Record) (partition int32, offset int64) {
	if h == abi.OnSend || h == abi.Partition {
		partition, demanded := r.Target.Partition()
		if !demanded {
			partition = -1
		}
		return partition, -1
	}
	return r.Partition, r.Offset
}
