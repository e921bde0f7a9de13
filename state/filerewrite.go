package state

import (
	"errors"
	"fmt"
	"time"
)

// rewrite makes a new file of what memory holds, without what has gone, while
// the old one is written on. The ids are copied in slices, oldest first; when
// the newest is reached, what is remembered from then on goes to both files.
// The values follow, and then what came meanwhile. At last the new file takes
// the place of the old one.
type rewrite struct {
	f       *file
	handle  fileHandle
	size    int64
	ids     *walk
	values  []valueCopy
	tail    bool  // the newest id was reached
	backlog frame // operations since then, until the values are written
	buf     frame
	defined int
	written bool       // all is written
	syncing chan error // then
	err     error
	// mends: the old file cannot be written on. covers is the last batch that the
	// copy holds.
	mends  bool
	covers uint64
}

type valueCopy struct {
	origin uint32
	v      *value // its key, bytes and expiry never change
}

const (
	rewriteIDs   = 1024
	rewriteBytes = 256 << 10
	// What a frame takes for an id or a value, about.
	idBytes    = 40
	valueBytes = 32
)

// busy reports whether the rewrite has something to write.
func (r *rewrite) busy() bool { return !r.written }

// syncEnds is nil, on which nobody can receive, until there is a sync.
func (r *rewrite) syncEnds() <-chan error {
	if r == nil {
		return nil
	}
	return r.syncing
}

// compact takes a step of a rewrite, and begins one when more than half of the
// file is of what has gone.
func (w *writer) compact() {
	if w.rewrite == nil {
		w.f.mu.Lock()
		live := int64(w.f.m.count)*idBytes + w.f.m.values.bytes
		failing := w.f.failure != nil
		w.f.mu.Unlock()
		if failing || w.size <= 2*live+w.f.o.slack || time.Now().Before(w.patient) {
			return
		}
		if err := w.beginRewrite(); err != nil {
			w.rewriteFailed(err)
			return
		}
	}
	if w.rewrite.busy() {
		if err := w.stepRewrite(); err != nil {
			w.rewriteFailed(err)
		}
	}
}

func (w *writer) beginRewrite() error {
	h, size, err := w.f.createNew()
	if err != nil {
		return err
	}
	w.rewrite = &rewrite{f: w.f, handle: h, size: size, buf: newFrame()}
	w.f.mu.Lock()
	w.rewrite.ids = w.f.m.walk()
	w.f.mu.Unlock()
	return nil
}

// stepRewrite writes the next slice.
func (w *writer) stepRewrite() error {
	r := w.rewrite
	if !r.tail {
		b, n := w.copyIDs()
		switch {
		case r.mends:
			r.covers = max(r.covers, n)
		case b != nil:
			w.write(b, n, false)
		}
		if w.rewrite == nil {
			return nil // that failed, and ended this
		}
		return r.writeOut()
	}
	if r.err != nil {
		return r.err
	}
	if r.copyValues(); len(r.values) > 0 {
		return r.writeOut()
	}
	if err := r.writeOut(); err != nil {
		return err
	}
	r.buf, r.backlog = r.backlog, nil
	if err := r.writeOut(); err != nil {
		return err
	}
	r.written, r.syncing = true, make(chan error, 1)
	go func(done chan<- error) { done <- r.handle.Sync() }(r.syncing)
	return nil
}

// copyIDs copies the next ids. When the newest is reached it returns the
// operations that are in the copy and not yet in the old file.
func (w *writer) copyIDs() (frame, uint64) {
	f, r := w.f, w.rewrite
	f.mu.Lock()
	defer f.mu.Unlock()
	for range rewriteIDs {
		e := r.ids.step()
		if e == nil {
			return w.reachTail()
		}
		r.define(int(e.origin) + 1)
		r.buf = r.buf.remember(e.origin, e.id, e.partition, e.offset, e.expiresMS, 0)
	}
	return nil, 0
}

func (w *writer) reachTail() (frame, uint64) {
	f, r := w.f, w.rewrite
	r.ids.end()
	r.tail, r.ids = true, nil
	r.define(len(f.m.origins))
	for v := f.m.values.oldest; v != nil; v = v.next {
		r.values = append(r.values, valueCopy{v.bucket.origins[""], v})
	}
	r.backlog = newFrame()
	if f.defined < len(f.m.origins) {
		// An origin without an operation yet: the frame that names it must not name
		// it again in the new file.
		f.define()
	}
	if f.pending.empty() && !f.lost {
		return nil, 0
	}
	f.lost = false
	return w.take()
}

func (r *rewrite) define(n int) {
	for ; r.defined < n; r.defined++ {
		o := &r.f.m.origins[r.defined]
		r.buf = r.buf.origin(o.bucket.plugin, o.topic)
	}
}

func (r *rewrite) copyValues() {
	for len(r.values) > 0 && len(r.buf) < rewriteBytes {
		c := r.values[0]
		r.buf = r.buf.put(c.origin, c.v.key, c.v.bytes, c.v.expiresMS)
		r.values = r.values[1:]
	}
}

// writeOut writes buf as a frame.
func (r *rewrite) writeOut() error {
	if r.buf.empty() {
		return nil
	}
	if _, err := r.handle.WriteAt(r.buf.seal(r.size, 0), r.size); err != nil {
		return fmt.Errorf("write %q: %w", r.f.newPath(), err)
	}
	r.size += int64(len(r.buf))
	r.buf = r.buf[:frameHead]
	return nil
}

// tee takes a batch that was written to the old file. An error ends the rewrite
// with its next step.
func (r *rewrite) tee(b frame) {
	switch {
	case r.err != nil:
	case r.backlog != nil:
		r.backlog = append(r.backlog, b[frameHead:]...)
	default:
		r.buf = append(r.buf, b[frameHead:]...)
		r.err = r.writeOut()
	}
}

// rewriteSynced puts the new file in the place of the old one.
func (w *writer) rewriteSynced(err error) {
	r := w.rewrite
	r.syncing = nil
	if err == nil {
		err = r.err
	}
	renamed := false
	if err == nil {
		renamed, err = w.f.replace(r.handle) // it syncs what came since
	}
	if renamed {
		w.switchFile()
		w.spoilt = err != nil // a power cut may bring the old one back
	}
	if err != nil {
		w.rewriteFailed(err)
	}
}

// switchFile goes on with the new file.
func (w *writer) switchFile() {
	f, r := w.f, w.rewrite
	if w.syncing != nil { // of the old one: nobody needs it
		<-w.syncing
		w.syncing = nil
	}
	if err := w.handle.Close(); err != nil {
		f.o.Logger.Warn("state file: close the one that was replaced", "file", f.o.Path, "err", err)
	}
	f.o.Logger.Debug("state file: written anew", "file", f.o.Path, "bytes_before", w.size, "bytes", r.size)
	w.handle, w.size, w.synced = r.handle, r.size, r.size
	w.rewrite = nil
	f.mu.Lock()
	f.health.Rewrites++
	f.mu.Unlock()
	w.publish()
}

// rewriteFailed ends a rewrite. The old file stays as it is.
func (w *writer) rewriteFailed(err error) {
	w.dropRewrite()
	w.patient = time.Now().Add(10 * w.f.o.retry)
	w.f.mu.Lock()
	w.f.health.Failures++
	w.f.mu.Unlock()
	w.f.o.Logger.Warn("state file: not written anew; the old one is written on", "file", w.f.o.Path, "err", err)
}

// dropRewrite gives a rewrite up, if there is one.
func (w *writer) dropRewrite() {
	r := w.rewrite
	if r == nil {
		return
	}
	w.rewrite = nil
	w.f.mu.Lock()
	if r.ids != nil {
		r.ids.end()
	}
	w.f.mu.Unlock()
	if r.syncing != nil {
		<-r.syncing
	}
	if err := errors.Join(r.handle.Close(), w.f.o.fs.remove(w.f.newPath())); err != nil {
		w.f.o.Logger.Debug("state file: remove what a rewrite left", "file", w.f.newPath(), "err", err)
	}
}

// mend writes the file anew in one go: the old one cannot be written on, since
// operations were given up or a sync was refused.
func (w *writer) mend() {
	w.dropRewrite()
	err := w.beginRewrite()
	if err == nil {
		w.rewrite.mends = true
		for err == nil && !w.rewrite.written {
			err = w.stepRewrite()
		}
	}
	if err == nil {
		err = <-w.rewrite.syncing
		w.rewrite.syncing = nil
	}
	renamed := false
	if err == nil {
		renamed, err = w.f.replace(w.rewrite.handle)
	}
	if renamed {
		n := w.rewrite.covers
		w.switchFile()
		if w.spoilt = err != nil; !w.spoilt {
			w.succeeded(n)
			return
		}
	}
	w.dropRewrite()
	w.f.mu.Lock()
	w.f.giveUp() // what came since the copy is in memory too
	w.f.mu.Unlock()
	w.failed(nil, w.unavailable("write anew", err))
}
