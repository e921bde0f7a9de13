package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klamm-io/klamm/internal/filelock"
)

// open locks the file, makes it where there is none, and reads it into memory.
func (f *file) open() error {
	if err := os.MkdirAll(filepath.Dir(f.o.Path), 0o700); err != nil {
		return fmt.Errorf("its folder cannot be made; name one that this user may write: %w", err)
	}
	if err := f.takeLock(); err != nil {
		return err
	}
	err := f.load()
	if err != nil {
		err = errors.Join(err, f.lock.Close())
	}
	return err
}

func (f *file) takeLock() error {
	lock, err := os.OpenFile(f.o.Path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("its lock cannot be made; name a file in a folder that this user may write: %w", err)
	}
	if err := filelock.Lock(lock); err != nil {
		lock.Close()
		if errors.Is(err, filelock.ErrLocked) {
			return errors.New("another process has it open; stop that one, or give each state and host a file of its own")
		}
		return err
	}
	f.lock = lock // it stays when the file goes: two files of one name could both be locked
	return nil
}

func (f *file) load() error {
	if err := f.o.fs.remove(f.newPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what an interrupted rewrite left: %w", err)
	}
	h, err := f.o.fs.open(f.o.Path, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return f.create()
	}
	if err != nil {
		return fmt.Errorf("%w; name a file that this user may write", err)
	}
	if err := f.read(h); err != nil {
		return errors.Join(err, h.Close())
	}
	return nil
}

func (f *file) newPath() string { return f.o.Path + ".new" }

func (f *file) head() fileHead { return fileHead{name: f.o.Name, scope: f.o.Scope, key: f.m.key} }

// create makes the file aside and renames it, so that one without a whole head
// never stands there.
func (f *file) create() error {
	f.m = newMemory(NewKey(), f.o.MaxEntries, f.o.MaxBytes)
	h, size, err := f.createNew()
	if err != nil {
		return err
	}
	if _, err := f.replace(h); err != nil {
		return errors.Join(err, h.Close())
	}
	f.w.handle, f.w.size, f.w.synced = h, size, size
	return nil
}

// createNew makes PATH.new with nothing but its head.
func (f *file) createNew() (fileHandle, int64, error) {
	h, err := f.o.fs.open(f.newPath(), os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, 0, fmt.Errorf("make %q: %w", f.newPath(), err)
	}
	start := append([]byte(fileMagic), newFrame().head(f.head()).seal(int64(len(fileMagic)), 0)...)
	if _, err := h.WriteAt(start, 0); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("write %q: %w", f.newPath(), err), h.Close())
	}
	return h, int64(len(start)), nil
}

// replace forces PATH.new to the disk and makes it the file. It may be that
// even with an error.
func (f *file) replace(h fileHandle) (renamed bool, err error) {
	if err := h.Sync(); err != nil {
		return false, fmt.Errorf("sync %q: %w", f.newPath(), err)
	}
	if err := f.o.fs.rename(f.newPath(), f.o.Path); err != nil {
		return false, fmt.Errorf("rename %q: %w", f.newPath(), err)
	}
	if err := f.o.fs.syncDir(f.o.Path); err != nil {
		return true, fmt.Errorf("sync its folder: %w", err)
	}
	return true, nil
}

// read fills memory from the file and cuts off what is no whole frame.
func (f *file) read(h fileHandle) error {
	size, err := h.size()
	if err != nil {
		return err
	}
	f.m = newMemory(Key{}, f.o.MaxEntries, f.o.MaxBytes)
	got, err := recoverFile(h, size, fileHead{name: f.o.Name, scope: f.o.Scope}, &restorer{m: f.m})
	if errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w; bring it back from a copy, or move it away to begin with an empty window, in which duplicates pass", err)
	}
	if err != nil {
		return err
	}
	f.m.key = got.head.key
	for _, b := range f.m.buckets { // counters count from now
		b.usage.Evictions, b.usage.Expired, b.usage.ValuesEvicted = 0, 0, 0
	}
	if got.cut > 0 {
		f.o.Logger.Warn("state file: its end is no whole frame and is cut off; ids of the last moments before a crash may be forgotten",
			"file", f.o.Path, "bytes", got.cut, "of", size)
		if err := h.Truncate(got.end); err != nil {
			return fmt.Errorf("cut off its end: %w", err)
		}
	}
	f.health.Cut = got.cut
	f.defined = len(f.m.origins)
	for f.m.count > f.m.max { // max_entries is less than it was
		f.m.remove(f.m.tail)
		f.gone++
	}
	f.w.handle, f.w.size = h, got.end
	return nil
}

// restorer puts back into memory what a file tells.
type restorer struct{ m *memory }

var (
	errOrigin = errors.New("an id or a value of an origin that was not named before")
	errGone   = errors.New("more ids went than there were")
)

func (r *restorer) origin(plugin, topic string) error {
	n := uint32(len(r.m.origins))
	if r.m.Bucket(plugin).(*memoryBucket).origin(topic) != n {
		return fmt.Errorf("the origin %q, %q is named twice", plugin, topic)
	}
	return nil
}

func (r *restorer) bucket(origin uint32) (*memoryBucket, error) {
	if int(origin) >= len(r.m.origins) {
		return nil, errOrigin
	}
	return r.m.origins[origin].bucket, nil
}

func (r *restorer) remember(origin uint32, id ID, partition int32, offset, expiresMS int64, gone int) error {
	b, err := r.bucket(origin)
	if err != nil {
		return err
	}
	if err := r.forget(id); err != nil {
		return err
	}
	e := r.m.add(&id)
	e.origin, e.partition, e.offset, e.expiresMS = origin, partition, offset, expiresMS
	b.usage.Entries++
	for ; gone > 0; gone-- {
		if r.m.empty() {
			return errGone
		}
		r.m.remove(r.m.tail)
	}
	return nil
}

func (r *restorer) forget(id ID) error {
	if slot := r.m.find(&id); slot != 0 {
		r.m.remove(slot)
	}
	return nil
}

func (r *restorer) put(origin uint32, key string, value []byte, expiresMS int64) error {
	b, err := r.bucket(origin)
	if err != nil {
		return err
	}
	err = b.Put([]byte(key), value, expiresMS, 0)
	if errors.Is(err, ErrValueTooLarge) { // max_bytes is less than it was
		return r.remove(origin, key)
	}
	return err
}

func (r *restorer) remove(origin uint32, key string) error {
	b, err := r.bucket(origin)
	if err != nil {
		return err
	}
	if v := b.values[key]; v != nil {
		r.m.values.remove(v)
	}
	return nil
}
