package records

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestKeysAndDuplicates(t *testing.T) {
	const n = 50_000
	s := NewSet(100)
	s.Duplicates = true
	seen := map[string]bool{}
	unique := 0
	for first := 0; first < n; first += 10_000 {
		s.Fill(first, 10_000)
		for i := first; i < first+10_000; i++ {
			key := string(s.Key(i))
			if len(key) != KeyLen {
				t.Fatalf("record %d has a key of %d bytes", i, len(key))
			}
			if seen[key] != s.IsDuplicate(i) {
				t.Fatalf("record %d: its key was there before: %v; it is a duplicate: %v", i, seen[key], s.IsDuplicate(i))
			}
			if !seen[key] {
				unique++
			}
			seen[key] = true
		}
	}
	if got := s.Unique(0, n); got != unique || unique != n*4/5 {
		t.Errorf("Unique says %d, %d keys are there, want %d", got, unique, n*4/5)
	}
	if a, b := s.Unique(3, 9), s.Unique(3, 1)+s.Unique(4, 8); a != b {
		t.Errorf("9 records have %d unique ones, their parts %d", a, b)
	}
}

func TestValues(t *testing.T) {
	for _, size := range []int{100, 1024} {
		s := NewSet(size)
		s.Fill(0, 10)
		for i := range 10 {
			if got := len(s.Key(i)) + len(s.Value(i)); got != size {
				t.Errorf("record %d has %d bytes, want %d", i, got, size)
			}
		}
		if bytes.Equal(s.Value(0), s.Value(1)) {
			t.Error("values are equal")
		}
		if v := s.Value(0); v[0] != '{' || v[len(v)-1] != '}' {
			t.Errorf("value %s", v)
		}
	}
	if json.Valid(NewSet(KeyLen+2).Value(0)) != true {
		t.Error("the smallest value is not JSON")
	}
}

func TestSumKnowsContentNotOrder(t *testing.T) {
	s := NewSet(100)
	s.Fill(0, 100)
	want := s.Sum(0, 100)
	sum := uint64(0)
	for i := 99; i >= 0; i-- {
		sum += Checksum(s.Key(i), s.Value(i))
	}
	if sum != want {
		t.Error("the sum depends on the order")
	}
	if sum+Checksum(s.Key(0), s.Value(1))-Checksum(s.Key(0), s.Value(0)) == want {
		t.Error("another value has the same sum")
	}
}
