package state

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
)

// memFS is a disk that fails where a test says, and that tells what a killed
// process or a power cut leaves.
type memFS struct {
	mu    sync.Mutex
	names map[string]*memFile // as every process sees them
	kept  map[string]*memFile // as a power cut leaves them
	calls int                 // that change something
	// fault is asked before each such call. An error fails the call; a write is
	// carried out for as many bytes as n says.
	fault func(call int, what string) (n int, err error)
}

type memFile struct {
	fs     *memFS
	data   []byte
	synced []byte
	writes []memWrite // since the last sync
}

type memWrite struct {
	offset int64
	b      []byte
}

func newMemFS() *memFS { return &memFS{names: map[string]*memFile{}, kept: map[string]*memFile{}} }

var errPower = errors.New("the machine is gone")

// enter counts a call that changes something. It is called under the mutex.
func (m *memFS) enter(what string) (int, error) {
	m.calls++
	if m.fault == nil {
		return 0, nil
	}
	return m.fault(m.calls, what)
}

func (m *memFS) open(path string, flag int) (fileHandle, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.names[path]
	switch {
	case f == nil && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case f == nil:
		if _, err := m.enter("create"); err != nil {
			return nil, err
		}
		f = &memFile{fs: m}
		m.names[path] = f
	case flag&os.O_TRUNC != 0:
		f = &memFile{fs: m}
		m.names[path] = f
	}
	return f, nil
}

func (m *memFS) rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.enter("rename"); err != nil {
		return err
	}
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *memFS) remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[path] == nil {
		return fs.ErrNotExist
	}
	delete(m.names, path)
	return nil
}

func (m *memFS) syncDir(string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.enter("syncdir"); err != nil {
		return err
	}
	m.kept = map[string]*memFile{}
	for name, f := range m.names {
		m.kept[name] = f
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off+int64(len(p)) > int64(len(f.data)) {
		return 0, errors.New("read behind the end")
	}
	return copy(p, f.data[off:]), nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.fs.enter("write")
	if err == nil {
		n = len(p)
	}
	n = min(n, len(p))
	f.data = written(f.data, p[:n], off)
	f.writes = append(f.writes, memWrite{off, slices.Clone(p[:n])})
	return n, err
}

// written returns data with p written at off.
func written(data, p []byte, off int64) []byte {
	if need := int(off) + len(p); need > len(data) {
		data = append(data, make([]byte, need-len(data))...)
	}
	copy(data[off:], p)
	return data
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if _, err := f.fs.enter("sync"); err != nil {
		f.writes = nil // the kernel takes them for clean from now on, and the disk has not got them
		return err
	}
	f.synced, f.writes = slices.Clone(f.data), nil
	return nil
}

func (f *memFile) Truncate(n int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.data = f.data[:n]
	return nil
}

func (f *memFile) Close() error { return nil }

func (f *memFile) size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), nil
}

// killed is the disk after the process was killed: what it wrote is there.
func (m *memFS) killed() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := newMemFS()
	for name, f := range m.names {
		out.put(name, f.data)
	}
	return out
}

// powerCut is the disk after a power cut: what was synced is there, and of the
// rest whatever the disk had come to, in parts and in any order.
func (m *memFS) powerCut(rng *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := m.kept
	if rng.IntN(2) == 0 {
		names = m.names // the folder had come to the disk too
	}
	out := newMemFS()
	for name, f := range names {
		data := slices.Clone(f.synced)
		for _, w := range f.writes {
			switch rng.IntN(3) {
			case 0:
				data = written(data, w.b, w.offset)
			case 1:
				data = written(data, w.b[:rng.IntN(len(w.b)+1)], w.offset)
			}
		}
		out.put(name, data)
	}
	return out
}

func (m *memFS) put(name string, data []byte) {
	f := &memFile{fs: m, data: slices.Clone(data), synced: slices.Clone(data)}
	m.names[name], m.kept[name] = f, f
}

// full fails calls from first on with "no space left", n calls long; writes get
// as far as half of a frame's head.
func full(first, n int, err error) func(int, string) (int, error) {
	return func(call int, what string) (int, error) {
		if call < first || call >= first+n {
			return 0, nil
		}
		return 11, err
	}
}

var errFull = syscall.ENOSPC
