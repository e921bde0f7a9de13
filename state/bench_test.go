package state_test

import (
	"encoding/binary"
	"fmt"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// BenchmarkClaimSettle is the life of an unduplicated record: one claim, one
// settlement, against a full window of 100,000 ids.
func BenchmarkClaimSettle(b *testing.B) {
	for _, batch := range []int{1, 256} {
		b.Run(map[int]string{1: "one", 256: "batch256"}[batch], func(b *testing.B) {
			l, s := open(b, state.StoreConfig{MaxEntries: 100_000, ScopeTopic: true}, state.SpaceOptions{})
			id := make([]byte, 16)
			refs := make([]state.Ref, batch)
			fates := make([]state.Settlement, batch)
			for i := range fates {
				fates[i] = state.Settlement{Outcome: klamm.Written, At: state.Position{Topic: "orders"}, NowMS: 1}
			}
			var out []state.Resolution
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += batch {
				for j := range batch {
					binary.LittleEndian.PutUint64(id, uint64(i+j))
					refs[j] = state.Ref(i + j + 1)
					if a := s.Claim(refs[j], "orders", id, time.Hour, 1); !a.Fresh {
						b.Fatalf("claim %d: %+v", i+j, a)
					}
				}
				if out = l.SettleAll(refs, fates, out[:0]); len(out) != 0 {
					b.Fatal("somebody waited")
				}
			}
		})
	}
}

// BenchmarkClaimAllSettle is the way of records through a full window as a
// producer has it: the claims of a block made at once, settled at once for each
// batch that is acknowledged, with thousands in flight in between.
func BenchmarkClaimAllSettle(b *testing.B) {
	for _, window := range []int{2_000, 100_000, 1_000_000} {
		for _, inFlight := range []int{0, 1024, 8192, 32768} {
			b.Run(fmt.Sprintf("window%d/inflight%d", window, inFlight), func(b *testing.B) { claimAllSettle(b, window, inFlight) })
		}
	}
}

func claimAllSettle(b *testing.B, window, inFlight int) {
	const (
		block = 256
		keyLn = 24
	)
	l, s := open(b, state.StoreConfig{MaxEntries: window, ScopeTopic: true}, state.SpaceOptions{})
	asked, refs := make([]state.Asked, block), make([]state.Ref, block)
	offsets, ids := make([]int64, block), make([]byte, keyLn*block)
	fate := state.Settlement{Outcome: klamm.Written, At: state.Position{Topic: "orders"}, NowMS: 1}
	var (
		met   []state.Met
		out   []state.Resolution
		next  uint64
		claim time.Duration
	)
	turn := func() {
		for j := range block {
			next++
			id := ids[keyLn*j : keyLn*(j+1)]
			binary.LittleEndian.PutUint64(id, next)
			asked[j] = state.Asked{Owner: state.Ref(next), Topic: "orders", ID: id, NowMS: 1}
		}
		began := time.Now()
		met = s.ClaimAll(asked, time.Hour, met[:0])
		claim += time.Since(began)
		if !asked[block-1].Fresh {
			b.Fatal("an id is not new")
		}
		if next <= uint64(inFlight) {
			return
		}
		for j := range block {
			refs[j] = state.Ref(next - uint64(inFlight) - block + 1 + uint64(j))
			offsets[j] = int64(refs[j])
		}
		if out = l.SettleSame(refs, offsets, fate, out[:0]); len(out) != 0 {
			b.Fatal("somebody waited")
		}
	}
	for range 2*window/block + 1 { // until ids go by count
		turn()
	}
	claim = 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += block {
		turn()
	}
	b.ReportMetric(float64(claim.Nanoseconds())/float64(b.N), "claim-ns/op")
}

// BenchmarkClaimConfirmed is a duplicate of a written record.
func BenchmarkClaimConfirmed(b *testing.B) {
	const window = 100_000
	l, s := open(b, state.StoreConfig{MaxEntries: window, ScopeTopic: true}, state.SpaceOptions{})
	id := make([]byte, 16)
	for i := range window {
		binary.LittleEndian.PutUint64(id, uint64(i))
		s.Claim(state.Ref(i+1), "orders", id, time.Hour, 1)
		l.Settle(state.Ref(i+1), state.Settlement{Outcome: klamm.Written, NowMS: 1})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		binary.LittleEndian.PutUint64(id, uint64(i%window))
		if a := s.Claim(0, "orders", id, time.Hour, 1); a.Code != state.Confirmed {
			b.Fatalf("claim %d: %+v", i, a)
		}
	}
}

// bytesPerID fills a window of n ids and measures what one costs, on the heap
// and outside.
func bytesPerID(tb testing.TB, n int) float64 {
	tb.Helper()
	var before, after goruntime.MemStats
	goruntime.GC()
	goruntime.ReadMemStats(&before)
	l, backend := state.NewLedger(state.Options{}), state.NewMemory(n, 0)
	if err := l.OpenBackend("ids", backend, state.StoreConfig{MaxEntries: n, ScopeTopic: true}); err != nil {
		tb.Fatal(err)
	}
	s := space(tb, l, "ids", "dedup", state.SpaceOptions{})
	const block = 500
	asked, refs, offsets := make([]state.Asked, block), make([]state.Ref, block), make([]int64, block)
	for i := 0; i < n; i += block {
		for j := range block {
			refs[j] = state.Ref(j + 1)
			asked[j] = state.Asked{Owner: refs[j], Topic: "orders", ID: binary.LittleEndian.AppendUint64(nil, uint64(i+j)), NowMS: 1}
		}
		s.ClaimAll(asked, time.Hour, nil)
		l.SettleSame(refs, offsets, state.Settlement{Outcome: klamm.Written, At: state.Position{Topic: "orders"}, NowMS: 1}, nil)
	}
	asked, refs, offsets = nil, nil, nil
	goruntime.GC()
	goruntime.ReadMemStats(&after)
	if got := l.Stats()[0].Entries; got != n {
		tb.Fatalf("got %d entries, want %d", got, n)
	}
	return (float64(after.HeapAlloc-before.HeapAlloc) + float64(state.PageBytes(backend))) / float64(n)
}

func BenchmarkMemoryPerID(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(bytesPerID(b, 1_000_000), "bytes/id")
	}
}
