// Package metrics shows a host's figures to Prometheus. Names carry base units
// and _total; docs/architecture.md says which part counts what.
//
// All methods are safe for concurrent use.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

// Metrics is a registry of a host's metrics. It takes what plugins do call by
// call and reads the rest from host.Stats when it is scraped.
type Metrics struct {
	registry *prometheus.Registry

	callSeconds *prometheus.HistogramVec
	calls       *prometheus.CounterVec
	verdicts    *prometheus.CounterVec
	dropped     *prometheus.CounterVec
	faults      *prometheus.CounterVec
	counters    *prometheus.CounterVec
	observed    *prometheus.HistogramVec
}

var _ interceptor.Metrics = (*Metrics)(nil)

// New returns an empty registry; version goes into klamm_build_info.
func New(version, goVersion string) *Metrics {
	m := &Metrics{
		registry:    prometheus.NewRegistry(),
		callSeconds: histogram("klamm_plugin_call_duration_seconds", "Time of one call of a plugin.", callBuckets, "plugin", "hook"),
		calls:       counter("klamm_plugin_calls_total", "Calls of a plugin; one call judges many records.", "plugin", "hook"),
		verdicts:    counter("klamm_plugin_records_total", "Records that a plugin judged, by verdict.", "plugin", "hook", "verdict"),
		dropped:     counter("klamm_records_dropped_total", "Records that a plugin dropped, by its reason.", "plugin", "reason"),
		faults:      counter("klamm_plugin_faults_total", "Records that met a plugin's failure policy, by kind of fault.", "plugin", "hook", "kind"),
		counters:    counter("klamm_plugin_counter_total", "A plugin's own counters.", "plugin", "name"),
		observed:    histogram("klamm_plugin_observed", "A plugin's own observations.", prometheus.DefBuckets, "plugin", "name"),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "klamm_build_info", Help: "Always 1."}, []string{"version", "go"})
	build.WithLabelValues(version, goVersion).Set(1)
	m.registry.MustRegister(m.callSeconds, m.calls, m.verdicts, m.dropped, m.faults, m.counters, m.observed, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// callBuckets go from a microsecond to the largest sensible deadline.
var callBuckets = prometheus.ExponentialBuckets(1e-6, 4, 11)

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// histogram has classic buckets, and native ones for those who scrape them.
func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

// Watch reads stats with every scrape. It is called once.
func (m *Metrics) Watch(stats func() host.Stats) { m.registry.MustRegister(statsCollector(stats)) }

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Call implements interceptor.Metrics.
func (m *Metrics) Call(plugin, hook string, _ int, d time.Duration) {
	m.calls.WithLabelValues(plugin, hook).Inc()
	m.callSeconds.WithLabelValues(plugin, hook).Observe(d.Seconds())
}

// Verdict implements interceptor.Metrics.
func (m *Metrics) Verdict(plugin, hook, verdict string, n int) {
	m.verdicts.WithLabelValues(plugin, hook, verdict).Add(float64(n))
}

// Drop implements interceptor.Metrics.
func (m *Metrics) Drop(plugin, reason string, n int) {
	m.dropped.WithLabelValues(plugin, reason).Add(float64(n))
}

// Fault implements interceptor.Metrics.
func (m *Metrics) Fault(plugin, hook, kind string) {
	m.faults.WithLabelValues(plugin, hook, kind).Inc()
}

// PluginCounter implements interceptor.Metrics. A counter never falls: a
// negative delta is left out.
func (m *Metrics) PluginCounter(plugin, name string, delta int64) {
	if delta > 0 {
		m.counters.WithLabelValues(plugin, name).Add(float64(delta))
	}
}

// PluginObserve implements interceptor.Metrics.
func (m *Metrics) PluginObserve(plugin, name string, v float64) {
	m.observed.WithLabelValues(plugin, name).Observe(v)
}
