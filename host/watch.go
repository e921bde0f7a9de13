package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleFor is how long a module file must be still before it is read: an
// editor or a compiler writes it in pieces.
const settleFor = 100 * time.Millisecond

// Watch reloads plugins whose module file, or source folder, changes, until ctx
// ends. It watches folders too, so that a file or a folder that is replaced, or
// comes back, is seen, and follows symbolic links, as a ConfigMap's that are
// pointed elsewhere. What changed since the plugins were loaded is loaded at
// once.
func (h *Host) Watch(ctx context.Context) error {
	w, err := newWatcher(h)
	if err != nil {
		return fmt.Errorf("watch module files: %w; set plugins.watch = false to do without", err)
	}
	defer w.close()
	w.run(ctx)
	return nil
}

// watcher knows whose module a changed path belongs to. It belongs to one
// goroutine.
type watcher struct {
	h  *Host
	fs *fsnotify.Watcher
	// owners are whom a change of exactly this path concerns; inside, one of
	// what a folder holds.
	owners, inside map[string][]*plugin
	seen           map[string]os.FileInfo // what was there when it was watched
	warned         map[string]bool
	missed         chan struct{} // changes were lost
	errors         sync.WaitGroup
}

func newWatcher(h *Host) (*watcher, error) {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &watcher{
		h: h, fs: fs, seen: map[string]os.FileInfo{}, warned: map[string]bool{}, missed: make(chan struct{}, 1),
	}
	w.errors.Go(w.hear)
	return w, nil
}

func (w *watcher) close() {
	w.fs.Close()
	w.errors.Wait()
}

// hear takes the errors of the file system. It is a goroutine of its own: some
// are sent while a lock is held that Add waits for.
func (w *watcher) hear() {
	for err := range w.fs.Errors {
		w.h.log.Warn("watch module files", "error", err)
		if errors.Is(err, fsnotify.ErrEventOverflow) {
			select {
			case w.missed <- struct{}{}:
			default: // it is told already
			}
		}
	}
}

func (w *watcher) run(ctx context.Context) {
	changed := map[*plugin]bool{}
	all := func() {
		for _, p := range w.h.plugins {
			changed[p] = true
		}
	}
	all()
	still := time.NewTimer(0)
	defer still.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case ev, ok := <-w.fs.Events:
			if !ok {
				return
			}
			for _, p := range w.ownersOf(ev.Name) {
				changed[p] = true
				still.Reset(settleFor)
			}
		case <-w.missed:
			all()
			still.Reset(settleFor)
		case <-still.C:
			w.renew() // first: a change after it is told, one before it is read
			for p := range changed {
				if w.reload(ctx, p) {
					delete(changed, p)
				}
			}
			if len(changed) > 0 {
				still.Reset(settleFor)
			}
		}
	}
}

// reload says whether all that the module consists of now was watched when it
// was read: a source may have a folder more than before.
func (w *watcher) reload(ctx context.Context, p *plugin) bool {
	before := p.watched()
	p.reload(ctx, w.h)
	return slices.Equal(before, p.watched())
}

// renew watches what the plugins' modules consist of now: links may lead to
// other places than before, and what was removed is watched no more.
func (w *watcher) renew() {
	w.watchAll()
	forgot := false
	for _, path := range w.fs.WatchList() {
		if w.owners[path] == nil {
			_ = w.fs.Remove(path) // it may be gone
			delete(w.seen, path)
			forgot = true
		}
	}
	if forgot {
		w.watchAll() // a file of two names was forgotten with the one
	}
}

func (w *watcher) watchAll() {
	w.owners, w.inside = map[string][]*plugin{}, map[string][]*plugin{}
	for _, p := range w.h.plugins {
		for _, path := range p.watched() {
			// One folder has one name: its changes are told by the first.
			if abs, err := filepath.Abs(path); err == nil {
				path = abs
			}
			for _, place := range trail(path) {
				w.inside[place] = append(w.inside[place], p)
				w.watch(p, place)
				w.watch(p, filepath.Dir(place))
			}
		}
	}
}

// watch has p told when path goes, is moved away, or comes: while it is missing
// by the folder above. A file is watched beside its folder, which is not told
// what is written by another of its names: a hard link, a mount.
func (w *watcher) watch(p *plugin, path string) {
	w.owners[path] = append(w.owners[path], p)
	err := w.add(path)
	for missing(err) && path != filepath.Dir(path) {
		w.watch(p, filepath.Dir(path))
		if _, err := os.Lstat(path); err != nil {
			return
		}
		err = w.add(path) // it came before the folder above was watched
	}
	if err != nil && !w.warned[path] {
		w.warned[path] = true
		w.h.log.Warn("not watched: a change here on the way to a module may be seen only by the next reload",
			"plugin", p.name, "path", path, "error", err)
	}
}

func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// add watches a file or a folder, and no link: that would watch where it leads
// by the link's name.
func (w *watcher) add(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSymlink != 0 {
		return err
	}
	// fsnotify does not follow a name to a file that it knows by another one,
	// and panics when the name is removed.
	if was := w.seen[path]; was != nil && !os.SameFile(was, info) {
		_ = w.fs.Remove(path) // it may be gone
	}
	w.seen[path] = info
	return w.fs.Add(path)
}

// ownersOf finds the plugins that a changed path concerns.
func (w *watcher) ownersOf(path string) []*plugin {
	path = filepath.Clean(path)
	return slices.Concat(w.owners[path], w.inside[filepath.Dir(path)])
}

// watched are the files and folders of the plugin's module.
func (p *plugin) watched() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.module.Watch
}
