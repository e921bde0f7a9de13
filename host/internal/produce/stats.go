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
	RecordsAcked    int64
	RecordsFailed   int64 // of them unknown: RecordsUnknown
	RecordsUnknown  int64 // klamm.ErrOutcomeUnknown
	RecordsRetried  int64 // a record counts once for each retry

	BatchesOpen    int64 // not completed
	BatchesSent    int64 // attempts
	BatchesAcked   int64
	BatchesRetried int64
	BatchesSplit   int64         // after MESSAGE_TOO_LARGE
	BatchesExpired int64         // by delivery_timeout
	BatchBytes     int64         // on the wire, first attempts
	RecordBytes    int64         // of the same batches, before compression
	QueueTime      time.Duration // of all batches, from the first record to the first attempt
	QueueTimeMax   time.Duration
	QueuedBytes    int64 // of records that wait for a request

	Requests          int64
	RequestsInFlight  int64
	RequestLatency    time.Duration // of all answered requests
	RequestLatencyMax time.Duration
	RequestsAnswered  int64
	Throttled         time.Duration // demanded by brokers
	ConnectionsOpened int64
	ConnectionsFailed int64 // dials that failed and connections that broke

	ProducerID    int64 // -1: none
	ProducerEpoch int16
	EpochBumps    int64
}
