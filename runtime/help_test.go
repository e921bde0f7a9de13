package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// fakeHost remembers what guests do.
type fakeHost struct {
	mu      sync.Mutex
	logs    []string
	metrics []string
	counts  map[int32]int64
	seen    []float64
	claims  []string // "index/id/ttl"
	owned   map[string]bool
	answer  int32 // of every claim, unless owned says more
	store   map[string]string
	values  [][]byte
	headers [][]Edit
	rewinds int
	refuse  error // of DefineMetric and StatePut
}

func newFakeHost() *fakeHost {
	return &fakeHost{counts: map[int32]int64{}, store: map[string]string{}, answer: abi.ClaimNew}
}

func (h *fakeHost) Log(level int32, line []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs = append(h.logs, fmt.Sprintf("%d %s", level, line))
}

func (h *fakeHost) DefineMetric(kind int32, name string) (int32, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return 0, h.refuse
	}
	h.metrics = append(h.metrics, fmt.Sprintf("%d %s", kind, name))
	return int32(100 + len(h.metrics) - 1), nil
}

func (h *fakeHost) AddMetric(id int32, delta int64)  { h.counts[id] += delta }
func (h *fakeHost) ObserveMetric(_ int32, v float64) { h.seen = append(h.seen, v) }
func (h *fakeHost) StateGet(key []byte) ([]byte, bool) {
	v, ok := h.store[string(key)]
	return []byte(v), ok
}
func (h *fakeHost) Value(i int) []byte                    { return h.values[i] }
func (h *fakeHost) Rewind()                               { h.rewinds++ }
func (h *fakeHost) Headers(i int, f func(string, []byte)) { eachHeader(h.headers[i], f) }

func eachHeader(hs []Edit, f func(string, []byte)) {
	for _, e := range hs {
		f(string(e.Key), e.Value)
	}
}

func (h *fakeHost) Claim(index int, id []byte, ttlMS int64) int32 {
	h.claims = append(h.claims, fmt.Sprintf("%d/%s/%d", index, id, ttlMS))
	if h.owned[string(id)] {
		return abi.ClaimConfirmed
	}
	return h.answer
}

func (h *fakeHost) StatePut(key, value []byte, ttlMS int64) error {
	if h.refuse != nil {
		return h.refuse
	}
	h.store[string(key)] = fmt.Sprintf("%s ttl=%d", value, ttlMS)
	return nil
}

// newEngine returns an engine that is closed with the test.
func newEngine(t testing.TB) *Engine {
	t.Helper()
	return engineOf(t, EngineConfig{})
}

func engineOf(t testing.TB, cfg EngineConfig) *Engine {
	t.Helper()
	e, err := NewEngine(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Errorf("close the engine: %v", err)
		}
		if n := e.MemoryReserved(); n != 0 {
			t.Errorf("%d bytes of linear memory are still reserved", n)
		}
	})
	return e
}

// load makes a plugin of a guest; it is closed with the test. Calls may take
// 10 s unless cfg says otherwise: the machine may be busy.
func load(t testing.TB, e *Engine, g *w.Guest, cfg PluginConfig) *Plugin {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "p"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	p := e.NewPlugin(cfg)
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("close the plugin: %v", err)
		}
	})
	if err := p.Load(context.Background(), g.Bytes()); err != nil {
		t.Fatal(err)
	}
	return p
}

// sit opens a seat.
func sit(t testing.TB, p *Plugin, h Host) *Seat {
	t.Helper()
	s, err := p.Seat(context.Background(), SeatConfig{Chain: "c", Topics: []string{"t"}, Lanes: 1, Host: h})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seatOf is a seat at a plugin of the guest, on an engine of its own.
func seatOf(t testing.TB, g *w.Guest, cfg PluginConfig, h Host) *Seat {
	t.Helper()
	return sit(t, load(t, newEngine(t), g, cfg), h)
}

// keyed is a block of n records with keys k0, k1, ... and values v0, v1, ...
func keyed(n int, fields abi.Fields) *Block {
	b := new(Block)
	fill(b, n, fields)
	return b
}

func fill(b *Block, n int, fields abi.Fields) {
	b.Reset(fields, 1000, false)
	topic := b.AddTopic("t", 3, 7, []bool{true, false, true}, []uint32{1, 2, 3})
	for i := range n {
		b.Add(Head{
			Topic: topic, Partition: -1, Offset: -1, TimestampMS: int64(i), Ref: uint64(100 + i),
			Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i),
		})
	}
}

// codes are the verdicts' codes as a string of digits.
func codes(v *Verdicts) string {
	var s strings.Builder
	for i := range v.Len() {
		fmt.Fprintf(&s, "%d", v.At(i).Code)
	}
	return s.String()
}

func judge(t testing.TB, s *Seat, h abi.Hook, b *Block) *Verdicts {
	t.Helper()
	v, err := s.Judge(context.Background(), h, b)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantProblem demands a *LoadError, or another error, that says all of what.
func wantProblem(t testing.TB, err error, what ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one about %q", what)
	}
	for _, s := range what {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

func as[E error](t testing.TB, err error) E {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Fatalf("error is a %T (%v), want a %T", err, err, e)
	}
	return e
}

// dropAll is a guest that drops every record.
func dropAll(hooks ...abi.Hook) *w.Guest {
	g := new(w.Guest)
	if len(hooks) == 0 {
		hooks = []abi.Hook{abi.OnSend}
	}
	for _, h := range hooks {
		g.EachRecord(h, abi.FieldKey, w.Answer(abi.PackVerdict(abi.Drop, 0, abi.ReasonDuplicate, 0)))
	}
	return g
}

func contains(list []string, want string) bool { return slices.Contains(list, want) }
