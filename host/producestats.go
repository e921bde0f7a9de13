package host

import (
	"sync"

	"github.com/klamm-io/klamm/host/internal/produce"
)

// ownProducer is the producer that a pipeline has now, for whoever asks for its
// figures, and what those before it have counted.
type ownProducer struct {
	mu   sync.Mutex
	now  *Producer
	past ProduceStats
}

// replace has p take the place of the producer before it, which is closed.
func (o *ownProducer) replace(p *Producer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.now != nil {
		o.past.addTotals(o.now.produceStats())
	}
	o.now = p
}

// stats are nil before the first producer.
func (o *ownProducer) stats() *ProduceStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.now == nil {
		return nil
	}
	s := o.now.produceStats()
	s.addTotals(o.past)
	return &s
}

// addTotals adds what another producer has counted, and nothing of how it stands.
func (s *ProduceStats) addTotals(o ProduceStats) {
	s.BufferWaited += o.BufferWaited
	s.BufferExhausted += o.BufferExhausted
	s.Requests += o.Requests
	s.Batches += o.Batches
	s.Records += o.Records
	s.Retries += o.Retries
	s.RecordsRetried += o.RecordsRetried
	s.RecordsFailed += o.RecordsFailed
	s.Splits += o.Splits
	s.Expired += o.Expired
	s.Bytes += o.Bytes
	s.RecordBytes += o.RecordBytes
	for to, from := range map[*Histogram]*Histogram{
		&s.BatchSize: &o.BatchSize, &s.QueueTime: &o.QueueTime, &s.RequestLatency: &o.RequestLatency, &s.Throttled: &o.Throttled,
	} {
		addHistogram(to, from)
	}
	s.Connections += o.Connections
	s.ConnectionsFailed += o.ConnectionsFailed
	s.Flushed += o.Flushed
	s.MetadataWait += o.MetadataWait
	s.Transactions.add(o.Transactions)
}

func addHistogram(to, from *produce.Histogram) {
	to.Count += from.Count
	to.Sum += from.Sum
	to.Max = max(to.Max, from.Max)
	to.Base = max(to.Base, from.Base)
	for i := range to.Buckets {
		to.Buckets[i] += from.Buckets[i]
	}
}

func (t *TransactionStats) add(o TransactionStats) {
	t.Committed += o.Committed
	t.Aborted += o.Aborted
	t.Init += o.Init
	t.Begin += o.Begin
	t.SendOffsets += o.SendOffsets
	t.Commit += o.Commit
	t.Abort += o.Abort
}
