package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/klamm-io/klamm/host"
)

// statsCollector turns host.Stats into metrics when it is scraped.
type statsCollector func() host.Stats

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// The stage label of klamm_records_total makes the identity one query:
// in = out + dropped + dead_lettered + failed, plus klamm_records_in_flight.
var (
	recordsDesc  = desc("klamm_records_total", "Records by what became of them. pipeline is empty for all that the producer took.", "pipeline", "stage")
	inFlightDesc = desc("klamm_records_in_flight", "Records that have no outcome yet.", "pipeline")
	failedDesc   = desc("klamm_records_failed_total", "Records that failed.", "pipeline")
	deadDesc     = desc("klamm_dlq_records_total", "Records written to a dead-letter topic.", "pipeline")
	lagDesc      = desc("klamm_consumer_lag_records", "Records between what a pipeline has read and the end of its input.", "pipeline")
	partLagDesc  = desc("klamm_consumer_partition_lag_records", "Records between what a pipeline has read and the end of one partition.", "pipeline", "topic", "partition")
	triedDesc    = desc("klamm_records_retried_total", "How often a record was held to be tried again, after a plugin failed it.", "pipeline")
	commitsDesc  = desc("klamm_consumer_commits_total", "Commits that succeeded.", "pipeline")

	pluginInfoDesc       = desc("klamm_plugin_info", "Always 1.", "plugin", "module", "version", "sha256")
	recoveriesDesc       = desc("klamm_plugin_recoveries_total", "Instances after faults: restored from a snapshot, or remade.", "plugin", "how")
	memoryDesc           = desc("klamm_plugin_memory_bytes", "Memory of all plugins' instances, each at its largest size, and of the snapshots that they are restored from.", "kind")
	pluginGenerationDesc = desc("klamm_plugin_generation", "The active generation of a plugin's module.", "plugin")
	pluginRefusedDesc    = desc("klamm_plugin_reload_refused", "1 while the newest module is refused and an older one runs on.", "plugin")

	claimsDesc    = desc("klamm_dedup_claims_total", "Ids that plugins claimed; hits divided by them is the hit rate.", "state", "plugin")
	hitsDesc      = desc("klamm_dedup_hits_total", "Claims that met a known id.", "state", "plugin")
	entriesDesc   = desc("klamm_dedup_entries", "Ids that are remembered.", "state", "plugin")
	pendingDesc   = desc("klamm_dedup_pending", "Ids whose record is in flight.", "state", "plugin")
	waitersDesc   = desc("klamm_dedup_waiters", "Records that wait for the one they duplicate.", "state", "plugin")
	unknownDesc   = desc("klamm_dedup_unknown_released_total", "Claims released although the record's outcome was unknown.", "state", "plugin")
	heldDesc      = desc("klamm_dedup_unknown_held_total", "Claims held although the record's outcome was unknown.", "state", "plugin")
	expiredDesc   = desc("klamm_dedup_expired_total", "Ids that went by age.", "state", "plugin")
	errorsDesc    = desc("klamm_state_errors_total", "Times that a state could not answer or remember.", "state", "plugin")
	evictionsDesc = desc("klamm_state_evictions_total", "Entries that made room before their time.", "state", "plugin")
	bypassedDesc  = desc("klamm_state_bypassed_total", "Claims that passed because the state was unavailable.", "state", "plugin")
	upDesc        = desc("klamm_state_up", "1 while the state can remember.", "state")
	sizeDesc      = desc("klamm_state_backend_bytes", "What the state takes on its disk.", "state")
	unsyncedDesc  = desc("klamm_state_unsynced_bytes", "What a power cut would take of it.", "state")
	behindDesc    = desc("klamm_state_behind_bytes", "What is not written yet.", "state")
	restoredDesc  = desc("klamm_state_restored_ids_total", "Records of ids in Kafka that were read back.", "state")
	restoreDesc   = desc("klamm_state_restore_seconds_total", "Time that partitions took to be read back, added up.", "state")
	restoringDesc = desc("klamm_state_restoring_partitions", "Partitions whose ids are being read back; their records wait.", "state")
	restLagDesc   = desc("klamm_state_restore_lag", "Records of ids that are still to be read back.", "state")
	lapsedDesc    = desc("klamm_state_lapsed_total", "Claims that another host could have taken before they were confirmed: records that may be doubled.", "state")
	forgottenDesc = desc("klamm_state_forgotten_total", "Confirmations and releases that were never sent to a shared state, as too many waited: duplicates may pass on other hosts.", "state")
	failuresDesc  = desc("klamm_state_failures_total", "Writes to the state's backend that did not succeed.", "state")
	bytesDesc     = desc("klamm_state_bytes", "Memory of a plugin's share of a state.", "state", "plugin")

	bufferDesc         = desc("klamm_producer_buffer_bytes", "Buffer memory in use.", "pipeline")
	bufferLimitDesc    = desc("klamm_producer_buffer_limit_bytes", "Buffer memory in all.", "pipeline")
	requestsDesc       = desc("klamm_producer_in_flight_requests", "Produce requests without an answer yet.", "pipeline")
	batchesDesc        = desc("klamm_producer_batches_total", "Record batches sent.", "pipeline")
	producedDesc       = desc("klamm_producer_records_total", "Records in batches sent.", "pipeline")
	producedBytesDesc  = desc("klamm_producer_bytes_total", "Bytes of batches sent.", "pipeline")
	availableDesc      = desc("klamm_producer_buffer_available_bytes", "Buffer memory that is free.", "pipeline")
	bufferWaitersDesc  = desc("klamm_producer_buffer_waiting_sends", "Sends that wait for buffer memory.", "pipeline")
	waitedDesc         = desc("klamm_producer_buffer_wait_seconds_total", "Time that Sends waited for buffer memory, all together.", "pipeline")
	exhaustedDesc      = desc("klamm_producer_buffer_exhausted_total", "Sends that gave up waiting for buffer memory.", "pipeline")
	allRequestsDesc    = desc("klamm_producer_requests_total", "Produce requests sent.", "pipeline")
	recordRetriesDesc  = desc("klamm_producer_record_retries_total", "Records in batches sent again.", "pipeline")
	recordErrorsDesc   = desc("klamm_producer_record_errors_total", "Records that brokers or timeouts failed.", "pipeline")
	batchesExpiredDesc = desc("klamm_producer_batches_expired_total", "Batches that delivery_timeout_ms ended.", "pipeline")
	rawBytesDesc       = desc("klamm_producer_uncompressed_bytes_total", "Bytes of batches before compression.", "pipeline")
	batchSizeDesc      = desc("klamm_producer_batch_size_bytes", "Bytes of one batch on the wire.", "pipeline")
	queueTimeDesc      = desc("klamm_producer_queue_duration_seconds", "Time from a batch's first record to its first request.", "pipeline")
	latencyDesc        = desc("klamm_producer_request_duration_seconds", "Time from a request to its answer.", "pipeline")
	throttleDesc       = desc("klamm_producer_throttle_duration_seconds", "Pauses that brokers asked for.", "pipeline")
	connectionsDesc    = desc("klamm_producer_connections_total", "Connections opened for records.", "pipeline")
	connFailedDesc     = desc("klamm_producer_connections_failed_total", "Connections for records that could not be opened or broke.", "pipeline")
	flushDesc          = desc("klamm_producer_flush_seconds_total", "Time spent in Flush.", "pipeline")
	metadataWaitDesc   = desc("klamm_producer_metadata_wait_seconds_total", "Time that records waited for their topic's metadata, by topic.", "pipeline")
	metadataAgeDesc    = desc("klamm_producer_metadata_age_seconds", "Time since brokers last told about topics.", "pipeline")
	transactionsDesc   = desc("klamm_producer_transactions_total", "Transactions, committed or aborted. pipeline is empty for the producer.", "pipeline", "end")
	transactionTime    = desc("klamm_producer_transaction_seconds_total", "Time spent in calls that init, begin, send_offsets, commit or abort.", "pipeline", "call")
	retriesDesc        = desc("klamm_producer_retries_total", "Batches sent again.", "pipeline")
	splitsDesc         = desc("klamm_producer_batch_splits_total", "Batches split because they were too large.", "pipeline")
	allDescs           = []*prometheus.Desc{recordsDesc, inFlightDesc, failedDesc, deadDesc, lagDesc, partLagDesc, triedDesc, commitsDesc, pluginInfoDesc, pluginGenerationDesc, pluginRefusedDesc, recoveriesDesc, memoryDesc, claimsDesc, hitsDesc, entriesDesc, pendingDesc, waitersDesc, unknownDesc, heldDesc, expiredDesc, errorsDesc, evictionsDesc, bytesDesc, bypassedDesc, upDesc, sizeDesc, unsyncedDesc, behindDesc, failuresDesc, restoredDesc, restoreDesc, restoringDesc, restLagDesc, lapsedDesc, forgottenDesc, bufferDesc, bufferLimitDesc, requestsDesc, batchesDesc, producedDesc, producedBytesDesc, retriesDesc, splitsDesc,
		availableDesc, bufferWaitersDesc, waitedDesc, exhaustedDesc, allRequestsDesc, recordRetriesDesc, recordErrorsDesc, batchesExpiredDesc, rawBytesDesc,
		batchSizeDesc, queueTimeDesc, latencyDesc, throttleDesc, connectionsDesc, connFailedDesc, flushDesc, metadataWaitDesc, metadataAgeDesc, transactionsDesc, transactionTime}
)

// Describe implements prometheus.Collector.
func (c statsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range allDescs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c statsCollector) Collect(ch chan<- prometheus.Metric) {
	s := c()
	out := sink{ch}
	out.counts("", s.Producer)
	for name, p := range s.Pipelines {
		out.counts(name, p.Counts)
		out.gauge(lagDesc, p.Lag, name)
		out.counter(triedDesc, p.Retries, name)
		out.counter(commitsDesc, p.Commits, name)
		if p.Produce != nil {
			out.produce(name, p.Produce)
		}
		for _, l := range p.Partitions {
			out.gauge(partLagDesc, l.Lag, name, l.Topic, strconv.Itoa(int(l.Partition)))
		}
	}
	for name, p := range s.Plugins {
		out.plugin(name, p)
	}
	out.gauge(memoryDesc, s.Sandbox.MemoryReserved, "reserved")
	out.gauge(memoryDesc, s.Sandbox.SnapshotBytes, "snapshots")
	for _, st := range s.States {
		out.state(st)
	}
	for _, b := range s.Backends {
		out.backend(b)
	}
	out.produce("", &s.Produce)
}

type sink struct{ ch chan<- prometheus.Metric }

func (s sink) counter(d *prometheus.Desc, v int64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (s sink) gauge(d *prometheus.Desc, v int64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}

func (s sink) seconds(d *prometheus.Desc, kind prometheus.ValueType, v time.Duration, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, kind, v.Seconds(), labels...)
}

// histogram gives values in units, such as time.Second for nanoseconds.
func (s sink) histogram(d *prometheus.Desc, h *host.Histogram, unit time.Duration, labels ...string) {
	buckets := make(map[float64]uint64, len(h.Buckets))
	for i, n := range h.Buckets[:len(h.Buckets)-1] {
		buckets[float64(h.Base<<i)/float64(unit)] = uint64(n)
	}
	s.ch <- prometheus.MustNewConstHistogram(d, uint64(h.Count), float64(h.Sum)/float64(unit), buckets, labels...)
}

func (s sink) counts(pipeline string, c host.Counts) {
	s.counter(recordsDesc, c.In, pipeline, "in")
	s.counter(recordsDesc, c.Out, pipeline, "out")
	s.counter(recordsDesc, c.Dropped, pipeline, "dropped")
	s.counter(recordsDesc, c.DeadLettered, pipeline, "dead_lettered")
	s.counter(recordsDesc, c.Failed, pipeline, "failed")
	s.gauge(inFlightDesc, c.InFlight, pipeline)
	s.counter(failedDesc, c.Failed, pipeline)
	s.counter(deadDesc, c.DeadLettered, pipeline)
}

func (s sink) plugin(name string, p host.PluginStats) {
	s.gauge(pluginInfoDesc, 1, name, p.Module, p.Version, p.Digest)
	s.gauge(pluginGenerationDesc, int64(p.Generation), name)
	refused := int64(0)
	if p.LastError != "" {
		refused = 1
	}
	s.gauge(pluginRefusedDesc, refused, name)
	s.counter(recoveriesDesc, p.Restored, name, "restored")
	s.counter(recoveriesDesc, p.Remade, name, "remade")
}

func (s sink) backend(b host.BackendStats) {
	up := int64(1)
	if b.Error != "" {
		up = 0
	}
	s.gauge(upDesc, up, b.State)
	if b.Size >= 0 {
		s.gauge(sizeDesc, b.Size, b.State)
		s.gauge(unsyncedDesc, b.Size-b.Synced, b.State)
	}
	s.gauge(behindDesc, b.Behind, b.State)
	s.counter(failuresDesc, b.Failures, b.State)
	s.counter(lapsedDesc, b.Lapsed, b.State)
	s.counter(forgottenDesc, b.Forgotten, b.State)
	if b.Backend != "kafka" {
		return
	}
	s.counter(restoredDesc, b.Restored, b.State)
	s.seconds(restoreDesc, prometheus.CounterValue, time.Duration(b.RestoreSeconds*float64(time.Second)), b.State)
	s.gauge(restoringDesc, b.Restoring, b.State)
	s.gauge(restLagDesc, b.RestoreLag, b.State)
}

func (s sink) state(st host.StateStats) {
	s.counter(claimsDesc, st.Claims, st.State, st.Plugin)
	s.counter(hitsDesc, st.Hits, st.State, st.Plugin)
	s.gauge(entriesDesc, st.Entries, st.State, st.Plugin)
	s.gauge(pendingDesc, st.Pending, st.State, st.Plugin)
	s.gauge(waitersDesc, st.Waiters, st.State, st.Plugin)
	s.counter(unknownDesc, st.UnknownFree, st.State, st.Plugin)
	s.counter(heldDesc, st.UnknownHeld, st.State, st.Plugin)
	s.counter(expiredDesc, st.Expired, st.State, st.Plugin)
	s.counter(errorsDesc, st.Errors, st.State, st.Plugin)
	s.counter(bypassedDesc, st.Bypassed, st.State, st.Plugin)
	s.counter(evictionsDesc, st.Evictions+st.ValuesEvicted, st.State, st.Plugin)
	s.gauge(bytesDesc, st.Bytes, st.State, st.Plugin)
}

// produce tells of a producer: the host's, or the own one of a pipeline.
func (s sink) produce(pipeline string, p *host.ProduceStats) {
	s.gauge(bufferDesc, p.BufferTotal-p.BufferAvailable, pipeline)
	s.gauge(bufferLimitDesc, p.BufferTotal, pipeline)
	s.gauge(requestsDesc, p.InFlightRequests, pipeline)
	s.counter(batchesDesc, p.Batches, pipeline)
	s.counter(producedDesc, p.Records, pipeline)
	s.counter(producedBytesDesc, p.Bytes, pipeline)
	s.counter(retriesDesc, p.Retries, pipeline)
	s.counter(splitsDesc, p.Splits, pipeline)

	s.gauge(availableDesc, p.BufferAvailable, pipeline)
	s.gauge(bufferWaitersDesc, p.BufferWaiters, pipeline)
	s.seconds(waitedDesc, prometheus.CounterValue, p.BufferWaited, pipeline)
	s.counter(exhaustedDesc, p.BufferExhausted, pipeline)
	s.counter(allRequestsDesc, p.Requests, pipeline)
	s.counter(recordRetriesDesc, p.RecordsRetried, pipeline)
	s.counter(recordErrorsDesc, p.RecordsFailed, pipeline)
	s.counter(batchesExpiredDesc, p.Expired, pipeline)
	s.counter(rawBytesDesc, p.RecordBytes, pipeline)
	s.histogram(batchSizeDesc, &p.BatchSize, 1, pipeline)
	s.histogram(queueTimeDesc, &p.QueueTime, time.Second, pipeline)
	s.histogram(latencyDesc, &p.RequestLatency, time.Second, pipeline)
	s.histogram(throttleDesc, &p.Throttled, time.Second, pipeline)
	s.counter(connectionsDesc, p.Connections, pipeline)
	s.counter(connFailedDesc, p.ConnectionsFailed, pipeline)
	s.seconds(flushDesc, prometheus.CounterValue, p.Flushed, pipeline)
	s.seconds(metadataWaitDesc, prometheus.CounterValue, p.MetadataWait, pipeline)
	s.seconds(metadataAgeDesc, prometheus.GaugeValue, p.MetadataAge, pipeline)
	s.transactions(pipeline, p.Transactions)
}

// transactions says nothing of a producer without any.
func (s sink) transactions(pipeline string, t host.TransactionStats) {
	if t == (host.TransactionStats{}) {
		return
	}
	s.counter(transactionsDesc, t.Committed, pipeline, "committed")
	s.counter(transactionsDesc, t.Aborted, pipeline, "aborted")
	s.seconds(transactionTime, prometheus.CounterValue, t.Init, pipeline, "init")
	s.seconds(transactionTime, prometheus.CounterValue, t.Begin, pipeline, "begin")
	s.seconds(transactionTime, prometheus.CounterValue, t.SendOffsets, pipeline, "send_offsets")
	s.seconds(transactionTime, prometheus.CounterValue, t.Commit, pipeline, "commit")
	s.seconds(transactionTime, prometheus.CounterValue, t.Abort, pipeline, "abort")
}
