package produce

import (
	"sync/atomic"
	"time"
)

// counters are Stats as they are counted: per batch, never per record.
type counters struct {
	ackedRecords, failedRecords, unknownRecords, retriedRecords atomic.Int64

	sentBatches, ackedBatches, retriedBatches, splits, expired atomic.Int64
	batchBytes, recordBytes                                    atomic.Int64
	queueTime, queueTimeMax                                    atomic.Int64

	requests, requestsInFlight, requestsAnswered atomic.Int64
	latency, latencyMax, throttled               atomic.Int64
	connections, connectionsFailed               atomic.Int64
}

func raise(m *atomic.Int64, v int64) {
	for {
		old := m.Load()
		if v <= old || m.CompareAndSwap(old, v) {
			return
		}
	}
}

// took counts a batch's first attempt.
func (c *counters) took(waited time.Duration) {
	c.queueTime.Add(int64(waited))
	raise(&c.queueTimeMax, int64(waited))
}

// packed counts a batch's bytes when they are known.
func (c *counters) packed(b *batch) {
	c.batchBytes.Add(int64(b.size()))
	c.recordBytes.Add(int64(b.raw))
}

func (c *counters) sent(batches int) {
	c.sentBatches.Add(int64(batches))
	c.requests.Add(1)
	c.requestsInFlight.Add(1)
}

func (c *counters) answered(latency, throttle time.Duration) {
	c.requestsInFlight.Add(-1)
	c.requestsAnswered.Add(1)
	c.latency.Add(int64(latency))
	raise(&c.latencyMax, int64(latency))
	c.throttled.Add(int64(throttle))
}

func (c *counters) retried(batches, records int32) {
	c.retriedBatches.Add(int64(batches))
	c.retriedRecords.Add(int64(records))
}

func (c *counters) ended(b *batch, e *ending) {
	n := int64(b.header.count)
	if e.err == nil {
		c.ackedRecords.Add(n)
		c.ackedBatches.Add(1)
		return
	}
	c.failedRecords.Add(n)
	if mayBeWritten(e.err) {
		c.unknownRecords.Add(n)
	}
}
