package kafka

import (
	"testing"

	"github.com/klamm-io/klamm/state"
)

// BenchmarkTransaction is what an id costs between its record's acknowledgement
// and the commit, without the log: ids in transactions of 1,000.
func BenchmarkTransaction(b *testing.B) {
	log := newFakeLog()
	k := New(Options{Name: "ids", Topic: "t", Pipeline: "p", MaxEntries: 1 << 20, Log: log, Source: func(state.Ref) (int32, bool) { return 0, true }})
	if err := k.Open(b.Context(), 1); err != nil {
		b.Fatal(err)
	}
	k.Assign(0)
	if err := k.Await(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
	bucket := k.Bucket("dedup")
	const size = 1000
	ids := make([]state.ID, 0, size)
	at := state.Position{Topic: "clean", Partition: 3}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id := state.ID{uint64(i) * 0x9e3779b97f4a7c15, uint64(i) * 0xc2b2ae3d27d4eb4f}
		ids = append(ids, id)
		k.Stage(0, "dedup", id, at, 1<<60)
		if len(ids) < size {
			continue
		}
		if n := len(k.Take()); n < size {
			b.Fatalf("%d writes", n)
		}
		for _, id := range ids {
			_ = bucket.Remember(id, at, 1<<60, 0)
		}
		k.Committed(nil)
		ids = ids[:0]
	}
	b.StopTimer()
	if err := k.Close(); err != nil {
		b.Fatal(err)
	}
}
