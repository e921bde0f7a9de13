package main

import (
	"strings"
	"testing"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/config"
)

const auditConfig = `
version = 1
[plugin.dedup]
module = "builtin:dedup"
state = "ids"
config = { id = "key", window = "48h" }
[state.ids]
[chain.clean]
topics = ["clean"]
on_send = ["dedup"]
[pipeline.copy]
from = ["raw"]
to = "clean"
`

// TestAuditFindings runs each rule alone against a sound topic with one flaw.
func TestAuditFindings(t *testing.T) {
	sound := func() host.TopicDurability {
		return host.TopicDurability{Name: "raw", Replicas: 3, InSync: 3, Settings: map[string]string{
			"min.insync.replicas": "2", "unclean.leader.election.enable": "false", "retention.ms": "604800000", "cleanup.policy": "delete",
		}}
	}
	set := func(name, value string) func(*host.TopicDurability) {
		return func(d *host.TopicDurability) { d.Settings[name] = value }
	}
	tests := []struct {
		name  string
		extra string
		flaw  func(*host.TopicDurability)
		want  string // "" for no finding
	}{
		{"sound", "", func(*host.TopicDurability) {}, ""},
		{"one replica", "", func(d *host.TopicDurability) { d.Replicas, d.InSync = 1, 1 }, "one replica"},
		{"min.insync of one", "", set("min.insync.replicas", "1"), "min.insync.replicas = 1: with acks = all"},
		{"min.insync of all", "", set("min.insync.replicas", "3"), "one broker that is down stops all writes"},
		{"out of sync", "", func(d *host.TopicDurability) { d.InSync = 2 }, "2 of 3 replicas in sync"},
		{"unclean leaders", "", set("unclean.leader.election.enable", "true"), "acknowledged records are gone"},
		{"window beyond retention", "", set("retention.ms", "129600000"), `keeps records for 36h0m0s, plugin "dedup" remembers ids for 48h0m0s`},
		{"kept for ever", "", set("retention.ms", "-1"), ""},
		{"compacted", "", func(d *host.TopicDurability) {
			d.Settings["retention.ms"], d.Settings["cleanup.policy"] = "1000", "compact"
		}, ""},
		{"broker that tells nothing", "", func(d *host.TopicDurability) { d.Settings = nil }, ""},
		{"acks", "[producer]\nacks = 1\nenable_idempotence = false\n", func(*host.TopicDurability) {}, "acks = 1: a record that was acknowledged"},
		{"isolation", "[consumer]\nisolation_level = \"read_uncommitted\"\n", func(*host.TopicDurability) {}, "aborted later"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			topic := sound()
			tt.flaw(&topic)
			found := auditOf(t, auditConfig+tt.extra, topic)
			if tt.want == "" {
				if len(found) > 0 {
					t.Errorf("got %q", found)
				}
				return
			}
			if len(found) != 1 || !strings.Contains(found[0], tt.want) {
				t.Errorf("want one finding with %q, got %q", tt.want, found)
			}
		})
	}
}

func TestAuditShortRetention(t *testing.T) {
	topic := host.TopicDurability{Name: "raw", Replicas: 3, InSync: 3, Settings: map[string]string{"retention.ms": "3600000"}}
	found := auditOf(t, auditConfig, topic)
	if len(found) != 2 || !strings.Contains(found[1], "stands still for longer") {
		t.Errorf("got %q", found)
	}
}

func auditOf(t *testing.T, text string, topics ...host.TopicDurability) []string {
	t.Helper()
	cfg, problems, err := config.LoadAll(writeFile(t, "config.toml", text))
	if err != nil || problems.Errors() > 0 {
		t.Fatal(err, problems.Summary())
	}
	before := len(problems.All())
	a := audit{cfg, problems}
	a.topics(topicsOf(cfg), topics)
	var found []string
	for _, p := range problems.All()[before:] {
		if p.Suggestion == "" || p.Place.Line == 0 && !strings.Contains(text, "[producer]") && !strings.Contains(text, "[consumer]") {
			t.Errorf("a finding without a place or without what to do: %+v", p)
		}
		found = append(found, p.What)
	}
	return found
}

func TestCheckConnectAudits(t *testing.T) {
	addr := startBroker(t, "--topic", "raw", "--topic", "clean")
	path := writeFile(t, "config.toml", auditConfig)
	klammRun(t, "check", path, "--connect", "-b", addr).want(t, exitOK).wantOut(t, "warning:", `topic "raw" has one replica`, "kafka-reassign-partitions")
	klammRun(t, "check", path, "--connect", "-b", addr, "--deny-warnings").want(t, exitConfig)
}

const kafkaStateConfig = `
version = 1
[host]
id = "h"
[plugin.dedup]
module = "builtin:dedup"
state = "ids"
config = { id = "key", window = "48h" }
[state.ids]
backend = "kafka"
topic = "known"
[chain.clean]
topics = ["clean"]
on_send = ["dedup"]
[pipeline.copy]
from = ["raw"]
to = "clean"
guarantee = "exactly_once"
stop_at_end = true
`

// check --connect knows the topic of a state: whether it can be used, and how
// durable it is.
func TestCheckConnectStates(t *testing.T) {
	addr := startBroker(t, "--partitions", "3", "--topic", "raw", "--topic", "clean")
	check := func(text string) ran {
		return klammRun(t, "check", writeFile(t, "config.toml", text), "--connect", "-b", addr)
	}
	check(kafkaStateConfig).want(t, exitOK) // made when the pipeline starts
	klammRun(t, "topic", "create", "known", "-b", addr, "--partitions", "2").want(t, exitOK)
	check(kafkaStateConfig).want(t, exitConfig).wantOut(t, `:11:9: error: state "ids" in topic "known": it has 2 partitions and the pipeline's input has 3`)

	made := strings.Replace(kafkaStateConfig, `"known"`, `"made"`, 1)
	run := writeFile(t, "run.toml", made+"[cluster]\nbootstrap_servers = [\""+addr+"\"]\n[admin]\nlisten = \"\"\n")
	klammRun(t, "run", run).want(t, exitOK)
	check(made).want(t, exitOK).wantOut(t, `:11:9: warning: topic "made" has one replica`)
	check(strings.ReplaceAll(made, "pipeline.copy", "pipeline.other")).want(t, exitConfig).
		wantOut(t, `it was made with pipeline "copy", not "other": two pipelines cannot share ids; name another topic`)
}
