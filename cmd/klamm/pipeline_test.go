package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const twoPipelines = `
version = 1
[admin]
listen = "unix:SOCKET"
[log]
format = "json"
[cluster.embedded]
topics = ["raw", "clean", "copy"]
partitions = 1
[pipeline.clean]
from = ["raw"]
to = "clean"
[pipeline.copy]
from = ["raw"]
to = "copy"
`

// TestPipelinePauseAndResume pauses one of two pipelines that read the same
// topic. When the other one has copied a record, the paused one has not.
func TestPipelinePauseAndResume(t *testing.T) {
	dir, err := os.MkdirTemp("", "klamm") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(twoPipelines, "SOCKET", filepath.Join(dir, "s"))), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startRun(t, config)
	send := func(text string) {
		t.Helper()
		klammIn(t, strings.NewReader(text+"\n"), "produce", "raw", "-b", d.broker).want(t, exitOK)
	}
	read := func(topic, offset, want string) {
		t.Helper()
		r := klammRun(t, "consume", topic, "-b", d.broker, "--offset", offset, "-n", "1").want(t, exitOK)
		if r.out != want+"\n" {
			t.Errorf("%s@%s is %q, want %q", topic, offset, r.out, want)
		}
	}
	send("one")
	read("clean", "0", "one")
	read("copy", "0", "one")
	klammRun(t, "pipeline", "pause", "clean", "-c", config).want(t, exitOK).wantOut(t, "clean", "paused")
	klammRun(t, "pipeline", "list", "-c", config).want(t, exitOK).wantOut(t, "paused", "running")

	send("two")
	read("copy", "1", "two")
	if r := klammRun(t, "consume", "clean", "-b", d.broker, "--offset", "start", "--exit-at-end").want(t, exitOK); r.out != "one\n" {
		t.Errorf("the paused pipeline went on: %q", r.out)
	}
	klammRun(t, "pipeline", "resume", "clean", "-c", config).want(t, exitOK)
	read("clean", "1", "two")

	v := klammRun(t, "pipeline", "lag", "copy", "-c", config, "-o", "json").want(t, exitOK).json(t)
	p := v["pipelines"].([]any)[0].(map[string]any)
	part := p["partitions"].([]any)[0].(map[string]any)
	if v["schema"] != "klamm.pipelines/1" || p["name"] != "copy" || p["in"] != 2.0 || part["topic"] != "raw" || part["position"] != 2.0 || part["end"] != 2.0 || part["lag"] != 0.0 {
		t.Errorf("got %v", v)
	}
	klammRun(t, "pipeline", "lag", "-c", config).want(t, exitOK).wantOut(t, "POSITION", "raw")
	klammRun(t, "pipeline", "pause", "gone", "-c", config).want(t, exitFailed).wantTalk(t, `pipeline "gone"`, "no such pipeline")
	klammRun(t, "pipeline", "list", "gone", "-c", config).want(t, exitFailed).wantTalk(t, `there are clean, copy`)
	if code := d.stop(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, d.talk)
	}
	klammRun(t, "pipeline", "list", "-c", config).want(t, exitFailed).wantTalk(t, "no running host answers")
}
