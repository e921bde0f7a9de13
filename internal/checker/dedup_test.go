package checker

import (
	"strings"
	"testing"
	"time"
)

// TestTwins judges records of one id. Each step is a record and what became of it:
// + was written, - dropped, ? of unknown outcome and written, ! failed; a number
// before it is when it was sent, in ms, and "." after it ends the record before the
// next one is sent. The window is 100 ms.
func TestTwins(t *testing.T) {
	tests := []struct {
		name, steps                        string
		falseDrops, doubled, late, unknown int64
	}{
		{"a duplicate", "0+. 50-.", 0, 0, 0, 0},
		{"the last moment of the window", "0+. 99-.", 0, 0, 0, 0},
		{"after the window", "0+. 100+.", 0, 0, 1, 0},
		{"dropped after the window", "0+. 100-.", 1, 0, 0, 0},
		{"dropped after the window, and the first was in flight", "0+ 100-.", 0, 0, 0, 0},
		{"two inside the window", "0+. 99+.", 0, 1, 0, 0},
		{"the window begins with what was written last", "0+. 100+. 150+.", 0, 1, 1, 0},
		{"the first failed", "0!. 10+. 20-.", 0, 0, 0, 0},
		{"dropped though the first failed", "0!. 10-.", 1, 0, 0, 0},
		{"dropped though the first failed, and a later one is there", "0!. 10-. 20+.", 1, 0, 0, 0},
		{"dropped for one that overtook it", "10- 20+.", 0, 0, 0, 0},
		{"beside an unknown outcome", "0?. 10+. 20-.", 0, 0, 0, 1},
		{"dropped for an unknown outcome that is there", "0?. 10-.", 0, 0, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHistory(Head{Window: 100 * time.Millisecond})
			var open []Ended
			for n, step := range strings.Fields(tt.steps) {
				ms, rest := int64(0), step
				for ; rest[0] >= '0' && rest[0] <= '9'; rest = rest[1:] {
					ms = 10*ms + int64(rest[0]-'0')
				}
				id := MakeID(1, 2, n)
				must(t, h.sent(id, -1, 77, 0, ms))
				open = append(open, Ended{ID: id, Outcome: map[byte]Outcome{'+': OK, '-': Dropped, '?': FailUnknown, '!': FailDefinite}[rest[0]]})
				if rest[0] == '+' || rest[0] == '?' {
					h.fact(id).seen = [2]uint8{1, 1}
				}
				if strings.HasSuffix(rest, ".") {
					for _, e := range open {
						must(t, h.ended(e))
					}
					open = nil
				}
			}
			j := judge{h: h, r: &Report{}}
			j.dedup()
			r := j.r
			if r.FalseDrops != tt.falseDrops || r.DedupDoubled != tt.doubled || r.DedupLate != tt.late || r.DedupUnknown != tt.unknown {
				t.Errorf("%d false drops, %d doubled, %d late, %d unknown; want %d, %d, %d, %d: %v",
					r.FalseDrops, r.DedupDoubled, r.DedupLate, r.DedupUnknown, tt.falseDrops, tt.doubled, tt.late, tt.unknown, r.Examples)
			}
		})
	}
}
