package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDemo holds the demo to its contract: the last line's shape, the identity,
// duplicates dropped, nothing failed.
func TestDemo(t *testing.T) {
	r := klammRun(t, "demo", "--for", "1s", "--rate", "2000", "--output", "json").want(t, exitOK).
		wantTalk(t, "not Apache Kafka", "revisions made up", "first duplicate after")
	if n := strings.Count(r.out, "\n"); n != 1 {
		t.Fatalf("stdout has %d lines: %s", n, r.out)
	}
	shape := regexp.MustCompile(`^{"schema":"klamm.demo/1","in":\d+,"out":\d+,"dropped":\d+,"dead_lettered":\d+,"failed":\d+,"in_flight":0,"partitions":{("\d+":\d+,?)+}}\n$`)
	if !shape.MatchString(r.out) {
		t.Errorf("the line is %s", r.out)
	}
	var got demoJSON
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if got.In != got.Out+got.Dropped+got.DeadLettered+got.Failed {
		t.Errorf("the identity does not hold: %+v", got)
	}
	if got.Dropped == 0 || got.Failed != 0 || got.In < 100 {
		t.Errorf("got %+v", got)
	}
	var read int64
	for _, n := range got.Partitions {
		read += n
	}
	if read != got.Out || len(got.Partitions) != 6 {
		t.Errorf("partitions hold %d records, out is %d: %v", read, got.Out, got.Partitions)
	}
}

// TestDemoStops: without --for the first Ctrl-C drains, and the summary follows.
func TestDemoStops(t *testing.T) {
	d := start(t, "demo")
	d.talk.await(t, "first duplicate after")
	if code := d.stop(t); code != exitOK {
		t.Fatalf("exit code %d: %s", code, d.talk)
	}
	for _, want := range []string{"in flight 0", "each version of an event exactly once", "partition 5"} {
		if !strings.Contains(d.out.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, d.out)
		}
	}
}

// TestDemoRedraws: on a terminal the figures are drawn over each other.
func TestDemoRedraws(t *testing.T) {
	out, talk := newOutput(), newOutput()
	s := testStreams(strings.NewReader(""), out, talk)
	s.talkTerminal = true
	if code := run(t.Context(), []string{"demo", "--for", "900ms"}, s); code != exitOK {
		t.Fatalf("exit code %d: %s", code, talk)
	}
	for _, want := range []string{"\x1b[9A", "partition 5", "last duplicate", "█"} {
		if !strings.Contains(talk.String(), want) {
			t.Errorf("missing %q in %q", want, talk)
		}
	}
}

func TestDemoFlags(t *testing.T) {
	klammRun(t, "demo", "--rate", "-1").want(t, exitUsage).wantTalk(t, "--rate -1")
	klammRun(t, "demo", "--for", "-1s").want(t, exitUsage).wantTalk(t, "--for -1s")
	klammRun(t, "demo", "--print-config").want(t, exitOK).wantOut(t, `module = "builtin:dedup"`)
}

func TestClip(t *testing.T) {
	tests := []struct {
		name, line string
		width      int
		want       string
	}{
		{"short", "abc", 3, "abc"},
		{"long", "abcd", 3, "abc\x1b[0m"},
		{"codes take no width", "\x1b[36mab\x1b[0mc", 3, "\x1b[36mab\x1b[0mc"},
		{"letters, not bytes", "█████", 4, "████\x1b[0m"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := clip(tt.line, tt.width); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFold(t *testing.T) {
	parts := []string{"3 s", "polls 12", "in 100", "dropped 20"}
	for _, tt := range []struct {
		width int
		want  []string
	}{
		{80, []string{"3 s  polls 12  in 100  dropped 20"}},
		{33, []string{"3 s  polls 12  in 100  dropped 20"}},
		{32, []string{"3 s  polls 12  in 100", "dropped 20"}},
		{13, []string{"3 s  polls 12", "in 100", "dropped 20"}},
		{5, parts},
	} {
		if diff := cmp.Diff(tt.want, fold(parts, tt.width)); diff != "" {
			t.Errorf("width %d (-want +got):\n%s", tt.width, diff)
		}
	}
}
