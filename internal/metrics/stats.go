package metrics

import (
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
	commitsDesc  = desc("klamm_consumer_commits_total", "Commits that succeeded.", "pipeline")

	pluginInfoDesc       = desc("klamm_plugin_info", "Always 1.", "plugin", "module", "version", "sha256")
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
	bytesDesc     = desc("klamm_state_bytes", "Memory of a plugin's share of a state.", "state", "plugin")

	bufferDesc        = desc("klamm_producer_buffer_bytes", "Buffer memory in use.")
	bufferLimitDesc   = desc("klamm_producer_buffer_limit_bytes", "Buffer memory in all.")
	requestsDesc      = desc("klamm_producer_in_flight_requests", "Produce requests without an answer yet.")
	batchesDesc       = desc("klamm_producer_batches_total", "Record batches sent.")
	producedDesc      = desc("klamm_producer_records_total", "Records in batches sent.")
	producedBytesDesc = desc("klamm_producer_bytes_total", "Bytes of batches sent.")
	retriesDesc       = desc("klamm_producer_retries_total", "Batches sent again.")
	splitsDesc        = desc("klamm_producer_batch_splits_total", "Batches split because they were too large.")
	allDescs          = []*prometheus.Desc{recordsDesc, inFlightDesc, failedDesc, deadDesc, lagDesc, commitsDesc, pluginInfoDesc, pluginGenerationDesc, pluginRefusedDesc, claimsDesc, hitsDesc, entriesDesc, pendingDesc, waitersDesc, unknownDesc, heldDesc, expiredDesc, errorsDesc, evictionsDesc, bytesDesc, bufferDesc, bufferLimitDesc, requestsDesc, batchesDesc, producedDesc, producedBytesDesc, retriesDesc, splitsDesc}
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
		out.counter(commitsDesc, p.Commits, name)
	}
	for name, p := range s.Plugins {
		out.plugin(name, p)
	}
	for _, st := range s.States {
		out.state(st)
	}
	out.produce(s.Produce)
}

type sink struct{ ch chan<- prometheus.Metric }

func (s sink) counter(d *prometheus.Desc, v int64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (s sink) gauge(d *prometheus.Desc, v int64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
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
	s.counter(evictionsDesc, st.Evictions+st.ValuesEvicted, st.State, st.Plugin)
	s.gauge(bytesDesc, st.Bytes, st.State, st.Plugin)
}

func (s sink) produce(p host.ProduceStats) {
	s.gauge(bufferDesc, p.BufferTotal-p.BufferAvailable)
	s.gauge(bufferLimitDesc, p.BufferTotal)
	s.gauge(requestsDesc, p.InFlightRequests)
	s.counter(batchesDesc, p.Batches)
	s.counter(producedDesc, p.Records)
	s.counter(producedBytesDesc, p.Bytes)
	s.counter(retriesDesc, p.Retries)
	s.counter(splitsDesc, p.Splits)
}
