package runtime

import (
	goruntime "runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestSlicesAdaptToTheirTime(t *testing.T) {
	for _, tc := range []struct {
		name  string
		slice int64
		took  time.Duration
		want  int64
	}{
		{"as long as wanted", 100_000, 100 * time.Microsecond, 100_000},
		{"long", 100_000, 201 * time.Microsecond, 50_000},
		{"long, and as little fuel as may be", sliceLeast, time.Second, sliceLeast},
		{"nearly so", sliceLeast + 2, time.Second, sliceLeast},
		{"short", 100_000, 49 * time.Microsecond, 200_000},
		{"short, and the most fuel", sliceMost, time.Microsecond, sliceMost},
		{"nearly so", sliceMost - 2, time.Microsecond, sliceMost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := time.Now()
			p := pace{slice: tc.slice}
			p.begin(now)
			p.adapt(now.Add(tc.took))
			if p.slice != tc.want {
				t.Errorf("%d units, want %d", p.slice, tc.want)
			}
			if p.adapt(now.Add(tc.took + 100*time.Microsecond)); p.slice != tc.want {
				t.Errorf("%d units after another of 100 us, want %d", p.slice, tc.want)
			}
		})
	}
}

// A guest gets as much of its processor as the others took.
func TestBreathsAreFair(t *testing.T) {
	var p pace
	now := time.Now()
	p.begin(now)
	for _, tc := range []struct{ away, want time.Duration }{
		{0, breathLeast},
		{3 * time.Millisecond, 3 * time.Millisecond},
		{time.Second, breathMost},
		{time.Microsecond, breathLeast},
	} {
		gone := now
		now = now.Add(tc.away)
		p.back(gone, now)
		if p.breath != tc.want || !p.since.Equal(now) || !p.looked.Equal(now) {
			t.Errorf("after %s of others: breath %s, want %s; since %s", tc.away, p.breath, tc.want, now.Sub(p.since))
		}
	}
}

// Who waits for the only processor gets it from a guest that has had its share,
// and only from that.
func TestOthersRunAtABreath(t *testing.T) {
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(1))
	var ran atomic.Bool
	go func() { ran.Store(true) }()
	p := pace{slice: sliceMost}
	start := time.Now()
	p.begin(start)
	// Go's scheduler may let the one who yields go on now and then.
	for i := 1; i <= 100 && !ran.Load(); i++ {
		p.breathe(p.since.Add(breathMost))
	}
	if !ran.Load() {
		t.Error("100 breaths, and the other goroutine did not run")
	}
	begun := p.since
	if p.breathe(begun.Add(p.breath - 1)); p.since != begun {
		t.Error("a breath before its time")
	}
}

// Slices follow what a guest needs over calls, and what is left of one is there
// for the next call.
func TestSlicesGoOnInTheNextCall(t *testing.T) {
	wt := &watch{fuel: &number{v: sliceMost}, rate: 1, pace: pace{slice: sliceMost}}
	wt.start(time.Hour)
	wt.charge(sliceMost + 1)
	wt.yield()
	wt.pace.looked = wt.pace.looked.Add(-time.Second)
	wt.charge(sliceMost + 7)
	wt.yield()
	if wt.burned != sliceMost+7 || wt.granted != sliceMost/2 {
		t.Errorf("%d units burned, %d granted", wt.burned, wt.granted)
	}
	wt.charge(1000)
	wt.start(time.Hour)
	if got := int64(wt.fuel.Get()); got != sliceMost/2-1000 || wt.burned != notYielded {
		t.Errorf("the next call starts with %d units, %d burned", got, wt.burned)
	}
	wt.yield()
	if wt.burned != 0 {
		t.Errorf("%d units burned, most of them by the call before", wt.burned)
	}
}
