package hosttest_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/hosttest"
)

// surroundings are the headers of testdata/facts for three records that were sent
// one after the other.
func surroundings(t *testing.T, extra string) []map[string]string {
	t.Helper()
	source, err := filepath.Abs("testdata/facts")
	if err != nil {
		t.Fatal(err)
	}
	h := hosttest.New(t, fmt.Sprintf(`
[plugin.facts]
module = %q
timeout = "5s"
[chain.orders]
topics = ["orders"]
on_send = ["facts"]
[cluster]
%s
[cluster.embedded]
partitions = 3
`, source, extra))
	for range 3 {
		h.Produce("orders", "k", "v")
	}
	var all []map[string]string
	for _, rec := range h.Consumed("orders") {
		all = append(all, headersOf(rec))
	}
	if len(all) != 3 {
		t.Fatalf("%d records, want 3", len(all))
	}
	return all
}

func headersOf(rec klamm.Record) map[string]string {
	m := map[string]string{}
	for _, h := range rec.Headers {
		m[h.Key] = string(h.Value)
	}
	return m
}

func TestC034_PluginSeesTheClientID(t *testing.T) {
	for name, want := range map[string]string{"": "klamm", "billing": "billing"} {
		extra := ""
		if name != "" {
			extra = fmt.Sprintf("client_id = %q", name)
		}
		if got := surroundings(t, extra)[0]["client"]; got != want {
			t.Errorf("client_id %q: the plugin sees %q, want %q", name, got, want)
		}
	}
}

// The topic is not known before the first record asks for it, and known once that
// was acknowledged.
func TestC035_TopicIsKnownAfterTheFirstAcknowledgement(t *testing.T) {
	all := surroundings(t, "")
	for i, want := range []string{"0", "3", "3"} {
		if got := all[i]["partitions"]; got != want {
			t.Errorf("record %d: the plugin saw %s partitions, want %s", i, got, want)
		}
	}
}
