package config

import (
	"slices"
	"strings"
	"testing"
)

const soundKafkaState = `[host]
id = "h"
[plugin.dedup]
module = "builtin:dedup"
state = "ids"
[chain.clean]
topics = ["clean"]
on_send = ["dedup"]
[pipeline.p]
from = ["raw"]
to = "clean"
guarantee = "exactly_once"
[state.ids]
backend = "kafka"
`

func TestKafkaState(t *testing.T) {
	c := mustParse(t, soundKafkaState)
	if got := c.StateTopic("ids"); got != "klamm-state-ids" {
		t.Errorf("topic %q", got)
	}
	if got := c.PipelineStates("p"); !slices.Equal(got, []string{"ids"}) {
		t.Errorf("states of the pipeline: %q", got)
	}
	// Commands that run no pipelines take them out of a configuration.
	c.Pipeline = nil
	if err := c.Check().Err(); err != nil {
		t.Error(err)
	}
}

// What rekey makes of a pipeline has a topic and a group that nobody else has.
func TestRekeyNames(t *testing.T) {
	for _, row := range []struct {
		name, old, new string
		want           []string // places and who has the name
	}{
		{"sound", "", "", nil},
		{"an input", "[state.ids]", "[pipeline.q]\nfrom = [\"x\", \"klamm-rekey-p\"]\nto = \"y\"\n[state.ids]", []string{`c.toml:15:14`, `pipeline "q" uses it`}},
		{"an output", "[state.ids]", "[pipeline.q]\nfrom = [\"x\"]\nto = \"klamm-rekey-p\"\n[state.ids]", []string{`c.toml:16:6`, `pipeline "q" uses it`}},
		{"its own output", `to = "clean"`, `to = "klamm-rekey-p"`, []string{`c.toml:12:6`, `pipeline "p" uses it`}},
		{"dead letters", "[state.ids]", "dead_letter_topic = \"klamm-rekey-p\"\n[state.ids]", []string{`c.toml:14:21`, `pipeline "p" uses it`}},
		{"dead letters of a plugin", `state = "ids"`, "state = \"ids\"\ndead_letter_topic = \"klamm-rekey-p\"", []string{`c.toml:6:21`, `plugin "dedup" uses it`}},
		{"dead letters of a chain", `on_send = ["dedup"]`, "on_send = [\"dedup\"]\ndead_letter_topic = \"klamm-rekey-p\"", []string{`c.toml:9:21`, `chain "clean" uses it`}},
		{"a state", `backend = "kafka"`, "backend = \"kafka\"\ntopic = \"klamm-rekey-p\"", []string{`c.toml:16:9`, `state "ids" uses it`}},
		{"a group", "[state.ids]", "[pipeline.q]\nfrom = [\"x\"]\nto = \"y\"\ngroup_id = \"p-rekey\"\n[state.ids]", []string{`c.toml:17:12`, `pipeline "q" has it too`}},
		{"the group of its other half", "[state.ids]", "group_id = \"g\"\n[pipeline.q]\nfrom = [\"x\"]\nto = \"y\"\ngroup_id = \"g-rekey\"\n[state.ids]", []string{`c.toml:18:12`, `pipeline "q" has it too`}},
		{"the group of consumers", "[state.ids]", "[consumer]\ngroup_id = \"p-rekey\"\n[state.ids]", []string{`c.toml:15:12`, `[consumer] has it too`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := strings.Replace(soundKafkaState, "[pipeline.p]", "[pipeline.p]\nrekey = true", 1)
			if !strings.Contains(text, row.old) {
				t.Fatalf("%q is not in the configuration", row.old)
			}
			_, problems := parse(t, strings.Replace(text, row.old, row.new, 1), nil)
			got := problems.Error()
			if len(row.want) == 0 && got != "" {
				t.Errorf("got %s", got)
			}
			for _, want := range row.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in\n%s", want, got)
				}
			}
		})
	}
}

// Every combination that would lose or double records is refused where it stands.
func TestUnsoundKafkaStates(t *testing.T) {
	for _, row := range []struct{ name, old, new, want string }{
		{"at least once by default", "guarantee = \"exactly_once\"\n", "", `
c.toml:9:1: error: pipeline "p" is at_least_once, and state "ids" of its chain is in Kafka, written in the transactions of a pipeline that is exactly once
  |
9 | [pipeline.p]
  | ^^^^^^^^^^^^ set guarantee = "exactly_once", or give the state another backend`},
		{"at least once", `"exactly_once"`, `"at_least_once"`, `
c.toml:12:13: error: pipeline "p" is at_least_once, and state "ids" of its chain is in Kafka, written in the transactions of a pipeline that is exactly once
   |
12 | guarantee = "at_least_once"
   |             ^^^^^^^^^^^^^^^ set guarantee = "exactly_once", or give the state another backend`},
		{"no pipeline uses it", "to = \"clean\"", "to = \"other\"", `
c.toml:14:11: error: state "ids" is in Kafka, and no pipeline's chain uses it: its ids are written in the transactions of a pipeline
   |
14 | backend = "kafka"
   |           ^^^^^^^ list its plugin in the chain of a pipeline with guarantee = "exactly_once", or use "file" or "redis", which serve producers and consumers`},
		{"two pipelines", "[state.ids]", "[pipeline.q]\nfrom = [\"more\"]\nto = \"clean\"\nguarantee = \"exactly_once\"\n[state.ids]", `
c.toml:18:11: error: state "ids" is in Kafka, and pipelines "p" and "q" both use it: its ids belong to the partitions of one input
   |
18 | backend = "kafka"
   |           ^^^^^^^ give each pipeline's plugin a state of its own, and a chain of its own`},
		{"an id that is not the key", "[chain.clean]", "[plugin.dedup.config]\nid = [\"json:id\", \"header:v\"]\n[chain.clean]", `
c.toml:7:6: error: plugin "dedup": copies with the same json:id and header:v may be in different partitions, and then on different hosts, each with ids of its own in state "ids"
  |
7 | id = ["json:id", "header:v"]
  |      ^^^^^^^^^^^^^^^^^^^^^^^ set rekey = true in the pipeline; or, where records are partitioned by the id all the same, partitioned_by_id = true in [state.ids]; or use an id with "key" in it, or backend = "redis"`},
		{"rekey without ids in Kafka", "backend = \"kafka\"", "[pipeline.q]\nfrom = [\"a\"]\nto = \"b\"\nrekey = true\n", `
c.toml:17:9: error: pipeline "q" is to be partitioned by an id, and no plugin of its chain keeps ids in Kafka
   |
17 | rekey = true
   |         ^^^^ list a dedup whose state has backend = "kafka", or take rekey away`},
		{"rekey by an id that nobody knows", "module = \"builtin:dedup\"\nstate = \"ids\"\n[chain.clean]\ntopics = [\"clean\"]\non_send = [\"dedup\"]\n[pipeline.p]", "module = \"mine.wasm\"\nstate = \"ids\"\n[chain.clean]\ntopics = [\"clean\"]\non_send = [\"dedup\"]\n[pipeline.p]\nrekey = true", `
c.toml:10:9: error: pipeline "p": the host partitions by the id itself, and of plugin "dedup", which is not builtin:dedup, it does not know what the id is
   |
10 | rekey = true
   |         ^^^^ use builtin:dedup; or take rekey away, have whoever writes the input partition it by the id, and set partitioned_by_id = true in the state`},
		{"a name that rekey needs", "[pipeline.p]", "[pipeline.p-rekey]\nfrom = [\"x\"]\nto = \"y\"\n[pipeline.p]\nrekey = true", `
c.toml:9:1: error: pipeline "p-rekey" is what rekey makes of "p"
  |
9 | [pipeline.p-rekey]
  | ^^^^^^^^^^^^^^^^^^ give it another name`},
		{"partitions without Kafka", "backend = \"kafka\"", "partitioned_by_id = true", `
c.toml:14:21: error: state "ids" says how its ids are partitioned, and its backend is "memory"
   |
14 | partitioned_by_id = true
   |                     ^^^^ set backend = "kafka", or take it away`},
		{"several inputs", `from = ["raw"]`, `from = ["raw", "more"]`, `
c.toml:10:8: error: pipeline "p" reads 2 topics, and state "ids" keeps the ids of their partitions of the same number together: one host must have them all, and partition_assignment_strategy = "cooperative-sticky" does not see to that
   |
10 | from = ["raw", "more"]
   |        ^^^^^^^^^^^^^^^ set partition_assignment_strategy = "range" in [consumer], with equally many partitions in all topics; or rekey = true`},
		{"passing without it", "backend = \"kafka\"", "backend = \"kafka\"\non_unavailable = \"pass\"", `
c.toml:15:18: error: state "ids" is in Kafka: where it cannot be written, its records are not either, and none can pass
   |
15 | on_unavailable = "pass"
   |                  ^^^^^^ use "fail", the default`},
		{"holding what is unknown", "state = \"ids\"", "state = \"ids\"\non_unknown = \"hold\"", `
c.toml:6:14: error: plugin "dedup": what became of a record is always found out where its ids are in Kafka (state "ids"), and nothing is held
  |
6 | on_unknown = "hold"
  |              ^^^^^^ take on_unknown away`},
		{"in the input", "backend = \"kafka\"", "backend = \"kafka\"\ntopic = \"raw\"", `
c.toml:15:9: error: state "ids" is in topic "raw", which pipeline "p" uses for records
   |
15 | topic = "raw"
   |         ^^^^^ give it a topic of its own`},
		{"a topic without Kafka", "backend = \"kafka\"", "topic = \"t\"", `
c.toml:14:9: error: state "ids" has a topic, and its backend is "memory"
   |
14 | topic = "t"
   |         ^^^ set backend = "kafka", or take the topic away`},
		{"replicas without Kafka", "backend = \"kafka\"", "replication_factor = 3", `
c.toml:14:22: error: state "ids" has a replication factor, and its backend is "memory"
   |
14 | replication_factor = 3
   |                      ^ set backend = "kafka", or take it away`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if !strings.Contains(soundKafkaState, row.old) {
				t.Fatalf("%q is not in the configuration", row.old)
			}
			_, problems := parse(t, strings.Replace(soundKafkaState, row.old, row.new, 1), nil)
			if got := "\n" + strings.TrimRight(problems.Error(), "\n"); got != row.want {
				t.Errorf("got%s\nwant%s", got, row.want)
			}
		})
	}
}

func TestIDPartsOfDedup(t *testing.T) {
	for id, sound := range map[string]bool{`"key"`: true, `["key", "header:v"]`: true, `"header:event"`: false, `["json:a"]`: false} {
		_, problems := parse(t, strings.Replace(soundKafkaState, "[chain.clean]", "[plugin.dedup.config]\nid = "+id+"\n[chain.clean]", 1), nil)
		if got := problems.Err() == nil; got != sound {
			t.Errorf("id = %s: accepted %v, want %v\n%v", id, got, sound, problems.Err())
		}
	}
	_, problems := parse(t, strings.Replace(soundKafkaState, "[chain.clean]", "[plugin.dedup.config]\nid = \"header:id\"\n[chain.clean]", 1)+"partitioned_by_id = true\n", nil)
	if err := problems.Err(); err != nil {
		t.Errorf("an id that the input is partitioned by: %v", err)
	}
	c, problems := parse(t, strings.Replace(strings.Replace(soundKafkaState, "[chain.clean]", "[plugin.dedup.config]\nid = \"header:id\"\n[chain.clean]", 1), `from = ["raw"]`, "from = [\"raw\", \"more\"]\nrekey = true", 1), nil)
	if err := problems.Err(); err != nil {
		t.Errorf("an id that is rekeyed by: %v", err)
	} else if s := c.Stages(); len(s) != 2 || s["p"].From[0] != "klamm-rekey-p" || s["p-rekey"].To != "klamm-rekey-p" || len(s["p-rekey"].From) != 2 || s["p-rekey"].GroupID != "p-rekey" || s["p-rekey"].Guarantee != ExactlyOnce {
		t.Errorf("stages %+v", s)
	} else if id := c.RekeyID("p"); !slices.Equal(id, []string{"header:id"}) {
		t.Errorf("partitioned by %q", id)
	}
	_, problems = parse(t, strings.Replace(soundKafkaState, `from = ["raw"]`, `from = ["raw", "more"]`, 1)+"[consumer]\npartition_assignment_strategy = \"range\"\n", nil)
	if err := problems.Err(); err != nil {
		t.Errorf("several inputs, assigned together: %v", err)
	}
}
