package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/bench/internal/records"
	"github.com/klamm-io/klamm/bench/internal/rows"
)

// TestMain lets this test's own program be the broker and the jobs, as the command
// is.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case jobCommand:
			os.Exit(serveJob(os.Args[2], os.Stdin, os.Stdout, os.Stderr))
		case brokerCommand:
			os.Exit(serveBroker(os.Args[2], os.Stdin, os.Stdout, os.Stderr))
		}
	}
	os.Exit(m.Run())
}

// TestAllJobs has each job do everything once, kills included; a job that loses or
// doubles a record without a fault ends the run. Figures are not what is tested.
func TestAllJobs(t *testing.T) {
	o := options{
		jobs: []string{"klamm-c", "klamm-kafka", "franz-go", "redis"}, records: 4000, rounds: 1,
		rate: 500, rateTime: 5e8, kills: 1, partitions: 3,
	}
	var log bytes.Buffer
	measured, err := measure(context.Background(), o, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	want := o.jobs
	if strings.Contains(log.String(), "skip redis") {
		want = want[:3]
		t.Log(log.String())
	}
	var got []string
	for _, r := range measured {
		got = append(got, r.Job)
		if !(r.Rate > 0) || !(r.CPU > 0) || r.P99 == nil || *r.P99 < *r.P50 || r.Kills == nil || r.Lost == nil || r.Doubled == nil {
			t.Errorf("figures are missing: %+v", r)
			continue
		}
		if r.Job == "klamm-kafka" && *r.Lost+*r.Doubled > 0 {
			t.Errorf("%s: %d lost and %d doubled by a kill", r.Job, *r.Lost, *r.Doubled)
		}
		if r.ExactlyOnce && *r.Lost > 0 {
			t.Errorf("%s: %d lost by a kill", r.Job, *r.Lost)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("rows %v, want %v\n%s", got, want, &log)
	}
	var out strings.Builder
	if err := rows.WriteJSON(&out, measured[:1]); err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(out.String()), &fields); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"job", "exactly_once", "records_per_s", "cpu_s_per_million", "p50_ms", "p99_ms", "kills", "lost", "doubled"} {
		if _, ok := fields[key]; !ok {
			t.Errorf("a row lacks %q: %s", key, &out)
		}
	}
}

// TestOutputTellsLies: what is missing and what is there twice is seen.
func TestOutputTellsLies(t *testing.T) {
	const n = 100
	set := records.NewSet(recordSize)
	set.Duplicates = true
	set.Fill(0, n)
	full := func() output {
		o := output{}
		for i := range n {
			o[[records.KeyLen]byte(set.Key(i))] = 1
		}
		return o
	}
	for _, tt := range []struct {
		name          string
		lie           func(o output)
		lost, doubled int
	}{
		{"true", func(output) {}, 0, 0},
		{"lost", func(o output) { delete(o, [records.KeyLen]byte(set.Key(0))) }, 1, 0},
		{"doubled", func(o output) { o[[records.KeyLen]byte(set.Key(1))] += 2 }, 0, 2},
	} {
		o := full()
		tt.lie(o)
		if lost, doubled := o.against(n); lost != tt.lost || doubled != tt.doubled {
			t.Errorf("%s: %d lost, %d doubled, want %d, %d", tt.name, lost, doubled, tt.lost, tt.doubled)
		}
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{{"--jobs", "java"}, {"--output", "xml"}, {"--records", "7"}, {"x"}} {
		if _, err := parse(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	o, err := parse([]string{"--quick", "--kills", "3", "--output", "json"}, &bytes.Buffer{})
	if err != nil || o.kills != 3 || o.records != 500_000 || !o.json || !slices.Equal(o.jobs, allJobs) {
		t.Errorf("got %+v, error %v", o, err)
	}
	if err := run(context.Background(), []string{"--no-such"}, &bytes.Buffer{}, &bytes.Buffer{}); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestAllReaders has each reader read each record once, in order; it ends the run
// where one does not.
func TestAllReaders(t *testing.T) {
	o := options{jobs: []string{"read-klamm", "read-franz-go", "read-sarama"}, records: 4000, rounds: 1, partitions: 3}
	var log bytes.Buffer
	measured, err := measure(context.Background(), o, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	for _, r := range measured {
		if !(r.Rate > 0) || !(r.CPU > 0) {
			t.Errorf("figures are missing: %+v", r)
		}
	}
	if len(measured) != len(o.jobs) {
		t.Errorf("%d rows, want %d", len(measured), len(o.jobs))
	}
}
