package jobs

import "testing"

// A reader that misses a record, or gets one twice, is found out.
func TestSequence(t *testing.T) {
	for name, offsets := range map[string][]int64{"missing": {0, 1, 3}, "twice": {0, 1, 1}, "the first is missing": {1}, "back": {0, 1, 0}} {
		var s sequence
		for i, o := range offsets {
			if err := s.see(5, o); (err != nil) != (i == len(offsets)-1) {
				t.Errorf("%s: offset %d: %v", name, o, err)
			}
			if err := s.see(6, int64(i)); err != nil {
				t.Errorf("%s: another partition: %v", name, err)
			}
		}
	}
}
