package state

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// writer is the goroutine behind a file. What it shares with the callers is
// under the file's mutex; its own fields are its own.
type writer struct {
	f       *file
	eager   chan struct{} // write now
	lazy    chan struct{} // write soon
	stop    chan struct{}
	stopped chan error

	handle  fileHandle
	size    int64 // of frames that were written
	synced  int64 // of them, known to be on the disk
	syncing chan error
	syncTo  int64
	next    time.Time // of the next sync
	retry   time.Time // not before, after a failure
	// spoilt: the disk did not take a sync, so nobody knows what of the file it
	// has. Only a new file mends that.
	spoilt  bool
	rewrite *rewrite
	patient time.Time // no rewrite before, after one that failed
	spare   frame
}

func (w *writer) start(f *file) {
	w.f = f
	w.eager, w.lazy = make(chan struct{}, 1), make(chan struct{}, 1)
	w.stop, w.stopped = make(chan struct{}), make(chan error, 1)
	w.publish()
	go w.run()
}

func (w *writer) wake()     { poke(w.eager) }
func (w *writer) wakeSoon() { poke(w.lazy) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (w *writer) close() error {
	close(w.stop)
	return <-w.stopped
}

func (w *writer) run() {
	for w.wait() {
		w.work()
	}
	w.stopped <- w.finish()
}

// wait returns when there is something to do, false when it is to stop.
func (w *writer) wait() bool {
	if w.rewrite != nil && w.rewrite.busy() {
		select {
		case <-w.stop:
			return false
		default:
			return true
		}
	}
	var timer <-chan time.Time
	if at := w.due(); !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-w.stop:
		return false
	case <-w.eager:
	case <-timer:
	case err := <-w.syncing:
		w.syncEnded(err)
	case err := <-w.rewrite.syncEnds():
		w.rewriteSynced(err)
	case <-w.lazy:
		return w.linger()
	}
	return true
}

// linger waits for more operations, or for somebody who waits for them.
func (w *writer) linger() bool {
	t := time.NewTimer(lazyWrite)
	defer t.Stop()
	select {
	case <-w.stop:
		return false
	case <-w.eager:
	case <-t.C:
	}
	return true
}

// due is when something is to be done unasked, zero for never.
func (w *writer) due() time.Time {
	if !w.retry.IsZero() {
		return w.retry
	}
	if w.syncing == nil && w.synced < w.size {
		return w.next
	}
	return time.Time{}
}

func (w *writer) work() {
	if now := time.Now(); now.Before(w.retry) {
		return
	}
	w.f.mu.Lock()
	lost := w.f.lost
	w.f.mu.Unlock()
	if lost || w.spoilt {
		w.mend()
		return
	}
	w.commit()
	w.sync()
	w.compact()
}

// take returns the operations that wait, and their batch's number. It is called
// under the file's mutex.
func (w *writer) take() (frame, uint64) {
	f := w.f
	b, n := f.pending, f.batch
	f.pending = w.spare
	if f.pending == nil {
		f.pending = newFrame()
	}
	w.spare = nil
	f.batch++
	return b, n
}

// commit writes what waits as one frame.
func (w *writer) commit() {
	f := w.f
	f.mu.Lock()
	if f.pending.empty() {
		f.mu.Unlock()
		w.retry = time.Time{}
		return
	}
	b, n := w.take()
	f.mu.Unlock()
	w.write(b, n, w.rewrite != nil && w.rewrite.tail)
}

// write writes a batch, also to the new file where that has all before it.
func (w *writer) write(b frame, n uint64, tee bool) {
	err := w.append(b)
	if err != nil {
		w.failed(b, err)
		return
	}
	if tee {
		w.rewrite.tee(b)
	}
	if cap(b) <= 4*eagerWrite {
		w.spare = b[:frameHead]
	}
	w.succeeded(n)
}

func (w *writer) append(b frame) error {
	// A frame that was written in part is written over. What is left of it behind
	// a shorter one is no frame: the offset is in the checksum.
	if _, err := w.handle.WriteAt(b.seal(w.size, w.synced), w.size); err != nil {
		return w.unavailable("write", err)
	}
	end := w.size + int64(len(b))
	if w.f.o.SyncInterval <= 0 {
		if err := w.handle.Sync(); err != nil {
			w.spoilt = true
			return w.unavailable("sync", err)
		}
		w.synced = end
	}
	w.size = end
	return nil
}

func (w *writer) unavailable(what string, err error) error {
	free := ""
	if n := diskFree(filepath.Dir(w.f.o.Path)); n >= 0 {
		free = fmt.Sprintf(" (%d bytes are free)", n)
	}
	return fmt.Errorf("state file %q: %w: %s: %w%s: mend the disk, or set on_unavailable = \"pass\"", w.f.o.Path, ErrUnavailable, what, err, free)
}

// succeeded tells that all batches up to n are safe.
func (w *writer) succeeded(n uint64) {
	f := w.f
	f.mu.Lock()
	mended := f.failure != nil
	f.done, f.failure = max(f.done, n), nil
	w.tell()
	f.mu.Unlock()
	w.retry = time.Time{}
	if w.next.IsZero() || w.synced == w.size {
		w.next = time.Now().Add(w.f.o.SyncInterval)
	}
	w.publish()
	if mended {
		f.o.Logger.Info("state file: written again", "file", f.o.Path)
	}
}

// tell wakes who waits for a change. It is called under the file's mutex.
func (w *writer) tell() {
	close(w.f.turn)
	w.f.turn = make(chan struct{})
}

// failed puts a batch back, to be written later with what has come since.
func (w *writer) failed(b frame, err error) {
	f := w.f
	f.mu.Lock()
	first := f.failure == nil
	f.failure = err
	f.health.Failures++
	if b != nil && !f.lost {
		f.pending = append(b, f.pending[frameHead:]...)
		if len(f.pending) > backlogMax {
			f.giveUp()
		}
	}
	w.tell()
	f.mu.Unlock()
	w.dropRewrite() // its tail has no end any more
	w.retry = time.Now().Add(f.o.retry)
	if first {
		f.o.Logger.Error("state file: not written", "file", f.o.Path, "err", err, "on_unavailable_pass", f.o.Pass)
	}
}

func (w *writer) publish() {
	w.f.mu.Lock()
	w.f.health.Size, w.f.health.Synced = w.size, w.synced
	w.f.mu.Unlock()
}

// sync starts to force what was written to the disk, beside the writing.
func (w *writer) sync() {
	if w.syncing != nil || w.synced >= w.size || time.Now().Before(w.next) {
		return
	}
	w.syncing, w.syncTo = make(chan error, 1), w.size
	go func(h fileHandle, done chan<- error) { done <- h.Sync() }(w.handle, w.syncing)
}

func (w *writer) syncEnded(err error) {
	w.syncing = nil
	w.next = time.Now().Add(w.f.o.SyncInterval)
	if err != nil {
		w.spoilt = true
		w.failed(nil, w.unavailable("sync", err))
		return
	}
	w.synced = w.syncTo
	w.publish()
}

// awaitSync waits for a sync that is under way.
func (w *writer) awaitSync() {
	if w.syncing != nil {
		w.syncEnded(<-w.syncing)
	}
}

// finish writes all, marks the file as whole and closes it.
func (w *writer) finish() error {
	f := w.f
	w.dropRewrite()
	w.awaitSync()
	w.retry = time.Time{}
	w.work()
	w.dropRewrite()
	w.awaitSync()
	f.mu.Lock()
	err := f.failure
	w.tell()
	f.mu.Unlock()
	if err == nil {
		err = w.mark()
	}
	return errors.Join(err, w.handle.Close(), f.lock.Close())
}

// mark forces the file to the disk and says so in a frame without operations,
// so that damage in all before it is told from an interrupted write.
func (w *writer) mark() error {
	if err := w.handle.Sync(); err != nil {
		return w.unavailable("sync", err)
	}
	w.synced = w.size
	if _, err := w.handle.WriteAt(newFrame().seal(w.size, w.synced), w.size); err != nil {
		return w.unavailable("write", err)
	}
	if err := w.handle.Sync(); err != nil {
		return w.unavailable("sync", err)
	}
	return nil
}
