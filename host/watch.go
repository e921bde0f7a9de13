package host

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleFor is how long a module file must be still before it is read: an
// editor or a compiler writes it in pieces.
const settleFor = 100 * time.Millisecond

// Watch reloads plugins whose module file, or source folder, changes, until ctx
// ends. It watches folders, so that a file that is replaced is seen too, and
// follows symbolic links, as a ConfigMap's that are pointed elsewhere. What
// changed since the plugins were loaded is loaded at once.
func (h *Host) Watch(ctx context.Context) error {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch module files: %w; set plugins.watch = false to do without", err)
	}
	defer fs.Close()
	w := &watcher{h: h, fs: fs}
	w.renew()
	h.Reload(ctx)
	changed := map[*plugin]bool{}
	still := time.NewTimer(time.Hour)
	defer still.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, ok := <-fs.Events:
			if !ok {
				return nil
			}
			for _, p := range w.ownersOf(ev.Name) {
				changed[p] = true
				still.Reset(settleFor)
			}
		case err := <-fs.Errors:
			h.log.Warn("watch module files", "error", err)
		case <-still.C:
			w.renew() // first: a change after it is told, one before it is read
			for p := range changed {
				p.reload(ctx, h)
			}
			clear(changed)
		}
	}
}

// watcher knows whose module a changed path belongs to. It belongs to one
// goroutine.
type watcher struct {
	h      *Host
	fs     *fsnotify.Watcher
	owners map[string][]*plugin
}

// renew watches what the plugins' modules consist of now: links may lead to
// other places than before, and what was removed is watched no more.
func (w *watcher) renew() {
	w.owners = map[string][]*plugin{}
	watched := map[string]bool{}
	for _, p := range w.h.plugins {
		for _, path := range p.watched() {
			for _, place := range trail(path) {
				w.owners[place] = append(w.owners[place], p)
				w.add(p, filepath.Dir(place), watched)
				if info, err := os.Lstat(place); err == nil && info.IsDir() {
					w.add(p, place, watched)
				}
			}
		}
	}
	for _, dir := range w.fs.WatchList() {
		if !watched[dir] {
			_ = w.fs.Remove(dir) // it may be gone
		}
	}
}

func (w *watcher) add(p *plugin, dir string, watched map[string]bool) {
	if watched[dir] {
		return
	}
	watched[dir] = true
	if err := w.fs.Add(dir); err != nil {
		w.h.log.Warn("a module is not watched", "plugin", p.name, "path", dir, "error", err)
	}
}

// ownersOf finds the plugins that a changed path belongs to: the path itself,
// or its folder.
func (w *watcher) ownersOf(path string) []*plugin {
	path = filepath.Clean(path)
	return append(slices.Clone(w.owners[path]), w.owners[filepath.Dir(path)]...)
}

// watched are the files and folders of the plugin's module.
func (p *plugin) watched() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.module.Watch
}

// maxLinks is how many links are followed, as by Linux.
const maxLinks = 40

// trail returns the places whose change makes path another file: every symbolic
// link on the way to it, and where the last one leads.
func trail(path string) []string {
	path = filepath.Clean(path)
	places := map[string]bool{}
	for range maxLinks {
		link, rest, ok := firstLink(path)
		if !ok {
			break
		}
		places[link] = true
		to, err := os.Readlink(link)
		if err != nil {
			break // it is gone meanwhile; its folder is watched
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(link), to)
		}
		path = filepath.Join(to, rest)
	}
	places[path] = true
	return slices.Sorted(maps.Keys(places))
}

// firstLink finds the first symbolic link in path, and what follows it.
func firstLink(path string) (link, rest string, ok bool) {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != filepath.Separator {
			continue
		}
		if info, err := os.Lstat(path[:i]); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return path[:i], strings.TrimPrefix(path[i:], string(filepath.Separator)), true
		}
	}
	return "", "", false
}
