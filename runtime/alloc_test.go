package runtime

import (
	"context"
	"testing"
	"time"

	"github.com/klamm-io/klamm/internal/unmetered"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// steady is a guest that answers each record in the way of its index: pass,
// drop with a text, in place, edit. The texts and edits of all are the same.
func steady() *w.Guest {
	g := new(w.Guest)
	shared := w.Seq(
		mod(0), w.I32Const(3), w.I32Store(0), // text of 3 bytes
		mod(8), w.I32Const(1), w.I32Store(0), mod(8), w.I32Const(24), w.I32Store(4), // one edit of 24 bytes
		mod(16), w.I32Const(int32(abi.OpSetKey)), w.I32Store(0), mod(16), w.I32Const(-1), w.I32Store(4),
		mod(16), w.I32Const(2), w.I32Store(8), mod(16), w.I32Const(24), w.I32Store(12),
	)
	kind := func(k int32, body []byte) []byte {
		return w.Seq(w.LocalGet(w.Index), w.I32Const(3), []byte{0x71}, w.I32Const(k), w.I32Eq, w.If, body, w.End)
	}
	arg := func(c abi.Code, at int32) []byte {
		return w.Seq(w.LocalGet(w.Verdict), w.LocalGet(w.Ptr), w.I32Load(abi.BatchModOff), w.I32Const(at), w.I32Add,
			w.I64ExtendU, w.I64Const(32), w.I64Shl, w.I64Const(int64(abi.PackVerdict(c, 0, 1, 0))), w.I64Or, w.I64Store(0))
	}
	g.Hook(abi.OnSend, everyField, shared, w.ForEach(
		kind(1, arg(abi.Drop, 0)),
		kind(2, w.Answer(abi.PackVerdict(abi.ValueInPlace, 0, 0, 0))),
		kind(3, arg(abi.Edit, 8)),
	), w.I64Const(40))
	g.EachRecord(abi.OnAcknowledgement, everyField)
	return g
}

// round is what a lane does for a block of n records.
func round(t testing.TB, s *Seat, b *Block, n int) {
	b.Reset(everyField, 1, false)
	topic := b.AddTopic("orders", 3, 1, available, queued)
	for i := range n {
		b.Add(Head{Topic: topic, Partition: -1, Offset: -1, Ref: uint64(i), Key: sampleKey, Value: sampleValue, Headers: 1})
		b.AddHeader("trace", sampleKey)
	}
	v, err := s.Judge(context.Background(), abi.OnSend, b)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for i := range v.Len() {
		x := v.At(i)
		sum += int(x.Code) + len(x.Text) + len(x.Value) + len(x.Edits)
	}
	if want := n / 4 * (1 + 3*len(`\u{0}`) + 3 + len(sampleValue) + 4 + 1); sum != want {
		t.Fatalf("verdicts add up to %d, want %d", sum, want)
	}
}

var (
	available   = []bool{true, true, true}
	queued      = []uint32{1, 2, 3}
	sampleKey   = []byte("key-0123456789")
	sampleValue = make([]byte, 200)
)

func TestNoAllocationsPerRecord(t *testing.T) {
	s := sit(t, load(t, newEngine(t), steady(), PluginConfig{}), newFakeHost())
	var b Block
	const records, blocks = 500, 2 // 1,000 records a run
	allocs := testing.AllocsPerRun(20, func() {
		for range blocks {
			round(t, s, &b, records)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations for %d records in %d calls", allocs, blocks*records, blocks)
	}
	var acks Block
	allocs = testing.AllocsPerRun(20, func() {
		acks.Reset(everyField, 1, true)
		topic := acks.AddTopic("orders", 3, 1, nil, nil)
		for i := range records {
			acks.Add(Head{Topic: topic, Partition: 1, Offset: int64(i), Key: sampleKey})
			acks.SetAck(0, 0, 100, 0, 0)
		}
		if err := s.Notify(context.Background(), abi.OnAcknowledgement, &acks); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations for %d acknowledgements", allocs, records)
	}
}

func TestNoAllocationsInHostCalls(t *testing.T) {
	g := new(w.Guest)
	claim, batch, add := hostImport(g, abi.ImportClaim), hostImport(g, abi.ImportClaimBatch), hostImport(g, abi.ImportMetricAdd)
	def, log, mac := hostImport(g, abi.ImportMetricDef), hostImport(g, abi.ImportLog), hostImport(g, abi.ImportHMAC)
	g.Data(100, []byte("name"))
	g.Hook(abi.OnSend, abi.FieldKey,
		w.I32Const(200), w.I64Const(1), w.Call(batch), w.Drop,
		w.ForEach(
			w.LocalGet(w.Index), consts(100, 4), w.I64Const(1), w.Call(claim), w.Drop,
			w.I32Const(0), w.I64Const(1), w.Call(add),
			consts(1, 100, 4), w.Call(log),
			consts(100, 4, 100, 4, 300), w.Call(mac), w.Drop),
		w.I64Const(0))
	g.Init = w.Seq(consts(0, 100, 4), w.Call(def), w.Drop, w.I64Const(int64(abi.PackInit(g.Hooks, g.Fields, 0))))
	s := sit(t, load(t, newEngine(t), g, PluginConfig{Grants: GrantAll, Secrets: map[string][]byte{"name": []byte("key")}}), quietHost{})
	b := keyed(250, abi.FieldKey) // 1,000 host calls
	allocs := testing.AllocsPerRun(20, func() {
		if _, err := s.Judge(context.Background(), abi.OnSend, b); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// quietHost does nothing at no cost.
type quietHost struct{ testHost }

func (quietHost) Claim(int, []byte, int64) int32 { return abi.ClaimNew }

func BenchmarkJudge(b *testing.B) {
	e, guest := newEngine(b), steady()
	for _, n := range []int{4, 64, 256} {
		b.Run(map[int]string{4: "records=4", 64: "records=64", 256: "records=256"}[n], func(b *testing.B) {
			s := sit(b, load(b, e, guest, PluginConfig{}), newFakeHost())
			var blk Block
			b.ReportAllocs()
			for b.Loop() {
				round(b, s, &blk, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
		})
	}
}

// BenchmarkCall is what a call costs that does nothing.
func BenchmarkCall(b *testing.B) {
	in := sit(b, load(b, newEngine(b), dropAll(), PluginConfig{}), newFakeHost()).cur.in
	marker := in.mod.ExportedFunction(abi.ExportMarker)
	b.ReportAllocs()
	for b.Loop() {
		if err := in.call(marker, abi.ExportMarker, time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

// The benchmarks' switch turns the meter off: the call burns nothing.
func TestUnmetered(t *testing.T) {
	burned := func(ctx context.Context) int64 {
		e, err := NewEngine(ctx, EngineConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		s := sit(t, load(t, e, dropAll(abi.OnSend), PluginConfig{}), newFakeHost())
		before := int64(s.cur.in.watch.fuel.Get())
		if got := codes(judge(t, s, abi.OnSend, keyed(3, abi.FieldKey))); got != "111" {
			t.Errorf("verdicts %s, want 111", got)
		}
		return before - int64(s.cur.in.watch.fuel.Get())
	}
	if n := burned(t.Context()); n <= 0 {
		t.Errorf("metered: %d units burned", n)
	}
	if n := burned(unmetered.With(t.Context())); n != 0 {
		t.Errorf("unmetered: %d units burned", n)
	}
}

func BenchmarkEncode(b *testing.B) {
	var blk Block
	dst := make([]byte, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		blk.Reset(abi.FieldKey|abi.FieldValue, 1, false)
		topic := blk.AddTopic("orders", 3, 1, nil, nil)
		for i := range 64 {
			blk.Add(Head{Topic: topic, Partition: -1, Offset: -1, Ref: uint64(i), Key: sampleKey, Value: sampleValue})
		}
		blk.seal()
		blk.encode(dst, blk.layout(len(dst), 4096))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/record")
}
