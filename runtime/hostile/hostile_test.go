package hostile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/runtime/hostile"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	callTimeout = 10 * time.Millisecond
	rssMax      = 64 << 20 // more that a module may make the process hold
	// stallMax is how long the other chain may wait for one batch of its own. It is
	// generous: the machine may be busy.
	stallMax = 15 * time.Second
)

// bench is a host in small: an engine, a state, and a chain with a good plugin
// under load beside which the hostile ones run.
type bench struct {
	e     *runtime.Engine
	space *state.Space
	load  *load
}

func newBench(t testing.TB) *bench {
	t.Helper()
	e, err := runtime.NewEngine(context.Background(), runtime.EngineConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if n := e.MemoryReserved(); n != 0 {
			t.Errorf("%d bytes of linear memory are still reserved", n)
		}
	})
	ledger := state.NewLedger(state.Options{})
	t.Cleanup(func() { _ = ledger.Close() })
	if err := ledger.Open("s", state.StoreConfig{Backend: "memory", MaxEntries: 10_000, MaxBytes: 16 << 20}); err != nil {
		t.Fatal(err)
	}
	space, err := ledger.Space("s", "hostile", state.SpaceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{e: e, space: space}
	b.load = b.startLoad(t)
	return b
}

// loadEvery is how often the load brings a batch: 16,000 records a second, and
// most of the processor left to the modules that are tried.
const (
	loadBatch = 16
	loadEvery = time.Millisecond
)

// load judges batches at a steady rate and counts them.
type load struct {
	batches atomic.Int64
	longest atomic.Int64 // nanoseconds that one batch took
}

func (b *bench) startLoad(t testing.TB) *load {
	t.Helper()
	g := new(w.Guest)
	g.EachRecord(abi.OnSend, abi.FieldKey, w.IfIndex(0, w.Answer(abi.PackVerdict(abi.Drop, 0, abi.ReasonDuplicate, 0))))
	p := b.e.NewPlugin(runtime.PluginConfig{Name: "good", Timeout: time.Minute})
	if err := p.Load(context.Background(), g.Bytes()); err != nil {
		t.Fatal(err)
	}
	lane := b.lane(t, "load", p, time.Minute)
	l, stop, stopped := new(load), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		due := time.NewTicker(loadEvery)
		defer due.Stop()
		var batch interceptor.Batch
		for {
			select {
			case <-stop:
				return
			case <-due.C:
			}
			began := time.Now()
			fillBatch(&batch, loadBatch, 0)
			lane.OnSend(context.Background(), &batch)
			for i := range batch.Items {
				if got := batch.Items[i].Outcome; (got == klamm.Dropped) != (i == 0) || got == klamm.Failed {
					t.Errorf("the load's record %d became %v: %v", i, got, batch.Items[i].Err)
					return
				}
			}
			l.longest.Store(max(l.longest.Load(), int64(time.Since(began))))
			l.batches.Add(1)
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
		if err := errors.Join(lane.Close(context.Background()), p.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (b *bench) lane(t testing.TB, name string, p *runtime.Plugin, timeout time.Duration) *interceptor.Lane {
	t.Helper()
	link := interceptor.Link{Name: p.Name(), Plugin: p, Timeout: timeout, Space: b.space}
	c, err := interceptor.NewChain(interceptor.ChainConfig{
		Name: name, Topics: []string{"t"}, OnSend: []interceptor.Link{link}, OnConsume: []interceptor.Link{link}, DeadLetterTopic: "dead",
	})
	if err != nil {
		t.Fatal(err)
	}
	lane, err := c.Lane(context.Background(), 0, 1)
	if err != nil {
		return nil
	}
	return lane
}

func fillBatch(b *interceptor.Batch, n int, first int64) {
	b.Reset()
	b.NowMS = 1_700_000_000_000
	for i := range n {
		b.Items = append(b.Items, interceptor.Item{Ref: uint64(first) + uint64(i) + 1, Record: klamm.Record{
			Topic: "t", Key: []byte("key"), Value: make([]byte, 200), Timestamp: time.UnixMilli(first + int64(i)),
			Headers: []klamm.Header{{Key: "h", Value: []byte("v")}},
		}})
	}
}

// report is what one module did.
type report struct {
	fate  hostile.Fate
	why   string
	took  time.Duration
	grown int64 // bytes of memory, at the highest
}

// try loads a module, gives its hooks records, and says what came of it.
func (b *bench) try(t *testing.T, c *hostile.Case) (r report) {
	t.Helper()
	began, before := time.Now(), resetPeak()
	defer func() {
		r.took = time.Since(began)
		r.grown = peak() - before
	}()
	p := b.e.NewPlugin(runtime.PluginConfig{
		Name: "hostile", Timeout: callTimeout, Grants: runtime.GrantAll, Secrets: map[string][]byte{"s": []byte("secret")},
	})
	defer func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	if err := p.Load(context.Background(), c.Wasm); err != nil {
		return report{fate: hostile.Refused, why: err.Error()}
	}
	r = report{fate: hostile.Harmless}
	b.judge(t, p, c, &r)
	b.tell(t, p, &r)
	return r
}

// judge sends records through a chain with the plugin. Each gets one outcome.
func (b *bench) judge(t *testing.T, p *runtime.Plugin, c *hostile.Case, r *report) {
	t.Helper()
	lane := b.lane(t, "hostile", p, callTimeout)
	if lane == nil {
		r.fate, r.why = hostile.Refused, "its second instance"
		return
	}
	var batch interceptor.Batch
	send := func(n int, first int64, hook func(context.Context, *interceptor.Batch)) {
		fillBatch(&batch, n, first)
		hook(context.Background(), &batch)
		if len(batch.Items) != n {
			t.Errorf("%d records went in, %d came out", n, len(batch.Items))
		}
		for i := range batch.Items {
			r.outcome(t, &batch.Items[i])
		}
	}
	records := max(c.Records, 8)
	send(records, 0, lane.OnSend)
	send(8, 0, lane.OnConsume)
	for i := range c.Singles {
		send(1, int64(i), lane.OnSend)
	}
	if err := lane.Close(context.Background()); err != nil {
		t.Errorf("close the lane: %v", err)
	}
}

// outcome checks that an item has exactly one, and notes a fault.
func (r *report) outcome(t *testing.T, it *interceptor.Item) {
	t.Helper()
	switch it.Outcome {
	case klamm.InFlight, klamm.Dropped, klamm.DeadLettered:
		if it.Err != nil {
			t.Errorf("outcome %v with error %v", it.Outcome, it.Err)
		}
		if it.Record.Topic != "t" {
			t.Errorf("the record's topic is %q now", it.Record.Topic)
		}
	case klamm.Failed:
		if it.Err == nil {
			t.Error("failed without an error")
			return
		}
		if strings.ContainsAny(it.Err.Error()+it.Reason, "\x00\x1b\r") {
			t.Errorf("error %q, reason %q: not escaped", it.Err, it.Reason)
		}
		if r.fate == hostile.Harmless {
			r.why = it.Err.Error()
		}
		if kind := runtime.FaultKind(it.Err); kind != "" || it.Reason != "fail" {
			r.fate = hostile.Faulted
		}
	default:
		t.Errorf("outcome %v", it.Outcome)
	}
	if it.Wait != nil {
		it.Wait.Cancel()
	}
}

// tell calls the hooks that a lane's OnSend does not.
func (b *bench) tell(t *testing.T, p *runtime.Plugin, r *report) {
	t.Helper()
	hooks := p.Active().Hooks
	if !hooks.Has(abi.Partition) && !hooks.Has(abi.OnAcknowledgement) && !hooks.Has(abi.OnCommit) {
		return
	}
	seat, err := p.Seat(context.Background(), runtime.SeatConfig{Chain: "hostile", Topics: []string{"t"}, Lanes: 1, Host: quiet{}})
	if err != nil {
		return
	}
	defer seat.Close(context.Background())
	for h := range abi.Hook(abi.HookCount) {
		var block runtime.Block
		block.Reset(abi.FieldKey|abi.FieldTimestamp, 0, h == abi.OnAcknowledgement || h == abi.OnCommit)
		topic := block.AddTopic("t", 3, 1, nil, nil)
		for i := range 8 {
			block.Add(runtime.Head{Topic: topic, Partition: -1, Key: []byte("key"), TimestampMS: int64(i)})
		}
		switch h {
		case abi.Partition:
			_, err = seat.Judge(context.Background(), h, &block)
		case abi.OnAcknowledgement, abi.OnCommit:
			err = seat.Notify(context.Background(), h, &block)
		default:
			continue
		}
		if err != nil {
			r.fate, r.why = hostile.Faulted, err.Error()
		}
	}
}

// quiet is a Host that has nothing.
type quiet struct{}

func (quiet) Log(int32, []byte)                         {}
func (quiet) DefineMetric(int32, string) (int32, error) { return 0, nil }
func (quiet) AddMetric(int32, int64)                    {}
func (quiet) ObserveMetric(int32, float64)              {}
func (quiet) Claim(int, []byte, int64) int32            { return abi.ClaimNew }
func (quiet) StateGet([]byte) ([]byte, bool)            { return nil, false }
func (quiet) StatePut(_, _ []byte, _ int64) error       { return nil }
func (quiet) Value(int) []byte                          { return nil }
func (quiet) Headers(int, func(string, []byte))         {}

// resetPeak makes the process forget its highest memory and returns what it
// holds now. It returns 0 where the system cannot tell.
func resetPeak() int64 {
	const much = 128 << 20
	if status("VmRSS:") > much {
		debug.FreeOSMemory()
	}
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // not on every system
	return status("VmRSS:")
}

func peak() int64 { return status("VmHWM:") }

func status(field string) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), field)
	kb, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return kb << 10
}

// TestCorpus runs every module beside the load. With -v it prints what each
// did.
func TestCorpus(t *testing.T) {
	cases := hostile.Corpus()
	distinct(t, cases)
	// What is measured is what the host holds, not what waits to be collected.
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	b := newBench(t)
	var slow sync.WaitGroup
	defer slow.Wait()
	counts := map[hostile.Fate]int{}
	for i := range cases {
		c := &cases[i]
		switch {
		case testing.Short() && (c.Slow || i%5 != 0):
			counts["not run for -short"]++
			continue
		case c.Slow:
			slow.Go(func() { b.check(t, c, b.try(t, c)) })
			counts["run beside the others"]++
			continue
		}
		before := b.load.batches.Load()
		r := b.try(t, c)
		b.check(t, c, r)
		if r.grown > rssMax && !raceDetector {
			t.Errorf("%s: the process grew by %d MiB", c.Name, r.grown>>20)
		}
		b.moves(t, c, before)
		counts[r.fate]++
	}
	slow.Wait()
	longest := time.Duration(b.load.longest.Load())
	t.Logf("%d modules: %v; the load judged %d batches, the longest wait was %v", len(cases), counts, b.load.batches.Load(), longest)
	if longest > stallMax {
		t.Errorf("the load waited %v for a batch", longest)
	}
}

func (b *bench) check(t *testing.T, c *hostile.Case, r report) {
	t.Helper()
	t.Logf("%-3s %-60s %-9s %6s %4d MiB  %.110s", c.Row, c.Name, r.fate, r.took.Round(time.Millisecond), r.grown>>20, strings.ReplaceAll(fmt.Sprintf("%q", r.why), `\n`, " "))
	if c.Fate != hostile.Any && r.fate != c.Fate {
		t.Errorf("%s: %s, must be %s: %s", c.Name, r.fate, c.Fate, r.why)
	}
}

// moves waits until the load has gone on since before.
func (b *bench) moves(t *testing.T, c *hostile.Case, before int64) {
	t.Helper()
	for deadline := time.Now().Add(stallMax); b.load.batches.Load() == before; {
		if time.Now().After(deadline) {
			t.Fatalf("%s: other records do not flow any more", c.Name)
		}
		time.Sleep(time.Millisecond)
	}
}

func distinct(t *testing.T, cases []hostile.Case) {
	t.Helper()
	names, modules := map[string]bool{}, map[string]string{}
	for _, c := range cases {
		if names[c.Name] {
			t.Errorf("two modules are called %q", c.Name)
		}
		names[c.Name] = true
		digest := runtime.Digest(c.Wasm)
		if other := modules[digest]; other != "" {
			t.Errorf("%q is the same module as %q", c.Name, other)
		}
		modules[digest] = c.Name
	}
	if len(modules) < 300 {
		t.Errorf("%d distinct modules, want 300", len(modules))
	}
	rows := map[string]int{}
	for _, c := range cases {
		rows[c.Row]++
	}
	for _, row := range slices.Concat([]string{"W1", "W2"}, []string{"P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11", "P12"}) {
		if rows[row] == 0 {
			t.Errorf("no module for row %s", row)
		}
	}
}
