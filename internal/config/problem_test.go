package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// parse reads text with nothing around it but what is given.
func parse(t *testing.T, text string, env map[string]string) (*Config, *Problems) {
	t.Helper()
	return Parse("c.toml", []byte(text), Options{
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		ReadFile:  readFiles(nil),
	})
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, problems := parse(t, text, nil)
	if c == nil {
		t.Fatalf("refused:\n%v", problems)
	}
	return c
}

// TestProblems shows each mistake as people see it.
func TestProblems(t *testing.T) {
	const good = "[plugin.p]\nmodule = \"p.wasm\"\n[chain.c]\ntopics = [\"t\"]\non_send = [\"p\"]\n"
	cases := []struct{ name, text, want string }{
		{"unknown key", "[producer]\nlingr_ms = 5\n", `
c.toml:2:1: error: unknown key "lingr_ms" in [producer]
  |
2 | lingr_ms = 5
  | ^^^^^^^^ did you mean "linger_ms"?`},
		{"wrong case", "[Cluster]\n", `
c.toml:1:1: error: unknown key "Cluster" in the top level: keys are written in lower case
  |
1 | [Cluster]
  | ^^^^^^^^^ did you mean "cluster"?`},
		{"key of another table", "[producer]\ngroup_id = \"g\"\n", `
c.toml:2:1: error: unknown key "group_id" in [producer]
  |
2 | group_id = "g"
  | ^^^^^^^^ it is a key of [consumer] and [pipeline.NAME]`},
		{"name from another tool", good + "[pipeline.x]\nfrom = [\"a\"]\nto = \"b\"\ndlq_topic = \"d\"\n", `
c.toml:9:1: error: unknown key "dlq_topic" in [pipeline.x]
  |
9 | dlq_topic = "d"
  | ^^^^^^^^^ did you mean "dead_letter_topic"?`},
		{"unit left out", "producer.linger = 5\n", `
c.toml:1:1: error: unknown key "linger" in [producer]
  |
1 | producer.linger = 5
  | ^^^^^^^^^^^^^^^ did you mean "linger_ms"?`},
		{"dotted name misspelt", "[producer]\nlinger.mz = 5\n", `
c.toml:2:1: error: unknown key "linger.mz" in [producer]
  |
2 | linger.mz = 5
  | ^^^^^^^^^ did you mean "linger.ms"?`},
		{"both forms of a name", "[producer]\nlinger.ms = 5\nlinger_ms = 5\n", `
c.toml:2:1: error: "linger_ms" and "linger.ms" are the same setting
  |
2 | linger.ms = 5
  | ^^^^^^^^^ keep one of them`},
		{"wrong type in an inline table", "cluster = { embedded = { partitions = \"4\" } }\n", `
c.toml:1:39: error: cluster.embedded.partitions: want a whole number, found a string
  |
1 | cluster = { embedded = { partitions = "4" } }
  |                                       ^^^ write 4 without quotes`},
		{"tab before", "[producer]\n\t acks = 2\n", `
c.toml:2:10: error: producer.acks: "2" is none of "all", 1, 0
  |
2 | 	 acks = 2
  | 	        ^`},
		{"wide letters before", "[cluster]\nclient_id = \"h\u00e9\" # \u65e5\nbootstrap_servers = [\"\u65e5\", \"x\"]\n", `
c.toml:3:22: error: cluster.bootstrap_servers[0]: "` + "\u65e5" + `" is no host:port
  |
3 | bootstrap_servers = ["` + "\u65e5" + `", "x"]
  |                      ^^^ write for example "127.0.0.1:9092"
c.toml:3:27: error: cluster.bootstrap_servers[1]: "x" is no host:port
  |
3 | bootstrap_servers = ["` + "\u65e5" + `", "x"]
  |                           ^^^ write for example "127.0.0.1:9092"`},
		{"list expected", good + "[pipeline.x]\nfrom = \"a\"\nto = \"b\"\n", `
c.toml:7:8: error: pipeline.x.from: want a list, found a string
  |
7 | from = "a"
  |        ^^^ write ["a"]`},
		{"size with a doubtful unit", "[producer]\nbatch_size = \"16KB\"\n", `
c.toml:2:14: error: producer.batch_size: "16KB" is not a size Kafka can use exactly
  |
2 | batch_size = "16KB"
  |              ^^^^^^ use "16KiB" (16384) or a plain number of bytes`},
		{"duration without a unit that is one", "[producer]\nlinger_ms = \"5 msec\"\n", `
c.toml:2:13: error: producer.linger_ms: "5 msec" is not a duration
  |
2 | linger_ms = "5 msec"
  |             ^^^^^^^^ write a number and a unit, such as "5ms", "30s" or "1h"`},
		{"out of range", "[producer]\nmax_in_flight_requests_per_connection = 0\n", `
c.toml:2:41: error: producer.max_in_flight_requests_per_connection: 0 is too small
  |
2 | max_in_flight_requests_per_connection = 0
  |                                         ^ the least is 1`},
		{"settings without a name", "[plugin]\nmodule = \"x\"\n", `
c.toml:2:1: error: key "module" stands directly in [plugin]
  |
2 | module = "x"
  | ^^^^^^ settings go into a named table, such as [plugin.NAME]`},
		{"dangling plugin", good + "on_consume = [\"q\"]\n", `
c.toml:6:15: error: chain "c": no plugin named "q"
  |
6 | on_consume = ["q"]
  |               ^^^ did you mean "p" (line 1)?`},
		{"dangling state", good + "[plugin.other]\nmodule = \"x\"\nstate = \"ids\"\n", `
c.toml:6:1: warning: plugin "other" is in no chain
  |
6 | [plugin.other]
  | ^^^^^^^^^^^^^^
c.toml:8:9: error: plugin "other": no state named "ids"
  |
8 | state = "ids"
  |         ^^^^^ add [state.ids]`},
		{"a module from elsewhere", strings.Replace(good, "p.wasm", "oci://x/y", 1), `
c.toml:2:10: error: plugin "p": modules from oci:// are not in this version
  |
2 | module = "oci://x/y"
  |          ^^^^^^^^^^^ download it and name the file`},
		{"chains that tie", good + "[chain.d]\ntopics = [\"a*\"]\n[chain.e]\ntopics = [\"*b\", \"c*\"]\n", `
c.toml:9:11: error: chain "d" and chain "e" both match topics by "a*" and "*b", equally exactly
  |
9 | topics = ["*b", "c*"]
  |           ^^^^ make one of them more exact (line 7)`},
		{"its own input", "[pipeline.x]\nfrom = [\"a\", \"b\"]\nto = \"b\"\n", `
c.toml:3:6: error: pipeline "x" writes to its own input "b": every record would go round for ever
  |
3 | to = "b"
  |      ^^^ write to another topic`},
		{"dead letters into the input", "[pipeline.x]\nfrom = [\"a\"]\nto = \"b\"\ndead_letter_topic = \"a\"\n", `
c.toml:4:21: error: dead-letter topic "a" is the input of pipeline "x"
  |
4 | dead_letter_topic = "a"
  |                     ^^^ use a topic of its own`},
		{"dead letters of a plugin into the output", strings.Replace(good, "[chain", "dead_letter_topic = \"t\"\n[chain", 1) + "[pipeline.x]\nfrom = [\"a\"]\nto = \"t\"\n", `
c.toml:3:21: error: dead-letter topic "t" is the output of pipeline "x"
  |
3 | dead_letter_topic = "t"
  |                     ^^^ use a topic of its own`},
		{"dead letters without a topic", strings.Replace(good, "[chain", "on_error = \"dead_letter\"\n[chain", 1), `
c.toml:3:12: error: plugin "p": on_error = "dead_letter" without a topic to write to
  |
3 | on_error = "dead_letter"
  |            ^^^^^^^^^^^^^ set dead_letter_topic in [plugin.p] or in its chain`},
		{"pipeline beside transactions", "[producer]\ntransactional_id = \"a\"\n[pipeline.x]\nfrom = [\"a\"]\nto = \"b\"\n", `
c.toml:2:20: error: pipeline "x" writes through the producer, which is transactional
  |
2 | transactional_id = "a"
  |                    ^^^ give [pipeline.x] guarantee = "exactly_once", or remove transactional_id`},
		{"exactly once", "[pipeline.x]\nfrom = [\"a\"]\nto = \"b\"\nguarantee = \"exactly_once\"\n", `
c.toml:4:13: error: pipeline "x": exactly_once needs a name that lasts for the host
  |
4 | guarantee = "exactly_once"
  |             ^^^^^^^^^^^^^^ set id in [host]: it names the transactions, so that a restart ends those that were left open`},
		{"exactly once without idempotence", "[host]\nid = \"h\"\n[producer]\nenable_idempotence = false\n[pipeline.x]\nfrom = [\"a\"]\nto = \"b\"\nguarantee = \"exactly_once\"\n", `
c.toml:8:13: error: pipeline "x": exactly_once needs idempotence, which the settings of [producer] turn off
  |
8 | guarantee = "exactly_once"
  |             ^^^^^^^^^^^^^^ transactions need acks = "all", retries, and at most 5 requests in flight`},
		{"exactly once of uncommitted records", "[host]\nid = \"h\"\n[consumer]\nisolation_level = \"read_uncommitted\"\n[pipeline.x]\nfrom = [\"a\"]\nto = \"b\"\nguarantee = \"exactly_once\"\n", `
c.toml:4:19: error: pipeline "x" is exactly once and would read records of aborted transactions
  |
4 | isolation_level = "read_uncommitted"
  |                   ^^^^^^^^^^^^^^^^^^ use "read_committed"`},
		{"transactions too short to be committed", "[host]\nid = \"h\"\n[pipeline.x]\nfrom = [\"a\"]\nto = \"b\"\nguarantee = \"exactly_once\"\ncommit_interval_ms = \"20s\"\ntransaction_timeout_ms = \"20s\"\n", `
c.toml:8:26: error: pipeline "x": brokers would abort its transactions after 20s, before commit_interval_ms = 20s commits them
  |
8 | transaction_timeout_ms = "20s"
  |                          ^^^^^ several times commit_interval_ms leaves room for slow brokers`},
		{"a topic of Kafka's", "[pipeline.x]\nfrom = [\"a\"]\nto = \"__consumer_offsets\"\n", `
c.toml:3:6: error: pipeline.x.to: topic name "__consumer_offsets" belongs to Kafka itself
  |
3 | to = "__consumer_offsets"
  |      ^^^^^^^^^^^^^^^^^^^^ names that start with "__" are refused`},
		{"a digest that is none", strings.Replace(good, "[chain", "sha256 = \"abc\"\n[chain", 1), `
c.toml:3:10: error: plugin "p": sha256 is not 64 hexadecimal digits
  |
3 | sha256 = "abc"
  |          ^^^^^ sha256sum prints it`},
		{"pipelines in a ring", "[pipeline.x]\nfrom = [\"a\"]\nto = \"b\"\n[pipeline.y]\nfrom = [\"b\"]\nto = \"a\"\n", `
c.toml:3:6: warning: pipelines x -> y -> x feed each other: records go round for ever unless a plugin stops them
  |
3 | to = "b"
  |      ^^^`},
		{"an open door", "[admin]\nlisten = \"0.0.0.0:8686\"\n", `
c.toml:2:10: error: admin.listen "0.0.0.0:8686" can be reached from outside and there is no token
  |
2 | listen = "0.0.0.0:8686"
  |          ^^^^^^^^^^^^^^ set token in [admin], or listen on "127.0.0.1:8686"`},
		{"half of a key pair", "[cluster.tls]\nenabled = true\ncert_file = \"c.pem\"\n", `
c.toml:3:13: error: cluster.tls.cert_file is given without cluster.tls.key_file
  |
3 | cert_file = "c.pem"
  |             ^^^^^^^ a client certificate needs both`},
		{"TLS files without TLS", "[cluster.tls]\nca_file = \"c.pem\"\n", `
c.toml:2:11: error: cluster.tls.ca_file is given, but TLS is off
  |
2 | ca_file = "c.pem"
  |           ^^^^^^^ set enabled = true in [cluster.tls]`},
		{"a reference without a name", "[host]\nid = \"${env:}\"\n", `
c.toml:2:6: error: host.id: ${env:} names no variable
  |
2 | id = "${env:}"
  |      ^^^^^^^^^ write its name behind the colon, as in ${env:HOME}`},
		{"a limit of all plugins", "[plugins]\nmemory = \"1KiB\"\n[plugin.p]\nmodule = \"builtin:mask\"\n[chain.c]\ntopics = [\"t\"]\non_send = [\"p\"]\n", `
c.toml:2:10: error: plugins.memory: 1KiB is too small
  |
2 | memory = "1KiB"
  |          ^^^^^^ the least is 64KiB`},
		{"no such authority", "[cluster.tls]\nenabled = true\nca_file = \"nowhere.pem\"\n", `
c.toml:3:11: error: cluster.tls.ca_file: file "nowhere.pem" does not exist
  |
3 | ca_file = "nowhere.pem"
  |           ^^^^^^^^^^^^^ relative paths start at the folder of the configuration`},
		{"an authority that is none", "[cluster.tls]\nenabled = true\nca_file = \"check_tls.go\"\n", `
c.toml:3:11: error: cluster.tls.ca_file: file "check_tls.go" holds no certificate in PEM form
  |
3 | ca_file = "check_tls.go"
  |           ^^^^^^^^^^^^^^ it begins with -----BEGIN CERTIFICATE-----`},
		{"no certificate and no key", "[cluster.tls]\nenabled = true\ncert_file = \"nowhere.pem\"\nkey_file = \"check_tls.go\"\n", `
c.toml:3:13: error: cluster.tls.cert_file: file "nowhere.pem" does not exist
  |
3 | cert_file = "nowhere.pem"
  |             ^^^^^^^^^^^^^ relative paths start at the folder of the configuration`},
		{"a pair that is none", "[cluster.tls]\nenabled = true\ncert_file = \"check_tls.go\"\nkey_file = \"check_tls.go\"\n", `
c.toml:3:13: error: cluster.tls.cert_file: file "check_tls.go" with key_file "check_tls.go": tls: failed to find any PEM data in certificate input
  |
3 | cert_file = "check_tls.go"
  |             ^^^^^^^^^^^^^^ both are PEM, the key that of the certificate`},
		{"an unknown mechanism", "[cluster.sasl]\nmechanism = \"KERBEROS\"\n", `
c.toml:2:13: error: cluster.sasl.mechanism: "KERBEROS" is none of "", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"
  |
2 | mechanism = "KERBEROS"
  |             ^^^^^^^^^^`},
		{"credentials without a mechanism", "[cluster.sasl]\nusername = \"u\"\npassword = \"p\"\n", `
c.toml:1:1: error: cluster.sasl has credentials and no mechanism
  |
1 | [cluster.sasl]
  | ^^^^^^^^^^^^^^ set mechanism to "SCRAM-SHA-512", "SCRAM-SHA-256" or "PLAIN"`},
		{"a key given twice", "[producer]\nacks = 1\nacks = 0\n", `
c.toml:3:1: error: producer.acks is given twice
  |
3 | acks = 0
  | ^^^^ the first is on line 2`},
		{"a table given twice", "[producer]\n[admin]\n[producer]\n", `
c.toml:3:1: error: producer is given twice
  |
3 | [producer]
  | ^^^^^^^^^^ the first is on line 1`},
		{"no TOML", "[producer]\nacks = all\n", `
c.toml:2:8: error: expected value but found "all" instead
  |
2 | acks = all
  |        ^^^ strings stand in quotes: "text"`},
		{"no TOML in a secret", "[cluster.sasl]\npassword = hunter2\n", `
c.toml:2:12: error: this is not TOML (the value is not shown)
  |
2 | password = [redacted]
  |            ^^^^^^`},
		{"control characters", "[producer]\nacks = \"\x1b[31m\"\n", `
c.toml:2:9: error: TOML files cannot contain control characters: '0x1b'
  |
2 | acks = "?[31m"
  |         ^`},
		{"infinity for a plugin", good + "[plugin.p.config]\nx = [1, -inf]\n", `
c.toml:7:9: error: -Inf cannot be given to a plugin
  |
7 | x = [1, -inf]
  |         ^^^^ use a finite number or a string`},
		{"a version to come", "version = 2\n", `
c.toml:1:11: error: version 2 of the configuration is not known
  |
1 | version = 2
  |           ^ this Klamm reads version 1`},
		{"grants without what they grant", strings.Replace(good, "[chain", "grants = [\"log\", \"state\", \"hmac\", \"net\"]\n[chain", 1), `
c.toml:3:18: error: plugin "p" is granted state and has none
  |
3 | grants = ["log", "state", "hmac", "net"]
  |                  ^^^^^^^ set state to the name of a [state.NAME]
c.toml:3:27: error: plugin "p" is granted hmac and has no secrets
  |
3 | grants = ["log", "state", "hmac", "net"]
  |                           ^^^^^^ add [plugin.p.secrets]
c.toml:3:35: error: plugin "p": grants: "net" is none of "log", "metrics", "clock", "random", "state", "hmac"
  |
3 | grants = ["log", "state", "hmac", "net"]
  |                                   ^^^^^`},
		{"retries", "[consumer]\nretries = -1\nretry_backoff_ms = 2000\n[pipeline.p]\nfrom = [\"a\"]\nto = \"b\"\nretries = 2000\nretry_backoff_ms = 0\nretry_backoff_max_ms = 3600000\n", `
c.toml:2:11: error: consumer.retries: -1 is too small
  |
2 | retries = -1
  |           ^^ the least is 0
c.toml:3:20: error: [consumer]: retry_backoff_ms 2s is larger than retry_backoff_max_ms 1s
  |
3 | retry_backoff_ms = 2000
  |                    ^^^^ raise retry_backoff_max_ms, or lower this
c.toml:7:11: error: pipeline.p.retries: 2000 is too large
  |
7 | retries = 2000
  |           ^^^^ the most is 1000
c.toml:8:20: error: pipeline.p.retry_backoff_ms: 0s is too small
  |
8 | retry_backoff_ms = 0
  |                    ^ the least is 1ms
c.toml:9:24: error: pipeline.p.retry_backoff_max_ms: 1h is too large
  |
9 | retry_backoff_max_ms = 3600000
  |                        ^^^^^^^ the most is 5m`},
		{"retries beside lanes", "[host]\nid = \"h\"\n[pipeline.p]\nfrom = [\"a\"]\nto = \"b\"\nguarantee = \"exactly_once\"\nretries = 2\n[chain.c]\ntopics = [\"b\"]\nlanes = 2\n", `
c.toml:7:11: error: pipeline "p" is exactly once and chain "c" has lanes = 2: a record that waits for its retry could not hold back what other lanes write after it
  |
7 | retries = 2
  |           ^ set lanes = 1 in the chain, or retries = 0`},
		{"a name that is none", "[chain.\"a b\"]\ntopics = [\"t\"]\n", `
c.toml:1:1: error: "a b" is not a name: it holds ' '
  |
1 | [chain."a b"]
  | ^^^^^^^^^^^^^ use letters, digits, ".", "_" and "-"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, problems := parse(t, c.text, nil)
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), problems.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestProblemsAreCappedAndCounted(t *testing.T) {
	var b strings.Builder
	b.WriteString("[log]\n")
	for i := range 25 {
		b.WriteString("k" + strings.Repeat("q", i) + " = 1\n")
	}
	_, problems := parse(t, b.String(), nil)
	if got := problems.Summary(); got != "25 errors, 0 warnings" {
		t.Errorf("Summary() = %q", got)
	}
	text := problems.Error()
	if n := strings.Count(text, ": error: "); n != maxShown || !strings.HasSuffix(text, "\nand 5 more") {
		t.Errorf("%d shown, end %q", n, text[len(text)-20:])
	}
}

func TestLongLinesAreClipped(t *testing.T) {
	text := "[admin]\nlisten = \"" + strings.Repeat("a", 300) + "\" # " + strings.Repeat("b", 300) + "\n"
	_, problems := parse(t, text, nil)
	lines := strings.Split(problems.Error(), "\n")
	if got := lines[2]; len(got) > maxWidth+10 || !strings.HasPrefix(got, `2 | ... listen = "aaa`) {
		t.Errorf("got %q", got)
	}
	if got, want := lines[3], "  |              "; !strings.HasPrefix(got, want+"^^^") {
		t.Errorf("carets %q", got)
	}
}

// TestAFileFullOfMistakes bounds what a file of a mistake every few bytes costs.
func TestAFileFullOfMistakes(t *testing.T) {
	for name, text := range map[string]string{
		"on one line": "producer = { a0 = 1" + manyKeys(", ", 20_000) + " }",
		"on many":     "[producer]\n" + manyKeys("\n", 20_000),
		"values":      "cluster.bootstrap_servers = [" + strings.Repeat("\"\",", 60_000) + "]",
		"references":  "cluster.bootstrap_servers = [" + strings.Repeat("\"${env:X}\",", 20_000) + "]",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, problems := parse(t, text, map[string]string{"X": "secret"})
			if problems.Errors() < 10_000 || len(problems.All()) > maxKept || strings.Count(problems.Error(), "error: ") > maxShown {
				t.Errorf("%s, %d kept", problems.Summary(), len(problems.All()))
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func manyKeys(separator string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sk%d = 1", separator, i)
	}
	return b.String()
}

func TestProblemsAreSortedByPlace(t *testing.T) {
	_, problems := parse(t, "[producer]\nacks = 1\nenable_idempotence = true\nlinger_ms = \"x\"\n[log]\nlevel = \"inf\"\n[cluster]\nclient_id = \"\"\n", nil)
	line := 0
	for _, p := range problems.All() {
		if p.Place.Line < line {
			t.Errorf("line %d after line %d:\n%v", p.Place.Line, line, problems)
		}
		line = p.Place.Line
	}
	if problems.Errors() != 4 {
		t.Errorf("want 4 errors, got:\n%v", problems)
	}
}

func TestProblemsWithoutAFile(t *testing.T) {
	c := Default()
	c.Chain = map[string]Chain{"c": {Topics: []string{"t"}, OnSend: []string{"gone"}}}
	c.Producer.Acks = AcksLeader
	c.Cluster.TLS = TLS{Enabled: true, CAFile: "nowhere.pem"}
	got := c.Check().Error()
	want := `cluster.tls.ca_file: error: file "nowhere.pem" does not exist
  relative paths start at the working directory
chain.c.on_send[0]: error: chain "c": no plugin named "gone"
  add [plugin.gone]
producer.acks: warning: acks = "1" turns idempotence off: retries may double or reorder records
  it needs acks = "all"; write enable_idempotence = false to say that you know`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLaterLayersReportAtTheRightPlace(t *testing.T) {
	c := mustParse(t, "[plugin.mask]\nmodule = \"mask.wasm\"\non_error = \"pass\"\n[chain.c]\ntopics = [\"t\"]\non_send = [\"mask\"]\nlanes = 2\n[state.s]\n")
	problems := NewProblems(c.Source)
	problems.Add([]string{"plugin", "mask", "module"}, Error, "not a module", "build it")
	problems.Add([]string{"plugin", "mask", "config", "fields"}, Error, "missing", "")
	c.CheckModule(problems, "mask", ModuleFacts{Hooks: []string{"on_consume"}, State: "instance", Protects: true})
	want := `c.toml:1:1: error: missing
  |
1 | [plugin.mask]
  | ^^^^^^^^^^^^^
c.toml:2:10: error: not a module
  |
2 | module = "mask.wasm"
  |          ^^^^^^^^^^^ build it
c.toml:3:12: warning: plugin "mask" protects data, and on_error = "pass" lets records through unprotected when it fails
  |
3 | on_error = "pass"
  |            ^^^^^^ use "fail" or "dead_letter"
c.toml:6:12: error: chain "c": plugin "mask" has no on_send
  |
6 | on_send = ["mask"]
  |            ^^^^^^ it has "on_consume"
c.toml:7:9: error: chain "c": lanes = 2 with plugin "mask", which keeps state in its instance: each lane would have a state of its own
  |
7 | lanes = 2
  |         ^ use lanes = 1, or allow_reorder = true`
	if diff := cmp.Diff(want, problems.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if at := c.Source.At("plugin", "mask", "module"); at != (Place{2, 10, 21}) {
		t.Errorf("At = %+v", at)
	}
	if at := c.Source.KeyAt("plugin", "mask", "module"); at != (Place{2, 1, 7}) {
		t.Errorf("KeyAt = %+v", at)
	}
	if at := c.Source.At("nowhere"); at != (Place{}) {
		t.Errorf("At of nothing = %+v", at)
	}
	var none *Source
	if at := none.At("plugin"); at != (Place{}) {
		t.Errorf("At of no source = %+v", at)
	}
}

func TestRenderWithColours(t *testing.T) {
	_, problems := parse(t, "[log]\nlevl = \"info\"\n", nil)
	var b strings.Builder
	problems.Render(&b, true)
	if got := b.String(); !strings.Contains(got, "\x1b[31merror:\x1b[0m") || !strings.Contains(got, "\x1b[31m^^^^\x1b[0m did you mean") {
		t.Errorf("got %q", got)
	}
}

// TestC041_UnknownKeysAreErrors is where we differ from librdkafka, which lets a
// plugin claim keys: unknown keys are errors, but for a plugin's own table.
func TestC041_UnknownKeysAreErrors(t *testing.T) {
	c := mustParse(t, "[plugin.p.config]\nanything = 1\nUpper.Case = [{ x = 1 }]\n[plugin.p]\nmodule = \"p.wasm\"\n")
	got, err := PluginJSON(c.Plugin["p"].Config)
	if want := `{"Upper":{"Case":[{"x":1}]},"anything":1}`; string(got) != want || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if _, problems := parse(t, "[plugin.p]\nmodule = \"p.wasm\"\nanything = 1\n", nil); problems.Errors() != 1 {
		t.Errorf("want one error, got:\n%v", problems)
	}
}

func TestC042_SamePluginTwiceIsRefused(t *testing.T) {
	text := "[plugin.p]\nmodule = \"p.wasm\"\n[chain.c]\ntopics = [\"t\"]\non_send = [\"p\", \"p\"]\n"
	_, problems := parse(t, text, nil)
	want := `c.toml:5:17: error: chain "c": on_send lists plugin "p" twice (places 1 and 2)`
	if got := problems.Error(); !strings.HasPrefix(got, want) {
		t.Errorf("got %s", got)
	}
	mustParse(t, "[plugin.p]\nmodule = \"p.wasm\"\n[plugin.p2]\nmodule = \"p.wasm\"\n[chain.c]\ntopics = [\"t\"]\non_send = [\"p\", \"p2\"]\n")
}

func TestC117_IdempotenceNeedsItsConditions(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"acks, asked for", "enable_idempotence = true\nacks = 1", `3:8: error: acks = "1" contradicts enable_idempotence = true`},
		{"retries, asked for", "enable_idempotence = true\nretries = 0", `3:11: error: retries = 0 contradicts enable_idempotence = true`},
		{"in flight, asked for", "enable_idempotence = true\nmax.in.flight.requests.per.connection = 6", `3:41: error: max_in_flight_requests_per_connection = 6 contradicts enable_idempotence = true`},
		{"acks, not asked for", "acks = 0", `2:8: warning: acks = "0" turns idempotence off`},
		{"retries, not asked for", "retries = 0", `2:11: warning: retries = 0 turns idempotence off`},
		{"in flight, not asked for", "max_in_flight_requests_per_connection = 6", `2:41: warning: max_in_flight_requests_per_connection = 6 turns idempotence off`},
		{"turned off", "enable_idempotence = false\nacks = 0\nretries = 0\nmax_in_flight_requests_per_connection = 6", ""},
		{"asked for and possible", "enable_idempotence = true\nacks = -1\nretries = 1", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg, problems := parse(t, "[producer]\n"+c.text+"\n", nil)
			got := problems.Error()
			if c.want == "" && got != "" || !strings.HasPrefix(got, strings.TrimSuffix("c.toml:"+c.want, "c.toml:")) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			refused := strings.Contains(c.want, "error")
			if refused != (cfg == nil) {
				t.Fatalf("configuration is %v", cfg)
			}
			if wantOn := c.want == "" && c.name != "turned off"; !refused && cfg.Producer.Idempotent() != wantOn {
				t.Errorf("Idempotent() = %v, want %v", !wantOn, wantOn)
			}
		})
	}
}

func TestDeliveryTimeout(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"too short", "delivery_timeout_ms = 1000", "2:23: error: delivery_timeout_ms 1s is less than linger_ms 5ms + request_timeout_ms 30s"},
		{"linger beyond it", "linger_ms = \"5m\"\ndelivery_timeout_ms = \"2m\"", "3:23: error: linger_ms 5m is larger than delivery_timeout_ms 2m"},
		{"raised", "request_timeout_ms = \"150s\"", "2:22: warning: delivery_timeout_ms is raised from its default 2m to linger_ms 5ms + request_timeout_ms 2m30s"},
		{"just enough", "delivery_timeout_ms = 30_005", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg, problems := parse(t, "[producer]\n"+c.text+"\n", nil)
			if got := problems.Error(); c.want == "" && got != "" || !strings.HasPrefix(got, strings.TrimSuffix("c.toml:"+c.want, "c.toml:")) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if cfg != nil && cfg.Producer.DeliveryTimeout < cfg.Producer.Linger+cfg.Producer.RequestTimeout {
				t.Errorf("delivery timeout is %v", cfg.Producer.DeliveryTimeout)
			}
		})
	}
}
