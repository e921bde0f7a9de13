package main

import (
	"path/filepath"
	"testing"
)

func TestBench(t *testing.T) {
	tests := []struct {
		name string
		args []string
	}{
		{"plain", nil},
		{"faults", []string{"--faults"}},
		{"duplicates and a window", []string{"--duplicates", "0.3", "--window", "1h"}},
		{"faults and plugins", []string{"--faults", "--plugins", "--explicit", "0.3", "--seed", "7"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := klammRun(t, append([]string{"bench", "--records", "5000", "--output", "json"}, tt.args...)...).want(t, exitOK)
			r.wantTalk(t, "a second on this machine")
			got := r.json(t)
			for _, zero := range []string{"lost", "duplicated", "reordered", "false_drops", "dedup_doubled"} {
				if got[zero] != 0.0 {
					t.Errorf("%s is %v", zero, got[zero])
				}
			}
			// One more for each partition shows that none is stuck.
			if got["schema"] != "klamm.verify/1" || got["sent"] != 5012.0 || got["completions"] != 5012.0 || got["ok"] != true || (got["duplicates"] != 0.0) != (len(tt.args) > 1) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestBenchThenVerify(t *testing.T) {
	addr := startBroker(t, "--topic", "empty")
	history := filepath.Join(t.TempDir(), "h")
	klammRun(t, "bench", "-b", addr, "-n", "500", "--topic", "b", "--history", history, "--fsync", "--partitions", "4").want(t, exitOK).
		wantOut(t, "sent          504\n", "lost          0\n")
	got := klammRun(t, "verify", history, "-b", addr, "-o", "json", "--wait", "1ms").want(t, exitOK).json(t)
	if got["sent"] != 504.0 || got["acknowledged"] != 504.0 || got["ok"] != true {
		t.Errorf("got %v", got)
	}
	klammRun(t, "verify", history, "-b", addr, "--topic", "empty").want(t, exitFailed).
		wantOut(t, "unseen        504\n").
		wantTalk(t, "klamm: verify: 504 unseen", "to do:", "--seed")
	klammRun(t, "bench", "-b", addr, "-n", "5", "--topic", "b").want(t, exitFailed).wantTalk(t, "a topic of its own")
}

func TestBenchAndVerifyRefuse(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no records", []string{"bench", "-n", "0"}, exitUsage, "--records 0"},
		{"small value", []string{"bench", "--size", "5"}, exitUsage, "--size 5: it is 24 to"},
		{"share", []string{"bench", "--explicit", "NaN"}, exitUsage, "--explicit NaN"},
		{"duplicates", []string{"bench", "--duplicates", "1"}, exitUsage, "--duplicates 1: it is a share"},
		{"window of nothing", []string{"bench", "--window", "1s"}, exitUsage, "goes with --duplicates"},
		{"no history named", []string{"verify"}, exitUsage, "HISTORY"},
		{"no such history", []string{"verify", missing}, exitFailed, "no such file"},
		{"no history", []string{"verify", "bench.go"}, exitFailed, "it is no history"},
		{"history is there", []string{"bench", "-n", "1", "--history", "bench.go"}, exitFailed, "file exists"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { klammRun(t, tt.args...).want(t, tt.code).wantTalk(t, tt.want) })
	}
}
