package runtime

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

func TestCompileCacheOnDisk(t *testing.T) {
	base := t.TempDir()
	make := func(name string, mode os.FileMode) string {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(make("target", 0o700), link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, dir string
		used      bool
		warning   string
	}{
		{"new", filepath.Join(base, "a", "b"), true, ""},
		{"ours", make("ours", 0o700), true, ""},
		{"others may read", make("read", 0o755), false, "0755"},
		{"others may write", make("write", 0o777), false, "must be 0700"},
		{"symbolic link", link, false, "symbolic link"},
		{"no directory", file, false, "file"},
		{"none", "", false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log bytes.Buffer
			e, err := NewEngine(context.Background(), EngineConfig{CacheDir: tc.dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close(context.Background())
			load(t, e, dropAll(), PluginConfig{})
			if used := len(filesIn(t, tc.dir)) > 0; used != tc.used {
				t.Errorf("cache used: %v, want %v", used, tc.used)
			}
			if got := log.String(); (got != "") != (tc.warning != "") || !strings.Contains(got, tc.warning) {
				t.Errorf("log %q, want %q", got, tc.warning)
			}
		})
	}
}

func filesIn(t *testing.T, dir string) (files []string) {
	t.Helper()
	if dir == "" {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && path != dir {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A cache that was cut off or overwritten costs time, never a plugin.
func TestDamagedCompileCache(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"empty":    func([]byte) []byte { return nil },
		"cut off":  func(b []byte) []byte { return b[:len(b)/2] },
		"bit flip": func(b []byte) []byte { b[len(b)-9] ^= 1; return b },
		"garbage":  func([]byte) []byte { return []byte("garbage garbage garbage garbage") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			run := func() {
				e, err := NewEngine(context.Background(), EngineConfig{CacheDir: dir})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close(context.Background())
				p := load(t, e, dropAll(), PluginConfig{})
				defer p.Close(context.Background())
				if v := judge(t, sit(t, p, newFakeHost()), abi.OnSend, keyed(2, abi.FieldKey)); codes(v) != "11" {
					t.Errorf("got %s", codes(v))
				}
			}
			run()
			files := filesIn(t, dir)
			if len(files) == 0 {
				t.Fatal("nothing was cached")
			}
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(f, damage(b), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			run()
		})
	}
}

func TestCompileCacheThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var log bytes.Buffer
	e, err := NewEngine(context.Background(), EngineConfig{CacheDir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	p := load(t, e, dropAll(), PluginConfig{})
	defer p.Close(context.Background())
	if !strings.Contains(log.String(), "cannot be written") {
		t.Errorf("log %q", log.String())
	}
	if v := judge(t, sit(t, p, newFakeHost()), abi.OnSend, keyed(2, abi.FieldKey)); codes(v) != "11" {
		t.Errorf("got %s", codes(v))
	}
}

// A module that was compiled twice is closed once for each.
func TestSameModuleTwice(t *testing.T) {
	e := newEngine(t)
	g := dropAll()
	p, q := load(t, e, g, PluginConfig{Name: "p"}), load(t, e, g, PluginConfig{Name: "q"})
	s := sit(t, q, newFakeHost())
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if v := judge(t, s, abi.OnSend, keyed(2, abi.FieldKey)); codes(v) != "11" {
		t.Errorf("got %s", codes(v))
	}
	sit(t, q, newFakeHost())
}

func TestInstancesOfOneModuleShareNothing(t *testing.T) {
	g := new(w.Guest)
	g.Hook(abi.OnSend, 0, w.GlobalGet(g.Global(0)), w.I64Const(1), w.I64Add, w.GlobalSet(0),
		w.ForEach(w.LocalGet(w.Verdict), w.GlobalGet(0), w.I64Const(16), w.I64Shl, w.I64Const(int64(abi.Drop)), w.I64Or, w.I64Store(0)),
		w.I64Const(0))
	p := load(t, newEngine(t), g, PluginConfig{})
	a, b := sit(t, p, newFakeHost()), sit(t, p, newFakeHost())
	judge(t, a, abi.OnSend, keyed(1, 0))
	if n := judge(t, a, abi.OnSend, keyed(1, 0)).At(0).Reason; n != 2 {
		t.Errorf("second call of the first instance counts %d", n)
	}
	if n := judge(t, b, abi.OnSend, keyed(1, 0)).At(0).Reason; n != 1 {
		t.Errorf("first call of the second instance counts %d", n)
	}
}
