package plugintest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/plugin"
)

// TestKitNotices runs plugins that misbehave in one way each.
func TestKitNotices(t *testing.T) {
	judge := func(fn func(b *plugin.Batch, i int, r plugin.Record)) func() {
		return func() {
			plugin.OnSend(func(b *plugin.Batch) error {
				for i, r := range b.All() {
					fn(b, i, r)
				}
				return nil
			}, plugin.Key)
		}
	}
	counted := 0
	records := []klamm.Record{{Key: []byte("a")}, {Key: []byte("b")}, {Key: []byte("c")}}
	pass := []Want{{}, {}, {}}
	tests := []struct {
		name     string
		register func()
		want     []Want
		problem  string
	}{
		{"a good one", judge(func(*plugin.Batch, int, plugin.Record) {}), pass, ""},
		{"another verdict than wanted", judge(func(_ *plugin.Batch, _ int, r plugin.Record) {
			if string(r.Key()) == "b" {
				r.Drop(plugin.Invalid)
			}
		}), pass, "native: record 1: got drop invalid, want pass"},
		{"depends on the batch", judge(func(b *plugin.Batch, _ int, r plugin.Record) {
			if b.Len() == 1 {
				r.Drop(plugin.Invalid)
			}
		}), pass, "native against native, one record a batch: record 0: pass"},
		{"depends on what it did before", judge(func(_ *plugin.Batch, _ int, r plugin.Record) {
			if counted++; counted > 3 {
				r.Fail("enough")
			}
		}), pass, "native against native, a second time"},
		{"wrong number of wants", judge(func(*plugin.Batch, int, plugin.Record) {}), nil, "3 records and 0 wants"},
		{"not the hook", func() { plugin.OnConsume(func(*plugin.Batch) error { return nil }, 0) }, pass, "has no on_send"},
		{"panics", judge(func(b *plugin.Batch, _ int, _ plugin.Record) { b.At(b.Len()) }), pass, "the plugin panicked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := &kit{native: &native{tt.register}}
			got := strings.Join(k.problems(t.Context(), &Case{Name: tt.name, Records: records, Want: tt.want}), "\n")
			if tt.problem == "" && got != "" || !strings.Contains(got, tt.problem) {
				t.Errorf("got %q, want %q", got, tt.problem)
			}
		})
	}
}

// TestKitCompares runs a module beside a native plugin that does something else.
func TestKitCompares(t *testing.T) {
	register := func() {
		plugin.OnSend(func(b *plugin.Batch) error {
			b.At(0).Drop(plugin.Invalid)
			return nil
		}, plugin.Key)
	}
	k, err := open(t.Context(), "builtin:dedup", options{native: true, register: register, cacheDir: userCache()})
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	got := strings.Join(k.problems(t.Context(), &Case{Records: []klamm.Record{{Key: []byte("a")}}, Want: []Want{{}}}), "\n")
	if want := "wasm against native: record 0: pass\n  against drop invalid"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := strings.Count(got, "against drop invalid"); n != 1 {
		t.Errorf("the difference is told %d times, want once: %q", n, got)
	}
}

func TestReadFileErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no case", "", "no [[case]]"},
		{"no TOML", "[[case", "expected"},
		{"unknown key", "[[case]]\nname = \"x\"\nnmae = 1\n", `unknown key "case.nmae"`},
		{"no name", "[[case]]\n", "a case needs a name"},
		{"unknown hook", "[[case]]\nname = \"x\"\nhook = \"on_sent\"\n", `hook "on_sent" is none of`},
		{"unknown verdict", "[[case]]\nname = \"x\"\n[[case.record]]\nwant = { verdict = \"dorp\" }\n", `case 1, "x": record 1: verdict "dorp" is none of pass, drop`},
		{"route to nowhere", "[[case]]\nname = \"x\"\n[[case.record]]\nwant = { verdict = \"route\" }\n", "needs a partition"},
		{"two keys", "[[case]]\nname = \"x\"\n[[case.record]]\nkey = \"a\"\nkey_base64 = \"YQ==\"\n", "key and key_base64"},
		{"no base64", "[[case]]\nname = \"x\"\n[[case.record]]\nvalue_base64 = \"?\"\n", "value_base64: illegal"},
		{"null what", "[[case]]\nname = \"x\"\n[[case.record]]\nwant = { verdict = \"edit\", null = [\"keys\"] }\n", `null "keys"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "cases.toml")
			if err := os.WriteFile(file, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := ReadFile(file)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestRunFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cases.toml")
	text := "[[case]]\nname = \"right\"\n[[case.record]]\nkey = \"a\"\n" +
		"[[case]]\nname = \"wrong\"\n[[case.record]]\nvalue_base64 = \"AA==\"\nwant = { verdict = \"drop\" }\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := RunFile(t.Context(), "builtin:dedup", file, CacheDir(userCache()))
	if err != nil {
		t.Fatal(err)
	}
	if r.File != file || len(r.Cases) != 2 || r.Failed() != 1 || len(r.Cases[0].Problems) != 0 {
		t.Fatalf("got %+v", r)
	}
	if want := `wasm: record 0: got fail missing "no id: the key is null", want drop`; r.Cases[1].Problems[0] != want {
		t.Errorf("got %q, want %q", r.Cases[1].Problems, want)
	}
	if _, err := RunFile(t.Context(), "builtin:dedpu", file); err == nil {
		t.Error("an unknown module was run")
	}
}

func TestDiff(t *testing.T) {
	records := []klamm.Record{{Key: []byte("a")}, {Value: []byte("x")}}
	results := []Result{{}, {Verdict: abi.Drop, Reason: "duplicate"}}
	if got, want := Diff(records, results), " {\"key\":\"a\"}\n-{\"value\":\"x\"} # drop duplicate\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
