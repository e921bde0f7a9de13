package host

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watchedModules are modules of a host without brokers, in a folder that is the
// working directory, with a watcher.
type watchedModules struct {
	*testing.T
	h   *Host
	w   *watcher
	dir string
	log bytes.Buffer // to be read by whoever calls renew, or after run
}

// watchModules writes module files and loads each plugin from the path given.
func watchModules(t *testing.T, files []string, plugins map[string]string) *watchedModules {
	m := &watchedModules{T: t, dir: t.TempDir()}
	wasm, err := os.ReadFile("testdata/version/version.wasm")
	m.must(err)
	t.Chdir(m.dir)
	for _, file := range files {
		m.must(os.MkdirAll(filepath.Dir(file), 0o755))
		m.must(os.WriteFile(file, wasm, 0o644))
	}
	cfg := Config{Plugins: PluginsConfig{CacheDir: "cache"}, Plugin: map[string]PluginConfig{}}
	for name, path := range plugins {
		cfg.Plugin[name] = PluginConfig{Module: strings.ReplaceAll(path, "DIR", m.dir), Timeout: Duration(10 * time.Second)}
	}
	m.h, err = Load(t.Context(), cfg, ".", WithLogger(slog.New(slog.NewTextHandler(&m.log, nil))))
	m.must(err)
	t.Cleanup(func() { m.must(m.h.Close(context.Background())) })
	m.w, err = newWatcher(m.h)
	m.must(err)
	t.Cleanup(m.w.close)
	return m
}

// start runs the watcher until the test ends.
func (m *watchedModules) start() {
	var running sync.WaitGroup
	running.Go(func() { m.w.run(m.Context()) })
	m.Cleanup(running.Wait)
}

func (m *watchedModules) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// change makes the file another module that does the same.
func (m *watchedModules) change(path string) {
	m.Helper()
	wasm, err := os.ReadFile(path)
	m.must(err)
	customSection := []byte{0, 2, 1, 'x'}
	m.must(os.WriteFile(path, append(wasm, customSection...), 0o644))
}

func (m *watchedModules) loaded(plugin string, generation int) {
	m.Helper()
	for deadline := time.Now().Add(time.Minute); m.h.Stats().Plugins[plugin].Generation < generation; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.Fatalf("%s: no generation %d; %+v", plugin, generation, m.h.Stats().Plugins[plugin])
		}
	}
}

// TestWatchOneFolderOfTwoNames: plugins that name one file differently are told
// alike.
func TestWatchOneFolderOfTwoNames(t *testing.T) {
	m := watchModules(t, []string{"v.wasm"}, map[string]string{"relative": "v.wasm", "absolute": "DIR/v.wasm"})
	m.start()
	for generation := 2; generation < 4; generation++ {
		m.change("v.wasm")
		m.loaded("relative", generation)
		m.loaded("absolute", generation)
	}
}

// TestWatchAfterOverflow: when the kernel says that it told not everything,
// every module is read.
func TestWatchAfterOverflow(t *testing.T) {
	m := watchModules(t, []string{"a.wasm", "b/b.wasm"}, map[string]string{"a": "a.wasm", "b": "b/b.wasm"})
	m.start()
	m.change("a.wasm")
	m.loaded("a", 2)
	for _, path := range m.w.fs.WatchList() {
		m.must(m.w.fs.Remove(path))
	}
	m.change("a.wasm")
	m.change("b/b.wasm")
	m.w.fs.Errors <- fsnotify.ErrEventOverflow
	m.loaded("a", 3)
	m.loaded("b", 2)
}

// TestWatchTellsOnce: what cannot be watched is told once.
func TestWatchTellsOnce(t *testing.T) {
	m := watchModules(t, []string{"v.wasm"}, map[string]string{"v": "v.wasm"})
	m.must(os.Remove("v.wasm"))
	m.must(os.Symlink(filepath.Join(strings.Repeat("x", 300), "v.wasm"), "v.wasm")) // too long a name
	m.w.renew()
	told := strings.Count(m.log.String(), "not watched")
	m.w.renew()
	if again := strings.Count(m.log.String(), "not watched"); told == 0 || again != told {
		t.Errorf("told %d times, then %d: %s", told, again, &m.log)
	}
}

// TestWatchAFileThatBecomesAnother: a name whose file is another plugin's now,
// and which nothing leads to later.
func TestWatchAFileThatBecomesAnother(t *testing.T) {
	m := watchModules(t, []string{"a.wasm", "1/b.wasm", "2/b.wasm"}, map[string]string{"a": "a.wasm", "b": "1/b.wasm"})
	m.must(os.Rename("1", "0"))
	m.must(os.Symlink("0", "1"))
	m.w.renew()
	m.must(os.Link("0/b.wasm", "0/kept")) // it stays: the kernel does not say that it went
	m.must(os.Remove("0/b.wasm"))
	m.must(os.Link("a.wasm", "0/b.wasm"))
	m.w.renew()
	m.must(os.Remove("1"))
	m.must(os.Symlink("2", "1"))
	m.w.renew()
	m.start()
	m.change("a.wasm")
	m.change("2/b.wasm")
	m.loaded("a", 2)
	m.loaded("b", 2)
}
