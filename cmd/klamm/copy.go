package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/config"
)

// copyOptions are the flags of `klamm copy`.
type copyOptions struct {
	chain, group, deadLetter, offset string
	resume, restart, dryRun, verify  bool
	keepPartitions, create           bool
	sample                           int64
}

func (a *app) copyCommand() *cobra.Command {
	var o copyOptions
	cmd := &cobra.Command{
		Use:   "copy SRC DST",
		Short: "topic to topic through a chain, exactly once, to where the source ends now",
		Long: `Copies the records of a topic, through the plugins of the destination's chain, in
transactions: each record is in the destination once, or was dropped or dead-lettered by
a plugin, whatever dies meanwhile. It ends at the offsets that are the source's ends when
it begins; what is written later is not copied.

What was done is committed with the offsets of its consumer group, klamm-copy.SRC.DST. A
copy that was interrupted or killed goes on with --resume, to the ends that were taken
when it began, and its counts are of all runs together.

--dry-run writes nothing: it prints what is to be copied, and has the plugins judge the first
records (--sample), with what would be dropped, dead-lettered or failed, and why.

--verify counts the records in the topics with another client, and compares: of each
source partition in = out + dropped + dead_lettered and in is what is there, and of each
destination partition out is what has come since the copy began. Where no plugin is in the
chain it compares keys, values, headers and the order of each key too. Others who write to
the destination meanwhile are seen as a difference. The exit code is 1 then.`,
		Example: `  klamm copy raw-orders orders --create --verify
  klamm copy raw-orders orders --resume --verify --output json
  klamm copy raw-orders orders --chain clean --dead-letter-topic orders.dead --dry-run`,
		Args: exactly("SRC", "DST"), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error { return a.copy(cmd.Context(), args[0], args[1], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.chain, "chain", "", "`name` of the chain (default: that of DST)")
	f.StringVar(&o.group, "group", "", "consumer `group` that keeps the copy's progress (default klamm-copy.SRC.DST)")
	f.StringVar(&o.deadLetter, "dead-letter-topic", "", "`topic` for records that a plugin fails; without one the copy stops at the first")
	f.StringVar(&o.offset, "offset", "start", "where to start: start, N, -N for the last N of each partition, or @TIME")
	f.BoolVar(&o.resume, "resume", false, "go on with a copy that was begun")
	f.BoolVar(&o.restart, "restart", false, "begin anew although a copy was begun; what it has written stays there")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be copied and what plugins make of it, and write nothing")
	f.Int64Var(&o.sample, "sample", 10_000, "with --dry-run, how many `records` plugins judge, the first of each partition; 0 for all")
	f.BoolVar(&o.verify, "verify", false, "read what is in the topics when all is copied, and compare")
	f.BoolVar(&o.keepPartitions, "keep-partitions", false, "each record to the partition of its number")
	f.BoolVar(&o.create, "create", false, "create DST, with SRC's number of partitions, if it does not exist")
	return cmd
}

// copyPipeline is the name of the copy's pipeline, which is in those of its
// transactions and its member: one for each group.
func copyPipeline(group string) string {
	h := fnv.New64a()
	h.Write([]byte(group))
	return fmt.Sprintf("copy-%016x", h.Sum64())
}

func (a *app) copy(ctx context.Context, from, to string, o copyOptions) error {
	if from == to {
		return usagef("SRC and DST are both %q: a copy into itself would never end", from)
	}
	if o.sample < 0 {
		return usagef("--sample %d: it is a number of records, or 0 for all", o.sample)
	}
	if o.resume && o.restart {
		return usagef("--resume goes on and --restart begins anew: give one")
	}
	start, err := parseOffset(cmp.Or(o.offset, "start"), false, time.Now())
	if err != nil {
		return err
	}
	s, err := a.copySettings(from, to, o)
	if err != nil {
		return err
	}
	if o.dryRun {
		a.tryInMemory(s)
	}
	if err := a.createCopy(ctx, s, from, to, o); err != nil {
		return err
	}
	h, err := a.openHost(ctx, s, a.quietLogger(s.Log))
	if err != nil {
		return s.unreached(err)
	}
	c := &copyRun{a: a, s: s, o: o, began: time.Now(), name: sortedKeys(s.Pipeline)[0]}
	err = c.all(ctx, h, host.CopyOptions{Start: start, Resume: o.resume, Restart: o.restart, KeepPartitions: o.keepPartitions})
	closing, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	return cmp.Or(err, h.Close(closing))
}

// copySettings are the configuration with one pipeline, the copy.
func (a *app) copySettings(from, to string, o copyOptions) (*settings, error) {
	s, err := a.load("")
	if err != nil {
		return nil, err
	}
	s.asClient()
	group := cmp.Or(o.group, "klamm-copy."+from+"."+to)
	s.Pipeline = map[string]config.Pipeline{copyPipeline(group): {
		From: []string{from}, To: to, Chain: o.chain, DeadLetterTopic: o.deadLetter, GroupID: group, Guarantee: config.ExactlyOnce,
	}}
	// A record that retention took is an error, not a gap that nobody sees.
	s.Consumer.AutoOffsetReset = "none"
	if s.Host.ID == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, todo(fmt.Errorf("the copy's transactions need a name that lasts: %w", err), "set id in [host]")
		}
		s.Host.ID = name
	}
	a.sayForgetful(s, copyPipeline(group))
	return s, nil
}

// tryInMemory has plugins whose ids are in Kafka or Redis remember those of a dry
// run in memory: there they would have to be written, and other hosts would meet
// them.
func (a *app) tryInMemory(s *settings) {
	for name, st := range s.State {
		if st.Backend != "kafka" && st.Backend != "redis" {
			continue
		}
		a.say("[state.%s] is in %s, where a trial leaves nothing: the dry run knows no ids of before it, so duplicates of those count as out", name, st.Backend)
		s.State[name] = config.State{Backend: "memory", MaxEntries: st.MaxEntries, MaxBytes: st.MaxBytes, Scope: st.Scope, Clock: st.Clock}
	}
}

// sayForgetful warns of plugins whose window ends with the process.
func (a *app) sayForgetful(s *settings, pipeline string) {
	name, _ := s.PipelineChain(pipeline)
	for _, plugin := range slices.Concat(s.Chain[name].OnSend, s.Chain[name].OnConsume) {
		state := s.Plugin[plugin].State
		if st, ok := s.State[state]; ok && (st.Backend == "" || st.Backend == "memory") {
			a.say("plugin %q remembers ids in memory: a copy that is resumed begins with an empty window, and duplicates of what came before pass; give [state.%s] a backend that lasts", plugin, state)
		}
	}
}

func (a *app) createCopy(ctx context.Context, s *settings, from, to string, o copyOptions) error {
	h, err := host.Connect(ctx, *s.Config, append(withEmbedded(), host.WithLogger(a.quietLogger(s.Log)))...)
	if err != nil {
		return s.unreached(err)
	}
	defer h.Close(context.WithoutCancel(ctx))
	there, err := h.Topics(ctx)
	if err != nil {
		return err
	}
	switch {
	case !slices.Contains(there, from):
		return todo(fmt.Errorf("source %q: %w", from, klamm.ErrUnknownTopic), "there are %s", cmp.Or(strings.Join(there, ", "), "no topics at all"))
	case slices.Contains(there, to):
		return nil
	case o.dryRun:
		return todo(fmt.Errorf("destination %q: %w", to, klamm.ErrUnknownTopic), "make it with `klamm topic create`; without --dry-run --create does")
	case !o.create:
		return todo(fmt.Errorf("destination %q: %w", to, klamm.ErrUnknownTopic), "--create makes it, with as many partitions as %s has", from)
	}
	infos, err := h.DescribeTopics(ctx, from)
	if err != nil {
		return err
	}
	a.say("creating %s with %d partitions", to, len(infos[0].Partitions))
	return h.CreateTopic(ctx, to, int32(len(infos[0].Partitions)), -1, nil)
}

// copyRun is one copy at work.
type copyRun struct {
	a     *app
	s     *settings
	o     copyOptions
	name  string // of the pipeline
	began time.Time
	first host.CopyProgress // what runs before this one had done
	line  bool              // a progress line is on the terminal
	last  time.Time
}

func (c *copyRun) all(ctx context.Context, h *host.Host, o host.CopyOptions) error {
	if c.o.dryRun {
		plan, trial, err := h.TryCopy(ctx, c.name, o, c.o.sample)
		if err != nil {
			return c.explain(err)
		}
		c.sayPlan(plan)
		return c.printTrial(plan, trial)
	}
	plan, err := h.PlanCopy(ctx, c.name, o)
	if err != nil {
		return c.explain(err)
	}
	c.sayPlan(plan)
	o.Progress, o.ProgressEvery = c.progress, 500*time.Millisecond
	r, err := h.Copy(ctx, c.name, o)
	c.endLine()
	if r == nil {
		return c.explain(err)
	}
	c.a.say("in %s = out %s + dropped %s + dead-lettered %s  (%v)", count(r.In), count(r.Out), count(r.Dropped), count(r.DeadLettered), since(c.began))
	if err == nil && !r.Ended {
		err = cmp.Or(context.Cause(ctx), errors.New("the copy has not reached its end"))
	}
	if err != nil {
		return errors.Join(c.print(r, nil), todo(c.explain(err), "what is committed stays; go on with --resume"))
	}
	if !c.o.verify {
		return c.print(r, nil)
	}
	return c.verified(ctx, r)
}

func (c *copyRun) explain(err error) error {
	if errors.Is(err, host.ErrCopyBegun) {
		return todo(err, "--resume goes on with it, --restart begins anew and leaves what it has written there")
	}
	return err
}

func (c *copyRun) sayPlan(r *host.CopyReport) {
	offsets, done := int64(0), int64(0)
	for _, p := range r.Partitions {
		offsets += p.End - p.Start
		done += min(p.Position, p.End) - p.Start
	}
	c.first = host.CopyProgress{CopyCounts: r.CopyCounts, Done: done}
	verb := "copying"
	if r.Resumed {
		verb = "going on with"
	}
	c.a.say("%s %s to %s: %s offsets in %d partitions, %s done, group %s", verb, r.From, r.To, count(offsets), len(r.Partitions), count(done), r.Group)
}

// progress tells rate and ETA: on a terminal in one line that is renewed, else
// every ten seconds.
func (c *copyRun) progress(p host.CopyProgress) {
	if c.a.quiet || !c.a.talkTerminal && time.Since(c.last) < 10*time.Second {
		return
	}
	c.last = time.Now()
	text := progressText(p, c.first, time.Since(c.began))
	if !c.a.talkTerminal {
		fmt.Fprintln(c.a.talk, text)
		return
	}
	fmt.Fprintf(c.a.talk, "\r\x1b[K%s", text)
	c.line = true
}

func (c *copyRun) endLine() {
	if c.line {
		fmt.Fprintln(c.a.talk)
	}
}

// progressText is how far a copy is. What was done before this run counts neither
// for the rate nor for the time that is left.
func progressText(p, first host.CopyProgress, took time.Duration) string {
	share := 1.0
	if p.Total > 0 {
		share = float64(p.Done) / float64(p.Total)
	}
	rate, left := 0.0, "unknown"
	if seconds := took.Seconds(); seconds > 0 {
		rate = float64(p.In-first.In) / seconds
		if moved := p.Done - first.Done; moved > 0 {
			left = time.Duration(seconds * float64(p.Total-p.Done) / float64(moved) * float64(time.Second)).Round(time.Second).String()
		}
	}
	return fmt.Sprintf("%3.0f%%  %s/%s  %s records/s  ETA %s  dropped %s  dead-lettered %s",
		100*share, count(p.Done), count(p.Total), count(int64(rate)), left, count(p.Dropped), count(p.DeadLettered))
}

// print prints the result. verified is nil where nobody counted.
func (c *copyRun) print(r *host.CopyReport, verified *bool) error {
	if !c.a.json() {
		return nil
	}
	return printJSON(c.a.out, struct {
		Schema string `json:"schema"`
		host.CopyCounts
		Verified *bool `json:"verified,omitempty"`
	}{"klamm.copy/1", r.CopyCounts, verified})
}

func (c *copyRun) chain() string {
	name, _ := c.s.PipelineChain(c.name)
	return name
}
