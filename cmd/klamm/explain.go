package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/recordio"
)

// explainOptions are the flags of `klamm explain`.
type explainOptions struct {
	record  string
	key     string
	value   string
	headers []string
	offline bool
}

func (a *app) explainCommand() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain TOPIC",
		Short: "what each plugin does with one record; nothing is sent",
		Long: `Runs one record past the plugins and the partitioner of the topic's chain and prints
what each did: time, verdict, changes, and where the record would land. Nothing is
sent and no id stays claimed. The record is --value, or one line of --record or stdin
as ` + "`klamm consume -o json`" + ` prints it.`,
		Example: `  klamm explain orders --value '{"id":7}' --key 7
  klamm consume orders -o json -n 1 --offset 42 | klamm explain orders
  klamm explain orders --record rec.json --output json`,
		Args: exactly("TOPIC"), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			rec, err := a.explained(cmd, args[0], o)
			if err != nil {
				return err
			}
			return a.explain(cmd.Context(), rec, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.record, "record", "", "`file` with the record as JSON; - is stdin")
	f.StringVarP(&o.key, "key", "k", "", "`key` of the record; not given: null")
	f.StringVar(&o.value, "value", "", "`value` of the record")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "`name=value`; may be repeated")
	f.BoolVar(&o.offline, "offline", false, "do not ask the brokers; the partition stays unknown")
	return cmd
}

// explained is the record to explain.
func (a *app) explained(cmd *cobra.Command, topic string, o explainOptions) (*klamm.Record, error) {
	if !cmd.Flags().Changed("value") {
		if o.record == "" && a.inTerminal {
			return nil, usageIn(cmd, "no record: give --value, --record FILE, or one line of JSON on stdin")
		}
		return a.readRecord(topic, o.record)
	}
	if o.record != "" {
		return nil, usageIn(cmd, "--value and --record are two records; give one")
	}
	flags := produceOptions{headers: o.headers, partition: -1}
	rec, err := flags.common(topic)
	if err != nil {
		return nil, err
	}
	rec.Value = []byte(o.value)
	if cmd.Flags().Changed("key") {
		rec.Key = []byte(o.key)
	}
	return &rec, nil
}

func (a *app) readRecord(topic, file string) (*klamm.Record, error) {
	in, name := a.in, "stdin"
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in, name = f, file
	}
	rec, err := recordio.NewReader(in, recordio.ReaderOptions{JSON: true}).Read()
	if err == io.EOF {
		return nil, usagef("%s holds no record; give one line of JSON, or --value", name)
	}
	if err != nil {
		return nil, todo(lineError(name, err), "a record is one line, as `klamm consume -o json` prints it")
	}
	rec.Topic = topic
	return rec, nil
}

func (a *app) explain(ctx context.Context, rec *klamm.Record, o explainOptions) error {
	h, err := a.openExplainer(ctx, o.offline)
	if err != nil {
		return err
	}
	e, err := h.Explain(ctx, rec)
	closing, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err = errors.Join(err, h.Close(closing)); err != nil {
		return err
	}
	if a.json() {
		return printJSON(a.out, explanationJSON(e))
	}
	return a.printExplanation(rec, e)
}

// openExplainer asks the brokers where they are configured; without real ones
// the plugins alone explain.
func (a *app) openExplainer(ctx context.Context, offline bool) (*host.Host, error) {
	load := func() (*settings, error) { return a.load("") }
	if offline {
		load = a.loadOffline
	}
	s, err := load()
	if err != nil {
		return nil, err
	}
	log := a.quietLogger(s.Log)
	if offline || s.embedded() {
		return host.Load(ctx, *s.Config, s.baseDir, host.WithLogger(log))
	}
	return a.openHost(ctx, s, log)
}

type explainJSON struct {
	Schema     string            `json:"schema"`
	Chain      string            `json:"chain"`
	Topic      string            `json:"topic"`
	Outcome    string            `json:"outcome"`
	Reason     string            `json:"reason,omitempty"`
	Partition  int32             `json:"partition"` // -1: not known
	Partitions int32             `json:"partitions"`
	Default    int32             `json:"default_partition"`
	Steps      []explainStepJSON `json:"steps"`
}

type explainStepJSON struct {
	Plugin  string   `json:"plugin"`
	Hook    string   `json:"hook"`
	Verdict string   `json:"verdict"`
	Detail  string   `json:"detail,omitempty"`
	Changes []string `json:"changes"`
	Micros  float64  `json:"us"`
}

func explanationJSON(e *host.Explanation) explainJSON {
	j := explainJSON{"klamm.explain/1", e.Chain, e.Topic, e.Outcome, e.Reason, e.Partition, e.Partitions, e.Default, []explainStepJSON{}}
	for _, s := range e.Steps {
		j.Steps = append(j.Steps, explainStepJSON{s.Plugin, s.Hook, s.Verdict, s.Detail, append([]string{}, s.Changes...), micros(s.Elapsed)})
	}
	return j
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func (a *app) printExplanation(rec *klamm.Record, e *host.Explanation) error {
	var b strings.Builder
	bold := a.colour(a.outTerminal)
	fmt.Fprintf(&b, "record  %s  %s  %s\n", rec.Topic, keyText(rec.Key), bytesText(int64(len(rec.Value))))
	if e.Chain == "" {
		fmt.Fprintf(&b, "no chain names topic %q: no plugin judges it\n", rec.Topic)
	}
	for i, s := range e.Steps {
		fmt.Fprintf(&b, "%2d %-16s %-10s %8.1f µs  %s  %s\n", i+1, s.Plugin, s.Hook, micros(s.Elapsed), paint(bold, "1", s.Verdict), s.Detail)
		for _, c := range s.Changes {
			fmt.Fprintf(&b, "     %s\n", c)
		}
	}
	fmt.Fprintf(&b, "%s; nothing was sent\n", landing(e))
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func keyText(key []byte) string {
	if key == nil {
		return "key null"
	}
	return fmt.Sprintf("key %q", key)
}

// landing says where the record would have gone.
func landing(e *host.Explanation) string {
	switch {
	case e.Outcome != klamm.InFlight.String():
		return strings.TrimSuffix(fmt.Sprintf("would end as %s: %s", e.Outcome, e.Reason), ": ")
	case e.Partition < 0:
		return fmt.Sprintf("would go to %s; its partition is not known without brokers", e.Topic)
	case e.Default >= 0 && e.Default != e.Partition:
		return fmt.Sprintf("would go to %s/%d of %d (the default partitioner would choose %d)", e.Topic, e.Partition, e.Partitions, e.Default)
	}
	return fmt.Sprintf("would go to %s/%d of %d", e.Topic, e.Partition, e.Partitions)
}
