package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/cmd/klamm/internal/jsonrec"
	"github.com/klamm-io/klamm/host"
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
			shape, err := o.shape(args[0])
			if err != nil {
				return err
			}
			return a.produce(cmd.Context(), args[0], o, shape)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.input, "input", "i", "lines", "what a line of stdin is: `lines` or json")
	f.StringVarP(&o.key, "key", "k", "", "`key` of every record")
	f.StringVarP(&o.separator, "key-separator", "K", "", "`text` between key and value; a line without it has no key")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "`name=value` on every record; may be repeated")
	f.Int32VarP(&o.partition, "partition", "p", -1, "`number` of the partition; -1: the partitioner chooses")
	f.BoolVar(&o.keep, "keep-partition", false, "with -i json: to the partition that the record names")
	f.BoolVar(&o.create, "create", false, "create the topic if it does not exist")
	_ = cmd.RegisterFlagCompletionFunc("input", cobra.FixedCompletions([]string{"lines", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// shape turns a line of stdin into a record.
type shape func(line []byte) (*klamm.Record, error)

func (o *produceOptions) shape(topic string) (shape, error) {
	common, err := o.common(topic)
	if err != nil {
		return nil, err
	}
	switch o.input {
	case "lines":
		return func(line []byte) (*klamm.Record, error) { return o.fromLine(common, line), nil }, nil
	case "json":
		return func(line []byte) (*klamm.Record, error) { return o.fromJSON(common, line) }, nil
	}
	return nil, usagef("--input %q: there are lines and json", o.input)
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

func (o *produceOptions) fromLine(rec klamm.Record, line []byte) *klamm.Record {
	rec.Value = line
	if o.separator != "" {
		if key, value, ok := strings.Cut(string(line), o.separator); ok {
			rec.Key, rec.Value = []byte(key), []byte(value)
		}
	}
	return &rec
}

func (o *produceOptions) fromJSON(common klamm.Record, line []byte) (*klamm.Record, error) {
	rec, err := jsonrec.Parse(line)
	if err != nil {
		return nil, err
	}
	rec.Topic, rec.Target = common.Topic, common.Target
	if o.keep && rec.Partition >= 0 {
		rec.Target = klamm.ToPartition(rec.Partition)
	}
	if rec.Key == nil {
		rec.Key = common.Key
	}
	rec.Headers = append(rec.Headers, common.Headers...)
	return rec, nil
}

func (a *app) produce(ctx context.Context, topic string, o produceOptions, s shape) error {
	h, err := a.openClient(ctx)
	if err != nil {
		return err
	}
	p, err := h.Producer()
	if err != nil {
		return err
	}
	if o.create {
		if err := createIfMissing(ctx, h, topic); err != nil {
			return errors.Join(err, h.Close(ctx))
		}
	}
	run := &produceRun{a: a, began: time.Now(), reasons: map[string]int64{}}
	err = run.all(ctx, p, s)
	closing, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	closeErr := h.Close(closing)
	if told := run.summary(); told != nil {
		return told
	}
	switch {
	case err != nil:
		return err
	case run.failure != nil:
		return &failure{err: fmt.Errorf("%s of %s records failed: %w", count(run.counts.Failed), count(run.counts.In), run.failure)}
	}
	return closeErr
}

func createIfMissing(ctx context.Context, h *host.Host, topic string) error {
	err := h.CreateTopic(ctx, topic, -1, -1, nil)
	if errors.Is(err, &klamm.BrokerError{Code: klamm.CodeTopicAlreadyExists}) {
		return nil
	}
	return err
}

// maxFailuresTold is how many failed records are told one by one.
const maxFailuresTold = 20

// produceRun counts what becomes of the lines. Its callbacks come from the
// producer's notifier.
type produceRun struct {
	a     *app
	began time.Time

	mu       sync.Mutex
	counts   host.Counts
	reasons  map[string]int64 // of drops, by plugin and reason
	failure  error            // the first
	hopeless error            // one that every further record would meet
}

// all sends every line and waits for the last completion.
func (r *produceRun) all(ctx context.Context, p *host.Producer, s shape) error {
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

func (r *produceRun) send(ctx context.Context, p *host.Producer, s shape) error {
	lines := readLines(ctx, r.a.in)
	for number := 1; ; number++ {
		line, err := lines.next(ctx)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("stdin:%d: %w", number, err)
		}
		rec, err := s(line)
		if err != nil {
			return todo(fmt.Errorf("stdin:%d: %w", number, err),
				"mend the line; %s before it were taken, so go on with `tail -n +%d`", lineCount(number-1), number)
		}
		if err := r.one(ctx, p, rec, number); err != nil {
			return err
		}
	}
}

func lineCount(n int) string {
	if n == 1 {
		return "the 1 line"
	}
	return fmt.Sprintf("the %d lines", n)
}

func (r *produceRun) one(ctx context.Context, p *host.Producer, rec *klamm.Record, number int) error {
	r.mu.Lock()
	r.counts.In++
	hopeless := r.hopeless
	r.mu.Unlock()
	if hopeless != nil {
		r.completed(number, klamm.Result{Outcome: klamm.Failed, Err: hopeless})
		return fmt.Errorf("stopped at line %d: %w", number, hopeless)
	}
	err := p.SendAsync(ctx, rec, func(res klamm.Result) { r.completed(number, res) })
	if err != nil {
		r.completed(number, klamm.Result{Outcome: klamm.Failed, Err: err})
	}
	if errors.Is(err, klamm.ErrClosed) || ctx.Err() != nil {
		return err
	}
	return nil
}

func (r *produceRun) completed(number int, res klamm.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch res.Outcome {
	case klamm.Written:
		r.counts.Out++
	case klamm.Dropped:
		r.counts.Dropped++
		r.reasons[strings.TrimSpace(res.Plugin+" "+res.Reason)]++
	case klamm.DeadLettered:
		r.counts.DeadLettered++
		r.a.say("stdin:%d: dead-lettered to %s/%d@%d by %s: %s", number, res.Topic, res.Partition, res.Offset, res.Plugin, res.Reason)
	default:
		r.failed(number, res.Err)
	}
}

func (r *produceRun) failed(number int, err error) {
	r.counts.Failed++
	switch {
	case r.counts.Failed <= maxFailuresTold:
		fmt.Fprintf(r.a.talk, "stdin:%d: %v\n", number, err)
	case r.counts.Failed == maxFailuresTold+1:
		fmt.Fprintln(r.a.talk, "further failures are counted only")
	}
	if r.failure == nil {
		r.failure = err
	}
	for _, fact := range []error{klamm.ErrUnknownTopic, klamm.ErrInvalidTopic, klamm.ErrFenced, klamm.ErrBrokerUnreachable} {
		if errors.Is(err, fact) {
			r.hopeless = err
		}
	}
}

// summary says what became of the lines; it is the command's result.
func (r *produceRun) summary() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts
	r.a.say("in %s  out %s  dropped %s  dead-lettered %s  failed %s  (%v)",
		count(c.In), count(c.Out), count(c.Dropped), count(c.DeadLettered), count(c.Failed), since(r.began))
	for _, reason := range sortedKeys(r.reasons) {
		r.a.say("  dropped %s by %s", count(r.reasons[reason]), reason)
	}
	if !r.a.json() {
		return nil
	}
	return printJSON(r.a.out, struct {
		Schema string `json:"schema"`
		host.Counts
	}{"klamm.produce/1", c})
}
