package produce

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestHistogram: a bucket holds exactly what is below its limit.
func TestHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := histogram{base: rapid.IntRange(0, 20).Draw(t, "base")}
		values := rapid.SliceOf(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2, 1<<22))).Draw(t, "values")
		var sum, most int64
		for i, v := range values {
			if v > math.MaxInt64/8 {
				values[i] = v >> 3
			}
			h.observe(values[i])
			sum += max(values[i], 0)
			most = max(most, values[i])
		}
		got := h.snapshot()
		if got.Count != int64(len(values)) || got.Sum != sum || got.Max != most {
			t.Fatalf("got %+v, want %d values with the sum %d and the maximum %d", got, len(values), sum, most)
		}
		for i, n := range got.Buckets {
			want := int64(0)
			for _, v := range values {
				if i == len(got.Buckets)-1 || max(v, 0) < got.Base<<i {
					want++
				}
			}
			if n != want {
				t.Fatalf("bucket %d, below %d, has %d values, want %d", i, got.Base<<i, n, want)
			}
		}
	})
}
