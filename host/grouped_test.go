package host_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/partitioner"
)

// byDigit chooses the partition by a key's last digit, many records a call. It
// fails keys that end in 8 and leaves those that end in 9 to the default.
type byDigit struct{}

var errEight = errors.New("eight")

func (byDigit) choose(key []byte) int32 {
	switch d := int32(key[len(key)-1] - '0'); d {
	case 8:
		return partitioner.NotPartitioned
	case 9:
		return partitioner.UseDefault
	default:
		return d % 4
	}
}

func (d byDigit) Partition(rec *klamm.Record, _ *partitioner.Topic) (int32, error) {
	return d.choose(rec.Key), nil
}

func (d byDigit) PartitionBatch(recs []*klamm.Record, _ []uint64, _ *partitioner.Topic, out []int32) error {
	all := &partitioner.BatchError{Errs: make([]error, len(recs))}
	failed := false
	for i, r := range recs {
		if out[i] = d.choose(r.Key); out[i] == partitioner.NotPartitioned {
			all.Errs[i], failed = errEight, true
		}
	}
	if failed {
		return all
	}
	return nil
}

// Blocks that a partitioner places as a whole are appended partition by
// partition; nothing else may change by that: every record is where it was to
// go, in the order of Send within its partition, and each has its own result.
func TestBlocksGroupedByPartition(t *testing.T) {
	for name, digits := range map[string]string{"all placed": "01234567", "some not": "0123456789"} {
		t.Run(name, func(t *testing.T) {
			b := startBroker(t, 4, "orders")
			cfg := host.Config{Chain: map[string]host.ChainConfig{"c": {Topics: []string{"orders"}, Partitioner: "digit"}}}
			p := producerOf(t, newHost(t, b, cfg, host.WithPartitioner("digit", byDigit{})))
			const n = 3000
			res := newResults()
			for i := range n {
				key := fmt.Appendf(nil, "%06d%c", i, digits[i*7%len(digits)])
				if err := p.SendAsync(within(t), &klamm.Record{Topic: "orders", Key: key, Value: value(i)}, res.of(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Flush(within(t)); err != nil {
				t.Fatal(err)
			}
			written := 0
			for i, r := range res.complete(t, n) {
				want := byDigit{}.choose(fmt.Appendf(nil, "%c", digits[i*7%len(digits)]))
				switch {
				case want == partitioner.NotPartitioned:
					if !errors.Is(r.Err, errEight) {
						t.Fatalf("record %d: %+v, want it failed by the partitioner", i, r)
					}
					continue
				case r.Outcome != klamm.Written, want >= 0 && r.Partition != want:
					t.Fatalf("record %d: %+v, want it written to partition %d", i, r, want)
				}
				written++
			}
			last := map[int32]string{}
			read := readTopic(t, b, "orders")
			for _, r := range read {
				key := string(r.Key)
				if key <= last[r.Partition] {
					t.Fatalf("partition %d: %s comes after %s", r.Partition, key, last[r.Partition])
				}
				last[r.Partition] = key
			}
			if len(read) != written {
				t.Errorf("the broker has %d records, %d were reported", len(read), written)
			}
			balanced(t, p.Counts(), n)
		})
	}
}
