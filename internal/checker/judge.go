package checker

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Options of Judge. The zero value has none of the extra evidence.
type Options struct {
	// Before was read while the records were being sent.
	Before Snapshot
	// Repartitioned: the topic got more partitions meanwhile, so a key may be in
	// two of them.
	Repartitioned bool
	// Offsets are those that the group has committed of the input, by partition, at
	// the end. They are held against what transactions were to commit. nil: nobody
	// knows.
	Offsets map[int32]int64
	// Forgot is when the ids of dedup were lost, as those in memory are with their
	// host: a record that was sent before does not make one sent after a duplicate.
	Forgot []time.Time
}

// judge holds one judging. It reads the log twice.
type judge struct {
	h    *History
	o    Options
	r    *Report
	ends map[int32]int64

	// lastOfKey and lastOfProducer are the latest record of each key and
	// producer in a partition; epochs the highest epoch of a producer id.
	lastOfKey      map[keyIn]int
	lastOfProducer map[producerIn]uint32
	epochs         map[epochIn]int16
	homes          map[uint64]int32 // partition of a series
	visible        map[int32][]int64
}

type keyIn struct {
	series    uint64
	partition int32
}

type producerIn struct {
	producer  int
	partition int32
}

type epochIn struct {
	id        int64
	partition int32
}

// Judge reads the log and holds the history against it. A history can be judged
// once. The error tells that the log could not be read; what is wrong with it is
// in the report.
func Judge(ctx context.Context, h *History, log Log, o Options) (*Report, error) {
	j := &judge{
		h: h, o: o, r: &Report{Schema: Schema, Seed: h.Seed, Complete: h.Closed, TornBytes: h.TornBytes},
		lastOfKey: map[keyIn]int{}, lastOfProducer: map[producerIn]uint32{}, epochs: map[epochIn]int16{},
		homes: map[uint64]int32{}, visible: map[int32][]int64{},
	}
	before := j.snapshotCheck()
	var err error
	if j.ends, err = log.Read(ctx, Uncommitted, func(s *Seen) error { before(s); j.uncommitted(s); return nil }); err != nil {
		return nil, fmt.Errorf("read the topic uncommitted: %w", err)
	}
	before(nil)
	if _, err = log.Read(ctx, Committed, func(s *Seen) error { j.committed(s); return nil }); err != nil {
		return nil, fmt.Errorf("read the topic committed: %w", err)
	}
	j.completions()
	j.transactions()
	j.offsets()
	j.dedup()
	j.polls()
	j.r.OK = len(j.r.Violations()) == 0
	return j.r, nil
}

// snapshotCheck returns what compares the log, record by record, with the
// earlier reading. It is called with nil at the end.
func (j *judge) snapshotCheck() func(*Seen) {
	rest := map[int32][]snapshotEntry{}
	for p, entries := range j.o.Before {
		rest[p] = entries
	}
	return func(s *Seen) {
		if s == nil {
			for p, entries := range rest {
				for _, e := range entries {
					j.r.finding(&j.r.Inconsistent, "record %v was read at partition %d offset %d, and is gone", e.id, p, e.offset)
				}
			}
			return
		}
		entries := rest[s.Partition]
		for len(entries) > 0 && entries[0].offset <= s.Offset {
			if e := entries[0]; e.offset != s.Offset || e.id != s.ID {
				j.r.finding(&j.r.Inconsistent, "partition %d offset %d was record %v when it was first read, then offset %d was %v", s.Partition, e.offset, e.id, s.Offset, s.ID)
			}
			entries = entries[1:]
		}
		rest[s.Partition] = entries
	}
}

// uncommitted takes in a record of the first reading.
func (j *judge) uncommitted(s *Seen) {
	r := j.r
	if s.Problem != nil {
		r.finding(&r.Corrupt, "partition %d offset %d, record %v: %v", s.Partition, s.Offset, s.ID, s.Problem)
	}
	f := j.factOf(s)
	if f == nil {
		j.foreign(s)
		return
	}
	increment(&f.seen[Uncommitted])
	if f.seen[Uncommitted] > 1 {
		r.finding(&r.Duplicated, "record %v is at partition %d offset %d and partition %d offset %d", s.ID, f.at.partition, f.at.offset, s.Partition, s.Offset)
		return
	}
	f.at = place{s.Partition, s.Offset}
	j.placed(s, f)
	j.ordered(s, f)
	j.fenced(s)
}

// foreign is for a record that the history does not know. A history that was cut
// short before it was on disk may lack some.
func (j *judge) foreign(s *Seen) {
	if s.Problem == nil && !j.h.Closed && !j.h.Durable {
		return
	}
	j.r.finding(&j.r.Foreign, "partition %d offset %d has record %v, which was never sent", s.Partition, s.Offset, s.ID)
}

// factOf returns the fact of a record of the log, nil for a foreign one.
func (j *judge) factOf(s *Seen) *fact {
	if s.Problem == errForeign {
		return nil
	}
	return j.h.fact(s.ID)
}

// placed checks the partition.
func (j *judge) placed(s *Seen, f *fact) {
	if f.asked >= 0 {
		if f.asked != s.Partition {
			j.r.finding(&j.r.Misplaced, "record %v was sent to partition %d and is in %d", s.ID, f.asked, s.Partition)
		}
		return
	}
	home, ok := j.homes[s.ID.series()]
	if !ok {
		j.homes[s.ID.series()] = s.Partition
	} else if home != s.Partition && !j.o.Repartitioned {
		j.r.finding(&j.r.Misplaced, "record %v is in partition %d, others of its key in %d", s.ID, s.Partition, home)
	}
}

// ordered checks that no later record of the key, or of the producer, stands
// before this one.
func (j *judge) ordered(s *Seen, f *fact) {
	key := keyIn{s.ID.series(), s.Partition}
	if last, ok := j.lastOfKey[key]; ok && last > s.ID.N() {
		j.r.finding(&j.r.Reordered, "record %v, partition %d offset %d, stands behind number %d of its key", s.ID, s.Partition, s.Offset, last)
	} else {
		j.lastOfKey[key] = s.ID.N()
		p := producerIn{s.ID.Producer(), s.Partition}
		if last, ok := j.lastOfProducer[p]; ok && last > f.order && !j.h.Lanes {
			j.r.finding(&j.r.Reordered, "record %v, partition %d offset %d, is its producer's number %d and stands behind number %d", s.ID, s.Partition, s.Offset, f.order, last)
		} else {
			j.lastOfProducer[p] = f.order
		}
	}
}

func (j *judge) fenced(s *Seen) {
	if s.ProducerID < 0 {
		return
	}
	e := epochIn{s.ProducerID, s.Partition}
	last, ok := j.epochs[e]
	if ok && last > s.Epoch {
		j.r.finding(&j.r.Fenced, "record %v, partition %d offset %d, has producer epoch %d after epoch %d of producer id %d", s.ID, s.Partition, s.Offset, s.Epoch, last, s.ProducerID)
	}
	j.epochs[e] = max(last, s.Epoch)
}

// committed takes in a record of the second reading.
func (j *judge) committed(s *Seen) {
	if len(j.h.polls) > 0 {
		j.visible[s.Partition] = append(j.visible[s.Partition], s.Offset)
	}
	f := j.factOf(s)
	if f == nil {
		return
	}
	increment(&f.seen[Committed])
	if f.seen[Committed] == 1 {
		j.r.Visible++
	}
	if f.seen[Committed] == 1 && f.at != (place{s.Partition, s.Offset}) {
		j.r.finding(&j.r.Inconsistent, "record %v is at partition %d offset %d, and read uncommitted at %d offset %d", s.ID, s.Partition, s.Offset, f.at.partition, f.at.offset)
	}
}

// completions goes through all records once both readings are done.
func (j *judge) completions() {
	r := j.r
	if j.h.strange > 0 {
		r.CompletedTwice += j.h.strange
		r.Examples = append(r.Examples, fmt.Sprintf("%d completions or interceptor calls are of records that were never sent", j.h.strange))
	}
	j.h.each(func(id ID, f *fact) {
		r.Sent++
		r.Completions += int64(f.ends)
		if f.ends > 1 {
			r.finding(&r.CompletedTwice, "record %v has %d completions", id, f.ends)
		}
		j.outcome(id, f)
		j.hooks(id, f)
	})
}

func (j *judge) outcome(id ID, f *fact) {
	r := j.r
	switch f.outcome {
	case OK:
		r.Acknowledged++
		j.acknowledged(id, f)
	case FailDefinite, Refused, Dropped, DeadLettered:
		*r.counter(f.outcome)++
		if f.seen[Committed] > 0 {
			r.finding(&r.Ghosts, "record %v ended with %v and is at partition %d offset %d", id, f.outcome, f.at.partition, f.at.offset)
		}
	default:
		if f.outcome == None && j.h.Closed {
			r.finding(&r.Uncompleted, "record %v has no completion", id)
		}
		r.Unknown++
		if f.seen[Committed] > 0 {
			r.UnknownWritten++
		}
	}
}

// acknowledged checks a record that must be in the log, unless its transaction
// says otherwise.
func (j *judge) acknowledged(id ID, f *fact) {
	r := j.r
	if f.seen[Uncommitted] > 0 && f.offset >= 0 && f.at != (place{f.partition, f.offset}) {
		r.finding(&r.Inconsistent, "record %v was acknowledged at partition %d offset %d and is at %d offset %d", id, f.partition, f.offset, f.at.partition, f.at.offset)
	}
	must := f.txn == 0 || j.h.txns[f.txn] == TxnCommitted
	if !must || f.seen[Committed] > 0 {
		return
	}
	if end, ok := j.ends[f.partition]; f.offset >= 0 && (!ok || f.offset >= end) {
		r.finding(&r.Unseen, "record %v was acknowledged at partition %d offset %d, where the log ends at %d", id, f.partition, f.offset, end)
		return
	}
	r.finding(&r.Lost, "record %v was acknowledged at partition %d offset %d and is not there", id, f.partition, f.offset)
}

// hooks checks that on_send saw the record once, whatever retries it took, and
// on_acknowledgement once.
func (j *judge) hooks(id ID, f *fact) {
	if !j.h.Hooks || f.outcome == None {
		return
	}
	want := uint8(1)
	if f.outcome == Refused {
		want = 0
	}
	for hook, n := range f.hooks {
		if n != want {
			j.r.finding(&j.r.InterceptorFaults, "record %v, %v: %s was called %d times, not %d", id, f.outcome, [...]string{"on_send", "on_acknowledgement"}[hook], n, want)
		}
	}
}

// transactions finds those of which the log has a part.
func (j *judge) transactions() {
	type share struct{ in, out int }
	shares := map[uint32]*share{}
	j.h.each(func(id ID, f *fact) {
		if f.txn > 0 && f.outcome == FailUnknown && f.seen[Committed] > 0 && j.h.txns[f.txn] == TxnAborted {
			j.r.finding(&j.r.Ghosts, "record %v, of unknown outcome, belongs to transaction %d, which was aborted, and is at partition %d offset %d", id, f.txn, f.at.partition, f.at.offset)
		}
		if f.txn == 0 || f.outcome != OK {
			return
		}
		s := shares[f.txn]
		if s == nil {
			s = &share{}
			shares[f.txn] = s
		}
		if f.seen[Committed] == 0 {
			s.out++
			return
		}
		s.in++
		if j.h.txns[f.txn] == TxnAborted {
			j.r.finding(&j.r.Ghosts, "record %v belongs to transaction %d, which was aborted, and is at partition %d offset %d", id, f.txn, f.at.partition, f.at.offset)
		}
	})
	for txn, s := range shares {
		if s.in > 0 && s.out > 0 {
			j.r.finding(&j.r.TornTxns, "transaction %d: %d of its records are there and %d are not", txn, s.in, s.out)
		}
	}
}

// fate is what the log tells of a transaction.
type fate struct{ acknowledged, seen int64 }

// offsets finds where the group's offsets and the records do not agree. The last
// transaction of a partition that was committed has the offset.
func (j *judge) offsets() {
	if j.o.Offsets == nil {
		return
	}
	fates := map[uint32]*fate{}
	j.h.each(func(id ID, f *fact) {
		if f.txn == 0 {
			return
		}
		if fates[f.txn] == nil {
			fates[f.txn] = &fate{}
		}
		if f.outcome == OK {
			fates[f.txn].acknowledged++
		}
		if f.seen[Committed] > 0 {
			fates[f.txn].seen++
		}
	})
	type last struct {
		offset int64 // that must be there
		by     uint32
		or     map[int64]bool // that may be instead
	}
	parts := map[int32]*last{}
	for _, o := range j.h.offsets {
		p := parts[o.Partition]
		if p == nil {
			p = &last{offset: -1, or: map[int64]bool{}}
			parts[o.Partition] = p
		}
		switch committed, certain := j.committedTxn(o.Txn, fates[o.Txn]); {
		case !certain:
			p.or[o.Offset] = true
		case committed:
			*p = last{offset: o.Offset, by: o.Txn, or: map[int64]bool{}}
		}
	}
	for id, p := range parts {
		got, ok := j.o.Offsets[id]
		if !ok {
			got = -1
		}
		switch {
		case got == p.offset || p.or[got]:
		case got < p.offset:
			j.r.finding(&j.r.OffsetFaults, "transaction %d was committed, and the group has offset %d of input partition %d, not %d: output without offset", p.by, got, id, p.offset)
		default:
			j.r.finding(&j.r.OffsetFaults, "the group has offset %d of input partition %d, of a transaction that was not committed, and not %d: offset without output", got, id, p.offset)
		}
	}
}

// committedTxn tells whether a transaction was committed: by what its producer was
// told, or else by its records.
func (j *judge) committedTxn(txn uint32, f *fate) (committed, certain bool) {
	switch j.h.txns[txn] {
	case TxnCommitted:
		return true, true
	case TxnAborted:
		return false, true
	}
	if f == nil || f.acknowledged+f.seen == 0 {
		return false, false
	}
	return f.seen > 0, true
}

// polls follows each consumer through the partitions.
func (j *judge) polls() {
	type where struct {
		consumer  int
		partition int32
	}
	next := map[where]int64{}
	for _, p := range j.h.polls {
		at := where{p.Consumer, p.Partition}
		if p.Reset {
			next[at] = p.Offset
			continue
		}
		offsets := j.visible[p.Partition]
		i, there := slices.BinarySearch(offsets, p.Offset)
		if !there {
			j.r.finding(&j.r.PollGhosts, "consumer %d was given partition %d offset %d, which is not committed", p.Consumer, p.Partition, p.Offset)
		}
		from, _ := slices.BinarySearch(offsets, next[at])
		switch {
		case p.Offset < next[at]:
			j.r.finding(&j.r.PollRepeats, "consumer %d was given partition %d offset %d after offset %d", p.Consumer, p.Partition, p.Offset, next[at]-1)
		case from < i:
			j.r.finding(&j.r.PollSkips, "consumer %d was given partition %d offset %d, and not offset %d before it", p.Consumer, p.Partition, p.Offset, offsets[from])
		}
		next[at] = p.Offset + 1
	}
}
