package host

import (
	"context"
	"fmt"
	"slices"
	"time"

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
	accounts partitioner.Accounter   // the same where it wants to know what was appended
	fallback *partitioner.DefaultPartitioner
	topics   map[string]*placeTopic
	last     *placeTopic // found last
	todo     []placement
	asked    []*klamm.Record
	refs     []uint64
	indexes  []int
	out      []int32
	group    grouping
}

// placeTopic is one topic's facts as partitioners see them.
type placeTopic struct {
	name  string
	parts []*produce.Partition // found when they are first appended to
	meta  *cluster.Topic
	seen  time.Duration // when direct looked at the facts
	view  partitioner.Topic
	load  []uint32
}

func newPlacer(chosen partitioner.Partitioner, fallback *partitioner.DefaultPartitioner) *placer {
	pl := &placer{chosen: chosen, fallback: fallback, topics: map[string]*placeTopic{}}
	pl.batched, _ = chosen.(partitioner.Batched)
	pl.accounts, _ = chosen.(partitioner.Accounter)
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
	body   []byte // of the record, nil where it has to be encoded
	grown  bool   // it may be larger than what was reserved
	dead   bool   // a dead letter: the default partitioner, whatever the chain says
	to     int32  // from the batched partitioner; -1 leaves it to the default one
	err    error
}

// fail completes a record that does not get there. Its result names the topic as
// plugins left it, and the partition that was demanded, or else chosen.
func (t *placement) fail(p *Producer, chosen int32, err error) {
	if to, explicit := t.record.Target.Partition(); explicit {
		chosen = to
	}
	p.failLocal(t.slot, t.record.Topic, chosen, err)
}

// place appends what of a judged block goes to a topic.
func (pl *placer) place(l *lane, b *block) {
	todo := slices.Grow(pl.todo[:0], len(b.batch.Items))
	for i := range b.batch.Items {
		it := &b.batch.Items[i]
		switch it.Outcome {
		case klamm.InFlight:
			todo = todo[:len(todo)+1]
			// In place: a literal would be built elsewhere and copied.
			t := &todo[len(todo)-1]
			t.slot, t.record, t.body, t.grown, t.dead, t.to, t.err = b.slots[i], &it.Record, b.bodies[i], false, false, -1, nil
			if it.Edited() {
				t.body, t.grown = nil, true
			}
		case klamm.DeadLettered:
			dead := interceptor.DeadLetterRecord(it, interceptor.Sent)
			todo = append(todo, placement{slot: b.slots[i], record: &dead, grown: true, dead: true, to: -1})
		}
	}
	pl.todo = todo
	pl.look(l.p)
	pl.appendAll(l, todo)
}

// direct places a record that no plugin judges, without staging it. It reports
// false, and has done nothing, while the topic is not known: then the record goes
// the long way, where it can wait. The topic's facts are as of the last tick of
// the producer's clock.
func (pl *placer) direct(l *lane, sl *slot, rec *klamm.Record) bool {
	t := pl.find(rec.Topic)
	if t.meta == nil || t.seen != sl.accepted {
		t.seen = sl.accepted
		t.look(l.p)
		if t.meta == nil {
			return false
		}
		t.readLoad(l.p)
	}
	sl.keep(l.wants, rec)
	p := placement{slot: sl, record: rec, to: partitioner.UseDefault}
	to, err := pl.choose(&p, t)
	if err == nil {
		err = pl.handOver(l, &p, to, t)
	}
	if err != nil {
		p.fail(l.p, to, err)
	}
	return true
}

// appendAll places records whose topics are known and parks the others.
func (pl *placer) appendAll(l *lane, todo []placement) {
	pl.appendKnown(l, l.p.park.keep(l, todo))
}

// appendKnown places records whose topics are known.
func (pl *placer) appendKnown(l *lane, todo []placement) {
	if pl.batched != nil {
		if pl.askBatched(l, todo) {
			pl.appendGrouped(l, todo)
			return
		}
	}
	for i := range todo {
		if to, err := pl.append(l, &todo[i]); err != nil {
			todo[i].fail(l.p, to, err)
		}
	}
}

// askBatched asks the chain's partitioner about all records of one topic in one
// call, topic after topic. It reports whether there is one topic only and a
// partition of it chosen for every record, so that where one goes does not depend
// on what was appended before it.
func (pl *placer) askBatched(l *lane, todo []placement) bool {
	placed := false
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
			placed = pl.askTopic(l, topic, todo) && len(pl.asked) == len(todo)
		}
	}
	return placed
}

// askTopic asks about records of one topic. It reports whether a partition of it
// was chosen for each.
func (pl *placer) askTopic(l *lane, topic string, todo []placement) (placed bool) {
	view := &pl.topic(l, topic).view
	if n := len(pl.asked); n <= cap(pl.out) {
		pl.out = pl.out[:n]
	} else {
		pl.out = make([]int32, n, max(n, blockRecords))
	}
	err := pl.batched.PartitionBatch(pl.asked, pl.refs, view, pl.out)
	placed = true
	for i, at := range pl.indexes {
		to := pl.out[i]
		todo[at].to = to
		placed = placed && uint32(to) < uint32(len(view.Partitions))
		if to == partitioner.NotPartitioned {
			todo[at].err = partitioner.RecordError(err, i)
		}
	}
	return placed
}

// append hands a record to the accumulator. The partition is the one that was
// chosen, also with an error.
func (pl *placer) append(l *lane, t *placement) (int32, error) {
	if t.err != nil {
		return klamm.NoPartition, t.err
	}
	topic := pl.topic(l, t.record.Topic)
	to, err := pl.choose(t, topic)
	if err != nil {
		return klamm.NoPartition, err
	}
	if err := pl.claimMemory(l, t); err != nil {
		return to, err
	}
	return to, pl.handOver(l, t, to, topic)
}

// claimMemory takes the buffer memory by which plugins have made a record larger.
func (pl *placer) claimMemory(l *lane, t *placement) error {
	if !t.grown {
		return nil
	}
	size := produce.UpperBound(len(t.record.Key), len(t.record.Value), t.record.Headers)
	if err := l.p.fits(size, t.record); err != nil {
		return err
	}
	if more := size - int(t.slot.reserved); more > 0 {
		l.p.pipeline.Overdraw(more)
		t.slot.reserved += int32(more)
	}
	return nil
}

// produce fills in the record for the accumulator, which owns the reservation
// from here on: it may complete the record before Append returns. It is filled in
// place, as a literal would be built elsewhere and copied.
func (t *placement) produce(rec *produce.Record) {
	sl := t.slot
	rec.TimestampMS, rec.Key, rec.Value, rec.Headers = sl.timestamp, t.record.Key, t.record.Value, t.record.Headers
	rec.Ref, rec.Reserved, rec.Txn = uint64(sl.ref), int(sl.reserved), uint32(sl.txn)
	sl.reserved = 0
}

// choose goes by an explicit partition, then the partitioner, then the default.
func (pl *placer) choose(t *placement, topic *placeTopic) (int32, error) {
	count := int32(len(topic.view.Partitions))
	if to, explicit := t.record.Target.Partition(); explicit {
		if to < 0 || to >= count {
			return klamm.NoPartition, fmt.Errorf("%w: %d demanded by the record or a plugin, topic %q has partitions 0 to %d", klamm.ErrInvalidPartition, to, topic.view.Name, count-1)
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
	part, err := topic.partition(l.p, to)
	if err != nil {
		return err
	}
	var rec produce.Record
	t.produce(&rec)
	if err := part.Append(&rec); err != nil {
		t.slot.reserved = int32(rec.Reserved)
		return err
	}
	pl.account(&topic.view, to, rec.NewBatch, rec.Reserved)
	return nil
}

// partition finds the accumulator's partition.
func (t *placeTopic) partition(p *Producer, id int32) (*produce.Partition, error) {
	if int(id) < len(t.parts) && t.parts[id] != nil {
		return t.parts[id], nil
	}
	part, err := p.pipeline.Partition(t.name, id)
	if err != nil {
		return nil, err
	}
	for int(id) >= len(t.parts) {
		t.parts = append(t.parts, nil)
	}
	t.parts[id] = part
	return part, nil
}

// account tells the sticky partitioners what was appended, and adds it to the
// load that the next record of this block sees.
func (pl *placer) account(topic *partitioner.Topic, to int32, newBatch bool, size int) {
	if int(to) < len(topic.Load) {
		topic.Load[to] += uint32(size)
	}
	pl.fallback.Appended(topic.Name, to, size, newBatch)
	if pl.accounts != nil {
		pl.accounts.Appended(topic.Name, to, size, newBatch)
	}
}

// topic returns the facts of a topic that is known, as of the last look.
func (pl *placer) topic(l *lane, name string) *placeTopic {
	t := pl.find(name)
	if t.meta == nil {
		t.look(l.p)
	}
	return t
}

// find returns what the placer has of a topic, whose facts may be old.
func (pl *placer) find(name string) *placeTopic {
	if pl.last != nil && pl.last.name == name {
		return pl.last
	}
	t := pl.topics[name]
	if t == nil {
		t = &placeTopic{name: name}
		pl.topics[name] = t
	}
	pl.last = t
	return t
}

// look reads the facts of the topics that this placer has seen, once for all
// records of a block.
func (pl *placer) look(p *Producer) {
	for _, t := range pl.topics {
		t.look(p)
		t.readLoad(p)
	}
}

func (t *placeTopic) readLoad(p *Producer) {
	t.avoid(p)
	t.load = p.pipeline.Load(t.name, t.load[:0])
	if t.view.Load = t.load; len(t.load) != len(t.view.Partitions) {
		t.view.Load = nil // nothing was ever queued there
	}
}

// look follows the topic's metadata.
func (t *placeTopic) look(p *Producer) {
	if meta := p.cluster.Topic(t.name); meta != nil && meta != t.meta {
		t.refresh(meta)
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
