package state

import "testing"

// References spread over the heads however they count: by ones, or above a place
// that few of them have, or among several producers.
func TestReferencesSpread(t *testing.T) {
	const n = 1 << 15
	for name, ref := range map[string]func(i uint64) Ref{
		"by ones":          func(i uint64) Ref { return Ref(1<<63 | i) },
		"few places":       func(i uint64) Ref { return Ref(i<<24 | i%300) },
		"one place":        func(i uint64) Ref { return Ref(i<<24 | 7) },
		"places in turn":   func(i uint64) Ref { return Ref(i<<24 | i) },
		"places backwards": func(i uint64) Ref { return Ref(i<<24 | (1<<20 - i)) },
		"producers":        func(i uint64) Ref { return Ref((i%4)<<55 | (i/4)<<24 | i%300) },
	} {
		f := newFlight()
		for i := range uint64(n) {
			f.enter(ref(i + 1))
		}
		longest := 0
		for _, o := range f.byRef {
			length := 0
			for ; o != 0; o = f.owners[o].chain {
				length++
			}
			longest = max(longest, length)
		}
		if longest > 12 {
			t.Errorf("%s: %d records share a head", name, longest)
		}
		for i := range uint64(n) {
			o := f.owner(ref(i + 1))
			if o == 0 {
				t.Fatalf("%s: record %d is not found", name, i)
			}
			f.leave(o)
		}
	}
}
