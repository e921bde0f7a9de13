package interceptor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	allFields = abi.FieldKey | abi.FieldValue | abi.FieldHeaders | abi.FieldTimestamp
	nowMS     = int64(1_700_000_000_000)
	longTime  = time.Hour // as a timeout: the search is never cut short
)

// fakeSeat is a guest written in Go behind the seat interface.
type fakeSeat struct {
	host   runtime.Host
	gen    *generation
	onSend func(c *fakeCall) error // on_consume alike
	told   func(h abi.Hook, b *runtime.Block) error

	calls  int // of judge
	closed int
}

// fakeCall is one call of a fakeSeat.
type fakeCall struct {
	host     runtime.Host
	b        *runtime.Block
	verdicts []runtime.Verdict
	judged   int // how many have a verdict; all by default
}

func (c *fakeCall) drop(i int, reason uint16) {
	c.verdicts[i] = runtime.Verdict{Code: abi.Drop, Reason: reason}
}

func (c *fakeCall) edit(i int, edits ...runtime.Edit) {
	c.verdicts[i] = runtime.Verdict{Code: abi.Edit, Edits: edits}
}

type fakeVerdicts struct {
	verdicts []runtime.Verdict
	by       *generation
}

func (v fakeVerdicts) Len() int { return len(v.verdicts) }
func (v fakeVerdicts) Words() (words []abi.Verdict) {
	for _, w := range v.verdicts {
		arg := uint32(w.Partition)
		if w.Code != abi.Route && len(w.Text)+len(w.Value)+len(w.Edits) > 0 {
			arg = 1 // there is more to it
		}
		words = append(words, abi.PackVerdict(w.Code, 0, w.Reason, arg))
	}
	return words
}
func (v fakeVerdicts) At(i int) runtime.Verdict { return v.verdicts[i] }
func (v fakeVerdicts) generation() *generation  { return v.by }

func (s *fakeSeat) generation() *generation { return s.gen }

func (s *fakeSeat) judge(_ context.Context, _ abi.Hook, b *runtime.Block) (verdicts, error) {
	s.calls++
	c := &fakeCall{host: s.host, b: b, verdicts: make([]runtime.Verdict, b.Len()), judged: b.Len()}
	if err := s.onSend(c); err != nil {
		return nil, err
	}
	return fakeVerdicts{c.verdicts[:c.judged], s.gen}, nil
}

func (s *fakeSeat) notify(_ context.Context, h abi.Hook, b *runtime.Block) error {
	if s.told == nil {
		return nil
	}
	return s.told(h, b)
}

func (s *fakeSeat) close(context.Context) error {
	s.closed++
	return nil
}

// link returns a link to the seat.
func (s *fakeSeat) link(name string) Link {
	if s.gen == nil {
		s.gen = &generation{number: 1, digest: "d1", version: "1.0.0"}
		for h := range s.gen.fields {
			s.gen.fields[h] = allFields
		}
		if s.onSend != nil {
			s.gen.hooks |= abi.OnSend.Mask() | abi.OnConsume.Mask()
		}
		if s.told != nil {
			s.gen.hooks |= abi.OnAcknowledgement.Mask() | abi.OnCommit.Mask()
		}
	}
	if s.gen.reason == nil {
		s.gen.reason = func(code uint16) string {
			return map[uint16]string{abi.ReasonOther: "other", abi.ReasonDuplicate: "duplicate"}[code]
		}
	}
	return Link{Name: name, Timeout: longTime, open: func(_ context.Context, cfg runtime.SeatConfig) (seat, error) {
		s.host = cfg.Host
		return s, nil
	}}
}

func trap() error {
	return &runtime.TrapError{Plugin: "p", Export: abi.ExportOnSend, Trap: "unreachable"}
}

// counts is a Metrics that remembers.
type counts struct {
	mu sync.Mutex
	m  map[string]int
}

func (c *counts) add(key string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]int{}
	}
	c.m[key] += n
}

func (c *counts) get(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[key]
}

func (c *counts) Call(plugin, hook string, records int, _ time.Duration) {
	c.add("calls "+plugin+" "+hook, 1)
	c.add("records "+plugin+" "+hook, records)
}
func (c *counts) Verdict(plugin, hook, verdict string, n int) {
	c.add("verdict "+plugin+" "+hook+" "+verdict, n)
}
func (c *counts) Drop(plugin, reason string, n int) { c.add("drop "+plugin+" "+reason, n) }
func (c *counts) Fault(plugin, hook, kind string)   { c.add("fault "+plugin+" "+hook+" "+kind, 1) }
func (c *counts) PluginCounter(plugin, name string, d int64) {
	c.add("counter "+plugin+" "+name, int(d))
}
func (c *counts) PluginObserve(plugin, name string, v float64) { c.add("observed "+plugin+" "+name, 1) }

func sum(c *counts, prefix string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for k, v := range c.m {
		if strings.HasPrefix(k, prefix) {
			n += v
		}
	}
	return n
}

// chainOf opens one lane of a chain.
func chainOf(t testing.TB, cfg ChainConfig) *Lane {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "test"
	}
	c, err := NewChain(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Lane(context.Background(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// batchOf makes a batch of records with these values, keyed alike, of topic
// "orders".
func batchOf(values ...string) *Batch {
	b := &Batch{NowMS: nowMS}
	for i, v := range values {
		b.Items = append(b.Items, Item{
			Ref:    uint64(i + 1),
			Record: klamm.Record{Topic: "orders", Key: []byte(v), Value: []byte(v), Timestamp: time.UnixMilli(nowMS)},
		})
	}
	return b
}

func spaceOf(t testing.TB, plugin string) (*state.Ledger, *state.Space) {
	t.Helper()
	l := state.NewLedger(state.Options{})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.Open("ids", state.StoreConfig{Backend: "memory", MaxEntries: 100000, MaxBytes: 1 << 20, ScopeTopic: true}); err != nil {
		t.Fatal(err)
	}
	s, err := l.Space("ids", plugin, state.SpaceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l, s
}

// logged is a slog handler that keeps lines as text.
type logged struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// natives made of functions.
type (
	sends    func(items []*Item) error
	consumes func(items []*Item) error
	acksOf   func(acks []*Ack) error
	commits  func(cs []Commit) error
	both     struct {
		sends
		acksOf
	}
)

func (f sends) OnSend(_ context.Context, items []*Item) error       { return f(items) }
func (f consumes) OnConsume(_ context.Context, items []*Item) error { return f(items) }
func (f acksOf) OnAcknowledgement(_ context.Context, acks []*Ack) error {
	return f(acks)
}
func (f commits) OnCommit(_ context.Context, cs []Commit) error { return f(cs) }

// appends returns a native that appends suffix to values.
func appends(suffix string, calls *int) sends {
	return func(items []*Item) error {
		for _, it := range items {
			*calls++
			it.Record.Value = append(slices.Clip(it.Record.Value), suffix...)
		}
		return nil
	}
}

var errBoom = errors.New("boom")

func values(b *Batch) string {
	var out []string
	for i := range b.Items {
		it := &b.Items[i]
		out = append(out, fmt.Sprintf("%s:%s", it.Record.Value, it.Outcome))
	}
	return strings.Join(out, " ")
}
