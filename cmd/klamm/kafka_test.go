//go:build kafka && unix

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/internal/kafkatest"
)

// newApacheLab is a copyLab on a broker of Apache Kafka.
func newApacheLab(t *testing.T, config string, records int) (*copyLab, *kafkatest.Cluster) {
	t.Helper()
	c := kafkatest.Fresh(t, 4, "raw")
	lab := &copyLab{strings.Join(c.Addrs(), ","), filepath.Join(t.TempDir(), "config.toml")}
	if err := os.WriteFile(lab.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	lab.produce(t, "raw", 0, records)
	return lab, c
}

// javaFinds has Java's consumer count what is committed.
func javaFinds(t *testing.T, c *kafkatest.Cluster, topic string, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	got, err := c.Count(ctx, topic)
	if err != nil || got != want {
		t.Errorf("Java's consumer finds %d records of %s, want %d; error %v", got, topic, want, err)
	}
}

// TestApacheCopy kills copies on Apache Kafka, goes on, and verifies, with members
// of both group protocols.
func TestApacheCopy(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			if testing.Short() && protocol != "consumer" {
				t.Skip("the short form copies by one protocol")
			}
			const records, unique = 10_000, 8_000
			config := strings.Replace(killedDedup, "[consumer]\n", fmt.Sprintf("[consumer]\ngroup_protocol = %q\n", protocol), 1)
			lab, brokers := newApacheLab(t, config, records)
			lab.copyKilled(t)
			r := lab.copy(t, "raw", "clean", "--resume", "--verify", "-o", "json").want(t, exitOK)
			if r.out != fmt.Sprintf(`{"schema":"klamm.copy/1","in":%d,"out":%d,"dropped":%d,"dead_lettered":0,"verified":true}`+"\n", records, unique, records-unique) {
				t.Errorf("got %s", r.out)
			}
			javaFinds(t, brokers, "clean", unique)
			if testing.Short() {
				return
			}
			// Begun anew it finds nothing but duplicates.
			r = lab.copy(t, "raw", "clean", "--restart", "--verify", "-o", "json").want(t, exitOK)
			if v := r.json(t); v["out"] != 0.0 || v["dropped"] != float64(records) {
				t.Errorf("again: %s", r.out)
			}
			javaFinds(t, brokers, "clean", unique)
		})
	}
}

// TestApacheConsumeByTime reads from times and offsets.
func TestApacheConsumeByTime(t *testing.T) {
	lab, _ := newApacheLab(t, killedConfig, 0)
	at := time.Now().Truncate(time.Millisecond)
	var lines strings.Builder
	for i := range 140 {
		when := at.Add(-time.Minute)
		if i >= 100 {
			when = at
		}
		fmt.Fprintf(&lines, "{\"key\":\"%d\",\"value\":\"%d\",\"timestamp\":%q}\n", i, i, when.UTC().Format(time.RFC3339Nano))
	}
	klammIn(t, strings.NewReader(lines.String()), "produce", "raw", "-b", lab.broker, "-i", "json").want(t, exitOK)
	for offset, want := range map[string]int{
		"start": 140, "end": 0, "@" + at.UTC().Format(time.RFC3339Nano): 40, "@" + at.Add(time.Hour).UTC().Format(time.RFC3339): 0, "-1": 4,
	} {
		r := klammRun(t, "consume", "raw", "-b", lab.broker, "--offset", offset, "--exit-at-end").want(t, exitOK)
		if got := strings.Count(r.out, "\n"); got != want {
			t.Errorf("--offset %s: %d records, want %d", offset, got, want)
		}
	}
}
