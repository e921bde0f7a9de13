package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTopic(t *testing.T) {
	addr := startBroker(t)
	klammRun(t, "topic", "create", "orders", "clean", "--partitions", "3", "-b", addr).want(t, exitOK).
		wantTalk(t, `topic "orders" created`, `topic "clean" created`)
	klammRun(t, "topic", "create", "orders", "-b", addr).want(t, exitFailed).
		wantTalk(t, `create topic "orders"`, "TOPIC_ALREADY_EXISTS", "--if-missing")
	klammRun(t, "topic", "create", "orders", "--if-missing", "-b", addr).want(t, exitOK)
	if r := klammRun(t, "topic", "list", "-b", addr).want(t, exitOK); r.out != "clean\norders\n" {
		t.Errorf("list: %q", r.out)
	}
	klammRun(t, "topic", "describe", "orders", "-b", addr).want(t, exitOK).
		wantOut(t, "TOPIC", "PARTITION", "orders  0", "orders  2")
	v := klammRun(t, "topic", "describe", "orders", "-b", addr, "--output", "json").want(t, exitOK).json(t)
	topic := v["topics"].([]any)[0].(map[string]any)
	if v["schema"] != "klamm.topics/1" || len(topic["partitions"].([]any)) != 3 {
		t.Errorf("got %v", v)
	}
	v = klammRun(t, "topic", "create", "orders", "new", "--if-missing", "-b", addr, "--output", "json").want(t, exitOK).json(t)
	if diff := cmp.Diff(map[string]any{"schema": "klamm.topic_create/1", "topics": []any{
		map[string]any{"topic": "orders", "created": false}, map[string]any{"topic": "new", "created": true},
	}}, v); diff != "" {
		t.Errorf("create (-want +got):\n%s", diff)
	}
	r := klammRun(t, "topic", "create", "newer", "orders", "-b", addr, "--output", "json").want(t, exitFailed)
	if want := `"topics":[{"topic":"newer","created":true}]`; !strings.Contains(r.out, want) {
		t.Errorf("create with one that exists: got %q, want %q", r.out, want)
	}
	v = klammRun(t, "topic", "list", "-b", addr, "--output", "json").want(t, exitOK).json(t)
	if v["schema"] != "klamm.topic_list/1" || len(v["topics"].([]any)) != 4 {
		t.Errorf("list: got %v", v)
	}
	klammRun(t, "__complete", "topic", "describe", "-b", addr, "").want(t, exitOK).wantOut(t, "orders", "clean")
}

func TestTopicErrors(t *testing.T) {
	addr := startBroker(t)
	tests := []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"unknown topic", []string{"topic", "describe", "nowhere", "-b", addr}, exitFailed, []string{"nowhere", "klamm topic create"}},
		{"invalid name", []string{"topic", "create", "a b", "-b", addr}, exitFailed, []string{`"a b"`, "249"}},
		{"bad setting", []string{"topic", "create", "a", "--set", "x", "-b", addr}, exitUsage, []string{`--set "x": it is name=value`}},
		{"no partitions", []string{"topic", "create", "a", "--partitions", "0", "-b", addr}, exitUsage, []string{"--partitions 0"}},
		{"no replicas", []string{"topic", "create", "a", "--replication", "-2", "-b", addr}, exitUsage, []string{"--replication -2"}},
		{"no broker", []string{"topic", "list", "-b", "127.0.0.1:1"}, exitUnreachable, []string{"127.0.0.1:1", "refused", "klamm broker"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			klammRun(t, tt.args...).want(t, tt.code).wantTalk(t, tt.want...)
		})
	}
}
