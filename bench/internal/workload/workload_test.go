package workload

import (
	"encoding/json"
	"testing"

	"github.com/klamm-io/klamm/bench/internal/ops"
)

func TestRing(t *testing.T) {
	for _, size := range []int{SizeMin, 200, 1 << 10, 10 << 10} {
		r := NewRing(size)
		keys := map[string]bool{}
		for i, rec := range r.Records {
			keys[string(rec.Key)] = true
			if len(rec.Value) != size || !json.Valid(rec.Value) {
				t.Fatalf("record %d: %d bytes, want %d of JSON: %s", i, len(rec.Value), size, rec.Value)
			}
			for _, op := range []ops.Op{ops.Mask, ops.Rewrite} {
				got := Expect(op, nil, r.Records[i:i+1])[0]
				if got.Code != ops.Replaced || !json.Valid(got.Value) || len(got.Value) == size {
					t.Fatalf("%s of record %d gives %v %s", op, i, got.Code, got.Value)
				}
			}
		}
		if len(keys) != RingLen {
			t.Errorf("%d different keys, want %d", len(keys), RingLen)
		}
	}
}

func TestBatchesCoverTheRing(t *testing.T) {
	r := NewRing(200)
	for _, size := range []int{1, 8, 64, 512} {
		seen := map[string]bool{}
		for n := range RingLen / size {
			for _, rec := range r.Batch(n, size) {
				seen[string(rec.Key)] = true
			}
		}
		if len(seen) != RingLen {
			t.Errorf("batches of %d show %d records, want %d", size, len(seen), RingLen)
		}
	}
}

func TestClaims(t *testing.T) {
	c, r := NewClaims(), NewRing(200)
	for range 2 {
		fresh := 0
		for _, rec := range r.Records {
			if c.Claim(rec.Key) {
				fresh++
			}
		}
		if want := RingLen - RingLen/knownEvery; fresh != want {
			t.Errorf("%d fresh keys, want %d in every turn", fresh, want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { c.Claim(r.Records[1].Key) }); n != 0 {
		t.Errorf("%v allocations in a claim, which would be charged to each implementation", n)
	}
}
