package rounds

import (
	"errors"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []float64
		want float64
	}{
		{"none", nil, 0},
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{8, 1, 4, 2}, 3},
		{"an outlier does not count", []float64{1, 1e9, 1, 1, 1}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Median(tt.in); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

var sink []byte

func TestRun(t *testing.T) {
	calls := [2]int{}
	figures, err := Run(Config{Rounds: 3, Time: 200 * time.Microsecond}, []Contestant{
		func(int) error { calls[0]++; return nil },
		func(int) error { calls[1]++; sink = make([]byte, 64<<10); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls[0] <= calls[1] || calls[1] < 3 {
		t.Errorf("calls %v: the cheap one should have been called more often", calls)
	}
	if figures[0].Ns <= 0 || figures[1].Ns <= figures[0].Ns {
		t.Errorf("figures %v: the second should cost more", figures)
	}
	if figures[0].Allocs > 0.5 || figures[1].Allocs < 0.5 {
		t.Errorf("figures %v: only the second allocates", figures)
	}
}

// What takes longer than its time does so five times, not in every round.
func TestLongCalls(t *testing.T) {
	long, short := 0, 0
	_, err := Run(Config{Rounds: 20, Time: time.Microsecond}, []Contestant{
		func(int) error { long++; sum(200_000); return nil },
		func(int) error { short++; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := 1 + RoundsMin; long != want { // one to calibrate
		t.Errorf("%d long calls, want %d", long, want)
	}
	if short < long { // as many, where a busy machine made them long as well
		t.Errorf("%d short calls, and %d long ones", short, long)
	}
}

var total int

func sum(n int) {
	for i := range n {
		total += i
	}
}

func TestRunError(t *testing.T) {
	failed := errors.New("failed")
	if _, err := Run(Config{}, []Contestant{func(int) error { return failed }}); !errors.Is(err, failed) {
		t.Errorf("got %v, want %v", err, failed)
	}
}
