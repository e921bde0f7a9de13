package consume

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// varint reads what binary.Varint reads, at the end of a buffer and beyond it too.
func TestVarint(t *testing.T) {
	values := []int64{0, 1, -1, 63, 64, -64, -65, 8191, 8192, -8192, -8193, 1 << 20, 1 << 40, math.MaxInt64, math.MinInt64}
	for range 500 {
		v := rand.Int64() >> rand.IntN(64)
		values = append(values, v, -v)
	}
	for _, v := range values {
		buf := binary.AppendVarint([]byte{0xff, 0xff}, v)
		end := len(buf)
		for _, buf := range [][]byte{buf, append(buf, 0), append(buf, 0x80, 0x80)} {
			if got, at := varint(buf, 2); got != v || at != end {
				t.Fatalf("%d in % x: got %d, to %d", v, buf, got, at)
			}
		}
		for cut := 2; cut < end; cut++ {
			if got, at := varint(buf[:cut], 2); at != bad {
				t.Fatalf("%d cut off to % x: got %d, to %d", v, buf[:cut], got, at)
			}
		}
	}
	for _, i := range []int{bad, 3, 4} {
		if _, at := varint([]byte{1, 2, 3}, i); at != bad {
			t.Errorf("at %d of 3 bytes: to %d", i, at)
		}
	}
	if v, at := varint([]byte{0x80, 0x00, 0}, 0); v != 0 || at != 2 {
		t.Errorf("a zero of two bytes: %d, to %d", v, at)
	}
}
