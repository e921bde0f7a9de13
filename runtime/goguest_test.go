package runtime

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// goGuest builds testdata/goguest, once.
var goGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "goguest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-w", "-o", out, "./testdata/goguest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(err.Error() + ": " + string(msg))
	}
	return os.ReadFile(out)
})

// goSeat is a seat at the Go guest. The compile cache is shared by its tests.
func goSeat(t *testing.T, cfg PluginConfig, h Host) *Seat {
	t.Helper()
	if testing.Short() {
		t.Skip("not in the short form: it builds a plugin with the Go toolchain")
	}
	wasm, err := goGuest()
	if err != nil {
		t.Fatal(err)
	}
	e := engineOf(t, EngineConfig{CacheDir: goCache(t)})
	cfg.Name, cfg.Grants = "go", GrantAll
	p := e.NewPlugin(cfg)
	t.Cleanup(func() { p.Close(context.Background()) })
	if err := p.Load(context.Background(), wasm); err != nil {
		t.Fatal(err)
	}
	return sit(t, p, h)
}

var goCacheDir string

func goCache(t *testing.T) string {
	t.Helper()
	if goCacheDir == "" {
		dir, err := os.MkdirTemp("", "klamm-cache")
		if err != nil {
			t.Fatal(err)
		}
		goCacheDir = dir
	}
	return goCacheDir
}

// withKeys is a block of records with these keys.
func withKeys(keys ...string) *Block {
	b := new(Block)
	b.Reset(everyField, 1, false)
	topic := b.AddTopic("t", 1, 1, nil, nil)
	for _, k := range keys {
		b.Add(Head{Topic: topic, Key: []byte(k), Value: []byte("value")})
	}
	return b
}

func TestGoGuestWorks(t *testing.T) {
	h := newFakeHost()
	s := goSeat(t, PluginConfig{Timeout: 10 * time.Second, Config: []byte(`{"greeting":"hi"}`)}, h)
	v := judge(t, s, abi.OnSend, withKeys("a", "header", "upper", "print"))
	if codes(v) != "0430" || string(v.At(2).Value) != "VALUE" {
		t.Errorf("got %s, %q", codes(v), v.At(2).Value)
	}
	if e := v.At(1).Edits; len(e) != 1 || e[0].Op != abi.OpAddHeader || string(e[0].Key) != "greeting" || string(e[0].Value) != "hi" {
		t.Errorf("edits %v", e)
	}
	if h.counts[100] != 4 || !contains(h.logs, "1 hi") {
		t.Errorf("counts %v, logs %q", h.counts, h.logs)
	}
}

func TestGoGuestFaults(t *testing.T) {
	s := goSeat(t, PluginConfig{Timeout: 200 * time.Millisecond, MemoryMax: 24 << 20}, newFakeHost())
	for key, want := range map[string]string{
		"panic": "trap: unreachable: panic: record 1",
		"exit":  "proc_exit(3)",
		"spin":  "deadline of 200ms exceeded",
		"sleep": "deadline of 200ms exceeded",
		"hoard": "out of memory",
	} {
		_, err := s.Judge(context.Background(), abi.OnSend, withKeys("a", key))
		if !IsFault(err) {
			t.Errorf("%s: %v is no fault", key, err)
		}
		wantProblem(t, err, want)
	}
	s.p.cfg.Timeout = 10 * time.Second
	if v := judge(t, s, abi.OnSend, withKeys("a", "upper")); codes(v) != "03" {
		t.Errorf("after the faults got %s", codes(v))
	}
}

// Edits of 3 MB come in the end, by as many calls as it takes, and garbage of
// many times the memory's size is collected.
func TestGoGuestWithLargeEdits(t *testing.T) {
	h := newFakeHost()
	s := goSeat(t, PluginConfig{Timeout: 20 * time.Second, MemoryMax: 32 << 20}, h)
	keys := strings.Split(strings.TrimSuffix(strings.Repeat("grow,", 30), ","), ",")
	done := 0
	for done < len(keys) {
		v := judge(t, s, abi.OnSend, withKeys(keys[done:]...))
		if v.Len() == 0 {
			t.Fatal("no verdict")
		}
		for i := range v.Len() {
			if e := v.At(i).Edits; len(e) != 1 || len(e[0].Value) != 100_000 {
				t.Fatalf("record %d: %d edits", done+i, len(e))
			}
		}
		done += v.Len()
	}
	if h.rewinds == 0 {
		t.Error("the modification area never grew")
	}
	judge(t, s, abi.OnSend, withKeys("garbage"))
}
