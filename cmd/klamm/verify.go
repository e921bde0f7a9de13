package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/internal/checker"
)

// verifyOptions are the flags of `klamm verify`.
type verifyOptions struct {
	topic         string
	quiet         time.Duration
	repartitioned bool
}

func (a *app) verifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify HISTORY",
		Short: "judge a topic that `klamm bench --history` wrote",
		Long: `Reads the topic of a history, uncommitted and committed, and judges: what was
acknowledged must be there once, in order and whole, what failed must not, and each
record has exactly one completion. A history that a killed process left behind is
judged as far as it goes: records without a completion may be there or not.

The exit code is 0 when nothing is wrong and 1 when something is.`,
		Example: `  klamm verify bench-1.history -b localhost:9092
  klamm verify bench-1.history -b localhost:9092 --wait 60s --output json
  klamm verify bench-1.history -b localhost:9092 --topic mirror-of-bench-1`,
		Args: exactly("HISTORY"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.verify(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.topic, "topic", "", "read this `topic`, not the history's")
	f.DurationVar(&o.quiet, "wait", 0, "the `time` for which the topic must not grow before its end counts as the end")
	f.BoolVar(&o.repartitioned, "repartitioned", false, "the topic got more partitions: a key may be in two of them")
	return cmd
}

func (a *app) verify(ctx context.Context, path string, o verifyOptions) error {
	h, err := checker.Load(path)
	if err != nil {
		return err
	}
	s, err := a.load("")
	if err != nil {
		return err
	}
	s.asClient()
	topic := h.Topic
	if o.topic != "" {
		topic = o.topic
	}
	a.say("%s records in the history; reading %q", count(h.Len()), topic)
	log := &checker.Kafka{Topic: topic, Brokers: s.Cluster.BootstrapServers, Quiet: o.quiet}
	report, err := checker.Judge(ctx, h, log, checker.Options{Repartitioned: o.repartitioned})
	if err != nil {
		return s.unreached(err)
	}
	return a.finding(report)
}

// finding prints the report and returns its verdict.
func (a *app) finding(r *checker.Report) error {
	if err := a.printReport(r); err != nil {
		return err
	}
	return verdict(r)
}

// verdict is the error of a report that found something, which printReport has
// told in full.
func verdict(r *checker.Report) error {
	if r.Err() == nil {
		return nil
	}
	var words []string
	for _, v := range r.Violations() {
		words = append(words, fmt.Sprintf("%s %s", count(v.Count), v.Name))
	}
	return todo(fmt.Errorf("verify: %s", strings.Join(words, ", ")),
		"the examples tell which records; `klamm bench --seed %d` with the same flags makes the same decisions again", r.Seed)
}

func (a *app) printReport(r *checker.Report) error {
	for _, e := range r.Examples {
		a.say("  %s", e)
	}
	if a.json() {
		return printJSON(a.out, r)
	}
	rows := [][]string{{"RECORDS", "COUNT"}}
	for _, row := range []struct {
		name  string
		n     int64
		plain bool
	}{
		{"sent", r.Sent, true}, {"completions", r.Completions, true}, {"acknowledged", r.Acknowledged, true}, {"dropped", r.Dropped, false},
		{"dead-lettered", r.DeadLettered, false}, {"failed", r.FailedDefinite, false}, {"refused", r.Refused, false},
		{"of unknown outcome", r.Unknown, false}, {"of which written", r.UnknownWritten, false},
		{"duplicates sent", r.Duplicates, false}, {"after the window", r.DedupLate, false}, {"beside an unknown outcome", r.DedupUnknown, false},
		{"lost", r.Lost, true}, {"duplicated", r.Duplicated, true}, {"reordered", r.Reordered, true},
	} {
		if row.plain || row.n > 0 {
			rows = append(rows, []string{row.name, count(row.n)})
		}
	}
	for _, v := range r.Violations() {
		if !strings.Contains("lost duplicated reordered", v.Name) {
			rows = append(rows, []string{v.Name, count(v.Count)})
		}
	}
	faults := int64(0)
	for _, n := range r.Faults {
		faults += n
	}
	if faults > 0 {
		rows = append(rows, []string{"faults made", count(faults)})
	}
	return a.printTable(rows)
}
