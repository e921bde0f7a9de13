package kafka

import (
	"slices"
	"testing"
	"time"

	"github.com/klamm-io/klamm/state"
)

func TestInspect(t *testing.T) {
	log := newFakeLog()
	b := opened(t, log, 2, nil)
	assign(t, b, 0)
	assign(t, b, 1)
	remember(t, b, log, 7, 1, 2, 3)
	b.Stage(1, "dedup", testID(4), testAt(4), 0)
	next, _ := log.Commit(b.Take())
	_ = b.Bucket("dedup").Remember(testID(4), testAt(4), 0, 0)
	b.Committed(next)

	if p, topics := b.Plugins(), b.Topics("dedup"); !slices.Equal(p, []string{"dedup"}) || !slices.Equal(topics, []string{"clean"}) {
		t.Errorf("plugins %q, topics %q", p, topics)
	}
	if b.Footprint() <= 0 {
		t.Error("the ids take no memory")
	}
	if r, ok := b.Lookup("dedup", testID(2)); !ok || r.At != testAt(2) || r.ExpiresMS != 7 {
		t.Errorf("got %+v, %v", r, ok)
	}
	browse := func(n int) (ids []state.ID) {
		w := b.Browse()
		defer w.End()
		for {
			got := w.Next(n, nil)
			if len(got) == 0 {
				return ids
			}
			for _, r := range got {
				ids = append(ids, r.ID)
			}
		}
	}
	for n := 1; n <= 5; n++ {
		if got, want := browse(n), []state.ID{testID(1), testID(2), testID(3), testID(4)}; !slices.Equal(got, want) {
			t.Errorf("%d at a time: got %v, want %v", n, got, want)
		}
	}
	if !b.Forget("dedup", testID(2)) || b.Forget("dedup", testID(9)) {
		t.Error("forget tells the wrong thing")
	}
	wantFound(t, b, 2, false)
	next, _ = log.Commit(b.Take())
	b.Committed(next)
	other := opened(t, log, 2, func(o *Options) { o.Now = func() time.Time { return time.UnixMilli(0) } })
	assign(t, other, 0)
	wantFound(t, other, 2, false)
	wantFound(t, other, 3, true)

	w := b.Browse()
	w.Next(1, nil)
	b.Revoke(0)
	if got := w.Next(9, nil); len(got) != 1 || got[0].ID != testID(4) {
		t.Errorf("went on after a revocation: %v", got)
	}
	w.End()
}
