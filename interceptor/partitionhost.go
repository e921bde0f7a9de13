package interceptor

import (
	"log/slog"
	"math"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// PartitionHost returns the host's side of a plugin that is used as a
// partitioner: log lines, limited as those of interceptors, and metrics, which
// are reported at once. It has no state and nothing to be pulled. logger and
// metrics may be nil; rate is ChainConfig.LogLinesPerSecond.
func PartitionHost(plugin string, logger *slog.Logger, rate int, metrics Metrics) runtime.Host {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if metrics == nil {
		metrics = noMetrics{}
	}
	return &partitionHost{guestHost: makeGuestHost(plugin, logger.With("plugin", plugin), rate), metrics: metrics}
}

type partitionHost struct {
	*guestHost
	metrics Metrics
}

var _ runtime.Host = (*partitionHost)(nil)

// AddMetric adds to a counter, which cannot fall.
func (h *partitionHost) AddMetric(id int32, delta int64) {
	if n, ok := h.metric(id, abi.MetricCounter); ok && delta > 0 {
		h.metrics.PluginCounter(h.plugin, n, delta)
	}
}

// ObserveMetric adds a value to a histogram.
func (h *partitionHost) ObserveMetric(id int32, v float64) {
	if n, ok := h.metric(id, abi.MetricHistogram); ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
		h.metrics.PluginObserve(h.plugin, n, v)
	}
}
