package host

import (
	"time"

	"github.com/klamm-io/klamm/host/internal/produce"
)

// Stats is what a host did so far, at one moment.
type Stats struct {
	// Producer is the identity of all records that came in by Send, SendAsync
	// and SendBatch, and of those that pipelines sent on.
	Producer Counts
	// Pipelines, by name.
	Pipelines map[string]PipelineStats
	// Plugins, by name.
	Plugins map[string]PluginStats
	// Sandbox is what all plugins hold together.
	Sandbox SandboxStats
	// States, one row for each state and plugin.
	States []StateStats
	// Backends of states that outlive the process, by name.
	Backends []BackendStats
	// Produce is the pipeline below: buffer, requests, retries. Pipelines that are
	// exactly once have their own.
	Produce ProduceStats
}

// PipelineStats is one pipeline's identity and lag. A record read is In; one
// that on_consume ended never reaches the producer.
type PipelineStats struct {
	Counts
	// Lag is the records between what was read and the end of each input
	// partition, as of the last fetch.
	Lag int64
	// Commits that succeeded.
	Commits int64
	// Retries are how often a record was held to be tried again.
	Retries int64
	// Partitions that it has been assigned, by topic and number.
	Partitions []PartitionLag
	// Produce is that of a pipeline which is exactly once, and so has a producer of
	// its own; nil: it sends through the host's.
	Produce *ProduceStats
}

// PluginStats is one plugin's.
type PluginStats struct {
	Generation int       `json:"generation"`
	Digest     string    `json:"digest"`
	Version    string    `json:"version,omitempty"`
	Module     string    `json:"module"`
	Loaded     time.Time `json:"loaded"`
	// LastError is why the newest module was refused, if it was; the
	// generation above runs on.
	LastError string `json:"last_error,omitempty"`
	// Restored and Remade count instances after faults: set back to their
	// snapshot, or made anew.
	Restored int64 `json:"restored"`
	Remade   int64 `json:"remade"`
}

// SandboxStats is the memory of all plugins' instances.
type SandboxStats struct {
	MemoryReserved int64 // each at its largest size; address space, most of it never touched
	SnapshotBytes  int64 // to restore them from
}

// ProduceStats are the accumulator's and the senders' figures.
//
// Totals count from the producer's start, attempts each time. docs/producer.md
// says which of Kafka's metrics each one stands for.
type ProduceStats struct {
	BufferTotal, BufferAvailable int64
	BufferWaiters                int64         // Sends that wait for memory
	BufferWaited                 time.Duration // by all Sends together
	BufferExhausted              int64         // Sends that ended with ErrBufferFull

	Requests, InFlightRequests int64
	Batches, Records           int64 // in requests
	Retries, RecordsRetried    int64 // batches, and records in them
	RecordsFailed              int64
	Splits, Expired            int64 // batches
	Bytes, RecordBytes         int64 // of batches on the wire, and before compression

	BatchSize      Histogram // bytes
	QueueTime      Histogram // nanoseconds from a batch's first record to its first request
	RequestLatency Histogram // nanoseconds
	Throttled      Histogram // nanoseconds of the pauses that brokers asked for

	Connections, ConnectionsFailed int64

	Flushed      time.Duration // spent in Flush
	MetadataWait time.Duration // of topics whose metadata was not known yet
	MetadataAge  time.Duration // since the brokers last told

	Transactions TransactionStats
}

// Histogram is how values were spread: Buckets has, at i, how many were below
// Base<<i, and in the last place all of them.
type Histogram = produce.Histogram

// ReloadResult tells what became of one plugin's module file.
type ReloadResult struct {
	Plugin     string
	Generation int
	Digest     string
	Changed    bool
	// Err is why the new module was refused; the old generation runs on.
	Err error
}

// Explanation is what each plugin of a chain would do with one record.
type Explanation struct {
	Chain string
	Topic string
	Steps []ExplainStep
	// Outcome is in_flight where the record would be sent, to Partition of
	// Partitions; Default is what the default partitioner would choose.
	Outcome    string
	Reason     string
	Partition  int32
	Partitions int32
	Default    int32
	Elapsed    time.Duration
}

// ExplainStep is one plugin's part.
type ExplainStep struct {
	Plugin, Hook, Verdict, Detail string
	Elapsed                       time.Duration
	// Changes are lines such as `value: "a" -> "b"`.
	Changes []string
}

// Stats returns the host's figures at this moment.
func (h *Host) Stats() Stats {
	s := Stats{Pipelines: map[string]PipelineStats{}, Plugins: map[string]PluginStats{}}
	for name, p := range h.plugins {
		s.Plugins[name] = p.stats()
	}
	s.Sandbox = SandboxStats{h.engine.run.MemoryReserved(), h.engine.run.SnapshotBytes()}
	s.States, s.Backends = h.stateStats(), h.backendStats()
	if h.producer == nil {
		return s
	}
	s.Producer = h.producer.Counts()
	s.Produce = h.producer.produceStats()
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, p := range h.pipelines {
		s.Pipelines[name] = p.stats()
	}
	return s
}

func (p *Producer) produceStats() ProduceStats {
	p.returnMemory()
	s := p.pipeline.Stats()
	var transactions TransactionStats
	if p.txn != nil {
		transactions = p.txn.figures.stats()
	}
	return ProduceStats{
		BufferTotal: s.BufferTotal, BufferAvailable: s.BufferAvailable,
		BufferWaiters: int64(s.BufferWaiters), BufferWaited: s.BufferWaited, BufferExhausted: s.BufferExhausted,
		Requests: s.Requests, InFlightRequests: s.RequestsInFlight, Batches: s.BatchesSent, Records: s.RecordsSent,
		Retries: s.BatchesRetried, RecordsRetried: s.RecordsRetried, RecordsFailed: s.RecordsFailed,
		Splits: s.BatchesSplit, Expired: s.BatchesExpired, Bytes: s.BatchSize.Sum, RecordBytes: s.RecordBytes,
		BatchSize: s.BatchSize, QueueTime: s.QueueTime, RequestLatency: s.RequestLatency, Throttled: s.Throttled,
		Connections: s.ConnectionsOpened, ConnectionsFailed: s.ConnectionsFailed,
		Flushed: time.Duration(p.flushed.Load()), MetadataWait: time.Duration(p.park.waited.Load()), MetadataAge: p.cluster.MetadataAge(),
		Transactions: transactions,
	}
}
