package partitioner_test

import (
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/partitioner"
)

// topic returns a topic of n partitions, all available.
func topic(n int) *partitioner.Topic {
	t := &partitioner.Topic{Name: "orders", Partitions: make([]int32, n)}
	for i := range t.Partitions {
		t.Partitions[i] = int32(i)
	}
	return t
}

func choose(tb testing.TB, p partitioner.Partitioner, rec *klamm.Record, t *partitioner.Topic) int32 {
	tb.Helper()
	got, err := p.Partition(rec, t)
	if err != nil {
		tb.Fatalf("partition %q: %v", rec.Key, err)
	}
	return got
}

// append is a record of that many bytes that was appended where p chose.
func appendTo(tb testing.TB, p partitioner.Partitioner, t *partitioner.Topic, bytes int, newBatch bool) int32 {
	tb.Helper()
	got := choose(tb, p, &klamm.Record{Value: make([]byte, bytes)}, t)
	p.(partitioner.Accounter).Appended(t.Name, got, bytes, newBatch)
	return got
}

// counting returns random numbers that count up, as Java's tests mock them.
func counting() func() uint32 {
	next := uint32(0)
	return func() uint32 {
		next++
		return next - 1
	}
}
