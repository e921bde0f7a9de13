package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tetratelabs/wazero"
)

// openCache returns a cache on disk if its directory can be trusted, else one in
// memory.
func (e *Engine) openCache() wazero.CompilationCache {
	if e.cfg.CacheDir == "" {
		return wazero.NewCompilationCache()
	}
	err := ownDir(e.cfg.CacheDir)
	if err == nil {
		var c wazero.CompilationCache
		if c, err = wazero.NewCompilationCacheWithDir(e.cfg.CacheDir); err == nil {
			e.cacheDir = e.cfg.CacheDir
			return c
		}
	}
	e.log.Warn("compile cache on disk not used: plugins start slower", "dir", e.cfg.CacheDir, "err", err)
	return wazero.NewCompilationCache()
}

// mendCache reports whether compiling failed because of the cache on disk, so
// that another try may succeed. Code that cannot be read is removed; code that
// could not be written is in the engine's memory by now.
func (e *Engine) mendCache(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case strings.Contains(err.Error(), "compilationcache: "):
		e.log.Warn("compile cache on disk is damaged: emptied", "dir", e.cacheDir, "err", err)
		e.emptyCache()
	case errors.As(err, &path), errors.As(err, &link):
		e.log.Warn("compile cache on disk cannot be written", "dir", e.cacheDir, "err", err)
	default:
		return false
	}
	return true
}

func (e *Engine) emptyCache() {
	files, _ := filepath.Glob(filepath.Join(e.cacheDir, "wazero-*", "*")) // the pattern is well formed
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			e.log.Warn("compile cache on disk: remove damaged code", "file", f, "err", err)
		}
	}
}

// ownDir makes dir if it does not exist, and reports why it must not hold
// native code that this process will run: only this process's user may be able to
// write to it.
func ownDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch {
	case st.Mode()&fs.ModeSymlink != 0:
		return errors.New("it is a symbolic link")
	case !st.IsDir():
		return errors.New("it is no directory")
	case st.Mode().Perm() != 0o700:
		return fmt.Errorf("its mode is %#o, must be 0700", st.Mode().Perm())
	case !ownedByUs(st):
		return errors.New("it belongs to another user")
	}
	return nil
}
