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
	stats := func() host.PluginStats { return h.Stats().Plugins["v"] }
	until := func(what string, seen func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !seen(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not seen; %+v", what, stats())
			}
		}
	}
	lead := func(to string) {
		t.Helper()
		must(os.Symlink(to, at("next")))
		must(os.Rename(at("next"), at("v.wasm")))
	}
	gone := func() { t.Helper(); until("gone", func() bool { return stats().LastError != "" }) }
	generation := stats().Generation
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
		{"the file is replaced by a link", func() { write(8, at("top/mod/v.wasm")); lead("top/mod/v.wasm") }},
		{"the folder is replaced", func() {
			write(9, at("top/new/v.wasm"))
			must(os.Rename(at("top/mod"), at("top/old")))
			must(os.Rename(at("top/new"), at("top/mod")))
		}},
		{"written in the new folder", func() { write(10, at("top/mod/v.wasm")) }},
		{"the folder is removed and comes back", func() { must(os.RemoveAll(at("top/mod"))); gone(); write(11, at("top/mod/v.wasm")) }},
		{"two folders are removed and come back", func() { must(os.RemoveAll(at("top"))); gone(); write(12, at("top/mod/v.wasm")) }},
		{"the link is there before its file", func() { lead("later/v.wasm"); gone(); write(13, at("later/v.wasm")) }},
		{"the file has another name", func() {
			write(14, at("other/name"))
			must(os.Link(at("other/name"), at("later/link.wasm")))
			lead("later/link.wasm")
		}},
		{"written by its other name", func() { write(15, at("other/name")) }},
	} {
		step.do()
		until(step.name, func() bool { return stats().Generation != generation })
		generation = stats().Generation
	}
	stop()
	must(<-watching)
}
