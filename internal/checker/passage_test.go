package checker

import (
	"slices"
	"testing"
)

// crossing is a passage as it should be: three producers' records, some of them
// duplicates, some dead letters, written in transactions of some records each, one
// of which was aborted and written again.
type crossing struct {
	Passage
	in, out, dead *fakeLog
	at            map[ID]*fakeRecord // in the output
	epoch         int16
}

const (
	crossKeys    = 4
	crossRecords = 60
)

func newCrossing() *crossing {
	c := &crossing{in: &fakeLog{parts: map[int32][]*fakeRecord{}}, out: &fakeLog{parts: map[int32][]*fakeRecord{}}, dead: &fakeLog{parts: map[int32][]*fakeRecord{}}, at: map[ID]*fakeRecord{}}
	c.Passage = Passage{In: c.in, Out: c.out, Dead: c.dead, EpochPerTxn: true, Offsets: map[int32]int64{}}
	for block := range crossRecords / 10 {
		for _, aborted := range []bool{true, false} {
			if aborted && block != 2 {
				continue
			}
			for n := block * 10; n < block*10+10; n++ {
				for k := range crossKeys {
					c.cross(MakeID(0, k, n), aborted)
				}
			}
			c.epoch++
		}
	}
	for p, records := range c.in.parts {
		c.Offsets[p] = int64(len(records))
	}
	return c
}

func (c *crossing) cross(id ID, aborted bool) {
	part, n := int32(id.Key()%2), id.N()
	dedup := uint64(id.Key()*1000 + n/2*2 + 1) // of each two one is a duplicate
	dead := n%20 == 0
	switch {
	case aborted && n%2 == 0 && !dead:
		c.put(part, id, dedup).aborted = true
	case aborted:
	case dead:
		c.dead.put(part, id)
	case n%2 == 0 || n%20 == 1: // a dead letter does not keep its id
		c.at[id] = c.put(part, id, dedup)
	}
	if !aborted {
		in := c.in.put(part, id)
		in.ProducerID, in.Dedup = -1, dedup
	}
}

func (c *crossing) put(part int32, id ID, dedup uint64) *fakeRecord {
	r := c.out.put(part, id)
	r.ProducerID, r.Epoch, r.Dedup = 7, c.epoch, dedup
	return r
}

func (c *crossing) judge(t *testing.T) *PassageReport {
	t.Helper()
	r, err := JudgePassage(t.Context(), c.Passage)
	must(t, err)
	return r
}

func TestPassageWhereNothingIsWrong(t *testing.T) {
	r := newCrossing().judge(t)
	const all = crossKeys * crossRecords
	if err := r.Err(); err != nil || !r.OK || r.In != all || r.DeadLettered != all/20 || r.Out+r.Dropped+r.DeadLettered != all || r.Aborted == 0 || r.Behind != 0 {
		t.Errorf("got %+v: %v", r, err)
	}
}

// TestPlantedBugsOfPassages plants one fault of an exactly-once pipeline at a time.
func TestPlantedBugsOfPassages(t *testing.T) {
	plain, later := MakeID(0, 1, 42), MakeID(0, 1, 44)
	tests := []struct {
		name  string
		want  string
		plant func(c *crossing)
	}{
		{"offset committed without output", "lost", func(c *crossing) { c.out.remove(c.at[plain]) }},
		{"output without offset", "early", func(c *crossing) { c.Offsets[1] -= 40 }},
		{"output without offset, read again", "doubled", func(c *crossing) { c.put(1, plain, c.at[plain].Dedup) }},
		{"torn transaction: a part is aborted", "torn", func(c *crossing) { c.at[plain].aborted = true }},
		{"torn transaction: a part of an aborted one is seen", "torn", func(c *crossing) {
			for _, r := range c.out.parts[1] {
				if r.aborted {
					r.aborted = false
					return
				}
			}
		}},
		{"an aborted transaction is seen", "doubled", func(c *crossing) {
			for _, r := range c.out.parts[1] {
				r.aborted = false
			}
		}},
		{"zombie not fenced", "fenced", func(c *crossing) { c.at[plain].Epoch = 0 }},
		{"duplicate after a restart", "missed", func(c *crossing) { c.put(1, MakeID(0, 1, 43), c.at[plain].Dedup) }},
		{"dropped though its twin is not there", "lost", func(c *crossing) {
			for _, r := range c.in.parts[1] {
				if r.ID == MakeID(0, 1, 43) {
					r.Dedup = 1 << 60
				}
			}
		}},
		{"dead letter and output", "doubled", func(c *crossing) { c.dead.put(1, plain) }},
		{"order of a key", "reordered", func(c *crossing) {
			a, b := c.at[plain], c.at[later]
			a.ID, b.ID = b.ID, a.ID
			a.Dedup, b.Dedup = b.Dedup, a.Dedup
		}},
		{"not of the input", "foreign", func(c *crossing) { c.put(0, MakeID(5, 5, 5), 0) }},
		{"damaged", "corrupt", func(c *crossing) { c.at[plain].Problem = errEntry }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCrossing()
			tt.plant(c)
			r := c.judge(t)
			if !slices.ContainsFunc(r.Violations(), func(v Violation) bool { return v.Name == tt.want }) || r.OK {
				t.Errorf("%q was not found; there is %v", tt.want, r.Err())
			}
		})
	}
}

// Duplicates that get through are no violation where the state forgets, and what is
// not read yet is not lost.
func TestPassageAllows(t *testing.T) {
	c := newCrossing()
	c.Forgets = true
	c.put(1, MakeID(0, 1, 59), c.at[MakeID(0, 1, 58)].Dedup)
	c.in.put(1, MakeID(0, 1, crossRecords))
	if r := c.judge(t); r.Err() != nil || r.Missed != 1 || r.Behind != 1 {
		t.Errorf("got %+v: %v", r, r.Err())
	}
}
