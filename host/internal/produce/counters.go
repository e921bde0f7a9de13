package produce

import (
	"sync/atomic"
	"time"
)

// counters are Stats as they are counted: per batch, never per record.
type counters struct {
	sentRecords, ackedRecords, failedRecords, unknownRecords, retriedRecords atomic.Int64

	sentBatches, ackedBatches, retriedBatches, splits, expired atomic.Int64
	recordBytes                                                atomic.Int64
	batchSize, queueTime                                       histogram

	requests, requestsInFlight     atomic.Int64
	latency, throttled             histogram
	connections, connectionsFailed atomic.Int64
}

func (c *counters) init() {
	c.batchSize.base = histogramSizes
	c.queueTime.base, c.latency.base, c.throttled.base = histogramTimes, histogramTimes, histogramTimes
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
	c.queueTime.observe(int64(waited))
}

// packed counts a batch's bytes when they are known.
func (c *counters) packed(b *batch) {
	c.batchSize.observe(int64(b.size()))
	c.recordBytes.Add(int64(b.raw))
}

func (c *counters) sent(batches int, records int64) {
	c.sentBatches.Add(int64(batches))
	c.sentRecords.Add(records)
	c.requests.Add(1)
	c.requestsInFlight.Add(1)
}

func (c *counters) answered(latency, throttle time.Duration) {
	c.requestsInFlight.Add(-1)
	c.latency.observe(int64(latency))
	if throttle > 0 {
		c.throttled.observe(int64(throttle))
	}
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
