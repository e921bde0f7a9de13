package host

import (
	"context"
	"testing"

	"github.com/klamm-io/klamm"
)

func TestAwaitedGivesAllResults(t *testing.T) {
	w := newAwaited(3)
	for i := range 3 {
		go w.set(i, klamm.Result{Outcome: klamm.Written, Offset: int64(i)})
	}
	for i, r := range w.wait(context.Background()) {
		if r.Outcome != klamm.Written || r.Offset != int64(i) {
			t.Errorf("result %d is %+v", i, r)
		}
	}
	if n := len(newAwaited(0).wait(context.Background())); n != 0 {
		t.Errorf("%d results of nothing", n)
	}
}

func TestAwaitedThatNobodyWaitsForAnyMore(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	w := newAwaited(2)
	w.set(1, klamm.Result{Outcome: klamm.Dropped})
	cancel()
	results := w.wait(ctx)
	w.set(0, klamm.Result{Outcome: klamm.Written}) // too late
	if results[0].Outcome != klamm.InFlight || results[1].Outcome != klamm.Dropped {
		t.Errorf("got %+v, want the first in flight and the second dropped", results)
	}
}
