package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/runtime"
)

const reference = "../../config.toml"

// slip writes the reference configuration with one text replaced.
func slip(t *testing.T, old, new string) string {
	t.Helper()
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q", reference, old)
	}
	return writeFile(t, "config.toml", strings.Replace(string(text), old, new, 1))
}

func TestCheckReference(t *testing.T) {
	klammRun(t, "check", reference).want(t, exitOK).wantOut(t, "config.toml: ok,", "1 pipeline")
	v := klammRun(t, "check", "-c", reference, "--output", "json").want(t, exitOK).json(t)
	if v["schema"] != "klamm.check/1" || v["errors"] != 0.0 {
		t.Errorf("got %v", v)
	}
}

// TestCheckEveryDefault holds the plugins to what config.toml says of itself: a
// key behind one # shows its default.
func TestCheckEveryDefault(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^# ([a-z_0-9]+ = )`).ReplaceAllString(string(text), "$1")
	klammRun(t, "check", writeFile(t, "config.toml", all)).want(t, exitOK).wantOut(t, "ok,")
}

func TestCheckFinds(t *testing.T) {
	broken := writeFile(t, "broken.wasm", "this is no module")
	tests := []struct {
		name string
		path string
		code int
		want []string
	}{
		{"one letter of a key", slip(t, "on_send = [", "on_sned = ["), exitConfig, []string{"config.toml:", ":1: error:", `did you mean "on_send"?`, "1 error"}},
		{"unknown builtin", slip(t, `"builtin:dedup"`, `"builtin:dedpu"`), exitPlugin, []string{`did you mean "builtin:dedup"?`, "config.toml:"}},
		{"module that is not there", slip(t, `"builtin:dedup"`, `"gone.wasm"`), exitPlugin, []string{`"gone.wasm"`, "config.toml:"}},
		{"foreign module", slip(t, `"builtin:dedup"`, `"`+broken+`"`), exitPlugin, []string{"this is no WebAssembly module", "klamm plugin build"}},
		{"plugin's own key", slip(t, `by = "json:properties.net"`, `bye = "json:properties.net"`), exitConfig, []string{`unknown config key "bye"`, ":1: error:", `did you mean "by"?`, "1 error"}},
		{"plugin's own value", slip(t, `window = "24h"`, `window = "1 day"`), exitConfig, []string{`config key "window": "1 day" is not a duration`, ":10: error:", "1 error"}},
		{"hook that the plugin has not", slip(t, `on_send = ["dedup", "mask"]`, `on_send = ["dedup", "by-network"]`), exitConfig,
			[]string{":21: error:", `plugin "by-network" has no on_send`, `it has "partition"`, "1 error"}},
		{"output is input", slip(t, `to = "quakes"`, `to = "raw-quakes"`), exitConfig, []string{"raw-quakes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := klammRun(t, "check", tt.path).want(t, tt.code).wantOut(t, tt.want...)
			if r.talk != "" {
				t.Errorf("stderr has %q", r.talk)
			}
		})
	}
}

// TestCheckNamesThePluginOnce: errors of a sandbox start with its name too.
func TestCheckNamesThePluginOnce(t *testing.T) {
	for _, err := range []error{
		&runtime.LoadError{Name: "p", Problems: []string{"x", "y"}},
		&runtime.GuestError{Plugin: "p", Export: "klamm_init", Code: 9},
		errors.New("nothing is there"),
	} {
		c := &checkRun{problems: config.NewProblems(nil)}
		c.pluginProblem(&klamm.PluginError{Plugin: "p", Hook: "load", Err: err})
		if got := c.problems.All()[0].What; !strings.HasPrefix(got, `plugin "p": `) || strings.Count(got, `"p"`) != 1 {
			t.Errorf("got %s", got)
		}
	}
}

func TestCheckJSONNamesThePlace(t *testing.T) {
	path := slip(t, "on_send = [", "on_sned = [")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := 1 + strings.Count(string(text[:strings.Index(string(text), "on_sned")]), "\n")
	v := klammRun(t, "check", path, "--output", "json").want(t, exitConfig).json(t)
	for _, p := range v["problems"].([]any) {
		p := p.(map[string]any)
		if p["severity"] == "error" && (p["line"] != float64(line) || p["column"] != 1.0 || !strings.Contains(p["suggestion"].(string), "on_send")) {
			t.Errorf("want line %d, got %v", line, p)
		}
	}
	if v["errors"] != 1.0 {
		t.Errorf("got %v", v)
	}
}

func TestCheckNoFile(t *testing.T) {
	klammRun(t, "check", "gone.toml").want(t, exitConfig).wantTalk(t, `configuration "gone.toml" does not exist`)
	t.Chdir(t.TempDir())
	klammRun(t, "check").want(t, exitUsage).wantTalk(t, "no ./config.toml")
	klammRun(t, "check", "a.toml", "-c", "b.toml").want(t, exitUsage).wantTalk(t, `"a.toml"`, `"b.toml"`)
}

const maskPass = `
version = 1
[plugin.mask]
module = "builtin:mask"
on_error = "pass"
[plugin.mask.config]
fields = ["email"]
mode = "null"
[chain.people]
topics = ["people"]
on_send = ["mask"]
`

func TestCheckWarnsOfPass(t *testing.T) {
	path := writeFile(t, "config.toml", maskPass)
	klammRun(t, "check", path).want(t, exitOK).wantOut(t, "warning:", "protects", "1 warning")
	klammRun(t, "check", path, "--deny-warnings").want(t, exitConfig)
}

func TestCheckConnect(t *testing.T) {
	path := writeFile(t, "config.toml", dedupConfig)
	klammRun(t, "check", path, "--connect", "-b", "127.0.0.1:1").want(t, exitUnreachable).wantTalk(t, "127.0.0.1:1")
	addr := startBroker(t)
	klammRun(t, "check", path, "--connect", "-b", addr).want(t, exitConfig).wantOut(t, `topic "orders" does not exist`, "klamm topic create orders")
	klammRun(t, "topic", "create", "orders", "-b", addr).want(t, exitOK)
	klammRun(t, "check", path, "--connect", "-b", addr).want(t, exitOK)
}

func TestExplain(t *testing.T) {
	cfg := writeFile(t, "config.toml", dedupConfig)
	for range 2 { // nothing stays claimed
		klammRun(t, "explain", "orders", "-c", cfg, "--value", `{"n":1}`, "--key", "k").want(t, exitOK).
			wantOut(t, `record  orders  key "k"`, "dedup", "on_send", "pass", "not known without brokers", "nothing was sent")
	}
	klammRun(t, "explain", "elsewhere", "-c", cfg, "--value", "x").want(t, exitOK).wantOut(t, "no chain names topic")
}

func TestExplainWithBrokers(t *testing.T) {
	addr := startBroker(t, "--topic", "orders", "--partitions", "5")
	cfg := writeFile(t, "config.toml", dedupConfig)
	v := klammIn(t, strings.NewReader(`{"key":"k","value":{"n":1}}`), "explain", "orders", "-c", cfg, "-b", addr, "-o", "json").want(t, exitOK).json(t)
	if v["schema"] != "klamm.explain/1" || v["partitions"] != 5.0 || v["partition"] != v["default_partition"] || len(v["steps"].([]any)) == 0 {
		t.Errorf("got %v", v)
	}
	r := klammRun(t, "topic", "describe", "orders", "-b", addr).want(t, exitOK)
	if strings.Contains(r.out, "  1\n") {
		t.Errorf("something was sent:\n%s", r.out)
	}
}

func TestExplainErrors(t *testing.T) {
	cfg := writeFile(t, "config.toml", dedupConfig)
	file := writeFile(t, "rec.json", `{"value":`)
	tests := []struct {
		name  string
		stdin string
		args  []string
		code  int
		talk  []string
	}{
		{"nothing on stdin", "", nil, exitUsage, []string{"stdin holds no record"}},
		{"malformed", "{", nil, exitFailed, []string{"stdin:1:", "klamm consume -o json"}},
		{"malformed file", "", []string{"--record", file}, exitFailed, []string{filepath.Base(file) + ":1:"}},
		{"missing file", "", []string{"--record", "gone.json"}, exitFailed, []string{"gone.json"}},
		{"two records", "", []string{"--record", file, "--value", "x"}, exitUsage, []string{"give one"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			klammIn(t, strings.NewReader(tt.stdin), append([]string{"explain", "orders", "-c", cfg}, tt.args...)...).want(t, tt.code).wantTalk(t, tt.talk...)
		})
	}
}

// TestCheckTellsPluginsMistakesToo: what only the plugins know is told beside
// mistakes that keep the file from being used, and the exit code is the file's.
func TestCheckTellsPluginsMistakesToo(t *testing.T) {
	path := writeFile(t, "config.toml", `version = 1
[cluster]
bootstrap_server = ["embedded"]
[plugins]
memory = "1KiB"
[plugin.dedup]
module = "builtin:dedup"
state = "ids"
[plugin.dedup.config]
widow = "24h"
WINDOW = "1h"
[plugin.mask]
modul = "builtin:mask"
[plugin.mask.config]
mode = "nul"
[plugin.gone]
module = "gone.wasm"
[chain.c]
topics = ["t"]
on_send = ["dedup", "mask", "gon"]
[state.ids]
backend = "disk"
`)
	r := klammRun(t, "check", path).want(t, exitConfig).wantOut(t,
		`:3:1: error: unknown key "bootstrap_server"`, `:5:10: error:`, `:10:1: error: plugin "dedup": unknown config key "widow"`, `did you mean "window"?`, `:11:1: error: plugin "dedup": unknown config key "WINDOW"`,
		`:13:1: error: unknown key "modul"`, `:17:10: error: plugin "gone": module "gone.wasm": nothing is at`, `:20:29: error: chain "c": no plugin named "gon"`, `:22:11: error:`)
	if strings.Contains(r.out, "nul") {
		t.Errorf("a plugin that is not sound was asked: %s", r.out)
	}
}
