package checker

import (
	"context"
	"path/filepath"
	"testing"
	"time"
)

// fakeLog is a topic as a test makes it.
type fakeLog struct {
	parts map[int32][]*fakeRecord
}

type fakeRecord struct {
	Seen
	aborted bool
}

func (l *fakeLog) Read(_ context.Context, i Isolation, each func(*Seen) error) (map[int32]int64, error) {
	ends := map[int32]int64{}
	for p, records := range l.parts {
		for _, r := range records {
			if i == Committed && r.aborted {
				continue
			}
			seen := r.Seen
			if err := each(&seen); err != nil {
				return nil, err
			}
		}
		if n := len(records); n > 0 {
			ends[p] = records[n-1].Offset + 1
		}
	}
	return ends, nil
}

// put appends a record of an id and returns it.
func (l *fakeLog) put(p int32, id ID) *fakeRecord {
	offset := int64(0)
	if n := len(l.parts[p]); n > 0 {
		offset = l.parts[p][n-1].Offset + 1
	}
	r := &fakeRecord{Seen: Seen{Partition: p, Offset: offset, Payload: Payload{Topic: "t", ID: id}, ProducerID: int64(id.Producer())}}
	l.parts[p] = append(l.parts[p], r)
	return r
}

func (l *fakeLog) remove(r *fakeRecord) {
	records := l.parts[r.Partition]
	for i := range records {
		if records[i] == r {
			l.parts[r.Partition] = append(records[:i:i], records[i+1:]...)
			return
		}
	}
}

// world is a history and its log, made by a producer without fault, until a
// test plants one.
type world struct {
	t     *testing.T
	log   *fakeLog
	sends []Sent
	ends  []Ended
	hooks []hookCall
	txns  map[uint32]TxnOutcome
	polls []Polled
	at    map[ID]*fakeRecord
	head  Head
	// offs are the transactions' offsets, group what the group has of them.
	offs  []TxnOffset
	group map[int32]int64
}

type hookCall struct {
	hook Hook
	id   ID
}

const (
	worldProducers  = 3
	worldKeys       = 5
	worldRecords    = 40
	worldPartitions = 4
	txnRecords      = 6
)

// newWorld sends records of all kinds: to asked and to chosen partitions, in
// transactions and outside, with duplicates that are dropped. Two consumers read
// it.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, log: &fakeLog{parts: map[int32][]*fakeRecord{}}, txns: map[uint32]TxnOutcome{}, at: map[ID]*fakeRecord{}, group: map[int32]int64{},
		head: Head{Topic: "t", Seed: 7, Started: time.UnixMilli(0), Hooks: true},
	}
	for n := range worldRecords {
		for p := range worldProducers {
			for k := range worldKeys {
				w.send(MakeID(p, k, n))
			}
		}
	}
	for p := range int32(worldPartitions) {
		w.polls = append(w.polls, Polled{Consumer: int(p % 2), Partition: p, Reset: true})
		for _, r := range w.log.parts[p] {
			if !r.aborted {
				w.polls = append(w.polls, Polled{Consumer: int(p % 2), Partition: p, Offset: r.Offset})
			}
		}
	}
	return w
}

// send sends one record. Keys 0 and 1 ask for a partition, the records of key 2
// are in transactions of six, every third of which aborts, and every other
// record of key 3 repeats the one before it and is dropped.
func (w *world) send(id ID) {
	s := Sent{ID: id, Asked: -1, Time: time.UnixMilli(int64(len(w.sends)))}
	partition := int32(id.Key() % worldPartitions)
	switch id.Key() {
	case 0, 1:
		s.Asked = partition
	case 2:
		s.Txn = uint32(id.Producer()*1000 + id.N()/txnRecords + 1)
		w.txns[s.Txn] = TxnCommitted
		if s.Txn%3 == 0 {
			w.txns[s.Txn] = TxnAborted
		}
		if id.N()%txnRecords == 0 {
			o := TxnOffset{Txn: s.Txn, Partition: int32(id.Producer()), Offset: int64(id.N())}
			w.offs = append(w.offs, o)
			if w.txns[s.Txn] == TxnCommitted {
				w.group[o.Partition] = o.Offset
			}
		}
	case 3:
		s.Dedup = uint64(id.Producer()*1000 + id.N()/2 + 1)
	}
	w.sends = append(w.sends, s)
	w.hooks = append(w.hooks, hookCall{OnSend, id}, hookCall{OnAcknowledgement, id})
	if id.Key() == 3 && id.N()%2 == 1 {
		w.ends = append(w.ends, Ended{ID: id, Outcome: Dropped, Partition: -1, Offset: -1})
		return
	}
	r := w.log.put(partition, id)
	r.Dedup, r.aborted = s.Dedup, w.txns[s.Txn] == TxnAborted
	w.at[id] = r
	w.ends = append(w.ends, Ended{ID: id, Outcome: OK, Partition: partition, Offset: r.Offset})
}

// end returns the completion of a record, to be changed.
func (w *world) end(id ID) *Ended {
	w.t.Helper()
	for i := range w.ends {
		if w.ends[i].ID == id {
			return &w.ends[i]
		}
	}
	w.t.Fatalf("record %v has no completion", id)
	return nil
}

// write writes the history to a file and reads it back.
func (w *world) write() *History {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "history")
	out, err := Create(path, w.head)
	must(w.t, err)
	for _, s := range w.sends {
		must(w.t, out.Sent(s))
	}
	for _, c := range w.hooks {
		must(w.t, out.Hook(c.hook, c.id))
	}
	for _, e := range w.ends {
		must(w.t, out.Ended(e))
	}
	for txn, o := range w.txns {
		must(w.t, out.Txn(txn, o))
	}
	for _, p := range w.polls {
		must(w.t, out.Polled(p))
	}
	for _, o := range w.offs {
		must(w.t, out.Offset(o))
	}
	must(w.t, out.Close())
	h, err := Load(path)
	must(w.t, err)
	return h
}

func (w *world) judge(o Options) *Report {
	w.t.Helper()
	o.Offsets = w.group
	r, err := Judge(w.t.Context(), w.write(), w.log, o)
	must(w.t, err)
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
