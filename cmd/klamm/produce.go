package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/recordio"
)

// produceOptions are the flags of `klamm produce`.
type produceOptions struct {
	input     string
	key       string
	separator string
	headers   []string
	partition int32
	keep      bool
	create    bool
	nulls     bool
}

func (a *app) produceCommand() *cobra.Command {
	var o produceOptions
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "stdin, through the chain, to a topic",
		Long: `Sends every line of stdin through the chain of the topic. A line is the value; with
-i json it is a record as ` + "`klamm consume -o json`" + ` prints it, and is taken back byte for
byte: null and empty, binary, repeated headers.

Records that fail are told on stderr with their line; a summary follows, with
--output json as one object on stdout. The exit code is 0 when none failed.`,
		Example: `  echo hello | klamm produce greetings
  klamm produce orders -K : < orders.txt              key:value on each line
  klamm consume orders -o json --offset start --exit-at-end | klamm produce copy -i json`,
		Args: exactly("TOPIC"), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.shaper(args[0])
			if err != nil {
				return err
			}
			return a.produce(cmd.Context(), s, o.create)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.input, "input", "i", "lines", "what a line of stdin is: `lines` or json")
	f.StringVarP(&o.key, "key", "k", "", "`key` of every record")
	f.StringVarP(&o.separator, "key-separator", "K", "", "`text` between key and value; a line without it has no key")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "`name=value` on every record; may be repeated")
	f.BoolVar(&o.nulls, "empty-is-null", false, "an empty key or value of a line is null, a tombstone")
	f.Int32VarP(&o.partition, "partition", "p", -1, "`number` of the partition; -1: the partitioner chooses")
	f.BoolVar(&o.keep, "keep-partition", false, "with -i json: to the partition that the record names")
	f.BoolVar(&o.create, "create", false, "create the topic if it does not exist")
	_ = cmd.RegisterFlagCompletionFunc("input", cobra.FixedCompletions([]string{"lines", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// shaper makes of a record as it was read the one that is sent.
type shaper struct {
	common klamm.Record
	reader recordio.ReaderOptions
	keep   bool // the partition that the record names
}

func (o *produceOptions) shaper(topic string) (*shaper, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	common, err := o.common(topic)
	if err != nil {
		return nil, err
	}
	s := &shaper{common: common, keep: o.keep}
	switch o.input {
	case "lines":
		s.reader.KeyDelimiter, s.reader.EmptyIsNull = o.separator, o.nulls
	case "json":
		s.reader.JSON = true
	default:
		return nil, usagef("--input %q: there are lines and json", o.input)
	}
	return s, nil
}

// check refuses what would be ignored.
func (o *produceOptions) check() error {
	switch {
	case o.partition < -1:
		return usagef("--partition %d: it is the number of a partition, or -1 for the partitioner's choice", o.partition)
	case o.input == "json" && o.separator != "":
		return usagef("--key-separator is for lines of text; with -i json the record names its key")
	case o.input == "json" && o.nulls:
		return usagef("--empty-is-null is for lines of text; with -i json null is written null")
	case o.input != "json" && o.keep:
		return usagef("--keep-partition needs -i json: lines of text name no partition")
	case o.keep && o.partition >= 0:
		return usagef("--keep-partition and --partition %d contradict each other; give one", o.partition)
	}
	return nil
}

func (o *produceOptions) common(topic string) (klamm.Record, error) {
	rec := klamm.Record{Topic: topic}
	if o.key != "" {
		rec.Key = []byte(o.key)
	}
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok {
			return rec, usagef("--header %q: it is name=value", h)
		}
		rec.Headers = append(rec.Headers, klamm.Header{Key: name, Value: []byte(value)})
	}
	if o.partition >= 0 {
		rec.Target = klamm.ToPartition(o.partition)
	}
	return rec, nil
}

func (s *shaper) shape(rec *klamm.Record) *klamm.Record {
	rec.Topic, rec.Target = s.common.Topic, s.common.Target
	if s.keep && rec.Partition >= 0 {
		rec.Target = klamm.ToPartition(rec.Partition)
	}
	if rec.Key == nil {
		rec.Key = s.common.Key
	}
	rec.Headers = append(rec.Headers, s.common.Headers...)
	return rec
}

func (a *app) produce(ctx context.Context, s *shaper, create bool) error {
	h, err := a.openClient(ctx)
	if err != nil {
		return err
	}
	p, err := h.Producer()
	if err != nil {
		return err
	}
	if create {
		if err := createIfMissing(ctx, h, s.common.Topic); err != nil {
			return errors.Join(err, h.Close(ctx))
		}
	}
	if a.inTerminal {
		a.say("reading lines from the terminal; Ctrl-D ends")
	}
	run := &produceRun{newSendTally(a)}
	err = run.all(ctx, p, s)
	closing, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	closeErr := h.Close(closing)
	if told := run.summary(); told != nil {
		return told
	}
	return cmp.Or(err, run.err(), closeErr)
}

func createIfMissing(ctx context.Context, h *host.Host, topic string) error {
	err := h.CreateTopic(ctx, topic, -1, -1, nil)
	if errors.Is(err, &klamm.BrokerError{Code: klamm.CodeTopicAlreadyExists}) {
		return nil
	}
	return err
}

// produceRun sends what stdin brings.
type produceRun struct{ *sendTally }

// stdinLine is where a record came from.
type stdinLine int

func (n stdinLine) String() string { return fmt.Sprintf("stdin:%d", int(n)) }

// all sends every line and waits for the last completion.
func (r *produceRun) all(ctx context.Context, p *host.Producer, s *shaper) error {
	err := r.send(ctx, p, s)
	// What was accepted is completed whatever ended the sending: nothing that
	// stood before a bad line is lost.
	if flushed := p.Flush(context.WithoutCancel(ctx)); err == nil {
		err = flushed
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

func (r *produceRun) send(ctx context.Context, p *host.Producer, s *shaper) error {
	records := readRecords(ctx, r.a.in, s.reader)
	for {
		in, err := records.next(ctx)
		switch {
		case err == io.EOF:
			return nil
		case errors.As(in.err, new(*recordio.LineError)):
			return todo(err, "mend the line; %s, so go on with `tail -n +%d`", taken(in.line-1), in.line)
		case err != nil:
			return err
		}
		if err := r.one(ctx, p, s.shape(in.rec), stdinLine(in.line)); err != nil {
			return err
		}
	}
}

// taken says what became of the n lines before a bad one.
func taken(n int) string {
	switch n {
	case 0:
		return "nothing was sent yet"
	case 1:
		return "line 1 was sent"
	}
	return fmt.Sprintf("lines 1 to %d were sent", n)
}

// summary says what became of the lines; it is the command's result.
func (r *produceRun) summary() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.say()
	if !r.a.json() {
		return nil
	}
	return printJSON(r.a.out, struct {
		Schema string `json:"schema"`
		host.Counts
	}{"klamm.produce/1", r.counts})
}
