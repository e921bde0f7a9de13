package host_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

// version is the module with another number in its text.
func version(t testing.TB, n int) []byte {
	t.Helper()
	wasm, err := os.ReadFile("testdata/version/version.wasm")
	if err != nil {
		t.Fatal(err)
	}
	old := []byte("version 0000")
	if bytes.Count(wasm, old) != 1 {
		t.Fatal("the module does not have its text once")
	}
	return bytes.Replace(wasm, old, fmt.Appendf(nil, "version %04d", n), 1)
}

// number reads what version wrote.
func number(text string) int {
	n := -1
	if _, after, ok := strings.Cut(text, "version "); ok {
		fmt.Sscanf(after, "%d", &n)
	}
	return n
}

func deploy(t testing.TB, h *host.Host, wasm []byte) {
	t.Helper()
	if _, err := h.Deploy(context.Background(), "v", wasm, nil); err != nil {
		t.Fatal(err)
	}
}

// The last good version comes back at once, and again after another one.
func TestRollbackToTheLastGoodVersion(t *testing.T) {
	b := startBroker(t, 1, "t")
	h := newHost(t, b, host.Config{
		Plugins: host.PluginsConfig{CacheDir: filepath.Join(t.TempDir(), "cache")},
		Plugin:  map[string]host.PluginConfig{"v": {Module: "testdata/version/version.wasm", Timeout: host.Duration(10 * time.Second)}},
		Chain:   map[string]host.ChainConfig{"c": {Topics: []string{"t"}, OnSend: []string{"v"}}},
	})
	p := producerOf(t, h)
	judgedBy := func(want int) {
		t.Helper()
		r, err := p.Send(within(t), &klamm.Record{Topic: "t", Key: []byte("k")})
		if err != nil || number(r.Reason) != want {
			t.Fatalf("judged by %q (%v), want version %d", r.Reason, err, want)
		}
	}
	judgedBy(0)
	deploy(t, h, version(t, 1))
	judgedBy(1)
	if _, err := h.Deploy(within(t), "v", version(t, 2)[:200], nil); err == nil {
		t.Error("half a module was deployed")
	}
	judgedBy(1)
	if _, err := h.Rollback(within(t), "v"); err != nil {
		t.Fatal(err)
	}
	judgedBy(0)
	deploy(t, h, version(t, 3))
	judgedBy(3)
	if _, err := h.Rollback(within(t), "v"); err != nil {
		t.Fatal(err)
	}
	judgedBy(0)
}
