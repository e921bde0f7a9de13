package cluster

import (
	"bytes"
	goruntime "runtime"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// TestReadBody: whatever arrives in whatever pieces is read as it is, and a length
// that is only claimed costs no memory.
func TestReadBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, rapid.IntRange(1, 1<<19).Draw(t, "length"))
		got, err := readBody(iotest.HalfReader(bytes.NewReader(want)), len(want))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes became %d, %v", len(want), len(got), err)
		}
	})
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	if _, err := readBody(strings.NewReader("a few bytes"), responseMaxBytes); err == nil || !strings.Contains(err.Error(), "after 11 of") {
		t.Error(err)
	}
	goruntime.ReadMemStats(&after)
	took := after.TotalAlloc - before.TotalAlloc
	if took > 16<<20 {
		t.Errorf("a claim of %d bytes took %d", responseMaxBytes, took)
	}
}
