// Package backendtest is the test suite that every state.Backend must pass.
package backendtest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// Kit makes the backends of one kind for the suite.
type Kit struct {
	// Open makes an empty backend with those limits. What it writes goes into
	// dir, a folder of that backend alone.
	Open func(dir string, maxEntries int, maxBytes int64) (state.Backend, error)
	// Reopen makes one again of what a closed one left in dir. It is nil for
	// backends that end with the process.
	Reopen func(dir string, maxEntries int, maxBytes int64) (state.Backend, error)
	// LocalValues: what plugins put ends with the process, though ids do not.
	LocalValues bool
}

// Run runs the suite. It closes the backends that it opens.
func Run(t *testing.T, kit Kit) {
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
		{"survives", survives},
		{"claims under the record's clock", recordClock},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, suite{t, kit}) })
	}
	t.Run("against an oracle", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) { againstOracle(t, kit) })
	})
}

type suite struct {
	t   *testing.T
	kit Kit
}

// made is one backend with its folder.
type made struct {
	kit        Kit
	dir        string
	maxEntries int
	maxBytes   int64
	backend    state.Backend
}

// fataler is *testing.T or *rapid.T.
type fataler interface{ Fatal(args ...any) }

func (k Kit) make(t fataler, maxEntries int, maxBytes int64) *made {
	dir, err := os.MkdirTemp("", "klamm-state-")
	if err != nil {
		t.Fatal(err)
	}
	m := &made{kit: k, dir: dir, maxEntries: maxEntries, maxBytes: maxBytes}
	if m.backend, err = k.Open(dir, maxEntries, maxBytes); err != nil {
		m.remove()
		t.Fatal(err)
	}
	return m
}

func (m *made) reopen(t fataler) state.Backend {
	var err error
	if m.backend, err = m.kit.Reopen(m.dir, m.maxEntries, m.maxBytes); err != nil {
		t.Fatal(err)
	}
	return m.backend
}

// kept is a value after a restart.
func (k Kit) kept(value string) string {
	if k.LocalValues {
		return ""
	}
	return value
}

func (m *made) remove() { _ = os.RemoveAll(m.dir) } // a leftover of the system's temporary folder

func (s suite) make(maxEntries int, maxBytes int64) *made {
	s.t.Helper()
	m := s.kit.make(s.t, maxEntries, maxBytes)
	s.t.Cleanup(func() {
		if err := m.backend.Close(); err != nil {
			s.t.Error(err)
		}
		m.remove()
	})
	return m
}

func (s suite) backend(maxEntries int, maxBytes int64) state.Backend {
	s.t.Helper()
	return s.make(maxEntries, maxBytes).backend
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

// survives checks that what a backend held when it was closed is there again,
// in its order.
func survives(t *testing.T, s suite) {
	if s.kit.Reopen == nil {
		t.Skip("the backend ends with the process")
	}
	m := s.make(4, 1000)
	key, one := m.backend.Key(), m.backend.Bucket("one")
	for i := 1; i <= 5; i++ {
		remember(t, one, i, 1000, 0)
	}
	remember(t, m.backend.Bucket("two"), 6, 10, 0)
	wantFound(t, m.backend.Bucket("two"), 6, 10, false)
	put(t, one, "k", "v", 0, 0)
	put(t, one, "k", "v2", 500, 0)
	if err := m.backend.Close(); err != nil {
		t.Fatal(err)
	}
	b := m.reopen(t)
	if b.Key() != key {
		t.Error("another key: no id would be found again")
	}
	one = b.Bucket("one")
	for i, want := range map[int]bool{1: false, 2: false, 3: true, 4: true, 5: true, 6: false} {
		wantFound(t, one, i, 999, want)
	}
	wantValue(t, one, "k", 499, s.kit.kept("v2"), !s.kit.LocalValues)
	wantValue(t, one, "k", 500, "", false)
	remember(t, one, 7, 0, 0)
	remember(t, one, 8, 0, 0) // one too many: 3 is the oldest
	wantFound(t, one, 3, 0, false)
	wantFound(t, one, 4, 0, true)
	wantUsage(t, one, 4, 1, 0)
}

// recordClock checks that old records read late meet each other, whatever the
// time of their reading.
func recordClock(t *testing.T, s suite) {
	m := s.make(10, 1000)
	l := state.NewLedger(state.Options{})
	if err := l.OpenBackend("ids", m.backend, state.StoreConfig{RecordClock: true}); err != nil {
		t.Fatal(err)
	}
	space, err := l.Space("ids", "dedup", state.SpaceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const hour = int64(3_600_000)
	for i, step := range []struct {
		id   string
		time int64
		want int32
	}{
		{"a", 1 * hour, state.New},
		{"b", 9 * hour, state.New}, // of a partition that is read ahead
		{"a", 2*hour - 1, state.Confirmed},
		{"b", 10*hour - 1, state.Confirmed},
		{"a", 2 * hour, state.New},
		{"c", -1, state.New}, // without a time: that of its arrival
		{"c", 1000*hour - 1, state.Confirmed},
	} {
		now := space.ClockMS(time.UnixMilli(step.time), 999*hour)
		a := space.Claim(state.Ref(i+1), "orders", []byte(step.id), time.Hour, now)
		if a.Code != step.want {
			t.Errorf("step %d, id %q at %d: got %d, want %d", i, step.id, step.time, a.Code, step.want)
		}
		l.Settle(state.Ref(i+1), state.Settlement{Outcome: klamm.Written, At: at(i), NowMS: 999 * hour})
	}
}
