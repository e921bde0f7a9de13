package checker

import (
	"context"
	"fmt"
	"slices"
)

// PassageSchema names the JSON form of a PassageReport.
const PassageSchema = "klamm.passage/1"

// Passage is what an exactly-once pipeline made of its input. It is judged by what
// the brokers have, and by nothing that a process says of itself: processes may
// have been killed.
type Passage struct {
	// In was read, Out was written. Dead has the dead letters; nil: there are none.
	In, Out, Dead Log
	// Offsets are those that the group has committed of In, by partition.
	Offsets map[int32]int64
	// EpochPerTxn: each transaction had an epoch of its own (KIP-890), by which its
	// records are known, so that torn transactions are found as such.
	EpochPerTxn bool
	// Forgets: the dedup state did not survive all that was done to it, so that
	// duplicates may get through. They are counted and are no violation.
	Forgets bool
	Seed    uint64
}

// PassageReport is the verdict.
type PassageReport struct {
	Schema string `json:"schema"`
	// In = Out + Dropped + DeadLettered + Behind, where nothing is wrong.
	In           int64 `json:"in"`
	Out          int64 `json:"out"`
	Dropped      int64 `json:"dropped"`
	DeadLettered int64 `json:"dead_lettered"`
	// Behind are those that are not read yet.
	Behind int64 `json:"behind"`

	// Lost were read, by the group's offsets, and are nowhere: an offset without
	// output.
	Lost int64 `json:"lost"`
	// Doubled are in the output more than once.
	Doubled int64 `json:"doubled"`
	// Early are in the output though the group has not committed their offsets:
	// output without offset. They will be doubled.
	Early int64 `json:"early"`
	// Torn are transactions of which a part is committed.
	Torn int64 `json:"torn"`
	// Missed are duplicates that got through.
	Missed int64 `json:"missed"`
	// Fenced stand behind a record of a later epoch of their producer id.
	Fenced int64 `json:"fenced"`
	// Reordered stand behind a later record of their key.
	Reordered int64 `json:"reordered"`
	// Foreign are in the output and not in the input, Corrupt not as they were
	// written.
	Foreign int64 `json:"foreign"`
	Corrupt int64 `json:"corrupt"`

	// Aborted are records of the output that no reader of committed ones sees, of
	// transactions that were aborted: not a fault.
	Aborted int64  `json:"aborted"`
	Seed    uint64 `json:"seed"`
	findings
	OK bool `json:"ok"`

	forgets bool
}

// passed is what is known of a record of the input.
type passed struct {
	dedup    uint64
	place    place
	out      uint8 // committed, in output or dead letters
	inOutput bool
	dead     bool
}

// txn is a transaction that is known by its epoch.
type txn struct{ all, committed int64 }

type passage struct {
	Passage
	r      *PassageReport
	facts  map[ID]*passed
	txns   map[epochOf]*txn
	epochs map[epochIn]int16
	last   map[keyIn]int
}

type epochOf struct {
	id    int64
	epoch int16
}

// JudgePassage reads the topics and judges. The error tells that one could not be
// read.
func JudgePassage(ctx context.Context, p Passage) (*PassageReport, error) {
	j := &passage{
		Passage: p, r: &PassageReport{Schema: PassageSchema, Seed: p.Seed, forgets: p.Forgets}, facts: map[ID]*passed{},
		txns: map[epochOf]*txn{}, epochs: map[epochIn]int16{}, last: map[keyIn]int{},
	}
	steps := []struct {
		name string
		log  Log
		how  Isolation
		each func(*Seen)
	}{
		{"input", p.In, Committed, j.input},
		{"output", p.Out, Uncommitted, j.written},
		{"output", p.Out, Committed, j.output},
		{"dead letters", p.Dead, Committed, j.deadLetter},
	}
	for _, s := range steps {
		if s.log == nil {
			continue
		}
		if _, err := s.log.Read(ctx, s.how, func(r *Seen) error { s.each(r); return nil }); err != nil {
			return nil, fmt.Errorf("read the %s: %w", s.name, err)
		}
	}
	j.end()
	j.twins()
	j.torn()
	j.r.OK = len(j.r.Violations()) == 0
	return j.r, nil
}

func (j *passage) input(s *Seen) {
	if s.Problem != nil {
		j.r.finding(&j.r.Corrupt, "input: partition %d offset %d: %v", s.Partition, s.Offset, s.Problem)
		return
	}
	j.r.In++
	j.facts[s.ID] = &passed{dedup: s.Dedup, place: place{s.Partition, s.Offset}}
}

// written takes in all that is in the output's log.
func (j *passage) written(s *Seen) {
	if s.ProducerID < 0 {
		return
	}
	e := epochIn{s.ProducerID, s.Partition}
	if last, ok := j.epochs[e]; ok && last > s.Epoch {
		j.r.finding(&j.r.Fenced, "output: record %v, partition %d offset %d, has epoch %d after epoch %d of producer id %d", s.ID, s.Partition, s.Offset, s.Epoch, last, s.ProducerID)
	}
	j.epochs[e] = max(j.epochs[e], s.Epoch)
	j.txn(s).all++
	j.r.Aborted++ // until it is seen committed
}

func (j *passage) txn(s *Seen) *txn {
	e := epochOf{s.ProducerID, s.Epoch}
	t := j.txns[e]
	if t == nil {
		t = &txn{}
		j.txns[e] = t
	}
	return t
}

func (j *passage) output(s *Seen) {
	if s.ProducerID >= 0 {
		j.txn(s).committed++
		j.r.Aborted--
	}
	f := j.found(s, "output")
	if f == nil {
		return
	}
	f.inOutput = true
	key := keyIn{s.ID.series(), s.Partition}
	if last, ok := j.last[key]; ok && last > s.ID.N() && f.out == 1 {
		j.r.finding(&j.r.Reordered, "output: record %v, partition %d offset %d, stands behind number %d of its key", s.ID, s.Partition, s.Offset, last)
	}
	j.last[key] = max(j.last[key], s.ID.N())
}

func (j *passage) deadLetter(s *Seen) {
	if f := j.found(s, "dead letters"); f != nil {
		f.dead = true
	}
}

// found notes that a record of the input is in another topic.
func (j *passage) found(s *Seen, where string) *passed {
	if s.Problem != nil {
		j.r.finding(&j.r.Corrupt, "%s: partition %d offset %d: %v", where, s.Partition, s.Offset, s.Problem)
	}
	f := j.facts[s.ID]
	if f == nil || s.Problem == errForeign {
		j.r.finding(&j.r.Foreign, "%s: partition %d offset %d has record %v, which is not in the input", where, s.Partition, s.Offset, s.ID)
		return nil
	}
	increment(&f.out)
	if f.out > 1 {
		j.r.finding(&j.r.Doubled, "record %v is once more at %s, partition %d offset %d", s.ID, where, s.Partition, s.Offset)
	}
	return f
}

// end holds what there is of each record against the group's offsets.
func (j *passage) end() {
	r := j.r
	written := map[uint64]bool{}
	for _, f := range j.facts {
		if f.dedup != 0 && f.out > 0 { // one that waited for a dead letter is dropped with it
			written[f.dedup] = true
		}
	}
	for id, f := range j.facts {
		read := f.place.offset < j.Offsets[f.place.partition]
		switch {
		case f.out > 0 && !read:
			r.finding(&r.Early, "record %v, offset %d of partition %d, is there, and the group has committed offset %d", id, f.place.offset, f.place.partition, j.Offsets[f.place.partition])
		case f.dead:
			r.DeadLettered++
		case f.out > 0:
			r.Out++
		case !read:
			r.Behind++
		case written[f.dedup]:
			r.Dropped++
		default:
			r.finding(&r.Lost, "record %v, offset %d of partition %d, is nowhere, and the group has committed offset %d", id, f.place.offset, f.place.partition, j.Offsets[f.place.partition])
		}
	}
}

// twins counts duplicates that got through.
func (j *passage) twins() {
	twins := map[uint64][]ID{}
	for id, f := range j.facts {
		if f.dedup != 0 && f.inOutput {
			twins[f.dedup] = append(twins[f.dedup], id)
		}
	}
	for dedup, ids := range twins {
		slices.Sort(ids)
		for _, id := range ids[1:] {
			if j.Forgets {
				j.r.Missed++
				continue
			}
			j.r.finding(&j.r.Missed, "record %v has id %x, as record %v, and both got through", id, dedup, ids[0])
		}
	}
}

func (j *passage) torn() {
	if !j.EpochPerTxn {
		return
	}
	for e, t := range j.txns {
		if t.committed > 0 && t.committed < t.all {
			j.r.finding(&j.r.Torn, "producer id %d, epoch %d: %d of %d records of a transaction are committed", e.id, e.epoch, t.committed, t.all)
		}
	}
}

// Violations returns the promises that were not kept, worst first.
func (r *PassageReport) Violations() []Violation {
	all := []Violation{
		{"lost", r.Lost}, {"doubled", r.Doubled}, {"early", r.Early}, {"torn", r.Torn}, {"missed", r.Missed},
		{"fenced", r.Fenced}, {"reordered", r.Reordered}, {"foreign", r.Foreign}, {"corrupt", r.Corrupt},
	}
	if r.forgets {
		all = slices.DeleteFunc(all, func(v Violation) bool { return v.Name == "missed" })
	}
	return counted(all)
}

// Err returns an error that names what is wrong and the seed, nil when all is
// well.
func (r *PassageReport) Err() error { return violationsError(r.Violations(), r.In, r.Seed, r.Examples) }
