package trial

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/checker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTrial(t *testing.T) {
	tests := []struct {
		name string
		o    Options
	}{
		{"plain", Options{}},
		{"asked for partitions, one broker", Options{Asked: 0.5, Embedded: 1}},
		{"several lanes", Options{Lanes: 3}},
		{"dedup through a proxy", Options{Dedup: true, Proxy: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := deadline(t)
			tr, err := Start(ctx, tt.o)
			must(t, err)
			must(t, tr.Load(ctx, 3000))
			must(t, tr.Snapshot(ctx))
			r, err := tr.Finish(ctx)
			must(t, err)
			want := int64(3000 + tr.o.Partitions)
			if err := r.Err(); err != nil || r.Sent != want || r.Completions != want || r.Acknowledged+r.Dropped != want {
				t.Errorf("%+v: %v", r, err)
			}
			if (r.Dropped > 0) != tt.o.Dedup {
				t.Errorf("%d records were dropped", r.Dropped)
			}
		})
	}
}

func TestTrialUnderChaos(t *testing.T) {
	ctx := deadline(t)
	tr, err := Start(ctx, Options{Proxy: true, Dedup: true, Asked: 0.2, Durable: false, Config: func(c *host.Config) {
		c.Producer.BatchSize, c.Producer.RetryBackoff = 500, host.Duration(5*time.Millisecond)
	}})
	must(t, err)
	stop := tr.Chaos(ctx)
	must(t, tr.Load(ctx, 20_000))
	stop()
	r, err := tr.Finish(ctx)
	must(t, err)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if len(r.Faults) < 5 {
		t.Errorf("there were few faults: %v", r.Faults)
	}
	t.Logf("%d acknowledged, %d dropped, %d failed, %d unknown; %v", r.Acknowledged, r.Dropped, r.FailedDefinite, r.Unknown, r.Faults)
}

// A history that the trial keeps can be judged again.
func TestTrialKeepsItsHistory(t *testing.T) {
	ctx := deadline(t)
	path := filepath.Join(t.TempDir(), "history")
	tr, err := Start(ctx, Options{History: path, Durable: true, Producers: 2})
	must(t, err)
	must(t, tr.Load(ctx, 100))
	r, err := tr.Finish(ctx)
	must(t, err)
	must(t, r.Err())
	h, err := checker.Load(path)
	must(t, err)
	if !h.Closed || h.Len() != r.Sent || h.Seed != tr.Seed() || h.Topic != tr.Topic() {
		t.Errorf("the history has %d records, closed %v, head %+v", h.Len(), h.Closed, h.Head)
	}
	if _, err := Start(ctx, Options{History: path}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a history was overwritten: %v", err)
	}
}
