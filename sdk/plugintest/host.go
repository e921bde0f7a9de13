package plugintest

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// host is what a plugin under test reaches: memory for claims and puts, sums of
// metrics, the log. It serves one instance.
type host struct {
	c       *Case
	first   int // the running batch is records first to last of the case
	last    int
	owners  map[string]owner
	journal []claimed // of the running call
	before  effects   // the running call
	state   map[string]string
	metrics []string
	sums    map[string]int64
	reasons map[uint16]string
	logs    []string
}

var (
	_ runtime.Host     = (*host)(nil)
	_ runtime.Rewinder = (*host)(nil)
)

// effects are what a call does that its verdicts do not show.
type effects struct {
	state map[string]string
	sums  map[string]int64
}

// begin notes how things stand before a call.
func (h *host) begin() { h.before = effects{maps.Clone(h.state), maps.Clone(h.sums)} }

// Rewind undoes what the running call did: it is made again with more room.
func (h *host) Rewind() {
	h.state, h.sums = maps.Clone(h.before.state), maps.Clone(h.before.sums)
	h.settle(0)
}

// claimed is a claim that record made, and whose the id was before.
type claimed struct {
	record int
	id     string
	before owner
}

type owner struct {
	ref     uint64
	untilMS int64 // 0: for ever
}

func newHost(c *Case) *host {
	return &host{
		c:       c,
		owners:  map[string]owner{},
		state:   map[string]string{},
		sums:    map[string]int64{},
		reasons: map[uint16]string{},
	}
}

func (h *host) outcome(results []Result) *Outcome {
	return &Outcome{Results: results, Metrics: maps.Clone(h.sums), State: maps.Clone(h.state), Logs: h.logs}
}

func (h *host) Log(_ int32, line []byte) { h.logs = append(h.logs, string(line)) }

func (h *host) DefineMetric(_ int32, name string) (int32, error) {
	h.metrics = append(h.metrics, name)
	h.sums[name] = 0
	return int32(len(h.metrics) - 1), nil
}

func (h *host) AddMetric(id int32, delta int64) { h.sums[h.metrics[id]] += delta }

func (h *host) ObserveMetric(id int32, _ float64) { h.sums[h.metrics[id]]++ }

// Claim keeps an id for the record that claimed it first. The records' own time
// is the clock, so that the answers do not depend on how the batches are cut.
func (h *host) Claim(index int, id []byte, ttlMS int64) int32 {
	i := h.first + index
	now := h.c.timestampMS(&h.c.Records[i])
	o, ok := h.owners[string(id)]
	if ok && o.ref != refOf(i) && (o.untilMS == 0 || now < o.untilMS) {
		if h.c.InFlight {
			return abi.ClaimPending
		}
		return abi.ClaimConfirmed
	}
	o = owner{ref: refOf(i)}
	if ttlMS > 0 {
		o.untilMS = now + ttlMS
	}
	h.journal = append(h.journal, claimed{i, string(id), h.owners[string(id)]})
	h.owners[string(id)] = o
	return abi.ClaimNew
}

// settle ends a call: claims of records that were not judged are undone.
func (h *host) settle(judged int) {
	for _, c := range slices.Backward(h.journal) {
		if c.record < h.first+judged {
			continue
		}
		if h.owners[c.id] = c.before; c.before.ref == 0 {
			delete(h.owners, c.id)
		}
	}
	h.journal = h.journal[:0]
}

func (h *host) StateGet(key []byte) ([]byte, bool) {
	v, ok := h.state[string(key)]
	return []byte(v), ok
}

func (h *host) StatePut(key, value []byte, _ int64) error {
	if len(key) == 0 {
		return errors.New("a put needs a key")
	}
	h.state[string(key)] = string(value)
	return nil
}

func (h *host) Value(index int) []byte { return h.c.Records[h.first+index].Value }

func (h *host) Headers(index int, each func(key string, value []byte)) {
	for _, header := range h.c.Records[h.first+index].Headers {
		each(header.Key, header.Value)
	}
}

func (h *host) mac(secret string, data []byte) ([]byte, bool) {
	key, ok := h.c.Secrets[secret]
	if !ok {
		return nil, false
	}
	m := hmac.New(sha256.New, key)
	m.Write(data)
	return m.Sum(nil), true
}

var reasonNames = map[uint16]string{
	abi.ReasonOther:     "other",
	abi.ReasonDuplicate: "duplicate",
	abi.ReasonInvalid:   "invalid",
	abi.ReasonFiltered:  "filtered",
	abi.ReasonMissing:   "missing",
}

// reasonName names a reason; declared holds the plugin's own.
func reasonName(code uint16, declared string) string {
	if name, ok := reasonNames[code]; ok {
		return name
	}
	if declared != "" {
		return declared
	}
	return "undeclared reason " + strconv.Itoa(int(code))
}
