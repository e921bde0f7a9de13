package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A command that reaches no broker does without the files that connections need:
// they may be on another machine, or not for this user to read.
func TestOfflineReadsNoCertificates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	text := `
version = 1
[cluster]
bootstrap_servers = ["broker.invalid:9093"]
[cluster.tls]
enabled = true
ca_file = "elsewhere.pem"
[admin]
listen = "127.0.0.1:1"
[chain.clean]
topics = ["clean"]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const missing = "elsewhere.pem"
	klammRun(t, "explain", "clean", "-c", path, "--value", "x", "--offline").want(t, exitOK)
	for _, command := range [][]string{{"plugin", "status", "-c", path}, {"pipeline", "list", "-c", path}} {
		if r := klammRun(t, command...); r.code == exitConfig || strings.Contains(r.out+r.talk, missing) {
			t.Errorf("klamm %v: exit %d, %s; want that nobody listens", command, r.code, r.talk)
		}
	}
	for _, command := range [][]string{{"explain", "clean", "-c", path, "--value", "x"}, {"check", path}, {"topic", "list", "-c", path}} {
		if r := klammRun(t, command...); r.code != exitConfig || !strings.Contains(r.out+r.talk, missing) {
			t.Errorf("klamm %v: exit %d, %s; want %d and the file's name", command, r.code, r.talk, exitConfig)
		}
	}
}
