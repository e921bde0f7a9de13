package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A file that is not this state's is refused, and the error says what it is.
func TestFileRefuses(t *testing.T) {
	good := madeLog(t, 40, true)
	damaged := func(f func(b []byte) []byte) []byte { return f(append([]byte(nil), good...)) }
	for _, test := range []struct {
		name    string
		data    []byte
		o       FileOptions
		want    string
		corrupt bool
	}{
		{name: "another state", data: good, o: FileOptions{Name: "orders"}, want: `it belongs to state "ids", not to "orders"`},
		{name: "another scope", data: good, o: FileOptions{Scope: "topic"}, want: `its ids are of scope "", not "topic"`},
		{name: "a later format", data: damaged(func(b []byte) []byte { b[14] = '2'; return b }), want: "it is of format 2"},
		{name: "no state file", data: []byte("PNG, or whatever else it may be"), want: "does not begin as a state file", corrupt: true},
		{name: "nothing", data: nil, want: "does not begin as a state file", corrupt: true},
		{name: "cut in its head", data: good[:30], want: "ends within its head, at byte 30", corrupt: true},
		{name: "damaged", data: damaged(func(b []byte) []byte { b[len(b)/2] ^= 8; return b }), want: "does not check", corrupt: true},
		{name: "a frame moved", data: damaged(func(b []byte) []byte { return append(b[:200:200], b[201:]...) }), want: "", corrupt: false},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ids")
			if err := os.WriteFile(path, test.data, 0o600); err != nil {
				t.Fatal(err)
			}
			o := test.o
			o.Path, o.MaxEntries, o.MaxBytes = path, 10, 10
			if o.Name == "" {
				o.Name = "ids"
			}
			f, err := NewFile(o)
			if test.want == "" { // what is not whole is cut off
				if err != nil || f.Health().Cut == 0 {
					t.Fatalf("got %v", err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) || errors.Is(err, ErrCorrupt) != test.corrupt {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if left, _ := os.ReadFile(path); string(left) != string(test.data) {
				t.Error("a file that was refused was changed")
			}
		})
	}
}

func TestFileRefusesPlaces(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	f, err := NewFile(FileOptions{Path: open, Name: "ids", MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for path, want := range map[string]string{
		filepath.Join(plain, "ids"): "folder",
		dir:                         "open",
		open:                        "another process has it open",
	} {
		if f, err := NewFile(FileOptions{Path: path, Name: "ids", MaxEntries: 1}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %q", path, f, err, want)
		}
	}
}

// readOnly is a disk that cannot be written any more, as after an I/O error.
type readOnly struct{ disk }

func (readOnly) open(path string, flag int) (fileHandle, error) {
	if flag&(os.O_RDWR|os.O_WRONLY) != 0 {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EROFS}
	}
	return disk{}.open(path, flag)
}

func TestFileReadOnly(t *testing.T) {
	if _, err := openIn(t, readOnly{}, FileOptions{}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("got %v", err)
	}
}

// While the disk takes nothing, claims are refused by default and answered from
// memory with Pass, and what was remembered is written when it takes it again.
func TestFileUnavailable(t *testing.T) {
	for _, pass := range []bool{false, true} {
		t.Run(fmt.Sprint("pass ", pass), func(t *testing.T) {
			fs := newMemFS()
			f := mustOpen(t, fs, FileOptions{SyncInterval: time.Hour, Pass: pass})
			b := f.Bucket("dedup")
			if err := b.Remember(numbered(1), Position{Topic: "orders"}, 0, 0); err != nil {
				t.Fatal(err)
			}
			if err := f.Flush(time.Minute); err != nil {
				t.Fatal(err)
			}
			setFault(fs, full(0, 1<<30, syscall.EIO))
			if err := b.Remember(numbered(2), Position{Topic: "orders"}, 0, 0); err != nil {
				t.Errorf("remember while down: %v", err)
			}
			err := f.Flush(time.Minute)
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), f.o.Path) {
				t.Errorf("flush: got %v", err)
			}
			if goruntime.GOOS == "linux" && !strings.Contains(err.Error(), "bytes are free") {
				t.Errorf("flush: no free bytes in %v", err)
			}
			_, ok, err := b.Find(numbered(2), 0)
			if ok != pass || errors.Is(err, ErrUnavailable) == pass {
				t.Errorf("find: got %v, %v", ok, err)
			}
			if err := b.Put([]byte("k"), []byte("v"), 0, 0); (err == nil) != pass {
				t.Errorf("put: got %v", err)
			}
			setFault(fs, nil)
			for f.Flush(time.Minute) != nil {
				goruntime.Gosched()
			}
			if _, ok, err := b.Find(numbered(2), 0); !ok || err != nil {
				t.Errorf("find when mended: got %v, %v", ok, err)
			}
			if h := f.Health(); h.Err != nil || h.Failures == 0 {
				t.Errorf("got %+v", h)
			}
		})
	}
}

func setFault(m *memFS, fault func(int, string) (int, error)) {
	m.mu.Lock()
	m.fault = fault
	m.mu.Unlock()
}

// A backlog that is too long is given up, and the file written anew.
func TestFileBacklog(t *testing.T) {
	fs := newMemFS()
	f := mustOpen(t, fs, FileOptions{SyncInterval: time.Hour, Pass: true, MaxBytes: 100 << 20})
	setFault(fs, full(0, 1<<30, syscall.ENOSPC))
	value := make([]byte, 1<<20)
	for i := range backlogMax/len(value) + 2 {
		if err := f.Bucket("dedup").Put(fmt.Append(nil, i), value, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if h := f.Health(); h.Behind > backlogMax {
		t.Errorf("%d bytes wait", h.Behind)
	}
	want := contents(f)
	setFault(fs, nil)
	for f.Flush(time.Minute) != nil {
		goruntime.Gosched()
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again := mustOpen(t, fs.killed(), FileOptions{MaxBytes: 100 << 20})
	if contents(again) != want {
		t.Error("what was given up did not come back")
	}
}

// Ids that come and go for ever do not make the file grow for ever.
func TestFileStaysSmall(t *testing.T) {
	fs := newMemFS()
	f := mustOpen(t, fs, FileOptions{SyncInterval: time.Hour, slack: 10_000, MaxEntries: 100})
	for i := range 20_000 {
		scribble(f, i)
		if i%10 == 0 {
			if err := f.Flush(time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	h := f.Health()
	if h.Rewrites == 0 || h.Size > 100_000 {
		t.Errorf("%d bytes after %d rewrites", h.Size, h.Rewrites)
	}
}

// A device that is always full, as the kernel has it.
type devFull struct{ disk }

type fullHandle struct {
	fileHandle
	full *os.File
}

func (h fullHandle) WriteAt(p []byte, off int64) (int, error) { return h.full.WriteAt(p, off) }

func (devFull) open(path string, flag int) (fileHandle, error) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	h, err := disk{}.open(path, flag)
	return fullHandle{h, full}, err
}

func TestFileOnAFullDevice(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	_, err := openIn(t, devFull{}, FileOptions{})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}
