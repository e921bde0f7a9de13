package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readmeBlocks returns README.md's blocks of that language.
func readmeBlocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("README.md has no %s block", language)
	}
	return blocks
}

// TestReadmeConfig: the configuration on the first screen works as it stands.
func TestReadmeConfig(t *testing.T) {
	path := writeFile(t, "config.toml", readmeBlocks(t, "toml")[0])
	klammRun(t, "check", path, "--deny-warnings").want(t, exitOK)
}

// TestReadmePlugin: the plugin in 20 lines builds and is accepted.
func TestReadmePlugin(t *testing.T) {
	source := readmeBlocks(t, "go")[0]
	if n := strings.Count(source, "\n"); n > 21 {
		t.Errorf("it has %d lines", n)
	}
	dir := scaffolded(t, "redact")
	source = strings.Replace(source, "github.com/klamm-io/klamm/sdk/plugin", "redact/internal/klamm/plugin", 1)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	klammRun(t, "plugin", "build", dir).want(t, exitOK)
	klammRun(t, "plugin", "inspect", filepath.Join(dir, "redact.wasm")).want(t, exitOK)
}

// TestReadmeCommands: every klamm command that it names exists.
func TestReadmeCommands(t *testing.T) {
	root := (&app{streams: testStreams(nil, nil, nil)}).root()
	for _, block := range append(readmeBlocks(t, "sh"), readmeBlocks(t, "text")...) {
		for _, m := range regexp.MustCompile(`klamm +([a-z]+)`).FindAllStringSubmatch(block, -1) {
			if c, _, err := root.Find([]string{m[1]}); err != nil || c == root {
				t.Errorf("klamm %s: %v", m[1], err)
			}
		}
	}
}
