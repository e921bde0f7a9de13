package partitioner

import (
	"fmt"
	"math"
	"sync"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// seatHost is what a partitioner's imports reach: log lines and metrics go to
// the Host that it wraps, values and headers come from the running call. A
// partitioner has no host state.
//
// What a call did to metrics takes effect only when the call is accepted.
type seatHost struct {
	inner runtime.Host // nil: nobody listens

	recs []*klamm.Record // of the running call, which alone reads them

	mu      sync.Mutex // a generation that is loaded aside declares and counts too
	running bool
	counts  []metricChange
}

type metricChange struct {
	id      int32
	observe bool
	delta   int64
	v       float64
}

// metricChangesMax bounds what one call may change.
const metricChangesMax = 16 << 10

var _ runtime.Host = (*seatHost)(nil)

// begin says which records the next call is about.
func (h *seatHost) begin(recs []*klamm.Record) {
	h.recs = recs
	h.mu.Lock()
	h.running, h.counts = true, h.counts[:0]
	h.mu.Unlock()
}

// end ends the call. What it counted is forgotten unless it is accepted.
func (h *seatHost) end(accepted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = false
	if !accepted || h.inner == nil {
		return
	}
	for _, c := range h.counts {
		if c.observe {
			h.inner.ObserveMetric(c.id, c.v)
		} else {
			h.inner.AddMetric(c.id, c.delta)
		}
	}
}

func (h *seatHost) Log(level int32, line []byte) {
	if h.inner != nil {
		h.inner.Log(level, line)
	}
}

func (h *seatHost) DefineMetric(kind int32, name string) (int32, error) {
	if h.inner == nil {
		return 0, nil
	}
	return h.inner.DefineMetric(kind, name)
}

func (h *seatHost) AddMetric(id int32, delta int64) {
	if delta > 0 {
		h.change(metricChange{id: id, delta: delta})
	}
}

func (h *seatHost) ObserveMetric(id int32, v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		h.change(metricChange{id: id, observe: true, v: v})
	}
}

// change keeps a change until the call is accepted. Additions to one counter
// are one change.
func (h *seatHost) change(c metricChange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.running || h.inner == nil {
		return
	}
	if !c.observe {
		for i := range h.counts {
			if k := &h.counts[i]; k.id == c.id && !k.observe {
				k.delta += c.delta
				return
			}
		}
	}
	if len(h.counts) < metricChangesMax {
		h.counts = append(h.counts, c)
	}
}

func (h *seatHost) Claim(int, []byte, int64) int32 { return abi.ClaimRefused }

func (h *seatHost) StateGet([]byte) ([]byte, bool) { return nil, false }

func (h *seatHost) StatePut([]byte, []byte, int64) error {
	return fmt.Errorf("a partitioner has no host state")
}

func (h *seatHost) Value(index int) []byte {
	if index < 0 || index >= len(h.recs) {
		return nil
	}
	return h.recs[index].Value
}

func (h *seatHost) Headers(index int, each func(key string, value []byte)) {
	if index < 0 || index >= len(h.recs) {
		return
	}
	for _, hdr := range h.recs[index].Headers {
		each(hdr.Key, hdr.Value)
	}
}
