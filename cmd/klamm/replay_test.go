package main

import (
	"fmt"
	"strings"
	"testing"
)

// deadLetterJSON is a dead letter as the host writes one.
func deadLetterJSON(value, topic, plugin, reason string) string {
	return fmt.Sprintf(`{"key":"k","value":%q,"headers":[{"key":"own","value":"1"},{"key":"klamm.error.plugin","value":%q},`+
		`{"key":"klamm.error.hook","value":"on_send"},{"key":"klamm.error.reason","value":%q},{"key":"klamm.error.topic","value":%q}]}`+"\n",
		value, plugin, reason, topic)
}

// deadLetters is a broker with three dead letters and a record that is none.
func deadLetters(t *testing.T) (addr string) {
	t.Helper()
	addr = startBroker(t, "--topic", "dead", "--topic", "orders", "--topic", "people", "--partitions", "1")
	in := deadLetterJSON("a", "orders", "guard", "no id") + deadLetterJSON("b", "people", "guard", "no name") +
		`{"value":"stranger"}` + "\n" + deadLetterJSON("c", "orders", "mask", "no id at all")
	klammIn(t, strings.NewReader(in), "produce", "dead", "-b", addr, "-i", "json").want(t, exitOK)
	return addr
}

func contents(t *testing.T, addr, topic string) string {
	t.Helper()
	return strings.Fields(klammRun(t, "consume", topic, "-b", addr, "--offset", "start", "--exit-at-end", "-f", `%v%h{[%k=%v]}\n`).want(t, exitOK).out + " .")[0]
}

func TestReplaySendsEachBackToItsTopic(t *testing.T) {
	addr := deadLetters(t)
	r := klammRun(t, "replay", "dead", "-b", addr, "-o", "json").want(t, exitOK).wantTalk(t, "dead/0@2: no header klamm.error.topic")
	v := r.json(t)
	if v["schema"] != "klamm.replay/1" || v["read"] != 4.0 || v["matched"] != 3.0 || v["foreign"] != 1.0 || v["out"] != 3.0 || v["next"].(map[string]any)["0"] != 4.0 {
		t.Errorf("got %v", v)
	}
	klammRun(t, "consume", "orders", "-b", addr, "--offset", "start", "--exit-at-end", "-f", `%k %v%h{ %k=%v}\n`).
		want(t, exitOK).wantOut(t, "k a own=1\nk c own=1\n")
	if got := contents(t, addr, "people"); got != "b[own=1]" {
		t.Errorf("people has %q", got)
	}
}

func TestReplayFilters(t *testing.T) {
	addr := deadLetters(t)
	tests := []struct {
		args []string
		want string // of the topic all
		out  float64
	}{
		{[]string{"--plugin", "mask"}, "c", 1},
		{[]string{"--reason", "no id"}, "ac", 2},
		{[]string{"--origin", "people"}, "b", 1},
		{[]string{"-n", "1"}, "a", 1},
		{[]string{"--offset", "2"}, "strangerc", 2},
		{[]string{"--offset", "-1"}, "c", 1},
		{[]string{"--plugin", "nobody"}, "", 0},
	}
	for i, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			to := fmt.Sprintf("all%d", i)
			klammRun(t, "topic", "create", to, "-b", addr, "--partitions", "1").want(t, exitOK)
			v := klammRun(t, append([]string{"replay", "dead", "-b", addr, "--to", to, "-o", "json"}, tt.args...)...).want(t, exitOK).json(t)
			got := klammRun(t, "consume", to, "-b", addr, "--offset", "start", "--exit-at-end", "-f", "%v").want(t, exitOK).out
			if got != tt.want || v["out"] != tt.out {
				t.Errorf("%s has %q, out %v", to, got, v["out"])
			}
		})
	}
}

func TestReplayDryRunSendsNothing(t *testing.T) {
	addr := deadLetters(t)
	klammRun(t, "replay", "dead", "-b", addr, "--dry-run").want(t, exitOK).
		wantTalk(t, "dead/0@0 -> orders  on_send by guard: no id", "2 would be sent to orders", "1 would be sent to people")
	if got := contents(t, addr, "orders"); got != "." {
		t.Errorf("orders has %q", got)
	}
}

func TestReplayRefusesToLoop(t *testing.T) {
	addr := startBroker(t, "--topic", "dead", "--partitions", "1")
	klammIn(t, strings.NewReader(deadLetterJSON("a", "dead", "guard", "x")), "produce", "dead", "-b", addr, "-i", "json").want(t, exitOK)
	klammRun(t, "replay", "dead", "-b", addr).want(t, exitFailed).wantTalk(t, "would never end", "--to")
	klammRun(t, "replay", "dead", "-b", addr, "--to", "dead").want(t, exitUsage)
}

// TestReplayPassesTheChain: a replayed record is judged as any other.
func TestReplayPassesTheChain(t *testing.T) {
	addr := startBroker(t, "--topic", "dead", "--topic", "orders", "--partitions", "1")
	twice := deadLetterJSON(`{"n":1}`, "orders", "guard", "x")
	klammIn(t, strings.NewReader(twice+twice), "produce", "dead", "-b", addr, "-i", "json").want(t, exitOK)
	v := klammRun(t, "replay", "dead", "-b", addr, "-c", writeFile(t, "config.toml", dedupConfig), "-o", "json").want(t, exitOK).json(t)
	if v["in"] != 2.0 || v["out"] != 1.0 || v["dropped"] != 1.0 {
		t.Errorf("got %v", v)
	}
}
