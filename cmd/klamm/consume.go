package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/config"
	"github.com/klamm-io/klamm/internal/recordio"
)

// consumeOptions are the flags of `klamm consume`.
type consumeOptions struct {
	format     string
	number     int64
	offset     string
	group      string
	partitions []int32
	stopAtEnd  bool
}

func (a *app) consumeCommand() *cobra.Command {
	var o consumeOptions
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "topics, through the chain, to stdout",
		Long: `Prints records until Ctrl-C, -n records, or the end with --exit-at-end. A chain with
on_consume plugins judges them first. Without --group nothing is committed.

-o json prints one object a line, which ` + "`klamm produce -i json`" + ` takes back byte for byte.
-f takes % verbs: %t topic, %p partition, %o offset, %k key, %v value, %d timestamp,
%h{%k=%v } headers; %k{hex}, {base64} and {json} encode; \n and \t as in Go.`,
		Example: `  klamm consume orders --offset start
  klamm consume orders -o json -n 10
  klamm consume orders --offset @-15m --exit-at-end
  klamm consume orders -f '%p@%o %k %v{json}\n' --offset -5 --exit-at-end`,
		Args: exactly("TOPIC..."), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.json() && cmd.Flags().Changed("format") {
				return usagef("--format and --output json are two forms; give one")
			}
			return a.consume(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.format, "format", "f", `%v\n`, "print each record by this `format`")
	f.Int64VarP(&o.number, "number", "n", 0, "stop after this `number` of records; 0: no limit")
	f.StringVar(&o.offset, "offset", "", "where to start: start, end, N, -N for the last N of each partition, or @TIME: @-15m, @2026-01-31, @2026-01-31T12:00:00Z, @MILLISECONDS (default end; with --group what is committed)")
	f.StringVarP(&o.group, "group", "g", "", "join this consumer `group` and commit")
	f.Int32SliceVarP(&o.partitions, "partition", "p", nil, "only these `partitions`")
	f.BoolVarP(&o.stopAtEnd, "exit-at-end", "e", false, "stop at the offsets that are the ends now")
	_ = cmd.RegisterFlagCompletionFunc("offset", cobra.FixedCompletions([]string{"start", "end"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) consume(ctx context.Context, topics []string, o consumeOptions) error {
	if o.number < 0 {
		return usagef("--number %d: it is how many records to print, 0 for no limit", o.number)
	}
	print, err := a.recordPrinter(o.format)
	if err != nil {
		return err
	}
	begin, err := parseOffset(o.offset, o.group != "", time.Now())
	if err != nil {
		return err
	}
	if o.group != "" && (len(o.partitions) > 0 || o.stopAtEnd) {
		return usagef("--partition and --exit-at-end do not go with --group: the group decides")
	}
	h, err := a.openReader(ctx, topics, o, begin)
	if err != nil {
		return err
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	out := newRecordOutput(a.out, print, o.number, stop)
	if o.group != "" {
		err = h.Consume(reading, topics, func(_ context.Context, rec *klamm.Record) error { return out.record(rec) })
	} else {
		options := host.ReadOptions{Start: begin, StopAtEnd: o.stopAtEnd, Partitions: o.partitions}
		err = h.Read(reading, topics, options, out.record)
	}
	if errors.Is(err, errEnough) || errors.Is(err, context.Canceled) {
		err = nil
	}
	if written := out.close(); !errors.Is(err, written) {
		err = errors.Join(err, written)
	}
	closing, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	err = errors.Join(err, h.Close(closing))
	if err == nil && o.number > 0 && out.printed < o.number {
		err = context.Cause(ctx) // what was asked for did not come: interrupted
	}
	return err
}

// openReader loads plugins only where a chain of the topics has some to run.
func (a *app) openReader(ctx context.Context, topics []string, o consumeOptions, begin host.ReadStart) (*host.Host, error) {
	s, err := a.load("")
	if err != nil {
		return nil, err
	}
	s.asClient()
	s.Pipeline = nil
	log := a.quietLogger(s.Log)
	if o.group != "" {
		s.Consumer.GroupID = o.group
		s.Consumer.AutoOffsetReset = "earliest"
		if begin.At == host.ReadLatest {
			s.Consumer.AutoOffsetReset = "latest"
		}
	}
	var h *host.Host
	if o.group != "" || readsThroughPlugins(s.Config, topics) {
		h, err = a.openHost(ctx, s, log)
	} else {
		h, err = host.Connect(ctx, *s.Config, host.WithLogger(log))
	}
	return h, s.unreached(err)
}

func readsThroughPlugins(cfg *config.Config, topics []string) bool {
	for _, t := range topics {
		if chain, ok := cfg.ChainFor(t); ok && len(cfg.Chain[chain].OnConsume) > 0 {
			return true
		}
	}
	return false
}

// printer appends a record as it is printed.
type printer func(dst []byte, rec *klamm.Record) []byte

func (a *app) recordPrinter(format string) (printer, error) {
	if a.json() {
		return recordio.AppendJSON, nil
	}
	f, err := recordio.ParseFormat(format)
	if err != nil {
		return nil, &failure{err: err, code: exitUsage}
	}
	return f.Append, nil
}

// errEnough ends a consumption whose -n is reached.
var errEnough = errors.New("enough records")

// recordOutput prints records; what is buffered is flushed when no further
// record follows soon, so that people see it and pipes are fast.
type recordOutput struct {
	print printer
	limit int64
	stop  func()

	mu      sync.Mutex
	out     *bufio.Writer
	line    []byte
	printed int64
	idle    *time.Timer
	failed  error
}

// flushAfter is how long a printed record may wait for the next one.
const flushAfter = 20 * time.Millisecond

func newRecordOutput(w writer, p printer, limit int64, stop func()) *recordOutput {
	o := &recordOutput{print: p, limit: limit, stop: stop, out: bufio.NewWriterSize(w, 64<<10)}
	o.idle = time.AfterFunc(time.Hour, o.flush)
	return o
}

type writer interface{ Write([]byte) (int, error) }

func (o *recordOutput) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.out.Flush(); err != nil && o.failed == nil {
		o.failed = fmt.Errorf("stdout: %w", err)
		o.stop()
	}
}

// record prints one record. The one that reaches the limit is taken, and ends
// the reading; those after it are refused, so that a group reads them again.
func (o *recordOutput) record(rec *klamm.Record) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return o.failed
	}
	if o.limit > 0 && o.printed >= o.limit {
		return errEnough
	}
	o.line = o.print(o.line[:0], rec)
	if _, err := o.out.Write(o.line); err != nil {
		o.failed = fmt.Errorf("stdout: %w", err)
		return o.failed
	}
	if o.printed++; o.printed == o.limit {
		o.stop()
	}
	o.idle.Reset(flushAfter)
	return nil
}

func (o *recordOutput) close() error {
	o.idle.Stop()
	o.flush()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil && strings.Contains(o.failed.Error(), "broken pipe") {
		return nil // `klamm consume | head`: the reader has enough
	}
	return o.failed
}
