package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// scaffolded makes a plugin of that name and returns its folder.
func scaffolded(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	klammRun(t, "plugin", "new", name, "--dir", dir).want(t, exitOK).wantTalk(t, "klamm plugin test")
	return dir
}

// TestPluginFromNothing is a plugin author's first minutes.
func TestPluginFromNothing(t *testing.T) {
	dir := scaffolded(t, "mark-it")
	klammRun(t, "plugin", "test", dir).want(t, exitOK).wantOut(t, "3 passed, 0 failed")
	wasm := filepath.Join(dir, "mark-it.wasm")
	klammRun(t, "plugin", "build", dir).want(t, exitOK).wantOut(t, wasm)
	v := klammRun(t, "plugin", "inspect", wasm, "-o", "json").want(t, exitOK).json(t)
	manifest := v["manifest"].(map[string]any)
	if v["schema"] != "klamm.plugin/1" || len(v["digest"].(string)) != 64 || manifest["name"] != "mark-it" || len(v["imports"].([]any)) == 0 {
		t.Errorf("got %v", v)
	}
	cfg := filepath.Join(dir, "config.toml")
	klammRun(t, "check", cfg).want(t, exitOK)
	klammRun(t, "explain", "test", "-c", cfg, "--value", "hello").want(t, exitOK).wantOut(t, `header + x-mark-it: "seen"`)
	klammRun(t, "explain", "test", "-c", cfg, "--value", "").want(t, exitOK).wantOut(t, "dropped: missing")
}

func TestPluginTestFails(t *testing.T) {
	dir := scaffolded(t, "mark")
	cases := filepath.Join(dir, "wrong.toml")
	text := "[[case]]\nname = \"it passes\"\n[[case.record]]\nvalue = \"x\"\n"
	if err := os.WriteFile(cases, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	klammRun(t, "plugin", "test", dir, cases).want(t, exitFailed).wantOut(t, "FAIL  it passes", "0 passed, 1 failed").wantTalk(t, "1 of 1 cases failed")
	v := klammRun(t, "plugin", "test", dir, cases, "-o", "json").want(t, exitFailed).json(t)
	if v["schema"] != "klamm.plugin-test/1" || v["failed"] != 1.0 {
		t.Errorf("got %v", v)
	}
}

func TestPluginErrors(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	text := writeFile(t, "text.wasm", "package main")
	tests := []struct {
		name string
		args []string
		code int
		talk []string
	}{
		{"bad name", []string{"new", "My Plugin"}, exitUsage, []string{`plugin name "My Plugin"`}},
		{"other language", []string{"new", "a", "--lang", "cobol"}, exitUsage, []string{"there are assemblyscript, c, go, rust"}},
		{"folder not empty", []string{"new", "a", "--dir", full}, exitFailed, []string{"is not empty", "--dir"}},
		{"build nothing", []string{"build", full}, exitPlugin, []string{full}},
		{"build no folder", []string{"build", filepath.Join(full, "gone")}, exitPlugin, []string{"gone"}},
		{"inspect nothing", []string{"inspect", "gone.wasm"}, exitPlugin, []string{"gone.wasm"}},
		{"inspect unknown builtin", []string{"inspect", "builtin:dedpu"}, exitPlugin, []string{`did you mean "builtin:dedup"?`}},
		{"inspect source", []string{"inspect", text}, exitPlugin, []string{"Go source"}},
		{"no cases", []string{"test", full}, exitUsage, []string{"holds no cases"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			klammRun(t, append([]string{"plugin"}, tt.args...)...).want(t, tt.code).wantTalk(t, tt.talk...)
		})
	}
}

func TestInspectBuiltins(t *testing.T) {
	for _, name := range []string{"dedup", "mask", "route-by"} {
		klammRun(t, "plugin", "inspect", "builtin:"+name).want(t, exitOK).wantOut(t, "manifest  "+name, "klamm.log", "limits    one call 50ms")
	}
}

// TestPluginNewJSON: what was written, as one object.
func TestPluginNewJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mark")
	v := klammRun(t, "plugin", "new", "mark", "--dir", dir, "--output", "json").want(t, exitOK).json(t)
	files, _ := v["files"].([]any)
	if v["schema"] != "klamm.plugin-new/1" || v["dir"] != dir || v["language"] != "go" || !slices.Contains(files, any("main.go")) {
		t.Errorf("got %v", v)
	}
}
