package host_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klamm-io/klamm/host"
)

// TestWatchFollowsLinks: a module file is told to have changed however it is
// replaced, a link on the way to it included, more than once.
func TestWatchFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(n int, path string) {
		t.Helper()
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, version(t, n), 0o644))
	}
	// As Kubernetes has it: v.wasm -> ..data/v.wasm, ..data -> a folder.
	point := func(folder string) {
		t.Helper()
		must(os.Symlink(folder, at("..next")))
		must(os.Rename(at("..next"), at("..data")))
	}
	write(0, at("..0/v.wasm"))
	point("..0")
	must(os.Symlink("..data/v.wasm", at("v.wasm")))

	b := startBroker(t, 1, "t")
	h := newHost(t, b, host.Config{
		Plugins: host.PluginsConfig{CacheDir: at("cache")},
		Plugin:  map[string]host.PluginConfig{"v": {Module: at("v.wasm"), Timeout: host.Duration(10 * time.Second)}},
		Chain:   map[string]host.ChainConfig{"c": {Topics: []string{"t"}, OnSend: []string{"v"}}},
	})
	ctx, stop := context.WithCancel(t.Context())
	watching := make(chan error, 1)
	go func() { watching <- h.Watch(ctx) }()
	generation := h.Stats().Plugins["v"].Generation
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"the folder's link leads elsewhere", func() { write(1, at("..1/v.wasm")); point("..1") }},
		{"again", func() { write(2, at("..2/v.wasm")); point("..2") }},
		{"the former folder goes", func() { must(os.RemoveAll(at("..1"))); write(3, at("..3/v.wasm")); point("..3") }},
		{"written where the link leads", func() { write(4, at("..3/v.wasm")) }},
		{"replaced where the link leads", func() { write(5, at("next")); must(os.Rename(at("next"), at("..3/v.wasm"))) }},
		{"the link is replaced by a file", func() { write(6, at("next")); must(os.Rename(at("next"), at("v.wasm"))) }},
		{"the file is removed and comes back", func() { must(os.Remove(at("v.wasm"))); write(7, at("v.wasm")) }},
	} {
		step.do()
		for deadline := time.Now().Add(time.Minute); h.Stats().Plugins["v"].Generation == generation; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not seen; %+v", step.name, h.Stats().Plugins["v"])
			}
		}
		generation = h.Stats().Plugins["v"].Generation
	}
	stop()
	must(<-watching)
}
