package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const retryAtOnce = time.Microsecond

func openIn(t testing.TB, fs fileSystem, o FileOptions) (*file, error) {
	o.Path, o.fs, o.retry = filepath.Join(t.TempDir(), "ids"), fs, retryAtOnce
	if m, ok := fs.(*memFS); ok {
		o.Path = renameAll(m, o.Path)
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = 50
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 2000
	}
	if o.Name == "" {
		o.Name = "ids"
	}
	f, err := NewFile(o)
	if err != nil {
		return nil, err
	}
	return f.(*file), nil
}

// renameAll gives the files of a disk that was opened elsewhere their names in
// this test's folder, where the lock is.
func renameAll(m *memFS, path string) string {
	for _, names := range []map[string]*memFile{m.names, m.kept} {
		for old, f := range names {
			delete(names, old)
			names[path+filepath.Ext(old)] = f
		}
	}
	return path
}

func mustOpen(t testing.TB, fs fileSystem, o FileOptions) *file {
	t.Helper()
	f, err := openIn(t, fs, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // tests that care close it themselves
	return f
}

func numbered(i int) ID { return ID{uint64(i) * 0x9e3779b97f4a7c15, uint64(i)} }

// scribble does the i-th of a fixed series of operations.
func scribble(f *file, i int) {
	b := f.Bucket([]string{"dedup", "other"}[i%5/4])
	now := int64(i)
	switch {
	case i%7 == 3:
		_ = b.Put(fmt.Appendf(nil, "k%d", i%11), fmt.Appendf(nil, "value of %d", i), now+40, now)
	case i%13 == 5:
		_, _, _ = b.Get(fmt.Appendf(nil, "k%d", (i+5)%11), now)
	case i%3 == 1:
		_, _, _ = b.Find(numbered(i-17), now)
	default:
		_ = b.Remember(numbered(i), Position{Topic: fmt.Sprint("t", i%2), Partition: int32(i % 3), Offset: now}, now+int64(20+i%30), now)
	}
}

// contents is all that a file holds, in order.
func contents(f *file) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return listed(f.m)
}

func listed(m *memory) string {
	var s strings.Builder
	w := m.walk()
	defer w.end()
	for e := w.step(); e != nil; e = w.step() {
		o := m.origins[e.origin]
		fmt.Fprintln(&s, o.bucket.plugin, o.topic, e.id, e.partition, e.offset, e.expiresMS)
	}
	for v := m.values.oldest; v != nil; v = v.next {
		fmt.Fprintf(&s, "%s %s=%s until %d\n", v.bucket.plugin, v.key, v.bytes, v.expiresMS)
	}
	return s.String()
}

// madeLog returns the bytes of a log of that many operations. synced marks it
// all as having been on the disk.
func madeLog(t testing.TB, ops int, synced bool) []byte {
	t.Helper()
	disk := newMemFS()
	f := mustOpen(t, disk, FileOptions{SyncInterval: time.Hour, slack: 1 << 40})
	for i := range ops {
		scribble(f, i)
		if i%5 == 0 {
			if err := f.Flush(time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Flush(time.Minute); err != nil {
		t.Fatal(err)
	}
	path := f.o.Path
	data := slices.Clone(disk.names[path].data)
	if synced {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		data = disk.names[path].data
	}
	return data
}

func readLog(data []byte, to replayer) (recovered, error) {
	f := &memFile{fs: newMemFS(), data: data}
	return recoverFile(f, int64(len(data)), fileHead{name: "ids"}, to)
}

// counter is a replayer that costs little: a running sum over the operations.
type counter struct{ sums []uint64 }

// begins reports whether c is a prefix of all.
func (c *counter) begins(all *counter) bool {
	return len(c.sums) <= len(all.sums) && slices.Equal(c.sums, all.sums[:len(c.sums)])
}

func (c *counter) note(a, b uint64) error {
	last := uint64(14695981039346656037)
	if len(c.sums) > 0 {
		last = c.sums[len(c.sums)-1]
	}
	c.sums = append(c.sums, (last^a)*1099511628211^b)
	return nil
}

func text(s string) (sum uint64) {
	for i := range len(s) {
		sum = sum*131 + uint64(s[i])
	}
	return sum
}

func (c *counter) origin(plugin, topic string) error { return c.note(text(plugin), text(topic)) }
func (c *counter) remember(o uint32, id ID, p int32, off, exp int64, gone int) error {
	return c.note(id[0]^uint64(o)<<7^uint64(p), id[1]^uint64(off)<<20^uint64(exp)<<8^uint64(gone))
}
func (c *counter) forget(id ID) error { return c.note(id[0], id[1]) }
func (c *counter) put(o uint32, key string, v []byte, exp int64) error {
	return c.note(text(key)^uint64(o), text(string(v))^uint64(exp))
}
func (c *counter) remove(o uint32, key string) error { return c.note(text(key), uint64(o)) }

// Whatever was cut off a log, what is left is a prefix of what was written.
func TestFileEveryPrefix(t *testing.T) {
	data := madeLog(t, 1200, false)
	if len(data) < 8<<10 || len(data) > 64<<10 {
		t.Fatalf("a log of %d bytes", len(data))
	}
	var all counter
	if _, err := readLog(data, &all); err != nil {
		t.Fatal(err)
	}
	longest := 0
	for n := range data {
		var got counter
		r, err := readLog(data[:n], &got)
		if err != nil && len(got.sums) > 0 || err == nil && r.end+r.cut != int64(n) {
			t.Fatalf("%d bytes: %d operations, %+v, %v", n, len(got.sums), r, err)
		}
		if len(got.sums) < longest || !got.begins(&all) {
			t.Fatalf("%d bytes: got %d operations, no prefix; %d came out of less", n, len(got.sums), longest)
		}
		longest = len(got.sums)
	}
}

// No bit of a log can turn without being noticed: either the file is refused, or
// what comes out is a prefix of what was written, and the cut is reported.
func TestFileEveryBitFlip(t *testing.T) {
	for name, synced := range map[string]bool{"synced": true, "on its way": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ops := 200
			if exhaustive {
				ops = 2400
			}
			data := madeLog(t, ops, synced)
			var all counter
			if _, err := readLog(data, &all); err != nil {
				t.Fatal(err)
			}
			refused, cut := 0, 0
			for i := range 8 * len(data) {
				data[i/8] ^= 1 << (i % 8)
				got := counter{sums: make([]uint64, 0, len(all.sums))}
				r, err := readLog(data, &got)
				switch {
				case !got.begins(&all):
					t.Fatalf("bit %d: what came out is no prefix", i)
				case err != nil:
					refused++
				case r.cut > 0:
					cut++
				default:
					t.Fatalf("bit %d of byte %d was not noticed", i%8, i/8)
				}
				data[i/8] ^= 1 << (i % 8)
			}
			t.Logf("%d bytes: %d flips refused, %d cut", len(data), refused, cut)
			if head := frameHead * 8; synced && cut > head {
				t.Errorf("%d flips of what was on the disk were cut off; only the last mark of %d bits may be", cut, head)
			}
		})
	}
}

// series does the operations with a flush after every few, until the disk is
// gone. It returns what the file held at the last flush that succeeded, and all
// that it held since.
func series(f *file, ops int) (safe string, since []string) {
	since = []string{contents(f)}
	safe = since[0]
	for i := range ops {
		scribble(f, i)
		since = append(since, contents(f))
		if i%4 != 3 {
			continue
		}
		if f.Flush(time.Minute) != nil {
			return safe, since
		}
		safe, since = since[len(since)-1], since[len(since)-1:]
	}
	return safe, since
}

// crashed runs the series on a disk that ends with the given call.
func crashed(t *testing.T, o FileOptions, call, ops int) (disk *memFS, since []string, ended bool) {
	disk = newMemFS()
	disk.fault = func(n int, what string) (int, error) {
		if n < call {
			return 0, nil
		}
		ended = true
		return n * 7 % 40, errPower
	}
	f, err := openIn(t, disk, o)
	if err != nil {
		return disk, nil, true
	}
	_, since = series(f, ops)
	_ = f.Close() // on a disk that is gone
	return disk, since, ended
}

// A crash at any call that changes the disk leaves what the last flush promised,
// or what came after it.
func TestFileCrashPoints(t *testing.T) {
	for name, test := range map[string]struct {
		o     FileOptions
		after func(*memFS, *rand.Rand) *memFS
	}{
		"killed": {FileOptions{SyncInterval: time.Hour, slack: 500}, func(m *memFS, _ *rand.Rand) *memFS { return m.killed() }},
		"power":  {FileOptions{SyncInterval: 0, slack: 500}, func(m *memFS, rng *rand.Rand) *memFS { return m.powerCut(rng) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const ops = 240
			for call := 1; ; call++ {
				disk, since, ended := crashed(t, test.o, call, ops)
				if !ended {
					if call < 60 {
						t.Fatalf("only %d calls", call)
					}
					t.Logf("%d crash points", call-1)
					return
				}
				for seed := range uint64(3) {
					f, err := openIn(t, test.after(disk, rand.New(rand.NewPCG(seed, uint64(call)))), FileOptions{})
					if err != nil {
						t.Fatalf("crash at call %d: %v", call, err)
					}
					if got := contents(f); since != nil && !slices.Contains(since, got) {
						t.Fatalf("crash at call %d, seed %d: the file holds\n%s\nand not what was there since the last flush:\n%s",
							call, seed, got, strings.Join(since, "\n--\n"))
					}
					if err := f.Close(); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// Errors that end leave nothing behind: what was told while they lasted is
// written after them.
func TestFileMends(t *testing.T) {
	for _, interval := range []time.Duration{0, time.Hour} {
		t.Run(fmt.Sprint("sync every ", interval), func(t *testing.T) {
			t.Parallel()
			const ops = 120
			for call := 3; call < 90; call++ {
				for _, n := range []int{1, 3, 20} {
					disk := newMemFS()
					disk.fault = full(call, n, errFull)
					f, err := openIn(t, disk, FileOptions{SyncInterval: interval, slack: 500, Pass: true})
					if errors.Is(err, errFull) {
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					for i := range ops {
						scribble(f, i)
						if i%4 == 3 {
							_ = f.Flush(time.Minute)
						}
					}
					want := contents(f)
					for f.Flush(time.Minute) != nil {
						time.Sleep(retryAtOnce)
					}
					var left *memFS
					if err := f.Close(); errors.Is(err, errFull) {
						left = disk.killed() // it said that the disk may not have it
					} else if err != nil {
						t.Fatalf("full from call %d, %d calls: close: %v", call, n, err)
					} else {
						left = disk.powerCut(rand.New(rand.NewPCG(1, uint64(call))))
					}
					again, err := openIn(t, left, FileOptions{})
					if err != nil {
						t.Fatalf("full from call %d, %d calls: %v", call, n, err)
					}
					if got := contents(again); got != want {
						t.Fatalf("full from call %d, %d calls: got\n%s\nwant\n%s", call, n, got, want)
					}
					if err := again.Close(); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}
