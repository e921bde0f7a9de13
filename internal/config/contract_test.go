package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestProducerDoc holds the table of Kafka's settings in docs/producer.md
// against the configuration: our names exist and have the defaults that are
// shown, and every setting that mirrors one of Kafka's is there.
func TestProducerDoc(t *testing.T) {
	text, err := os.ReadFile("../../docs/producer.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "<!-- settings: begin -->\n")
	table, _, ok := strings.Cut(rest, "<!-- settings: end -->\n")
	if !ok {
		t.Fatal("docs/producer.md has no table of settings")
	}
	shown := map[string]string{} // the default of each of ours
	for _, m := range regexp.MustCompile("(?m)^\\| `[^|]*\\| `([a-zA-Z_.]+)` \\| `([^|]*)` \\|").FindAllStringSubmatch(table, -1) {
		shown[m[1]] = m[2]
	}
	settings, _ := reference(t)
	for _, s := range settings {
		name := generic(s.table) + "." + s.key
		want := s.value
		if !s.commented {
			want = defaultOf(generic(s.table), s.key)
		}
		if value, ok := shown[name]; ok && value != want {
			t.Errorf("docs/producer.md: %s has the default %s, config.toml shows %s", name, value, want)
		}
	}
	ours := map[string]bool{"producer.acknowledgement_slots": true, "producer.transport": true}
	exists := map[string]bool{}
	eachKey(func(table, key string, _ reflect.Type) {
		name := table + "." + key
		exists[name] = true
		if table == "producer" && !ours[name] && shown[name] == "" {
			t.Errorf("docs/producer.md does not show %s", name)
		}
	})
	for name := range shown {
		if !exists[name] {
			t.Errorf("docs/producer.md shows %s, which does not exist", name)
		}
	}
}

// TestKafkasProducerNames pastes Kafka's own names, with dots, into a file: each
// is understood, or the error says what to write.
func TestKafkasProducerNames(t *testing.T) {
	understood := map[string]string{
		"producer": "acks = \"all\"\nenable.idempotence = true\nmax.in.flight.requests.per.connection = 5\nretries = 2147483647\ndelivery.timeout.ms = 120000\n" +
			"request.timeout.ms = 30000\nlinger.ms = 5\nbatch.size = 16384\nbuffer.memory = 33554432\nmax.block.ms = 60000\nmax.request.size = 1048576\n" +
			"compression.type = \"none\"\nretry.backoff.ms = 100\nretry.backoff.max.ms = 1000\npartitioner.adaptive.partitioning.enable = true\n" +
			"partitioner.availability.timeout.ms = 0\npartitioner.ignore.keys = false\n",
		"cluster": "reconnect.backoff.ms = 50\nreconnect.backoff.max.ms = 1000\nmetadata.max.age.ms = 300000\nmetadata.max.idle.ms = 300000\n" +
			"metadata.recovery.strategy = \"rebootstrap\"\nconnections.max.idle.ms = 540000\nclient.id = \"klamm\"\nsend.buffer.bytes = 0\nreceive.buffer.bytes = 0\n",
	}
	defaults := mustParse(t, "")
	for table, text := range understood {
		c := mustParse(t, "["+table+"]\n"+text)
		if !reflect.DeepEqual(c.Producer, defaults.Producer) || !reflect.DeepEqual(c.Cluster, defaults.Cluster) {
			t.Errorf("Kafka's defaults are not ours:\n%+v\n%+v", c.Producer, c.Cluster)
		}
	}
	for text, want := range map[string]string{
		"compression_zstd_level = 3":            `did you mean "compression_level"?`,
		"compression.lz4.level = 9":             `"compression_level"`,
		"enable_metrics_push = true":            "Prometheus",
		"metric_reporters = \"x\"":              "Prometheus",
		"partitioner_class = \"x\"":             `"partitioner"`,
		"interceptor_classes = \"x\"":           "",
		"reconnect_backoff_ms = 50":             "it is a key of [cluster]",
		"send_buffer_bytes = 131072":            "it is a key of [cluster]",
		"connections.max.idle.ms = 1":           "it is a key of [cluster]",
		"value_serializer = \"x\"":              "bytes",
		"bootstrap_servers = \"localhost:9\"":   "it is a key of [cluster]",
		"metadata_recovery_strategy = \"none\"": "it is a key of [cluster]",
	} {
		if _, problems := parse(t, "[producer]\n"+text+"\n", nil); problems.Errors() != 1 || !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: %v, want %q", text, problems, want)
		}
	}
}

// TestProducerContradictions: both settings and both values are named.
func TestProducerContradictions(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[producer]\nbuffer_memory = \"8KiB\"", "error: buffer_memory 8KiB is smaller than batch_size 16KiB"},
		{"[producer]\nbatch_size = \"2MiB\"", "warning: batch_size 2MiB is larger than max_request_size 1MiB"},
		{"[producer]\nretry_backoff_ms = \"2s\"", "warning: retry_backoff_ms 2s is larger than retry_backoff_max_ms 1s, which is used"},
		{"[cluster]\nreconnect_backoff_ms = \"2s\"", "warning: reconnect_backoff_ms 2s is larger than reconnect_backoff_max_ms 1s, which is used"},
		{"[producer]\npartitioner_availability_timeout_ms = \"3s\"\npartitioner_adaptive_partitioning_enable = false",
			"warning: partitioner_availability_timeout_ms = 3s has no effect with partitioner_adaptive_partitioning_enable = false"},
		{"[producer]\npartitioner_ignore_keys = true\npartitioner = \"crc32\"", "warning: partitioner_ignore_keys = true has no effect with partitioner = \"crc32\""},
		{"[producer]\ncompression_type = \"snappy\"\ncompression_level = 3", `error: compression_level is given, but compression_type = "snappy" has no levels`},
		{"[producer]\ncompression_type = \"gzip\"\ncompression_level = 10", "error: producer.compression_level: 10 is too large"},
		{"[cluster]\nmetadata_recovery_strategy = \"never\"", `error: cluster.metadata_recovery_strategy: "never"`},
		{"[cluster]\nmetadata_max_idle_ms = \"1s\"", "error: cluster.metadata_max_idle_ms: 1s is too small"},
		{"[producer]\nacks = 2", `"2" is none of "all", 1, 0`},
	} {
		if _, problems := parse(t, c.text+"\n", nil); len(problems.All()) != 1 || !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s:\n%v\nwant %s", c.text, problems, c.want)
		}
	}
}
