package host

import (
	"context"
	"fmt"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/cluster"
	"github.com/klamm-io/klamm/host/internal/produce"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/partitioner"
)

// placer chooses the partitions of one lane's records and appends them to the
// accumulator, in the order of the block. It is used between judgements of its
// lane only.
type placer struct {
	chosen   partitioner.Partitioner // of the chain; native
	batched  partitioner.Batched     // the same where it can judge many records in one call
	fallback *partitioner.DefaultPartitioner
	topics   map[string]*placeTopic
	todo     []placement
	asked    []*klamm.Record
	refs     []uint64
	indexes  []int
	out      []int32
}

// placeTopic is one topic's facts as partitioners see them.
type placeTopic struct {
	meta *cluster.Topic
	view partitioner.Topic
	load []uint32
}

func newPlacer(chosen partitioner.Partitioner, fallback *partitioner.DefaultPartitioner) *placer {
	pl := &placer{chosen: chosen, fallback: fallback, topics: map[string]*placeTopic{}}
	pl.batched, _ = chosen.(partitioner.Batched)
	return pl
}

// close closes a partitioner that is a plugin: its seat.
func (pl *placer) close(ctx context.Context) error {
	if w, ok := pl.chosen.(*partitioner.WASM); ok {
		return w.Close(ctx)
	}
	return nil
}

// placement is one record of a block on its way to a partition.
type placement struct {
	slot   *slot
	record *klamm.Record
	dead   bool  // a dead letter: the default partitioner, whatever the chain says
	to     int32 // from the batched partitioner; -1 leaves it to the default one
	err    error
}

// name has the slot know where the record was to go, for one that never gets
// there: its topic as plugins left it, and the partition that was demanded.
func (t *placement) name() {
	t.slot.topic = t.record.Topic
	if to, explicit := t.record.Target.Partition(); explicit {
		t.slot.partition = to
	}
}

// place appends what of a judged block goes to a topic.
func (pl *placer) place(l *lane, b *block) {
	todo := pl.todo[:0]
	for i := range b.batch.Items {
		it := &b.batch.Items[i]
		switch it.Outcome {
		case klamm.InFlight:
			todo = append(todo, placement{slot: b.slots[i], record: &it.Record, to: -1})
		case klamm.DeadLettered:
			dead := interceptor.DeadLetterRecord(it, interceptor.Sent)
			todo = append(todo, placement{slot: b.slots[i], record: &dead, dead: true, to: -1})
		}
	}
	for i := range todo {
		todo[i].name()
	}
	pl.loads(l.p)
	pl.appendAll(l, todo)
	clear(todo)
	pl.todo = todo[:0]
}

// appendAll places records whose topics are known and parks the others.
func (pl *placer) appendAll(l *lane, todo []placement) {
	pl.appendKnown(l, l.p.park.keep(l, todo))
}

// appendKnown places records whose topics are known.
func (pl *placer) appendKnown(l *lane, todo []placement) {
	if pl.batched != nil {
		pl.askBatched(l, todo)
	}
	for i := range todo {
		if err := pl.append(l, &todo[i]); err != nil {
			l.p.failLocal(todo[i].slot, err)
		}
	}
}

// askBatched asks the chain's partitioner about all records of one topic in one
// call, topic after topic.
func (pl *placer) askBatched(l *lane, todo []placement) {
	for start := 0; start < len(todo); {
		topic := todo[start].record.Topic
		pl.asked, pl.refs, pl.indexes = pl.asked[:0], pl.refs[:0], pl.indexes[:0]
		end := start
		for ; end < len(todo) && todo[end].record.Topic == topic; end++ {
			t := &todo[end]
			if _, explicit := t.record.Target.Partition(); explicit || t.dead {
				continue
			}
			pl.asked = append(pl.asked, t.record)
			pl.refs = append(pl.refs, uint64(t.slot.ref))
			pl.indexes = append(pl.indexes, end)
		}
		start = end
		if len(pl.asked) > 0 {
			pl.askTopic(l, topic, todo)
		}
	}
}

func (pl *placer) askTopic(l *lane, topic string, todo []placement) {
	pl.out = append(pl.out[:0], make([]int32, len(pl.asked))...)
	err := pl.batched.PartitionBatch(pl.asked, pl.refs, &pl.topic(l, topic).view, pl.out)
	for i, at := range pl.indexes {
		todo[at].to = pl.out[i]
		if pl.out[i] == partitioner.NotPartitioned {
			todo[at].err = partitioner.RecordError(err, i)
		}
	}
}

func (pl *placer) append(l *lane, t *placement) error {
	if t.err != nil {
		return t.err
	}
	topic := pl.topic(l, t.record.Topic)
	to, err := pl.choose(t, topic)
	if err != nil {
		return err
	}
	size := produce.UpperBound(len(t.record.Key), len(t.record.Value), t.record.Headers)
	if err := l.p.fits(size, t.record); err != nil {
		return err
	}
	if more := size - t.slot.reserved; more > 0 {
		l.p.pipeline.Overdraw(more)
		t.slot.reserved += more
	}
	return pl.handOver(l, t, to, topic)
}

// choose is the order of DESIGN: explicit partition, partitioner, default.
func (pl *placer) choose(t *placement, topic *placeTopic) (int32, error) {
	count := int32(len(topic.view.Partitions))
	if to, explicit := t.record.Target.Partition(); explicit {
		if to < 0 || to >= count {
			return 0, fmt.Errorf("%w: %d demanded, topic %q has partitions 0 to %d", klamm.ErrInvalidPartition, to, topic.view.Name, count-1)
		}
		return to, nil
	}
	if t.to >= 0 {
		return t.to, nil
	}
	if t.dead || pl.batched != nil || pl.chosen == nil {
		return pl.fallback.Partition(t.record, &topic.view)
	}
	to, err := pl.chosen.Partition(t.record, &topic.view)
	if err == nil && (to < 0 || to >= count) {
		err = fmt.Errorf("%w: the partitioner chose %d, topic %q has partitions 0 to %d", klamm.ErrInvalidPartition, to, topic.view.Name, count-1)
	}
	return to, err
}

func (pl *placer) handOver(l *lane, t *placement, to int32, topic *placeTopic) error {
	sl := t.slot
	sl.topic, sl.partition = t.record.Topic, to
	rec := produce.Record{
		Topic: t.record.Topic, Partition: to, TimestampMS: t.record.Timestamp.UnixMilli(),
		Key: t.record.Key, Value: t.record.Value, Headers: t.record.Headers,
		Ref: uint64(sl.ref), Reserved: sl.reserved,
	}
	// From here on the accumulator owns the reservation; it may complete the
	// record before Append returns.
	reserved := sl.reserved
	sl.reserved = 0
	if err := l.p.pipeline.Append(&rec); err != nil {
		sl.reserved = reserved
		return err
	}
	pl.account(t, to, &topic.view, rec.NewBatch, reserved)
	return nil
}

// account tells the sticky partitioners what was appended, and adds it to the
// load that the next record of this block sees.
func (pl *placer) account(t *placement, to int32, topic *partitioner.Topic, newBatch bool, size int) {
	if int(to) < len(topic.Load) {
		topic.Load[to] += uint32(size)
	}
	pl.fallback.Appended(topic.Name, to, size, newBatch)
	if a, ok := pl.chosen.(partitioner.Accounter); ok {
		a.Appended(topic.Name, to, size, newBatch)
	}
}

// topic returns the facts of a topic that is known. Its load is read anew for
// each block.
func (pl *placer) topic(l *lane, name string) *placeTopic {
	t := pl.topics[name]
	if t == nil {
		t = &placeTopic{}
		pl.topics[name] = t
	}
	if meta := l.p.cluster.Topic(name); meta != nil && meta != t.meta {
		t.refresh(meta)
	}
	return t
}

// loads reads the queued bytes of the topics that this placer has seen.
func (pl *placer) loads(p *Producer) {
	for name, t := range pl.topics {
		t.avoid(p)
		t.load = p.pipeline.Load(name, t.load[:0])
		if t.view.Load = t.load; len(t.load) != len(t.view.Partitions) {
			t.view.Load = nil // nothing was ever queued there
		}
	}
}

// avoid takes partitions for unavailable whose broker is stalled, where
// partitioner_availability_timeout_ms is set.
func (t *placeTopic) avoid(p *Producer) {
	adaptive := p.cfg.PartitionerAdaptive
	if p.cfg.PartitionerAvailability == 0 || adaptive != nil && !*adaptive || t.meta == nil {
		return
	}
	for i, part := range t.meta.Partitions {
		t.view.Available[i] = part.Leader >= 0 && !p.pipeline.Stalled(part.Leader)
	}
}

func (t *placeTopic) refresh(meta *cluster.Topic) {
	t.meta = meta
	n := len(meta.Partitions)
	t.view = partitioner.Topic{
		Name: meta.Name, Epoch: meta.Epoch,
		Partitions: make([]int32, n), Available: make([]bool, n),
	}
	for i, part := range meta.Partitions {
		t.view.Partitions[i] = int32(i)
		t.view.Available[i] = part.Leader >= 0
	}
}
