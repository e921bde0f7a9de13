package trial

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/internal/checker"
)

// naive is the usual recipe: an id that was met before is a duplicate, whatever
// became of the record that had it.
type naive struct {
	mu     sync.Mutex
	met    map[string]bool
	forget int // as many ids as it remembers before it begins anew; 0: no limit
}

func (n *naive) OnSend(_ context.Context, items []*interceptor.Item) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, it := range items {
		id := string(it.Record.Headers[1].Value)
		if n.met[id] {
			it.Drop("duplicate")
		}
		if n.met == nil || n.forget > 0 && len(n.met) == n.forget {
			n.met = map[string]bool{}
		}
		n.met[id] = true
	}
	return nil
}

// TestDedupers has brokers refuse every seventh request for good. The bundled
// plugin passes, and the checker finds the bugs of others.
func TestDedupers(t *testing.T) {
	tests := []struct {
		name   string
		o      Options
		refuse bool
		want   map[string]bool // the violations
	}{
		{"the bundled plugin", Options{}, true, nil},
		{"the bundled plugin, with a window", Options{Window: 300 * time.Millisecond}, true, nil},
		{"one that confirms when it claims", Options{Deduper: &naive{}}, true, map[string]bool{"false drops": true}},
		{"one that forgets", Options{Deduper: &naive{forget: 40}}, false, map[string]bool{"let through twice": true}},
		{"one that remembers beyond the window", Options{Deduper: &naive{}, Window: 300 * time.Millisecond}, false, map[string]bool{"false drops": true}},
		{"both", Options{Deduper: &naive{forget: 200}}, true, map[string]bool{"false drops": true, "let through twice": true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait more than they compute
			ctx := deadline(t)
			var ms atomic.Int64 // each record is one later than the one before
			o := tt.o
			o.Dedup, o.Now = true, func() time.Time { return time.UnixMilli(1_000_000 + ms.Add(1)) }
			o.InFlight = 200
			o.Config = func(c *host.Config) {
				c.Producer.BatchSize, c.Producer.RetryBackoff = 500, host.Duration(5*time.Millisecond)
			}
			tr, err := Start(ctx, o)
			must(t, err)
			requests := 0 // When runs on the brokers' one goroutine
			fault := tr.Kafka.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: tr.Topic(), Err: kerr.PolicyViolation, Count: -1,
				When: func(kmsg.Request) bool { requests++; return tt.refuse && requests%7 == 0 },
			})
			must(t, tr.Load(ctx, 3000))
			must(t, tr.Producer.Flush(ctx))
			fault.Remove()
			r, err := tr.Finish(ctx)
			must(t, err)
			for _, v := range r.Violations() {
				if !tt.want[v.Name] {
					t.Errorf("%d %s (seed %d): %v", v.Count, v.Name, r.Seed, r.Examples)
				}
			}
			for name := range tt.want {
				if !found(r, name) {
					t.Errorf("no %s were found (seed %d): %+v", name, r.Seed, r)
				}
			}
			if r.Dropped == 0 || r.Duplicates < 300 || (r.FailedDefinite > 0) != tt.refuse || tt.o.Deduper == nil && (r.DedupLate > 0) != (tt.o.Window > 0) {
				t.Errorf("of %d records with %d duplicates %d were dropped, %d failed, %d passed again (seed %d)", r.Sent, r.Duplicates, r.Dropped, r.FailedDefinite, r.DedupLate, r.Seed)
			}
		})
	}
}

func found(r *checker.Report, name string) bool {
	for _, v := range r.Violations() {
		if v.Name == name {
			return true
		}
	}
	return false
}
