package interceptor

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// metricNamesMax bounds what all generations of a plugin may declare in one
// lane.
const metricNamesMax = 1024

// guestHost is what the host functions of one instance reach. All but the log
// and DefineMetric serve the call that runs, which holds guest.mu; a generation
// that is initialised aside may log and declare metrics meanwhile.
type guestHost struct {
	plugin string
	logger *slog.Logger
	limit  limiter

	tx *transaction // of the call that runs, nil between calls

	mu    sync.Mutex // of changes of names
	names atomic.Pointer[[]metricName]
}

type metricName struct {
	kind int32
	name string
}

var (
	_ runtime.Host       = (*guestHost)(nil)
	_ runtime.Rewinder   = (*guestHost)(nil)
	_ runtime.KeyClaimer = (*guestHost)(nil)
)

func newGuestHost(l *Lane, link *Link) *guestHost {
	log := l.chain.logger.With("plugin", link.Name, "chain", l.chain.cfg.Name, "lane", l.lane)
	return makeGuestHost(link.Name, log, l.chain.cfg.LogLinesPerSecond)
}

func makeGuestHost(plugin string, log *slog.Logger, rate int) *guestHost {
	h := &guestHost{plugin: plugin, logger: log, limit: newLimiter(rate)}
	h.names.Store(&[]metricName{})
	return h
}

var logLevels = map[int32]slog.Level{
	abi.LogDebug: slog.LevelDebug, abi.LogInfo: slog.LevelInfo,
	abi.LogWarn: slog.LevelWarn, abi.LogError: slog.LevelError,
}

// Log writes a guest's line, at most as many a second as the chain allows.
func (h *guestHost) Log(level int32, line []byte) {
	to, ok := logLevels[level]
	if !ok {
		to = slog.LevelInfo
	}
	ctx := context.Background()
	if !h.logger.Enabled(ctx, to) {
		return
	}
	ok, lost := h.limit.allow()
	h.logSuppressed(lost)
	if ok {
		h.logger.LogAttrs(ctx, to, "plugin log", slog.String("line", string(line)))
	}
}

func (h *guestHost) flushLog() { h.logSuppressed(h.limit.drain()) }

func (h *guestHost) logSuppressed(lost int) {
	if lost > 0 {
		h.logger.LogAttrs(context.Background(), slog.LevelWarn, "plugin log lines suppressed", slog.Int("lines", lost), slog.Int("limit_per_second", h.limit.rate))
	}
}

// DefineMetric returns the id of a metric: the same one for the same name, so
// that ids survive a new instance and a new generation.
func (h *guestHost) DefineMetric(kind int32, name string) (int32, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := *h.names.Load()
	for i, n := range names {
		if n.name == name && n.kind == kind {
			return int32(i), nil
		}
	}
	if kind != abi.MetricCounter && kind != abi.MetricHistogram {
		return 0, fmt.Errorf("metric %q: unknown kind %d", name, kind)
	}
	if len(names) >= metricNamesMax {
		return 0, fmt.Errorf("metric %q: the plugin's versions have declared %d metrics, the most is %d", name, len(names), metricNamesMax)
	}
	grown := append(names[:len(names):len(names)], metricName{kind, name})
	h.names.Store(&grown)
	return int32(len(names)), nil
}

// metric returns the name of a metric of that kind.
func (h *guestHost) metric(id int32, kind int32) (name string, ok bool) {
	names := *h.names.Load()
	if id < 0 || int(id) >= len(names) || names[id].kind != kind {
		return "", false
	}
	return names[id].name, true
}

// AddMetric adds to a counter, which cannot fall.
func (h *guestHost) AddMetric(id int32, delta int64) {
	if _, ok := h.metric(id, abi.MetricCounter); ok && delta > 0 && h.tx != nil {
		h.tx.addMetric(id, delta)
	}
}

// ObserveMetric adds a value to a histogram.
func (h *guestHost) ObserveMetric(id int32, v float64) {
	_, ok := h.metric(id, abi.MetricHistogram)
	if !ok || h.tx == nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if !h.tx.observeMetric(id, v) {
		h.Log(abi.LogWarn, []byte("too many values observed in one call; this one is lost"))
	}
}

// Claim claims id for a record of the running call.
func (h *guestHost) Claim(index int, id []byte, ttlMS int64) int32 {
	if h.tx == nil {
		return abi.ClaimRefused
	}
	return h.tx.claim(index, id, ttlMS)
}

// ClaimKeys claims the keys of the running block.
func (h *guestHost) ClaimKeys(b *runtime.Block, ttlMS int64, mask []byte) int32 {
	if h.tx == nil {
		return abi.ClaimRefused
	}
	return h.tx.claimKeys(b, ttlMS, mask)
}

// StateGet reads a value.
func (h *guestHost) StateGet(key []byte) ([]byte, bool) {
	if h.tx == nil {
		return nil, false
	}
	return h.tx.get(key)
}

// StatePut stores a value when the call is accepted.
func (h *guestHost) StatePut(key, value []byte, ttlMS int64) error {
	if h.tx == nil {
		return errNoState
	}
	return h.tx.put(key, value, ttlMS)
}

// Value returns the value of a record of the running call.
func (h *guestHost) Value(index int) []byte {
	if h.tx == nil || index < 0 || index >= len(h.tx.items) {
		return nil
	}
	return h.tx.items[index].Record.Value
}

// Headers walks over the headers of a record of the running call.
func (h *guestHost) Headers(index int, each func(key string, value []byte)) {
	if h.tx == nil {
		return
	}
	for _, hd := range h.tx.headers(index) {
		each(hd.Key, hd.Value)
	}
}

// Rewind takes back what the running call did: the guest is called again for
// the same records, with more room for its edits.
func (h *guestHost) Rewind() {
	if t := h.tx; t != nil {
		t.undoFrom(0)
		t.begin(t.items, t.acks, t.space, t.nowMS)
	}
}

// report hands metric changes of an accepted call on.
func (h *guestHost) report(t *transaction, m Metrics) {
	if t.dry {
		return
	}
	names := *h.names.Load()
	for _, id := range t.counted {
		m.PluginCounter(h.plugin, names[id].name, t.counts[id])
	}
	for _, o := range t.observed {
		m.PluginObserve(h.plugin, names[o.id].name, o.v)
	}
}
