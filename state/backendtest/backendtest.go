// Package backendtest is the test suite that every state.Backend must pass.
package backendtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/state"
)

// Open makes an empty backend with those limits.
type Open func(t *testing.T, maxEntries int, maxBytes int64) state.Backend

// Run runs the suite. It closes the backends that it opens.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s suite)
	}{
		{"finds what it remembers", finds},
		{"same bucket", sameBucket},
		{"expires ids", expiresIDs},
		{"evicts the oldest ids", evictsIDs},
		{"keeps many ids", manyIDs},
		{"keeps values", keepsValues},
		{"expires values", expiresValues},
		{"bounds values", boundsValues},
		{"counts values", countsValues},
		{"closes twice", closesTwice},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, suite{t, open}) })
	}
}

type suite struct {
	t    *testing.T
	open Open
}

func (s suite) backend(maxEntries int, maxBytes int64) state.Backend {
	s.t.Helper()
	b := s.open(s.t, maxEntries, maxBytes)
	s.t.Cleanup(func() {
		if err := b.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return b
}

// id returns IDs that share the bits that a table is likely to look at first.
func id(i int) state.ID { return state.ID{uint64(i%3) | uint64(i)<<32, uint64(i % 2)} }

func at(i int) state.Position {
	return state.Position{Topic: fmt.Sprint("topic", i%3), Partition: int32(i % 7), Offset: int64(i)}
}

func remember(t *testing.T, b state.Bucket, i int, expiresMS, nowMS int64) {
	t.Helper()
	if err := b.Remember(id(i), at(i), expiresMS, nowMS); err != nil {
		t.Fatalf("remember %d: %v", i, err)
	}
}

func wantFound(t *testing.T, b state.Bucket, i int, nowMS int64, want bool) {
	t.Helper()
	got, ok, err := b.Find(id(i), nowMS)
	if err != nil {
		t.Fatalf("find %d: %v", i, err)
	}
	if ok != want || ok && got != at(i) {
		t.Errorf("find %d: got %v, %v, want %v, %v", i, got, ok, at(i), want)
	}
}

func wantUsage(t *testing.T, b state.Bucket, entries int, evictions, expired uint64) {
	t.Helper()
	if got := b.Usage(); got.Entries != entries || got.Evictions != evictions || got.Expired != expired {
		t.Errorf("got %+v, want %d entries, %d evictions, %d expired", got, entries, evictions, expired)
	}
}

func finds(t *testing.T, s suite) {
	b := s.backend(10, 1000)
	one, two := b.Bucket("one"), b.Bucket("two")
	wantFound(t, one, 1, 0, false)
	remember(t, one, 1, 0, 0)
	remember(t, two, 2, 0, 0)
	remember(t, one, 3, 0, 0)
	for i := 1; i <= 3; i++ {
		wantFound(t, one, i, 1<<60, true) // an ID belongs to one plugin as it is
	}
	wantUsage(t, one, 2, 0, 0)
	wantUsage(t, two, 1, 0, 0)
}

func sameBucket(t *testing.T, s suite) {
	b := s.backend(10, 1000)
	if first, second := b.Key(), b.Key(); first != second {
		t.Error("the key changes")
	}
	remember(t, b.Bucket("one"), 1, 0, 0)
	wantUsage(t, b.Bucket("one"), 1, 0, 0)
}

func expiresIDs(t *testing.T, s suite) {
	b := s.backend(10, 1000).Bucket("one")
	remember(t, b, 1, 100, 0)
	wantFound(t, b, 1, 99, true)
	wantFound(t, b, 1, 100, false)
	wantFound(t, b, 1, 99, false) // gone for good
	wantUsage(t, b, 0, 0, 1)
	remember(t, b, 1, 200, 100)
	wantFound(t, b, 1, 199, true)
}

func evictsIDs(t *testing.T, s suite) {
	b := s.backend(3, 1000)
	one, two := b.Bucket("one"), b.Bucket("two")
	remember(t, one, 1, 0, 0)
	remember(t, two, 2, 0, 0)
	remember(t, two, 3, 50, 0)
	wantFound(t, two, 3, 50, false) // from the middle of the order
	remember(t, two, 4, 0, 0)
	remember(t, two, 5, 0, 0)
	remember(t, two, 6, 0, 0)
	for i, want := range map[int]bool{1: false, 2: false, 4: true, 5: true, 6: true} {
		wantFound(t, two, i, 0, want)
	}
	wantUsage(t, one, 0, 1, 0)
	wantUsage(t, two, 3, 1, 1)
}

func manyIDs(t *testing.T, s suite) {
	const window, n = 3000, 10_000
	b := s.backend(window, 1000).Bucket("one")
	for i := range n {
		remember(t, b, i, 0, 0)
	}
	for i := range n {
		wantFound(t, b, i, 0, i >= n-window)
	}
	wantUsage(t, b, window, n-window, 0)
}

func put(t *testing.T, b state.Bucket, key, value string, expiresMS, nowMS int64) {
	t.Helper()
	if err := b.Put([]byte(key), []byte(value), expiresMS, nowMS); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

func wantValue(t *testing.T, b state.Bucket, key string, nowMS int64, want string, wantOK bool) {
	t.Helper()
	got, ok, err := b.Get([]byte(key), nowMS)
	if err != nil || ok != wantOK || string(got) != want {
		t.Errorf("get %q: got %q, %v, %v, want %q, %v", key, got, ok, err, want, wantOK)
	}
}

func keepsValues(t *testing.T, s suite) {
	b := s.backend(10, 10_000)
	one, two := b.Bucket("one"), b.Bucket("two")
	wantValue(t, one, "k", 0, "", false)
	key, value := []byte("k"), []byte("v1")
	if err := one.Put(key, value, 0, 0); err != nil {
		t.Fatal(err)
	}
	value[1], key[0] = '?', '?' // the caller's again
	put(t, two, "k", "v2", 0, 0)
	put(t, one, "empty", "", 0, 0)
	old, _, _ := one.Get([]byte("k"), 0)
	put(t, one, "k", "v3", 0, 0)
	if string(old) != "v1" {
		t.Errorf("a put changed what was got before to %q", old)
	}
	wantValue(t, one, "k", 1<<60, "v3", true)
	wantValue(t, two, "k", 0, "v2", true)
	wantValue(t, one, "empty", 0, "", true)
}

func expiresValues(t *testing.T, s suite) {
	b := s.backend(10, 10_000).Bucket("one")
	put(t, b, "k", "v", 100, 0)
	wantValue(t, b, "k", 99, "v", true)
	wantValue(t, b, "k", 100, "", false)
	if got := b.Usage(); got.Values != 0 || got.Bytes != 0 || got.ValuesEvicted != 0 {
		t.Errorf("got %+v, want nothing left and nothing evicted", got)
	}
}

func boundsValues(t *testing.T, s suite) {
	const limit = 10_000
	b := s.backend(10, limit)
	one, two := b.Bucket("one"), b.Bucket("two")
	if err := one.Put([]byte("k"), make([]byte, limit), 0, 0); !errors.Is(err, state.ErrValueTooLarge) {
		t.Errorf("larger than all: got %v, want ErrValueTooLarge", err)
	}
	third := strings.Repeat("v", limit/3-500)
	put(t, one, "a", third, 0, 0)
	put(t, one, "b", third, 0, 0)
	put(t, two, "c", third, 0, 0)
	put(t, one, "a", third, 0, 0) // the newest again
	put(t, two, "d", third, 0, 0)
	wantValue(t, one, "a", 0, third, true)
	wantValue(t, one, "b", 0, "", false)
	wantValue(t, two, "c", 0, third, true)
	wantValue(t, two, "d", 0, third, true)
	if got := one.Usage().ValuesEvicted + two.Usage().ValuesEvicted; got != 1 {
		t.Errorf("got %d evicted, want 1", got)
	}
}

func countsValues(t *testing.T, s suite) {
	b := s.backend(10, 10_000).Bucket("one")
	for i := range 1000 {
		put(t, b, fmt.Sprint(i), "", 0, 0)
	}
	got := b.Usage()
	if got.Bytes > 10_000 || got.Values == 0 || got.Values+int(got.ValuesEvicted) != 1000 {
		t.Errorf("got %+v, want 1000 in all, at most 10000 bytes", got)
	}
}

func closesTwice(t *testing.T, s suite) {
	b := s.backend(10, 1000)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
