package checker

import (
	"errors"
	"testing"
	"time"
)

func TestNothingIsFoundWhereNothingIsWrong(t *testing.T) {
	w := newWorld(t)
	before, err := TakeSnapshot(t.Context(), w.log)
	must(t, err)
	r := w.judge(Options{Before: before})
	if err := r.Err(); err != nil || !r.OK {
		t.Fatalf("OK = %v: %v", r.OK, err)
	}
	const all = worldProducers * worldKeys * worldRecords
	if r.Sent != all || r.Completions != all || r.Dropped != worldProducers*worldRecords/2 || r.Acknowledged != all-r.Dropped || !r.Complete {
		t.Errorf("got %+v, want %d sent and completed, %d dropped", r, all, worldProducers*worldRecords/2)
	}
}

// TestPlantedBugs plants one fault of a producer, or of a consumer, at a time.
// Each must be found, under its name.
func TestPlantedBugs(t *testing.T) {
	plain := MakeID(1, 4, 20) // a record that no rule is special about
	next := MakeID(1, 4, 21)
	tests := []struct {
		name  string
		want  string
		plant func(w *world)
	}{
		{"drop acknowledged", "lost", func(w *world) { w.log.remove(w.at[plain]) }},
		{"acknowledged beyond the end", "unseen", func(w *world) {
			last := w.at[MakeID(2, 4, worldRecords-1)]
			w.log.remove(last)
		}},
		{"double send", "duplicated", func(w *world) { w.log.put(0, plain) }},
		{"swap two", "reordered", func(w *world) {
			a, b := w.at[plain], w.at[next]
			a.ID, b.ID = b.ID, a.ID
		}},
		{"swap two keys of a producer", "reordered", func(w *world) {
			a, b := w.at[MakeID(1, 0, 20)], w.at[MakeID(1, 4, 20)] // both in partition 0
			a.ID, b.ID = b.ID, a.ID
		}},
		{"ack, then abort", "lost", func(w *world) {
			for n := range txnRecords {
				w.at[MakeID(1, 2, n)].aborted = true
			}
		}},
		{"epoch reuse: an old epoch writes after a new one", "fenced", func(w *world) {
			for id, r := range w.at {
				if id.Producer() == 1 && id.N() >= 10 && id != plain {
					r.Epoch = 1
				}
			}
		}},
		{"epoch reuse: a new record is answered as a duplicate of an old one", "inconsistent", func(w *world) {
			old := w.at[MakeID(1, 4, 3)]
			e := w.end(plain)
			e.Partition, e.Offset = old.Partition, old.Offset
		}},
		{"buffer reuse", "corrupt", func(w *world) { w.at[plain].Problem = errors.New("the checksum is wrong") }},
		{"lost callback", "uncompleted", func(w *world) { *w.end(plain) = Ended{ID: next, Outcome: FailUnknown} }},
		{"double callback", "completed twice", func(w *world) { w.ends = append(w.ends, *w.end(plain)) }},
		{"double callback of different outcomes", "completed twice", func(w *world) {
			w.ends = append(w.ends, Ended{ID: plain, Outcome: FailUnknown})
		}},
		{"callback of another record", "completed twice", func(w *world) { w.ends = append(w.ends, Ended{ID: MakeID(9, 9, 9), Outcome: OK}) }},
		{"wrong partition: not the one asked for", "misplaced", func(w *world) {
			id := MakeID(1, 0, worldRecords-1)
			w.log.remove(w.at[id])
			r := w.log.put(3, id)
			e := w.end(id)
			e.Partition, e.Offset = 3, r.Offset
		}},
		{"wrong partition: not that of the key", "misplaced", func(w *world) {
			id := MakeID(1, 4, worldRecords-1)
			w.log.remove(w.at[id])
			r := w.log.put(3, id)
			e := w.end(id)
			e.Partition, e.Offset = 3, r.Offset
		}},
		{"torn transaction", "torn transactions", func(w *world) { w.at[MakeID(1, 2, 2)].aborted = true }},
		{"aborted and visible", "ghosts", func(w *world) {
			for id, r := range w.at {
				r.aborted = r.aborted && id.Producer() != 1
			}
		}},
		{"an offset is committed, and its transaction aborted", "offset faults", func(w *world) { w.group[1] = worldRecords }},
		{"a transaction is committed without its offset", "offset faults", func(w *world) { w.group[1] -= txnRecords }},
		{"no offset was ever committed", "offset faults", func(w *world) { delete(w.group, 2) }},
		{"a commit of unknown outcome has its records there, and not its offset", "offset faults", func(w *world) {
			w.txns[1007] = TxnUnknown // the last of producer 1 that was committed
			w.group[1] -= txnRecords
		}},
		{"failed and visible", "ghosts", func(w *world) { w.end(plain).Outcome = FailDefinite }},
		{"refused and visible", "ghosts", func(w *world) { w.end(plain).Outcome = Refused }},
		{"dropped and visible", "ghosts", func(w *world) { w.end(plain).Outcome = Dropped }},
		{"skip in poll", "poll skips", func(w *world) { w.polls = append(w.polls[:100:100], w.polls[101:]...) }},
		{"poll twice", "poll repeats", func(w *world) {
			w.polls = append(w.polls[:100:100], append([]Polled{w.polls[99]}, w.polls[100:]...)...)
		}},
		{"poll of an aborted record", "poll ghosts", func(w *world) {
			for _, r := range w.log.parts[2] {
				if r.aborted {
					w.polls = append(w.polls, Polled{Consumer: 9, Partition: 2, Offset: r.Offset, Reset: true}, Polled{Consumer: 9, Partition: 2, Offset: r.Offset})
					return
				}
			}
		}},
		{"retry runs on_send again", "interceptor faults", func(w *world) { w.hooks = append(w.hooks, hookCall{OnSend, plain}) }},
		{"no on_acknowledgement", "interceptor faults", func(w *world) { w.hooks = w.hooks[:len(w.hooks)-1] }},
		{"dropped though its twin failed", "false drops", func(w *world) {
			id := MakeID(1, 3, 10)
			w.log.remove(w.at[id])
			w.end(id).Outcome = FailDefinite
		}},
		{"twins got through", "let through twice", func(w *world) {
			id := MakeID(1, 3, worldRecords-1)
			r := w.log.put(3, id)
			*w.end(id) = Ended{ID: id, Outcome: OK, Partition: 3, Offset: r.Offset}
		}},
		{"never sent", "foreign", func(w *world) { w.log.put(1, MakeID(9, 9, 9)) }},
		{"not ours", "foreign", func(w *world) { w.log.put(1, 0).Problem = errForeign }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.plant(w)
			r := w.judge(Options{})
			for _, v := range r.Violations() {
				if v.Name == tt.want {
					return
				}
			}
			t.Errorf("%q was not found; there is %v", tt.want, r.Err())
		})
	}
}

// TestPlantedBetweenReadings changes the log between two readings of it.
func TestPlantedBetweenReadings(t *testing.T) {
	tests := []struct {
		name  string
		plant func(w *world)
	}{
		{"another record at the offset", func(w *world) {
			a, b := w.at[MakeID(1, 4, 20)], w.at[MakeID(2, 4, 20)]
			a.ID, b.ID = b.ID, a.ID
		}},
		{"gone from the middle", func(w *world) { w.log.remove(w.at[MakeID(1, 4, 20)]) }},
		{"gone from the end", func(w *world) { w.log.parts[1] = w.log.parts[1][:20] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			before, err := TakeSnapshot(t.Context(), w.log)
			must(t, err)
			tt.plant(w)
			if r := w.judge(Options{Before: before}); r.Inconsistent == 0 {
				t.Errorf("nothing is inconsistent: %v", r.Err())
			}
		})
	}
}

// TestPlantedInBytes plants faults below the log: in the bytes of a record.
func TestPlantedInBytes(t *testing.T) {
	rec := Payload{Topic: "t", ID: MakeID(1, 2, 3), Dedup: 77, Size: 100}.Record()
	other := Payload{Topic: "t", ID: MakeID(1, 2, 4), Dedup: 78, Size: 100}.Record()
	if p, err := ParsePayload("t", rec.Key, rec.Value, rec.Headers); err != nil || p.ID != MakeID(1, 2, 3) || p.Dedup != 77 || p.Size != 100 {
		t.Fatalf("got %+v, %v", p, err)
	}
	tests := []struct {
		name  string
		topic string
		plant func()
	}{
		{"stale header", "t", func() { rec.Headers[0] = other.Headers[0] }},
		{"stale dedup header", "t", func() { rec.Headers[1] = other.Headers[1] }},
		{"header missing", "t", func() { rec.Headers = rec.Headers[:1] }},
		{"key of another record", "t", func() { rec.Key = []byte("k99") }},
		{"wrong topic", "u", func() {}},
		{"buffer reused within the value", "t", func() { copy(rec.Value[60:], other.Value[60:]) }},
		{"value cut", "t", func() { rec.Value = rec.Value[:99] }},
		{"poisoned buffer", "t", func() {
			for i := range rec.Value {
				rec.Value[i] = 0xDB
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec = Payload{Topic: "t", ID: MakeID(1, 2, 3), Dedup: 77, Size: 100}.Record()
			tt.plant()
			if _, err := ParsePayload(tt.topic, rec.Key, rec.Value, rec.Headers); err == nil {
				t.Error("it was not found")
			}
		})
	}
}

// What was sent after ids were lost is no duplicate of what was sent before.
func TestForgottenIDs(t *testing.T) {
	twins := func(forgot ...time.Time) int64 {
		w := newWorld(t)
		id := MakeID(1, 3, worldRecords-1)
		r := w.log.put(3, id)
		*w.end(id) = Ended{ID: id, Outcome: OK, Partition: 3, Offset: r.Offset}
		return w.judge(Options{Forgot: forgot}).DedupDoubled
	}
	last := int64(len(newWorld(t).sends))
	if n := twins(time.UnixMilli(-1), time.UnixMilli(last+1)); n == 0 {
		t.Error("ids were lost before the first record and after the last, and twins between are not found")
	}
	between := make([]time.Time, last)
	for i := range between {
		between[i] = time.UnixMilli(int64(i))
	}
	if n := twins(between...); n != 0 {
		t.Errorf("%d twins are found though ids were lost after each record", n)
	}
}
