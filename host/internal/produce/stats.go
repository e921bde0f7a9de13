package produce

import "time"

// Stats are a pipeline's figures. Totals count from its start.
type Stats struct {
	BufferTotal     int64         // buffer_memory, in bytes
	BufferAvailable int64         // negative while overdrawn
	BufferWaiters   int           // calls of Reserve that wait
	BufferWaited    time.Duration // by all calls of Reserve together
	BufferExhausted int64         // calls of Reserve that ended with klamm.ErrBufferFull

	RecordsAppended int64
	RecordsSent     int64 // in attempts
	RecordsAcked    int64
	RecordsFailed   int64 // of them unknown: RecordsUnknown
	RecordsUnknown  int64 // klamm.ErrOutcomeUnknown
	RecordsRetried  int64 // a record counts once for each retry

	BatchesOpen    int64 // not completed
	BatchesSent    int64 // attempts
	BatchesAcked   int64
	BatchesRetried int64
	BatchesSplit   int64     // after MESSAGE_TOO_LARGE
	BatchesExpired int64     // by delivery_timeout
	BatchSize      Histogram // bytes on the wire, first attempts
	RecordBytes    int64     // of the same batches, before compression
	QueueTime      Histogram // nanoseconds of a batch, from the first record to the first attempt
	QueuedBytes    int64     // of records that wait for a request

	Requests          int64
	RequestsInFlight  int64
	RequestLatency    Histogram // nanoseconds of answered requests
	Throttled         Histogram // nanoseconds of the pauses that brokers demanded
	ConnectionsOpened int64
	ConnectionsFailed int64 // dials that failed and connections that broke

	ProducerID    int64 // -1: none
	ProducerEpoch int16
	EpochBumps    int64
}
