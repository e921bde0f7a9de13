package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runConfig is a pipeline through a plugin whose module is a file.
const runConfig = `
version = 1
[cluster.embedded]
topics = ["raw", "clean"]
partitions = 1
[admin]
listen = "127.0.0.1:0"
[log]
format = "json"
[plugin.mark]
module = "mark.wasm"
timeout = "2s"
[chain.clean]
topics = ["clean"]
on_send = ["mark"]
[pipeline.clean]
from = ["raw"]
to = "clean"
`

// daemonUnderTest is a `klamm run` with what its log says of it.
type daemonUnderTest struct {
	*running
	broker, admin string
}

func startRun(t *testing.T, config string) *daemonUnderTest {
	t.Helper()
	d := &daemonUnderTest{running: start(t, "run", config)}
	line := d.logLine(t, `"msg":"running"`)
	d.broker, d.admin = line["brokers"].([]any)[0].(string), line["admin"].(string)
	return d
}

// logLine waits for the first line of the log with that text.
func (d *daemonUnderTest) logLine(t *testing.T, text string) map[string]any {
	t.Helper()
	for line := range strings.Lines(d.talk.await(t, text)) {
		if strings.Contains(line, text) {
			var v map[string]any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			return v
		}
	}
	t.Fatal("unreachable: await saw it")
	return nil
}

func (d *daemonUnderTest) get(t *testing.T, path string) (int, string) {
	t.Helper()
	r, err := http.Get("http://" + d.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

// wantMetric waits for a line of /metrics: a reader of the output topic may see a
// record before the pipeline has its acknowledgement.
func (d *daemonUnderTest) wantMetric(t *testing.T, line string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		_, body := d.get(t, "/metrics")
		if strings.Contains(body, line+"\n") {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("/metrics lacks %s", line)
			return
		}
	}
}

// TestRun: records pass the pipeline, a changed module is swapped in, a bad one
// is refused and the old one goes on, SIGHUP reloads, the end drains.
func TestRun(t *testing.T) {
	source := scaffolded(t, "mark")
	dir := t.TempDir()
	file := filepath.Join(dir, "mark.wasm")
	klammRun(t, "plugin", "build", source, "--out", file).want(t, exitOK)
	config := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(config, []byte(runConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	d := startRun(t, config)
	through := func(text string, offset int) {
		t.Helper()
		klammIn(t, strings.NewReader(text+"\n"), "produce", "raw", "-b", d.broker).want(t, exitOK)
		r := klammRun(t, "consume", "clean", "-b", d.broker, "--offset", fmt.Sprint(offset), "-n", "1", "-o", "json").want(t, exitOK)
		if !strings.Contains(r.out, fmt.Sprintf("%q", text)) || !strings.Contains(r.out, `{"key":"x-mark","value":"seen"}`) {
			t.Errorf("got %s", r.out)
		}
	}
	through("one", 0)
	for path, want := range map[string]string{"/livez": `"ok":true`, "/readyz": `"ok":true`, "/metrics": "klamm_build_info"} {
		if code, body := d.get(t, path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	d.wantMetric(t, `klamm_plugin_generation{plugin="mark"} 1`)

	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// A custom section makes it another module that does the same.
	replace(t, file, append(wasm, 0, 3, 1, 'x', 'y'))
	d.logLine(t, `"msg":"plugin swapped"`)
	d.wantMetric(t, `klamm_plugin_generation{plugin="mark"} 2`)
	through("two", 1)

	replace(t, file, []byte("broken"))
	refused := d.logLine(t, "refused; the running generation stays")
	if !strings.Contains(refused["error"].(string), "no WebAssembly module") {
		t.Errorf("refused because of %v", refused["error"])
	}
	d.wantMetric(t, `klamm_plugin_generation{plugin="mark"} 2`)
	d.wantMetric(t, `klamm_plugin_reload_refused{plugin="mark"} 1`)
	through("three", 2)

	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if line := d.logLine(t, `"signal":"SIGHUP"`); line["refused"] != 1.0 {
		t.Errorf("SIGHUP: %v", line)
	}
	d.wantMetric(t, `klamm_records_total{pipeline="clean",stage="out"} 3`)

	if code := d.stop(t); code != exitOK {
		t.Fatalf("exit code %d: %s", code, d.talk)
	}
	if line := d.logLine(t, `"msg":"pipeline stopped"`); line["in"] != 3.0 || line["out"] != 3.0 || line["in_flight"] != 0.0 {
		t.Errorf("stopped with %v", line)
	}
}

// replace writes a file beside and moves it over, as careful tools do.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestRunStopAtEnd: a migration ends by itself, with its counts on stdout.
func TestRunStopAtEnd(t *testing.T) {
	addr := startBroker(t, "--topic", "raw", "--topic", "orders")
	klammIn(t, strings.NewReader(lines(50)+lines(50)), "produce", "raw", "-b", addr).want(t, exitOK)
	cfg := writeFile(t, "config.toml", dedupConfig+"\n[pipeline.clean]\nfrom = [\"raw\"]\nto = \"orders\"\nstop_at_end = true\n[admin]\nlisten = \"\"\n")
	v := klammRun(t, "run", cfg, "-b", addr, "--output", "json").want(t, exitOK).json(t)
	clean := v["pipelines"].(map[string]any)["clean"].(map[string]any)
	if v["schema"] != "klamm.run/1" || clean["in"] != 100.0 || clean["out"] != 50.0 || clean["dropped"] != 50.0 || clean["in_flight"] != 0.0 {
		t.Errorf("got %v", v)
	}
	if got := values(t, addr, "orders", 50); len(got) != 50 {
		t.Errorf("%d different values came out", len(got))
	}
}

func TestRunErrors(t *testing.T) {
	loop := "version = 1\n[pipeline.a]\nfrom = [\"x\"]\nto = \"x\"\n"
	missing := "version = 1\n[admin]\nlisten = \"\"\n[plugin.a]\nmodule = \"gone.wasm\"\n[chain.a]\ntopics = [\"t\"]\non_send = [\"a\"]\n"
	open := "version = 1\n[admin]\nlisten = \"0.0.0.0:0\"\n"
	tests := []struct {
		name, config string
		args         []string
		code         int
		talk         []string
	}{
		{"own input", loop, nil, exitConfig, []string{"config.toml:", `"x"`}},
		{"no module", missing, nil, exitPlugin, []string{"gone.wasm", "mend [plugin.a]", "klamm check"}},
		{"no broker", "version = 1\n[admin]\nlisten = \"\"\n", []string{"-b", "127.0.0.1:1"}, exitUnreachable, []string{"127.0.0.1:1"}},
		{"admin for all without a token", open, nil, exitConfig, []string{"token"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, "config.toml", tt.config)
			r := klammRun(t, append([]string{"run", path}, tt.args...)...).want(t, tt.code).wantTalk(t, tt.talk...)
			if strings.Contains(r.talk, "mend the record") {
				t.Errorf("no record was read: %s", r.talk)
			}
		})
	}
}
