package state

import (
	"bytes"
	"os"
	goruntime "runtime"
	"strings"
	"testing"
	"time"
)

// hugeMappings counts the mappings of this process that ask for huge pages.
func hugeMappings(t *testing.T) int {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip("the system does not tell what is mapped: ", err)
	}
	n := 0
	for line := range bytes.Lines(smaps) {
		if flags, ok := strings.CutPrefix(string(line), "VmFlags:"); ok && strings.Contains(flags, " hg") {
			n++
		}
	}
	return n
}

// TestPagesAreGivenBack fills a window that needs pages and lets it go.
func TestPagesAreGivenBack(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("the kernel has no transparent huge pages: ", err)
	}
	const ids = 2 * heapChunks * chunkEntries
	before := hugeMappings(t)
	m := newMemory(Key{1, 2}, ids, 0)
	b := m.Bucket("p")
	for i := range uint64(ids) {
		if err := b.Remember(ID{i * 0x9e3779b97f4a7c15, i}, Position{Topic: "t", Offset: int64(i)}, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	if m.pages.used == 0 {
		t.Fatal("the window is not outside of the heap")
	}
	if hugeMappings(t) == 0 {
		t.Fatal("the window has not asked for huge pages")
	}
	for i := range uint64(ids) {
		at, ok, err := b.Find(ID{i * 0x9e3779b97f4a7c15, i}, 1)
		if err != nil || !ok || at.Offset != int64(i) {
			t.Fatalf("id %d: got %v, %v, %v", i, at, ok, err)
		}
	}
	m, b = nil, nil
	for end := time.Now().Add(30 * time.Second); hugeMappings(t) > before; goruntime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the pages of a window that nobody has are still mapped")
		}
		goruntime.GC()
	}
}
