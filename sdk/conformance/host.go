package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// host is what the guest's imports reach. It writes everything down.
type host struct {
	records []Record // of the running call; more than that are padding
	metrics []string
	now     effects
	before  effects // the running call
	rewinds int
}

var (
	_ runtime.Host     = (*host)(nil)
	_ runtime.Rewinder = (*host)(nil)
)

// effects is what a guest does besides its verdicts.
type effects struct {
	logs     []string
	sums     map[string]int64
	observed []string
	puts     []string
	state    map[string][]byte
}

func newHost() *host {
	return &host{now: effects{sums: map[string]int64{}, state: map[string][]byte{}}}
}

func (e *effects) clone() effects {
	return effects{slices.Clone(e.logs), maps.Clone(e.sums), slices.Clone(e.observed), slices.Clone(e.puts), maps.Clone(e.state)}
}

// begin notes how things stand before a call with records.
func (h *host) begin(records []Record) {
	h.records = records
	h.before = h.now.clone()
}

// Rewind undoes what the running call did: it is made again with more room.
func (h *host) Rewind() {
	h.rewinds++
	h.now = h.before.clone()
}

// list is the effects as a case wants them.
func (e *effects) list() []string {
	out := slices.Clone(e.logs)
	for _, name := range slices.Sorted(maps.Keys(e.sums)) {
		if e.sums[name] != 0 {
			out = append(out, fmt.Sprintf("sum %s %d", name, e.sums[name]))
		}
	}
	return append(append(out, e.observed...), e.puts...)
}

func (h *host) Log(level int32, line []byte) {
	h.now.logs = append(h.now.logs, fmt.Sprintf("log %d %s", level, line))
}

func (h *host) DefineMetric(kind int32, name string) (int32, error) {
	h.metrics = append(h.metrics, name)
	h.now.sums[name] += 0
	return int32(len(h.metrics) - 1), nil
}

func (h *host) AddMetric(id int32, delta int64) { h.now.sums[h.metrics[id]] += delta }

func (h *host) ObserveMetric(id int32, v float64) {
	h.now.observed = append(h.now.observed, fmt.Sprintf("observe %s %g", h.metrics[id], v))
}

// Claim answers by the id, so that nothing depends on what came before. Ids that
// start with none of the words are new.
func (h *host) Claim(_ int, id []byte, ttlMS int64) int32 {
	if ttlMS != claimTTL {
		return abi.ClaimRefused
	}
	switch {
	case strings.HasPrefix(string(id), "old"):
		return abi.ClaimConfirmed
	case strings.HasPrefix(string(id), "flying"):
		return abi.ClaimPending
	case strings.HasPrefix(string(id), "refused"):
		return abi.ClaimRefused
	}
	return abi.ClaimNew
}

// claimTTL is what cases with claims set ttl_ms to.
const claimTTL = 90_000

func (h *host) StateGet(key []byte) ([]byte, bool) {
	v, ok := h.now.state[string(key)]
	return v, ok
}

func (h *host) StatePut(key, value []byte, ttlMS int64) error {
	if string(key) == "refused" {
		return errors.New("refused")
	}
	h.now.state[string(key)] = bytes.Clone(value)
	h.now.puts = append(h.now.puts, fmt.Sprintf("put %s=%s for %d", key, show(value), ttlMS))
	return nil
}

func (h *host) Value(i int) []byte {
	if i >= len(h.records) {
		return nil
	}
	return h.records[i].Value
}

func (h *host) Headers(i int, each func(key string, value []byte)) {
	if i >= len(h.records) {
		return
	}
	for _, header := range h.records[i].Headers {
		each(header.Key, header.Value)
	}
}
