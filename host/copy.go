package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
	"github.com/klamm-io/klamm/internal/config"
)

// CopyOptions of Copy.
type CopyOptions struct {
	// Start is where each input partition starts. Default: its first record.
	Start ReadStart
	// Resume goes on with a copy that was begun, to the ends that were taken then.
	// Where none was, it begins one.
	Resume bool
	// Restart begins anew although one was begun.
	Restart bool
	// KeepPartitions sends each record to the partition of its number, past keys
	// and partitioners.
	KeepPartitions bool
	// Progress, if it is not nil, is called every ProgressEvery (default 1s).
	Progress      func(CopyProgress)
	ProgressEvery time.Duration
}

// ErrCopyBegun: the group has a copy already, and neither Resume nor Restart says
// what to do with it.
var ErrCopyBegun = errors.New("a copy with this group was begun before")

// CopyProgress is how far a copy is. Done and Total count offsets, from the start
// to the ends, which may have gaps; the counts are records, committed or under
// way.
type CopyProgress struct {
	CopyCounts
	Done, Total int64
}

// CopyCounts are a copy's records since it was begun, in whatever process:
// In = Out + Dropped + DeadLettered.
type CopyCounts struct {
	In           int64 `json:"in"`
	Out          int64 `json:"out"`
	Dropped      int64 `json:"dropped"`
	DeadLettered int64 `json:"dead_lettered"`
}

// CopyReport is what a copy did, or in a plan what it would do.
type CopyReport struct {
	CopyCounts
	From, To, Group string
	// Resumed tells that the copy was begun before; Ended, that it has reached its
	// end.
	Resumed, Ended bool
	// Partitions are the input's, Outputs the partitions that records may have
	// gone to.
	Partitions []CopyPartition
	Outputs    []CopyOutput
}

// CopyPartition is one input partition. The copy has the records from Start to
// before End and is at Position.
type CopyPartition struct {
	Partition            int32
	Start, Position, End int64
	CopyCounts
}

// CopyOutput is one output partition, or all of a topic's where Partition is -1
// (klamm.NoPartition). Start is where it ended when the copy began, and Records
// what the copy has written since, dead letters included. Of a whole topic Start
// means nothing.
type CopyOutput struct {
	Topic     string
	Partition int32
	Start     int64
	Records   int64
}

// Copy copies a topic as [pipeline.NAME] says, exactly once, from where the
// options say to the ends as they are when it begins, so that an input that never
// ends does. The pipeline has one input and guarantee = "exactly_once"; Run does
// not run it beside.
//
// What was done is committed with the offsets, so a copy that was killed goes on
// with Resume as if nothing had been, and the report is of all of it. It returns
// the report with an error too, as far as it is known. When ctx ends it stops at a
// commit and returns no error; the report's Ended tells.
func (h *Host) Copy(ctx context.Context, name string, o CopyOptions) (*CopyReport, error) {
	c, err := h.newCopy(name, o)
	if err != nil {
		return nil, err
	}
	if err := c.plan(ctx); err != nil {
		return nil, fmt.Errorf("copy %q to %q: %w", c.from, c.cfg.To, err)
	}
	if err := c.begin(ctx); err != nil {
		return c.report(), fmt.Errorf("copy %q to %q: %w", c.from, c.cfg.To, err)
	}
	err = c.run(ctx)
	if again := c.committed(context.WithoutCancel(ctx)); again != nil {
		err = errors.Join(err, again)
	}
	return c.report(), err
}

// PlanCopy returns what Copy would do, and does nothing.
func (h *Host) PlanCopy(ctx context.Context, name string, o CopyOptions) (*CopyReport, error) {
	c, err := h.newCopy(name, o)
	if err != nil {
		return nil, err
	}
	if err := c.plan(ctx); err != nil {
		return nil, fmt.Errorf("copy %q to %q: %w", c.from, c.cfg.To, err)
	}
	return c.report(), nil
}

// copyJob is one Copy.
type copyJob struct {
	h           *Host
	o           CopyOptions
	name        string
	cfg         PipelineConfig
	from, group string

	sheets  map[klamm.TopicPartition]*sheet // as they are committed, or about to be
	fresh   map[klamm.TopicPartition]bool   // those that are not committed yet
	resumed bool
}

func (h *Host) newCopy(name string, o CopyOptions) (*copyJob, error) {
	cfg, ok := h.cfg.Pipeline[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("copy: there is no [pipeline.%s]", name)
	case cfg.Guarantee != config.ExactlyOnce || len(cfg.From) != 1:
		return nil, fmt.Errorf("copy: pipeline %q has guarantee %q and %d inputs: a copy is exactly_once, of one topic", name, cfg.Guarantee, len(cfg.From))
	case cfg.Rekey:
		return nil, fmt.Errorf("copy: pipeline %q has rekey: its input goes through a topic first, and what comes out has no count for each partition; run it with stop_at_end", name)
	}
	cfg.StopAtEnd = false // its ends are the copy's own
	return &copyJob{h: h, o: o, name: name, cfg: cfg, from: cfg.From[0], group: cmp.Or(cfg.GroupID, name), fresh: map[klamm.TopicPartition]bool{}}, nil
}

// plan finds out what is to be done.
func (c *copyJob) plan(ctx context.Context) error {
	tps, err := c.h.partitionsOf(ctx, c.from)
	if err != nil {
		return err
	}
	if err := c.checkOutput(ctx, len(tps)); err != nil {
		return err
	}
	if c.sheets, err = c.h.copySheets(ctx, c.group, tps); err != nil {
		return err
	}
	switch {
	case len(c.sheets) == 0:
	case c.o.Restart:
		clear(c.sheets)
	case !c.o.Resume:
		return fmt.Errorf("group %q: %w", c.group, ErrCopyBegun)
	default:
		c.resumed = true
	}
	return c.addFresh(ctx, tps)
}

func (h *Host) partitionsOf(ctx context.Context, topics ...string) ([]klamm.TopicPartition, error) {
	infos, err := h.cluster.DescribeTopics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	var tps []klamm.TopicPartition
	for _, t := range infos {
		for p := range t.Partitions {
			tps = append(tps, klamm.TopicPartition{Topic: t.Name, Partition: int32(p)})
		}
	}
	return tps, nil
}

func (c *copyJob) checkOutput(ctx context.Context, inputs int) error {
	tps, err := c.h.partitionsOf(ctx, c.cfg.To)
	if err != nil {
		return err
	}
	if c.o.KeepPartitions && len(tps) < inputs {
		return fmt.Errorf("%q has %d partitions and %q has %d: partitions cannot be kept; add some, or let keys decide", c.cfg.To, len(tps), c.from, inputs)
	}
	return nil
}

// copySheets returns what a copy has committed.
func (h *Host) copySheets(ctx context.Context, group string, tps []klamm.TopicPartition) (map[klamm.TopicPartition]*sheet, error) {
	noted, err := consume.CommittedNoted(ctx, h.cluster, group, tps)
	if err != nil {
		return nil, err
	}
	all := map[klamm.TopicPartition]*sheet{}
	for tp, at := range noted {
		s, err := decodeSheet(at.Note)
		if err != nil {
			return nil, fmt.Errorf("group %q has an offset of %s/%d that is not of a copy: %w; give the copy another group", group, tp.Topic, tp.Partition, err)
		}
		s.position = at.Offset
		all[tp] = s
	}
	return all, nil
}

// addFresh makes sheets for the partitions that have none, and notes on them where
// the outputs end now.
func (c *copyJob) addFresh(ctx context.Context, tps []klamm.TopicPartition) error {
	var without []klamm.TopicPartition
	for _, tp := range tps {
		if c.sheets[tp] == nil {
			without = append(without, tp)
		}
	}
	if len(without) == 0 {
		return nil
	}
	starts, err := consume.StartOffsets(ctx, c.h.cluster, without, c.o.Start, true)
	if err != nil {
		return err
	}
	ends, err := consume.StartOffsets(ctx, c.h.cluster, without, ReadStart{At: ReadLatest}, true)
	if err != nil {
		return err
	}
	for _, tp := range without {
		start := min(starts[tp], ends[tp])
		c.sheets[tp] = &sheet{
			start: start, position: start, end: ends[tp],
			out: map[klamm.TopicPartition]int64{}, dead: map[klamm.TopicPartition]int64{}, base: map[klamm.TopicPartition]int64{},
		}
		c.fresh[tp] = true
	}
	if len(without) < len(tps) {
		return nil // the input has got partitions since; the outputs' bases are on the others
	}
	return c.addBases(ctx, without)
}

func (c *copyJob) addBases(ctx context.Context, tps []klamm.TopicPartition) error {
	outputs, err := c.outputs(ctx)
	if err != nil {
		return err
	}
	bases, err := consume.StartOffsets(ctx, c.h.cluster, outputs, ReadStart{At: ReadLatest}, true)
	if err != nil {
		return err
	}
	for i, tp := range sortedPartitions(outputs) {
		c.sheets[tps[i%len(tps)]].base[tp] = bases[tp]
	}
	return nil
}

// outputs are the partitions that there are now of all topics that records may go
// to.
func (c *copyJob) outputs(ctx context.Context) ([]klamm.TopicPartition, error) {
	cfg := &c.h.cfg
	patterns := []string{c.cfg.To, c.cfg.DeadLetterTopic}
	if name, ok := cfg.PipelineChain(c.name); ok {
		chain := cfg.Chain[name]
		patterns = append(patterns, chain.DeadLetterTopic)
		for _, plugin := range slices.Concat(chain.OnSend, chain.OnConsume) {
			patterns = append(append(patterns, cfg.Plugin[plugin].DeadLetterTopic), cfg.Plugin[plugin].Topics...)
		}
	}
	there, err := c.h.Topics(ctx)
	if err != nil {
		return nil, err
	}
	there = slices.DeleteFunc(there, func(topic string) bool {
		return !slices.ContainsFunc(patterns, func(p string) bool { return p != "" && config.MatchTopic(p, topic) })
	})
	return c.h.partitionsOf(ctx, there...)
}

// begin commits the sheets of a copy that begins.
func (c *copyJob) begin(ctx context.Context) error {
	if len(c.fresh) == 0 {
		return nil
	}
	offsets := map[klamm.TopicPartition]consume.Noted{}
	for tp := range c.fresh {
		note, err := c.sheets[tp].encode()
		if err != nil {
			return err
		}
		offsets[tp] = consume.Noted{Offset: c.sheets[tp].start, Note: note}
	}
	// The member of a copy that has ended, or was killed, keeps its place for the
	// next one; nobody else may commit until it is out.
	if err := consume.PutOut(ctx, c.h.cluster, c.group, c.h.instanceID(c.name)); err != nil {
		return err
	}
	return consume.CommitNoted(ctx, c.h.cluster, c.group, offsets)
}

func (c *copyJob) run(ctx context.Context) error {
	ended := make(chan struct{})
	told := make(chan struct{})
	go func() { defer close(told); c.tell(ended) }()
	err := c.h.run(ctx, map[string]PipelineConfig{c.name: c.cfg}, func(_ context.Context, p *pipeline) error {
		c.h.mu.Lock() // progress may look already
		p.sheets = newSheets()
		c.h.mu.Unlock()
		p.keepPartitions, p.ends = c.o.KeepPartitions, map[klamm.TopicPartition]int64{}
		for tp, s := range c.sheets {
			if s.position < s.end {
				p.ends[tp] = s.end
			}
		}
		p.atEnd = len(p.ends) == 0
		return nil
	})
	close(ended)
	<-told
	return err
}

// committed reads what was committed in the end.
func (c *copyJob) committed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cutLimit)
	defer cancel()
	now, err := c.h.copySheets(ctx, c.group, slices.Collect(maps.Keys(c.sheets)))
	if err != nil {
		return fmt.Errorf("copy: its figures: %w", err)
	}
	maps.Copy(c.sheets, now)
	return nil
}

// openSheets begins with what was committed of new partitions.
func (c *consumption) openSheets(ctx context.Context, tps []klamm.TopicPartition) error {
	committed, err := c.h.copySheets(ctx, c.groupID, tps)
	if err != nil {
		return err
	}
	for _, tp := range tps {
		if committed[tp] == nil {
			return fmt.Errorf("%s/%d is new since the copy began: go on with the copy to take it in", tp.Topic, tp.Partition)
		}
		c.sheets.put(tp, committed[tp])
	}
	return nil
}

// tell reports progress until ended is closed.
func (c *copyJob) tell(ended <-chan struct{}) {
	if c.o.Progress == nil {
		return
	}
	tick := time.NewTicker(cmp.Or(c.o.ProgressEvery, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			c.o.Progress(c.progress())
		}
	}
}

// progress is of the sheets that are under way here, and of the others as they
// were at the start.
func (c *copyJob) progress() CopyProgress {
	c.h.mu.Lock()
	var live *sheets
	if p := c.h.pipelines[c.name]; p != nil {
		live = p.sheets
	}
	c.h.mu.Unlock()
	var now CopyProgress
	add := func(s *sheet) {
		now.add(s.counts())
		now.Done += min(s.position, s.end) - s.start
		now.Total += s.end - s.start
	}
	var here map[klamm.TopicPartition]*sheet
	if live != nil {
		live.mu.Lock()
		defer live.mu.Unlock()
		here = live.of
	}
	for tp, s := range c.sheets {
		if live := here[tp]; live != nil {
			s = live
		}
		add(s)
	}
	return now
}

func (n *CopyCounts) add(o CopyCounts) {
	n.In += o.In
	n.Out += o.Out
	n.Dropped += o.Dropped
	n.DeadLettered += o.DeadLettered
}

func (s *sheet) counts() CopyCounts {
	n := CopyCounts{In: s.in, Dropped: s.dropped}
	for _, records := range s.out {
		n.Out += records
	}
	for _, records := range s.dead {
		n.DeadLettered += records
	}
	return n
}

func (c *copyJob) report() *CopyReport {
	r := &CopyReport{From: c.from, To: c.cfg.To, Group: c.group, Resumed: c.resumed, Ended: true}
	records, bases := map[klamm.TopicPartition]int64{}, map[klamm.TopicPartition]int64{}
	for _, tp := range sortedPartitions(slices.Collect(maps.Keys(c.sheets))) {
		s := c.sheets[tp]
		r.add(s.counts())
		r.Ended = r.Ended && s.position >= s.end
		r.Partitions = append(r.Partitions, CopyPartition{Partition: tp.Partition, Start: s.start, Position: s.position, End: s.end, CopyCounts: s.counts()})
		for _, m := range []map[klamm.TopicPartition]int64{s.out, s.dead} {
			for to, n := range m {
				records[to] += n
			}
		}
		for to := range s.base {
			records[to] += 0
		}
		maps.Copy(bases, s.base)
	}
	for _, to := range sortedPartitions(slices.Collect(maps.Keys(records))) {
		r.Outputs = append(r.Outputs, CopyOutput{Topic: to.Topic, Partition: to.Partition, Start: bases[to], Records: records[to]})
	}
	return r
}
