package host

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Reload reads every plugin's module anew. A changed one is loaded aside and
// swapped in between two batches; when it is bad, the running generation stays
// and the result says why. Records are never without a plugin, and each is
// judged by exactly one generation.
func (h *Host) Reload(ctx context.Context) []ReloadResult {
	results := make([]ReloadResult, 0, len(h.plugins))
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		results = append(results, h.plugins[name].reload(ctx, h))
	}
	return results
}

// settleFor is how long a module file must be still before it is read: an
// editor or a compiler writes it in pieces.
const settleFor = 100 * time.Millisecond

// Watch reloads plugins whose module file, or source folder, changes, until ctx
// ends. It watches folders, so that a file that is replaced is seen too.
func (h *Host) Watch(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch module files: %w; set plugins.watch = false to do without", err)
	}
	defer w.Close()
	owners := h.watchAll(w)
	changed := map[*plugin]bool{}
	still := time.NewTimer(time.Hour)
	defer still.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, ok := <-w.Events:
			if !ok {
				return nil
			}
			for _, p := range ownersOf(owners, ev.Name) {
				changed[p] = true
				still.Reset(settleFor)
			}
		case err := <-w.Errors:
			h.log.Warn("watch module files", "error", err)
		case <-still.C:
			for p := range changed {
				p.reload(ctx, h)
			}
			clear(changed)
		}
	}
}

// watchAll adds what the plugins' modules consist of and returns whose each
// path is.
func (h *Host) watchAll(w *fsnotify.Watcher) map[string][]*plugin {
	owners := map[string][]*plugin{}
	for _, p := range h.plugins {
		for _, path := range p.module.Watch {
			path = filepath.Clean(path)
			owners[path] = append(owners[path], p)
			for _, dir := range []string{path, filepath.Dir(path)} {
				if err := w.Add(dir); err != nil {
					h.log.Warn("a module is not watched", "plugin", p.name, "path", dir, "error", err)
				}
			}
		}
	}
	return owners
}

// ownersOf finds the plugins that a changed path belongs to: the path itself,
// or its folder.
func ownersOf(owners map[string][]*plugin, path string) []*plugin {
	path = filepath.Clean(path)
	return append(slices.Clone(owners[path]), owners[filepath.Dir(path)]...)
}
