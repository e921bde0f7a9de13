package partitioner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/partitioner"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is a Metrics and a runtime.Host that remembers what it is told.
type told struct {
	faults   []string
	verdicts map[string]int
	records  int
	counted  int64
	logged   int
}

func (m *told) Call(_, _ string, records int, _ time.Duration) { m.records += records }
func (m *told) Fault(_, _, kind string)                        { m.faults = append(m.faults, kind) }
func (m *told) Verdict(_, _, verdict string, n int) {
	if m.verdicts == nil {
		m.verdicts = make(map[string]int)
	}
	m.verdicts[verdict] += n
}

func (m *told) Log(int32, []byte)                         { m.logged++ }
func (m *told) DefineMetric(int32, string) (int32, error) { return 7, nil }
func (m *told) ObserveMetric(int32, float64)              {}
func (m *told) Claim(int, []byte, int64) int32            { return abi.ClaimNew }
func (m *told) StateGet([]byte) ([]byte, bool)            { return nil, false }
func (m *told) StatePut([]byte, []byte, int64) error      { return nil }
func (m *told) Value(int) []byte                          { return nil }
func (m *told) Headers(int, func(string, []byte))         {}
func (m *told) AddMetric(id int32, delta int64) {
	if id == 7 {
		m.counted += delta
	}
}

const allFields = abi.FieldKey | abi.FieldTopicFacts | abi.FieldLoad

// plugin loads the guest.
func plugin(tb testing.TB, cfg runtime.PluginConfig, wasm []byte) *runtime.Plugin {
	tb.Helper()
	ctx := context.Background()
	e, err := runtime.NewEngine(ctx, runtime.EngineConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	cfg.Name, cfg.Grants = "router", runtime.GrantAll
	p := e.NewPlugin(cfg)
	tb.Cleanup(func() {
		if err := errors.Join(p.Close(ctx), e.Close(ctx)); err != nil {
			tb.Error(err)
		}
	})
	if err := p.Load(ctx, wasm); err != nil {
		tb.Fatal(err)
	}
	return p
}

func openWASM(tb testing.TB, p *runtime.Plugin, cfg partitioner.WASMConfig, host runtime.Host) *partitioner.WASM {
	tb.Helper()
	w, err := partitioner.OpenWASM(context.Background(), p, runtime.SeatConfig{Lanes: 1, Host: host}, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return w
}

// partition asks about one record for each key.
func partition(w *partitioner.WASM, t *partitioner.Topic, keys ...[]byte) ([]int32, error) {
	recs, refs := make([]*klamm.Record, len(keys)), make([]uint64, len(keys))
	for i, k := range keys {
		recs[i], refs[i] = &klamm.Record{Topic: t.Name, Key: k}, uint64(i+1)
	}
	out := make([]int32, len(keys))
	err := w.PartitionBatch(recs, refs, t, out)
	return out, err
}

const (
	def  = partitioner.UseDefault
	none = partitioner.NotPartitioned
)

func TestC053_WASMVerdictsAndFaults(t *testing.T) {
	pass, fail := []byte("pass"), key(abi.PackVerdict(abi.Fail, 0, abi.ReasonInvalid, 0))
	nonsense, trap, spin := key(abi.PackVerdict(abi.Drop, 0, 0, 0)), key(orderTrap), key(orderSpin)
	for _, test := range []struct {
		name    string
		keys    [][]byte
		onFail  []int32 // with on_error = fail
		onError []int32 // with on_error = default
		faults  []string
	}{
		{"route", [][]byte{routeTo(2), routeTo(0), routeTo(2)}, []int32{2, 0, 2}, []int32{2, 0, 2}, nil},
		{"pass", [][]byte{pass, nil, routeTo(1)}, []int32{def, def, 1}, []int32{def, def, 1}, nil},
		{"fail", [][]byte{routeTo(1), fail}, []int32{1, none}, []int32{1, none}, nil},
		{"trap alone", [][]byte{trap}, []int32{none}, []int32{def}, []string{"trap"}},
		{
			"trap among others", [][]byte{routeTo(0), routeTo(1), trap, routeTo(2), pass},
			[]int32{0, 1, none, 2, def}, []int32{0, 1, def, 2, def},
			[]string{"trap"},
		},
		{
			"two traps", [][]byte{trap, routeTo(1), routeTo(1), routeTo(1), trap},
			[]int32{none, 1, 1, 1, none}, []int32{def, 1, 1, 1, def},
			[]string{"trap", "trap"},
		},
		{
			"nonsense", [][]byte{routeTo(0), nonsense, routeTo(2)},
			[]int32{0, none, 2}, []int32{0, def, 2},
			[]string{"verdict"},
		},
		{
			"deadline", [][]byte{routeTo(0), spin},
			[]int32{0, none}, []int32{0, def},
			[]string{"deadline"},
		},
		{
			"out of range", [][]byte{routeTo(3), routeTo(2), routeTo(-1)},
			[]int32{none, 2, none}, []int32{def, 2, def},
			[]string{"partition_range", "partition_range"},
		},
	} {
		for onError, want := range map[string][]int32{"default": test.onError, "fail": test.onFail} {
			t.Run(test.name+"/"+onError, func(t *testing.T) {
				m := new(told)
				w := openWASM(t, plugin(t, runtime.PluginConfig{Timeout: 20 * time.Millisecond}, guest(allFields)),
					partitioner.WASMConfig{OnError: onError, Metrics: m, Timeout: time.Minute}, nil)
				got, err := partition(w, topic(3), test.keys...)
				if !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				if !slices.Equal(m.faults, test.faults) {
					t.Errorf("counted %v, want %v", m.faults, test.faults)
				}
				checkErrors(t, got, err)
				checkStats(t, w.Stats(), m, len(test.keys), len(test.faults))
			})
		}
	}
}

// checkErrors checks that the records that fail, and no others, know why.
func checkErrors(t *testing.T, out []int32, err error) {
	t.Helper()
	for i, to := range out {
		var of *klamm.PluginError
		switch got := partitioner.RecordError(err, i); {
		case to != none && got != nil:
			t.Errorf("record %d: got %v for one that does not fail", i, got)
		case to == none && (!errors.As(got, &of) || of.Plugin != "router" || of.Hook != "partition"):
			t.Errorf("record %d: got %v, want the plugin's error", i, got)
		}
	}
}

func checkStats(t *testing.T, s partitioner.WASMStats, m *told, records, policy int) {
	t.Helper()
	if sum := s.Routed + s.Passed + s.Failed + s.Defaulted + s.Refused; sum != uint64(records) {
		t.Errorf("got %+v, want the outcomes of %d records", s, records)
	}
	if s.Defaulted+s.Refused != uint64(policy) {
		t.Errorf("got %+v, want the policy for %d records", s, policy)
	}
	for name, n := range map[string]uint64{"route": s.Routed, "pass": s.Passed, "fail": s.Failed} {
		if m.verdicts[name] != int(n) {
			t.Errorf("told of %d %s, counted %d", m.verdicts[name], name, n)
		}
	}
}

func TestC051_ErrorsSayWhatWasWrong(t *testing.T) {
	w := openWASM(t, plugin(t, runtime.PluginConfig{}, guest(allFields)), partitioner.WASMConfig{OnError: "fail"}, nil)
	some := topic(3)
	_, err := w.Partition(&klamm.Record{Key: routeTo(-1)}, some)
	if !errors.Is(err, klamm.ErrInvalidPartition) || !strings.Contains(err.Error(), `"router": partition`) {
		t.Errorf("negative: got %v", err)
	}
	_, err = w.Partition(&klamm.Record{Key: key(abi.PackVerdict(abi.Fail, 0, abi.ReasonInvalid, 0))}, some)
	if err == nil || !strings.Contains(err.Error(), "invalid") {
		t.Errorf("failed: got %v, want the reason", err)
	}
	if got := choose(t, w, &klamm.Record{Key: routeTo(1)}, some); got != 1 {
		t.Errorf("afterwards: got %d, want 1", got)
	}
}

func TestWASMPassIsTheDefault(t *testing.T) {
	w := openWASM(t, plugin(t, runtime.PluginConfig{}, guest(allFields)), partitioner.WASMConfig{}, nil)
	for _, v := range vectors {
		if v.key == "" || len(v.key) >= 8 {
			continue // longer ones are orders
		}
		if got := choose(t, w, &klamm.Record{Key: []byte(v.key)}, topic(12)); got != v.partition[4] {
			t.Errorf("%q: got %d, want %d", v.key, got, v.partition[4])
		}
	}
}

// More records than a block holds, with a few bad ones among them.
func TestWASMManyRecords(t *testing.T) {
	const n = 3 * abi.BatchMax / 2
	m := new(told)
	w := openWASM(t, plugin(t, runtime.PluginConfig{}, guest(allFields)),
		partitioner.WASMConfig{OnError: "fail", Metrics: m, Timeout: time.Minute}, nil)
	keys := make([][]byte, n)
	want := make([]int32, n)
	for i := range keys {
		want[i] = int32(i % 7)
		if keys[i] = routeTo(want[i]); i == 5 || i == 511 || i == 600 {
			keys[i], want[i] = key(orderTrap), none
		}
	}
	got, err := partition(w, topic(7), keys...)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	checkErrors(t, got, err)
	checkStats(t, w.Stats(), m, n, 3)
	if m.records != n-3 {
		t.Errorf("told of %d judged records, want %d", m.records, n-3)
	}
}

// The search for culprits ends, and what it did not get to is counted.
func TestWASMSearchIsBounded(t *testing.T) {
	m := new(told)
	w := openWASM(t, plugin(t, runtime.PluginConfig{}, guest(allFields)),
		partitioner.WASMConfig{Metrics: m, Timeout: time.Nanosecond}, nil)
	got, err := partition(w, topic(3), routeTo(1), key(orderTrap), routeTo(2))
	if want := []int32{def, def, def}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if want := []string{"unjudged", "unjudged", "unjudged"}; !slices.Equal(m.faults, want) {
		t.Errorf("counted %v, want %v", m.faults, want)
	}
}

func TestWASMBreakerOpen(t *testing.T) {
	m := new(told)
	p := plugin(t, runtime.PluginConfig{Breaker: runtime.Breaker{Failures: 1, Window: time.Hour, Cooldown: time.Hour}}, guest(allFields))
	w := openWASM(t, p, partitioner.WASMConfig{OnError: "fail", Metrics: m}, nil)
	if _, err := w.Partition(&klamm.Record{Key: key(orderTrap)}, topic(3)); err == nil {
		t.Error("a trap is no error")
	}
	_, err := w.Partition(&klamm.Record{Key: routeTo(1)}, topic(3))
	if !errors.Is(err, klamm.ErrBreakerOpen) {
		t.Errorf("got %v, want ErrBreakerOpen", err)
	}
	if want := []string{"trap", "breaker_open"}; !slices.Equal(m.faults, want) {
		t.Errorf("counted %v, want %v", m.faults, want)
	}
}

// The load that the guest sees holds what the running batch has routed in the
// calls before.
func TestWASMLoadOfRunningBatch(t *testing.T) {
	w := openWASM(t, plugin(t, runtime.PluginConfig{}, guest(allFields)), partitioner.WASMConfig{}, nil)
	some := topic(2)
	some.Load = []uint32{10, 4000}
	keys := make([][]byte, abi.BatchMax+1)
	for i := range keys {
		keys[i] = key(orderLoad)
	}
	got, err := partition(w, some, keys...)
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range got {
		if want := int32(i / abi.BatchMax); to != want { // 512 records are more than 4000 bytes
			t.Fatalf("record %d: got %d, want %d", i, to, want)
		}
	}
	if !slices.Equal(some.Load, []uint32{10, 4000}) {
		t.Errorf("the caller's load became %v", some.Load)
	}
	if got, _ := partition(w, some, keys[0]); got[0] != 0 {
		t.Errorf("next batch: got %d, want 0: the load is the caller's again", got[0])
	}
}

func TestWASMTopicFacts(t *testing.T) {
	w := openWASM(t, plugin(t, runtime.PluginConfig{}, guest(allFields)), partitioner.WASMConfig{}, nil)
	for _, test := range []struct {
		name  string
		avail []bool
		want  int32
	}{
		{"not known is available", nil, 4},
		{"available", []bool{true, false, false, false, false}, 4},
		{"not available", []bool{false, true, true, true, true}, def}, // out of range
	} {
		t.Run(test.name, func(t *testing.T) {
			some := topic(5)
			some.Available = test.avail
			if got, err := partition(w, some, key(orderFacts)); err != nil || got[0] != test.want {
				t.Errorf("got %v, %v, want %d", got, err, test.want)
			}
		})
	}
}

// A value that was not asked for can be pulled, of the right record.
func TestWASMPullsValues(t *testing.T) {
	w := openWASM(t, plugin(t, runtime.PluginConfig{}, guest(abi.FieldKey)), partitioner.WASMConfig{}, nil)
	recs := make([]*klamm.Record, abi.BatchMax+3)
	for i := range recs {
		recs[i] = &klamm.Record{Key: key(orderPull), Value: routeTo(int32(i % 5))}
	}
	out := make([]int32, len(recs))
	if err := w.PartitionBatch(recs, make([]uint64, len(recs)), topic(5), out); err != nil {
		t.Fatal(err)
	}
	for i, to := range out {
		if to != int32(i%5) {
			t.Fatalf("record %d: got %d, want %d", i, to, i%5)
		}
	}
}

// What a faulted call counted is forgotten.
func TestWASMMetricsAreTransactional(t *testing.T) {
	m := new(told)
	w := openWASM(t, plugin(t, runtime.PluginConfig{}, guest(allFields)), partitioner.WASMConfig{Timeout: time.Minute}, m)
	count := key(orderCount)
	if _, err := partition(w, topic(3), count, count, key(orderTrap), count); err != nil {
		t.Fatal(err)
	}
	if m.counted != 3 {
		t.Errorf("counted %d, want 3", m.counted)
	}
}

func TestOpenWASMErrors(t *testing.T) {
	p := plugin(t, runtime.PluginConfig{}, guest(allFields))
	_, err := partitioner.OpenWASM(context.Background(), p, runtime.SeatConfig{}, partitioner.WASMConfig{OnError: "drop"})
	if err == nil || !strings.Contains(err.Error(), `"drop"`) {
		t.Errorf("on_error: got %v", err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := partitioner.OpenWASM(context.Background(), p, runtime.SeatConfig{}, partitioner.WASMConfig{}); !errors.Is(err, runtime.ErrClosed) {
		t.Errorf("closed: got %v", err)
	}
}

func TestNewWASMAtAnOpenSeat(t *testing.T) {
	seat, err := plugin(t, runtime.PluginConfig{}, guest(allFields)).Seat(context.Background(), runtime.SeatConfig{Host: new(told)})
	if err != nil {
		t.Fatal(err)
	}
	w := partitioner.NewWASM(seat, "fail", partitioner.RoundRobin())
	got := []int32{
		choose(t, w, &klamm.Record{Key: routeTo(2)}, topic(3)),
		choose(t, w, &klamm.Record{}, topic(3)), choose(t, w, &klamm.Record{}, topic(3)),
	}
	if want := []int32{2, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := w.Partition(&klamm.Record{}, topic(3)); !errors.Is(err, runtime.ErrClosed) {
		t.Errorf("closed: got %v", err)
	}
}

func TestBatchError(t *testing.T) {
	second := errors.New("second")
	err := error(&partitioner.BatchError{Errs: []error{nil, second}})
	if partitioner.RecordError(err, 0) != nil || partitioner.RecordError(err, 1) != second || !errors.Is(err, second) {
		t.Errorf("got %v", err)
	}
	if want := "1 of 2 records not partitioned, the first: second"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if got := partitioner.RecordError(second, 5); got != second {
		t.Errorf("an error of all: got %v", got)
	}
}

func BenchmarkWASM(b *testing.B) {
	w := openWASM(b, plugin(b, runtime.PluginConfig{}, guest(abi.FieldKey)), partitioner.WASMConfig{}, nil)
	some := topic(12)
	for _, n := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			recs, refs, out := make([]*klamm.Record, n), make([]uint64, n), make([]int32, n)
			for i := range recs {
				recs[i] = &klamm.Record{Key: routeTo(int32(i % 12)), Value: make([]byte, 100), Timestamp: time.UnixMilli(1)}
			}
			b.ReportAllocs()
			for i := 0; i < b.N; i += n {
				if err := w.PartitionBatch(recs, refs, some, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
