package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
)

// replayOptions are the flags of `klamm replay`.
type replayOptions struct {
	to, plugin, reason, origin string
	offset                     string
	partitions                 []int32
	number                     int64
	dryRun                     bool
}

func (a *app) replayCommand() *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay DEAD_LETTER_TOPIC",
		Short: "dead-lettered records, back to where they came from",
		Long: `Reads a dead-letter topic to the offsets that are its ends now, and sends each record
as it was, without the klamm.error.* headers, to the topic that it came from or was
going to. It passes that topic's chain again: what a plugin still condemns is
dead-lettered again, behind the ends, so that a replay never loops.

The dead letters stay where they are. Two replays of the same offsets send the
records twice, unless the chain drops duplicates; --offset and --partition go on
from where one was interrupted, which is told.`,
		Example: `  klamm replay orders.dead --dry-run
  klamm replay orders.dead --plugin schema-guard --offset @-1h
  klamm replay orders.dead --to orders.repaired -n 100`,
		Args: exactly("DEAD_LETTER_TOPIC"), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error { return a.replay(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "`topic` to send to (default: that of each record's klamm.error.topic)")
	f.StringVar(&o.plugin, "plugin", "", "only what this `plugin` put there")
	f.StringVar(&o.reason, "reason", "", "only records whose reason contains this `text`")
	f.StringVar(&o.origin, "origin", "", "only records that came from this `topic`")
	f.StringVar(&o.offset, "offset", "start", "where to start: start, N, -N for the last N of each partition, or @TIME")
	f.Int32SliceVarP(&o.partitions, "partition", "p", nil, "only these `partitions` of the dead-letter topic")
	f.Int64VarP(&o.number, "number", "n", 0, "stop after this `number` of matching records; 0: no limit")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be sent where, and send nothing")
	return cmd
}

func (o *replayOptions) matches(d *interceptor.Letter) bool {
	return (o.plugin == "" || d.Plugin == o.plugin) &&
		(o.origin == "" || d.From.Topic == o.origin) &&
		strings.Contains(d.Reason, o.reason)
}

// replayRun is one replay. Records come one at a time.
type replayRun struct {
	*sendTally
	o     replayOptions
	topic string
	send  func(rec *klamm.Record, at source) error

	read, matched, foreign int64
	targets                map[string]int64
	next                   map[int32]int64 // of the dead-letter topic's partitions
}

// deadLetterAt is where a dead letter stands.
type deadLetterAt struct {
	topic     string
	partition int32
	offset    int64
}

func (d deadLetterAt) String() string { return fmt.Sprintf("%s/%d@%d", d.topic, d.partition, d.offset) }

func (a *app) replay(ctx context.Context, topic string, o replayOptions) error {
	start, err := parseOffset(cmp.Or(o.offset, "start"), false, time.Now())
	if err != nil {
		return err
	}
	if o.to == topic {
		return usagef("--to %s: that is the dead-letter topic itself", topic)
	}
	open := a.openClient
	if o.dryRun {
		open = a.connect
	}
	h, err := open(ctx)
	if err != nil {
		return err
	}
	r := &replayRun{sendTally: newSendTally(a), o: o, topic: topic, targets: map[string]int64{}, next: map[int32]int64{}}
	err = r.all(ctx, h, host.ReadOptions{Start: start, StopAtEnd: true, Partitions: o.partitions})
	closing, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	closeErr := h.Close(closing)
	return cmp.Or(r.summary(), err, r.err(), closeErr)
}

// all reads to the ends and waits for the last completion.
func (r *replayRun) all(ctx context.Context, h *host.Host, options host.ReadOptions) error {
	r.send = func(*klamm.Record, source) error { return nil }
	flush := func(context.Context) error { return nil }
	if !r.o.dryRun {
		p, err := h.Producer()
		if err != nil {
			return err
		}
		r.send = func(rec *klamm.Record, at source) error { return r.one(ctx, p, rec, at) }
		flush = p.Flush
	}
	err := h.Read(ctx, []string{r.topic}, options, r.record)
	if errors.Is(err, errEnough) {
		err = nil
	}
	// What was accepted is completed whatever ended the reading.
	return cmp.Or(err, flush(context.WithoutCancel(ctx)), context.Cause(ctx))
}

func (r *replayRun) record(rec *klamm.Record) error {
	if r.o.number > 0 && r.matched >= r.o.number {
		return errEnough
	}
	r.read++
	at := deadLetterAt{rec.Topic, rec.Partition, rec.Offset}
	letter, ok := interceptor.ParseDeadLetter(rec)
	switch {
	case !r.o.matches(&letter):
	case !ok && r.o.to == "":
		r.foreignRecord(at)
	default:
		if err := r.letter(&letter, at); err != nil {
			return err
		}
	}
	r.next[rec.Partition] = rec.Offset + 1
	return nil
}

func (r *replayRun) letter(l *interceptor.Letter, at deadLetterAt) error {
	r.matched++
	rec := l.Record
	rec.Topic = cmp.Or(r.o.to, rec.Topic)
	if rec.Topic == r.topic {
		return fmt.Errorf("%s came from the dead-letter topic itself: sending it there would never end; give --to", at)
	}
	r.targets[rec.Topic]++
	if r.o.dryRun && r.matched <= maxFailuresTold {
		r.a.say("%s -> %s  %s by %s: %s", at, rec.Topic, cmp.Or(l.Hook, "dead-lettered"), cmp.Or(l.Plugin, "?"), l.Reason)
	}
	return r.send(&rec, at)
}

// foreignRecord passes a record over that is no dead letter.
func (r *replayRun) foreignRecord(at deadLetterAt) {
	if r.foreign++; r.foreign <= maxFailuresTold {
		fmt.Fprintf(r.a.talk, "%s: no header %s, so it is passed over; --to sends it too\n", at, interceptor.HeaderTopic)
	}
}

// summary says what became of the dead letters; it is the command's result.
func (r *replayRun) summary() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	verb := "sent"
	if r.o.dryRun {
		verb = "would be sent"
	}
	r.a.say("read %s  matched %s  no dead letters %s", count(r.read), count(r.matched), count(r.foreign))
	for _, topic := range sortedKeys(r.targets) {
		r.a.say("  %s %s to %s", count(r.targets[topic]), verb, topic)
	}
	if !r.o.dryRun {
		r.say()
	}
	for _, partition := range sortedKeys(r.next) {
		r.a.say("  go on with --partition %d --offset %d", partition, r.next[partition])
	}
	if !r.a.json() {
		return nil
	}
	return printJSON(r.a.out, struct {
		Schema  string `json:"schema"`
		Topic   string `json:"topic"`
		DryRun  bool   `json:"dry_run"`
		Read    int64  `json:"read"`
		Matched int64  `json:"matched"`
		Foreign int64  `json:"foreign"`
		host.Counts
		Targets map[string]int64 `json:"targets"`
		Next    map[int32]int64  `json:"next"`
	}{"klamm.replay/1", r.topic, r.o.dryRun, r.read, r.matched, r.foreign, r.counts, r.targets, r.next})
}
