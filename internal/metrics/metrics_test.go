package metrics

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/klamm-io/klamm/host"
)

func sample() host.Stats {
	c := host.Counts{In: 10, Out: 5, Dropped: 2, DeadLettered: 1, Failed: 1, InFlight: 1}
	return host.Stats{
		Producer: c,
		Pipelines: map[string]host.PipelineStats{"clean": {Counts: c, Lag: 7, Commits: 3, Retries: 6, Partitions: []host.PartitionLag{{Topic: "raw", Partition: 2, Lag: 7}},
			Produce: &host.ProduceStats{BufferTotal: 50, BufferAvailable: 50, Records: 8, RequestLatency: host.Histogram{Count: 4, Base: 1 << 17, Buckets: [22]int64{4}},
				Transactions: host.TransactionStats{Committed: 6, SendOffsets: 500 * time.Millisecond}}}},
		Plugins: map[string]host.PluginStats{"dedup": {Generation: 2, Digest: "ab", Version: "1.0", Module: "builtin:dedup", LastError: "bad", Restored: 5, Remade: 1}},
		Sandbox: host.SandboxStats{MemoryReserved: 4096, SnapshotBytes: 512},
		States:  []host.StateStats{{State: "ids", Plugin: "dedup", Entries: 4, Pending: 1, Waiters: 1, Claims: 9, Hits: 2, Evictions: 1, Bytes: 256, UnknownFree: 1, UnknownHeld: 2, Expired: 3, Errors: 4, Bypassed: 5}},
		Backends: []host.BackendStats{
			{State: "ids", Backend: "kafka", Size: -1, Synced: -1, Error: "partition 3", Failures: 2, Restored: 11, RestoreSeconds: 1.5, Restoring: 2, RestoreLag: 9},
			{State: "shared", Backend: "redis", Size: 900, Synced: 800, Behind: 70, Lapsed: 3, Forgotten: 8},
		},
		Produce: host.ProduceStats{BufferTotal: 100, BufferAvailable: 60, InFlightRequests: 2, Batches: 3, Records: 5, Bytes: 500, Retries: 1, Splits: 1,
			Transactions: host.TransactionStats{Committed: 4, Aborted: 1, Init: time.Second, Commit: 2500 * time.Millisecond},
			BufferWaited: 1500 * time.Millisecond, BufferExhausted: 2, Requests: 4, RecordsFailed: 6, RecordBytes: 900, MetadataAge: 2 * time.Second,
			RequestLatency: host.Histogram{Count: 3, Sum: int64(6 * time.Millisecond), Base: 1 << 17, Buckets: [22]int64{1, 2, 3}}},
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// used returns Metrics of which every series has something.
func used() *Metrics {
	m := New("1.2.3", "go1")
	m.Watch(sample)
	m.Call("dedup", "on_send", 64, 3*time.Microsecond)
	m.Verdict("dedup", "on_send", "drop", 2)
	m.Drop("dedup", "duplicate", 2)
	m.Fault("dedup", "on_send", "trap")
	m.PluginCounter("dedup", "ids", 3)
	m.PluginCounter("dedup", "ids", -3)
	m.PluginObserve("dedup", "size", 0.2)
	return m
}

func TestScrape(t *testing.T) {
	got := scrape(t, used())
	for _, want := range []string{
		`klamm_records_total{pipeline="",stage="in"} 10`,
		`klamm_records_total{pipeline="clean",stage="dropped"} 2`,
		`klamm_records_in_flight{pipeline="clean"} 1`,
		`klamm_records_failed_total{pipeline=""} 1`,
		`klamm_dlq_records_total{pipeline="clean"} 1`,
		`klamm_records_dropped_total{plugin="dedup",reason="duplicate"} 2`,
		`klamm_plugin_calls_total{hook="on_send",plugin="dedup"} 1`,
		`klamm_plugin_call_duration_seconds_bucket{hook="on_send",plugin="dedup",le="4e-06"} 1`,
		`klamm_plugin_records_total{hook="on_send",plugin="dedup",verdict="drop"} 2`,
		`klamm_plugin_faults_total{hook="on_send",kind="trap",plugin="dedup"} 1`,
		`klamm_plugin_counter_total{name="ids",plugin="dedup"} 3`,
		`klamm_plugin_observed_count{name="size",plugin="dedup"} 1`,
		`klamm_plugin_info{module="builtin:dedup",plugin="dedup",sha256="ab",version="1.0"} 1`,
		`klamm_plugin_generation{plugin="dedup"} 2`,
		`klamm_plugin_reload_refused{plugin="dedup"} 1`,
		`klamm_plugin_recoveries_total{how="restored",plugin="dedup"} 5`,
		`klamm_plugin_recoveries_total{how="remade",plugin="dedup"} 1`,
		`klamm_plugin_memory_bytes{kind="reserved"} 4096`,
		`klamm_plugin_memory_bytes{kind="snapshots"} 512`,
		`klamm_dedup_claims_total{plugin="dedup",state="ids"} 9`,
		`klamm_dedup_hits_total{plugin="dedup",state="ids"} 2`,
		`klamm_dedup_entries{plugin="dedup",state="ids"} 4`,
		`klamm_dedup_unknown_released_total{plugin="dedup",state="ids"} 1`,
		`klamm_state_evictions_total{plugin="dedup",state="ids"} 1`,
		`klamm_producer_buffer_bytes{pipeline=""} 40`,
		`klamm_producer_in_flight_requests{pipeline=""} 2`,
		`klamm_producer_retries_total{pipeline=""} 1`,
		`klamm_producer_buffer_available_bytes{pipeline=""} 60`,
		`klamm_producer_buffer_wait_seconds_total{pipeline=""} 1.5`,
		`klamm_producer_buffer_exhausted_total{pipeline=""} 2`,
		`klamm_producer_requests_total{pipeline=""} 4`,
		`klamm_producer_record_errors_total{pipeline=""} 6`,
		`klamm_producer_uncompressed_bytes_total{pipeline=""} 900`,
		`klamm_producer_metadata_age_seconds{pipeline=""} 2`,
		`klamm_producer_request_duration_seconds_bucket{pipeline="",le="0.000262144"} 2`,
		`klamm_producer_request_duration_seconds_sum{pipeline=""} 0.006`,
		`klamm_producer_request_duration_seconds_count{pipeline=""} 3`,
		`klamm_producer_transactions_total{end="committed",pipeline=""} 4`,
		`klamm_producer_transactions_total{end="aborted",pipeline=""} 1`,
		`klamm_producer_transaction_seconds_total{call="commit",pipeline=""} 2.5`,
		`klamm_producer_transactions_total{end="committed",pipeline="clean"} 6`,
		`klamm_producer_records_total{pipeline="clean"} 8`,
		`klamm_producer_buffer_limit_bytes{pipeline="clean"} 50`,
		`klamm_producer_request_duration_seconds_count{pipeline="clean"} 4`,
		`klamm_producer_transaction_seconds_total{call="send_offsets",pipeline="clean"} 0.5`,
		`klamm_consumer_lag_records{pipeline="clean"} 7`,
		`klamm_consumer_partition_lag_records{partition="2",pipeline="clean",topic="raw"} 7`,
		`klamm_consumer_commits_total{pipeline="clean"} 3`,
		`klamm_dedup_pending{plugin="dedup",state="ids"} 1`,
		`klamm_dedup_waiters{plugin="dedup",state="ids"} 1`,
		`klamm_dedup_unknown_held_total{plugin="dedup",state="ids"} 2`,
		`klamm_dedup_expired_total{plugin="dedup",state="ids"} 3`,
		`klamm_state_errors_total{plugin="dedup",state="ids"} 4`,
		`klamm_state_bypassed_total{plugin="dedup",state="ids"} 5`,
		`klamm_state_bytes{plugin="dedup",state="ids"} 256`,
		`klamm_state_up{state="ids"} 0`,
		`klamm_state_up{state="shared"} 1`,
		`klamm_state_failures_total{state="ids"} 2`,
		`klamm_state_restored_ids_total{state="ids"} 11`,
		`klamm_state_restore_seconds_total{state="ids"} 1.5`,
		`klamm_state_restoring_partitions{state="ids"} 2`,
		`klamm_state_restore_lag{state="ids"} 9`,
		`klamm_state_backend_bytes{state="shared"} 900`,
		`klamm_state_unsynced_bytes{state="shared"} 100`,
		`klamm_state_behind_bytes{state="shared"} 70`,
		`klamm_state_lapsed_total{state="shared"} 3`,
		`klamm_state_forgotten_total{state="shared"} 8`,
		`klamm_records_retried_total{pipeline="clean"} 6`,
		`klamm_build_info{go="go1",version="1.2.3"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("missing %s", want)
		}
	}
}

// TestProducerDoc: the names that docs/producer.md gives to Kafka's metrics exist.
func TestProducerDoc(t *testing.T) {
	text, err := os.ReadFile("../../docs/producer.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "<!-- metrics: begin -->\n")
	table, _, ok := strings.Cut(rest, "<!-- metrics: end -->\n")
	names := regexp.MustCompile("klamm_[a-z_]+").FindAllString(table, -1)
	if !ok || len(names) < 24 {
		t.Fatalf("docs/producer.md names %d metrics", len(names))
	}
	m := New("v", "go1")
	m.Watch(sample)
	got := scrape(t, m)
	for _, name := range names {
		if !strings.Contains(got, "# TYPE "+name+" ") {
			t.Errorf("docs/producer.md names %s, which does not exist", name)
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write docs/metrics.md anew")

const metricsDoc = "../../docs/metrics.md"

// TestDoc: docs/metrics.md lists what there is, and what other pages name is there.
func TestDoc(t *testing.T) {
	families, err := used().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	known := map[string]bool{}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "klamm_") {
			continue // Go's, and the process's
		}
		known[name] = true
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), strings.Join(labels, " "), f.GetHelp())
	}
	const own = 8 // of New
	if len(known) != len(allDescs)+own {
		t.Errorf("the sample has %d of %d metrics", len(known), len(allDescs)+own)
	}
	text, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), "| `klamm_")
	if want := before + table.String(); want != string(text) {
		if !*rewrite {
			t.Error("docs/metrics.md is not what there is: go test ./internal/metrics -run TestDoc -rewrite")
		} else if err := os.WriteFile(metricsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range append(pages, "../../README.md", "../../RATIONALE.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile("`klamm_(records|dlq|plugin|consumer|dedup|state|producer|build)_[a-z_]+").FindAllString(string(text), -1) {
			if name = name[1:]; !known[name] {
				t.Errorf("%s names %s, which does not exist", filepath.Base(page), name)
			}
		}
	}
}

// TestNames: base units and _total, as Prometheus asks, and a help text.
func TestNames(t *testing.T) {
	m := New("v", "go1")
	m.Watch(sample)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "klamm_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// C046: a plugin's metrics carry its name, and one of the same name in another
// plugin is another metric. Plugins can add to their own and take none away: the
// ABI has no call for that. They stay until the process ends, as counters do.
func TestC046_PluginsMetricsAreTheirOwn(t *testing.T) {
	m := New("v", "go1")
	m.Watch(sample)
	m.PluginCounter("a", "ids", 3)
	m.PluginCounter("b", "ids", 4)
	m.PluginCounter("b", "ids", -9)
	got := scrape(t, m)
	for _, want := range []string{`klamm_plugin_counter_total{name="ids",plugin="a"} 3`, `klamm_plugin_counter_total{name="ids",plugin="b"} 4`} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("missing %s", want)
		}
	}
}
