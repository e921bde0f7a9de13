package consume

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klamm-io/klamm"
)

// borrowed keeps every third loan for a while, and reads the records when it gives
// it back.
type borrowed struct {
	t    *testing.T
	want []string // by offset
	seen int
	kept []held
}

type held struct {
	recs []klamm.Record
	loan *Loan
}

func (b *borrowed) records(context.Context, klamm.TopicPartition, []klamm.Record, int64) error {
	b.t.Error("a lender's records are given for good")
	return nil
}

func (b *borrowed) lent(_ context.Context, _ klamm.TopicPartition, recs []klamm.Record, _ int64, l *Loan) error {
	b.check(recs)
	if b.seen++; b.seen%3 == 0 {
		l.Keep()
		b.kept = append(b.kept, held{recs, l})
	}
	if len(b.kept) > 4 {
		b.giveBack()
	}
	return nil
}

func (b *borrowed) giveBack() {
	b.check(b.kept[0].recs)
	b.kept[0].loan.Return()
	b.kept = b.kept[1:]
}

func (b *borrowed) check(recs []klamm.Record) {
	for i := range recs {
		r := &recs[i]
		got := fmt.Sprintf("%s %s %v", r.Key, r.Value, r.Headers)
		if want := b.want[r.Offset]; got != want || r.Topic != "t" || r.Partition != 3 {
			b.t.Fatalf("record %s/%d@%d is %.80q, want %.80q", r.Topic, r.Partition, r.Offset, got, want)
		}
	}
}

func (*borrowed) sought(klamm.TopicPartition, int64)        {}
func (*borrowed) passed(klamm.TopicPartition, int64, int64) {}

// Memory that is lent keeps its records until it is given back, whatever is decoded
// meanwhile, in any compression.
func TestLoansKeepTheirRecords(t *testing.T) {
	b := &borrowed{t: t}
	f := &fetcher{cfg: fetchConfig{maxPollRecords: 7, readCommitted: true}}
	p := &partition{TopicPartition: tp("t", 3), sought: make(chan struct{}), resumed: make(chan struct{})}
	close(p.resumed)
	for round := range 60 {
		codec := int16(round % 5)
		batch := testBatch{base: int64(len(b.want)), attrs: codec}
		for i := range 10 + round%23 {
			v := fmt.Sprintf("%d/%d %s", round, i, strings.Repeat("x", 100*(round%3)))
			batch.values = append(batch.values, v)
			b.want = append(b.want, fmt.Sprintf("k %s %v", v, []klamm.Header(nil)))
		}
		if err := f.hand(t.Context(), p, fetched{raw: batch.encode(), from: batch.base}, b); err != nil {
			t.Fatal(err)
		}
	}
	for len(b.kept) > 0 {
		b.giveBack()
	}
	if b.seen < 100 {
		t.Errorf("%d pieces were handed out", b.seen)
	}
}

// Headers are those of their own record, also where the keys are those of the
// record before.
func TestDecodeHeaders(t *testing.T) {
	body := []byte{}
	var want [][]klamm.Header
	for i := range 40 {
		var hs []klamm.Header
		for j := range i % 4 {
			h := klamm.Header{Key: fmt.Sprint("h", (i/7+j)%3), Value: fmt.Append(nil, i, j)}
			if j == 2 {
				h.Value = nil
			}
			hs = append(hs, h)
		}
		want = append(want, hs)
		body = append(body, encodeRecordOf(i, hs)...)
	}
	recs, err := decode(seal(testBatch{}, body, len(want)), 0, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range recs {
		if diff := cmp.Diff(want[i], recs[i].Headers); diff != "" {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
	}
}
