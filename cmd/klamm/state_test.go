package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/state"
)

const stateConfig = `
version = 1
[admin]
listen = "unix:SOCKET"
[log]
format = "json"
[cluster.embedded]
topics = ["raw", "clean"]
partitions = 1
[plugin.dedup]
module = "builtin:dedup"
state = "ids"
config = { id = "key", window = "24h" }
[chain.clean]
topics = ["clean"]
on_send = ["dedup"]
[state.ids]
backend = "file"
path = "ids.state"
[pipeline.clean]
from = ["raw"]
to = "clean"
`

// stateLab is a configuration with a state in a file, and its `klamm run`.
type stateLab struct{ config, stranger string }

func newStateLab(t *testing.T) *stateLab {
	t.Helper()
	dir, err := os.MkdirTemp("", "klamm") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	lab := &stateLab{filepath.Join(dir, "config.toml"), filepath.Join(dir, "stranger.toml")}
	for file, socket := range map[string]string{lab.config: "s", lab.stranger: "nobody"} {
		text := strings.ReplaceAll(stateConfig, "SOCKET", filepath.Join(dir, socket))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return lab
}

func (l *stateLab) state(t *testing.T, args ...string) ran {
	t.Helper()
	return klammRun(t, append([]string{"state"}, append(args, "-c", l.config)...)...)
}

// send writes a record for each key and waits until the pipeline has judged and
// settled as many claims as there are then.
func (l *stateLab) send(t *testing.T, d *daemonUnderTest, keys string, claims float64) {
	t.Helper()
	var lines strings.Builder
	for key := range strings.FieldsSeq(keys) {
		fmt.Fprintf(&lines, "{\"key\":%q,\"value\":\"v\"}\n", key)
	}
	klammIn(t, strings.NewReader(lines.String()), "produce", "raw", "-b", d.broker, "-i", "json").want(t, exitOK)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		s := l.state(t, "stats", "-o", "json").want(t, exitOK).json(t)["states"].([]any)[0].(map[string]any)
		share := s["plugins"].([]any)[0].(map[string]any)
		if share["claims"] == claims && s["pending"] == 0.0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("want %v claims: %v", claims, s)
		}
	}
}

// ids are the lines of an export.
func (l *stateLab) ids(t *testing.T) []map[string]any {
	t.Helper()
	var ids []map[string]any
	for line := range strings.Lines(l.state(t, "export", "ids").want(t, exitOK).out) {
		var id map[string]any
		if err := json.Unmarshal([]byte(line), &id); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		ids = append(ids, id)
	}
	return ids
}

// one is the only id of an answer.
func one(t *testing.T, r ran) map[string]any {
	t.Helper()
	ids := r.json(t)["ids"].([]any)
	if len(ids) != 1 {
		t.Fatalf("got %v", ids)
	}
	return ids[0].(map[string]any)
}

// TestState asks a running host, then the file that it leaves, and forgets an id
// in both: the duplicate after it passes.
func TestState(t *testing.T) {
	lab := newStateLab(t)
	d := startRun(t, lab.config)
	lab.send(t, d, "a b a c", 4)

	v := lab.state(t, "stats", "-o", "json").want(t, exitOK).json(t)
	s := v["states"].([]any)[0].(map[string]any)
	share, scope := s["plugins"].([]any)[0].(map[string]any), s["scopes"].([]any)[0].(map[string]any)
	if v["schema"] != "klamm.states/1" || s["name"] != "ids" || s["entries"] != 3.0 || s["pending"] != 0.0 || share["hits"] != 1.0 || share["hit_rate"] != 0.25 ||
		share["evictions"] != 0.0 || scope["topic"] != "clean" || scope["entries"] != 3.0 || s["memory_bytes"].(float64) < 144 {
		t.Errorf("got %v", s)
	}
	lab.state(t, "stats", "ids").want(t, exitOK).wantOut(t, "HIT RATE", "25.0%", "clean/0@0", "clean/0@2", "ids.state")

	known := one(t, lab.state(t, "get", "ids", "a", "-o", "json").want(t, exitOK))
	if known["status"] != "remembered" || known["scope"] != "clean" || known["offset"] != 0.0 || known["since"] == nil || known["plugin"] != "dedup" {
		t.Errorf("got %v", known)
	}
	lab.state(t, "get", "ids", "62", "--hex", "--topic", "clean").want(t, exitOK).wantOut(t, "remembered", "clean/0@1")
	lab.state(t, "get", "ids", "z").want(t, exitOK).wantOut(t, `does not know "z"`)
	if ids := lab.ids(t); len(ids) != 3 || ids[0]["hash"] != known["hash"] {
		t.Errorf("exported %v", ids)
	}
	// Another configuration's host is not asked, and the file is this one's.
	klammRun(t, "state", "get", "ids", "a", "-c", lab.stranger).want(t, exitFailed).wantTalk(t, "another process has it open")

	lab.state(t, "forget", "ids", "a").want(t, exitOK).wantOut(t, "clean/0@0")
	lab.state(t, "forget", "ids", "a").want(t, exitFailed).wantTalk(t, "nothing was forgotten")
	lab.send(t, d, "a b", 6) // a passes, b is dropped
	if code := d.stop(t); code != exitOK {
		t.Fatalf("exit code %d: %s", code, d.talk)
	}

	if known = one(t, lab.state(t, "get", "ids", "a", "-o", "json").want(t, exitOK).wantTalk(t, "no host runs: reading")); known["offset"] != 3.0 {
		t.Errorf("in the file: %v", known)
	}
	lab.state(t, "stats").want(t, exitOK).wantOut(t, "ids.state", "clean/0@3")
	lab.state(t, "forget", "ids", "b").want(t, exitOK)
	if ids := lab.ids(t); len(ids) != 2 {
		t.Errorf("exported %v", ids)
	}
}

func TestStateMistakes(t *testing.T) {
	lab := newStateLab(t)
	lab.state(t, "stats").want(t, exitFailed).wantTalk(t, "its host makes the file")
	lab.state(t, "get", "isd", "a").want(t, exitConfig).wantTalk(t, `state "isd" is not in the configuration; there are ids`)
	lab.state(t, "get", "ids", "xyz", "--hex").want(t, exitUsage).wantTalk(t, "--hex")
	lab.state(t, "get", "ids").want(t, exitUsage).wantTalk(t, "ID is missing")
	lab.state(t, "stats", "--admin", "unix:/nowhere/klamm.sock").want(t, exitFailed).wantTalk(t, "no running host answers")
	memory := filepath.Join(t.TempDir(), "memory.toml")
	text := strings.NewReplacer("unix:SOCKET", "unix:/nowhere/klamm.sock", `backend = "file"`, "", `path = "ids.state"`, "").Replace(stateConfig)
	if err := os.WriteFile(memory, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	klammRun(t, "state", "export", "ids", "-c", memory).want(t, exitFailed).wantTalk(t, "no running host answers", "klamm run")
}

// States that cannot be used are told once, with what to do.
func TestStatesThatCannotBeUsed(t *testing.T) {
	const config = `
version = 1
[cluster]
bootstrap_servers = ["embedded"]
[admin]
listen = ""
[plugin.dedup]
module = "builtin:dedup"
state = "ids"
[chain.c]
topics = ["t"]
on_send = ["dedup"]
[pipeline.p]
from = ["t"]
to = "u"
[state.ids]
`
	file := func(t *testing.T, content string) string {
		path := writeFile(t, "ids.state", content)
		return fmt.Sprintf("backend = \"file\"\npath = %q\n", path)
	}
	for _, row := range []struct {
		name  string
		state func(t *testing.T) string
		want  string
	}{
		{"of another program", func(t *testing.T) string { return file(t, "no state file at all") }, "it does not begin as a state file does; bring it back from a copy, or move it away"},
		{"of a newer version", func(t *testing.T) string { return file(t, "klamm-state 002\n") }, "it is of format 2, and this version of Klamm reads format 1: use the version that wrote it"},
		{"a folder", func(t *testing.T) string { return fmt.Sprintf("backend = \"file\"\npath = %q\n", t.TempDir()) }, "is a directory; name a file that this user may write"},
		{"of another state", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "ids.state")
			other, err := state.NewFile(state.FileOptions{Path: path, Name: "other", Scope: "topic", MaxEntries: 1})
			if err == nil {
				err = other.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("backend = \"file\"\npath = %q\n", path)
		}, `it belongs to state "other", not to "ids": each state needs a file of its own`},
		{"Redis that is not there", func(*testing.T) string { return "backend = \"redis\"\nurl = \"redis://127.0.0.1:1/0\"\n" }, `state "ids": redis at 127.0.0.1:1: `},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := klammRun(t, "run", writeFile(t, "config.toml", config+row.state(t))).want(t, exitFailed).wantTalk(t, `state "ids": `, row.want)
			if strings.Contains(r.talk, "is not open") || strings.Contains(r.talk, "pool.go") {
				t.Errorf("told more than once:\n%s", r.talk)
			}
		})
	}
}
