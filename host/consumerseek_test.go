package host_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
)

func grouped(manual bool) host.Config {
	cfg := host.Config{Consumer: host.ConsumerConfig{GroupID: "g", AutoOffsetReset: "earliest"}}
	if manual {
		off := false
		cfg.Consumer.EnableAutoCommit = &off
	}
	return cfg
}

func consumerOf(t *testing.T, h *host.Host, topics ...string) *host.Consumer {
	t.Helper()
	c, err := h.Consumer(topics...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

var errHandled = errors.New("all that the test wants is handled")

// runUntil runs a consumer until its handler says errHandled.
func runUntil(t *testing.T, c *host.Consumer, f host.Handler) {
	t.Helper()
	if err := c.Run(within(t), f); !errors.Is(err, errHandled) {
		t.Fatalf("Run: %v", err)
	}
}

// TestConsumerSeeks goes forwards and back from within the handler. No record that
// a seek has passed over is handled, and what is committed goes back too.
func TestConsumerSeeks(t *testing.T) {
	b := startBroker(t, 1, "in")
	fill(t, b, "in", 1000)
	c := consumerOf(t, newHost(t, b, grouped(true)), "in")
	p := klamm.TopicPartition{Topic: "in"}
	var got []int64
	runUntil(t, c, func(ctx context.Context, rec *klamm.Record) error {
		got = append(got, rec.Offset)
		switch len(got) {
		case 10: // within one batch
			return c.Seek(p, 500)
		case 20:
			if err := c.Commit(ctx); err != nil {
				return err
			}
			if at, ok := c.Position(p); !ok || at != 509 { // the running record is not handled yet
				t.Errorf("position %d, %v", at, ok)
			}
			return c.SeekTo(ctx, host.ReadStart{At: host.ReadEarliest})
		case 25:
			if err := c.Commit(ctx); err != nil {
				return err
			}
			committed, err := c.Committed(ctx, p)
			if err != nil || committed[p] != 4 {
				t.Errorf("committed %v after the seek back, error %v", committed, err)
			}
			return c.SeekTo(ctx, host.ReadStart{At: host.ReadLast, Offset: 3}, p)
		case 28:
			lags := c.Partitions()
			if len(lags) != 1 || lags[0].Position != 999 || lags[0].End != 1000 || lags[0].Lag != 1 {
				t.Errorf("partitions %+v", lags)
			}
			return errHandled
		}
		return nil
	})
	want := slices.Concat(span(0, 10), span(500, 10), span(0, 5), span(997, 3))
	if !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
	if err := c.Seek(p, 1); !errors.Is(err, host.ErrNotAssigned) {
		t.Errorf("seek of a partition that it has not: %v", err)
	}
}

func span(first int64, n int) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = first + int64(i)
	}
	return all
}

// An offset that is beyond the log follows auto_offset_reset.
func TestConsumerSeeksOutOfRange(t *testing.T) {
	b := startBroker(t, 1, "in")
	fill(t, b, "in", 10)
	c := consumerOf(t, newHost(t, b, grouped(true)), "in")
	c.OnRebalance(host.RebalanceListener{Assigned: func(_ context.Context, tps []klamm.TopicPartition) {
		if err := c.Seek(tps[0], 5_000); err != nil {
			t.Error(err)
		}
	}})
	runUntil(t, c, func(_ context.Context, rec *klamm.Record) error {
		if rec.Offset != 0 {
			t.Errorf("offset %d", rec.Offset)
		}
		return errHandled
	})
}

// With auto_offset_reset = "none" it is an error that says so.
func TestConsumerSeeksOutOfRangeStrictly(t *testing.T) {
	b := startBroker(t, 1, "in")
	fill(t, b, "in", 10)
	cfg := grouped(true)
	cfg.Consumer.AutoOffsetReset = "none"
	c := consumerOf(t, newHost(t, b, cfg), "in")
	c.OnRebalance(host.RebalanceListener{Assigned: func(_ context.Context, tps []klamm.TopicPartition) {
		if err := c.Seek(tps[0], 5_000); err != nil {
			t.Error(err)
		}
	}})
	err := c.Run(within(t), func(context.Context, *klamm.Record) error { return errHandled })
	if err == nil || errors.Is(err, errHandled) || !strings.Contains(err.Error(), "in/0: offset 5000 is not in the log") {
		t.Errorf("Run: %v", err)
	}
}

// rebalances writes down what a listener hears.
type rebalances struct {
	mu                      sync.Mutex
	assigned, revoked, lost int
	held                    map[klamm.TopicPartition]bool
	changed                 chan struct{}
}

func (r *rebalances) note(count *int, tps []klamm.TopicPartition, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*count++
	for _, tp := range tps {
		if r.held[tp] = held; !held {
			delete(r.held, tp)
		}
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *rebalances) has(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held) == n
}

func listening(c *host.Consumer, beforeRevoke func(ctx context.Context)) *rebalances {
	r := &rebalances{held: map[klamm.TopicPartition]bool{}, changed: make(chan struct{}, 1)}
	c.OnRebalance(host.RebalanceListener{
		Assigned: func(_ context.Context, tps []klamm.TopicPartition) { r.note(&r.assigned, tps, true) },
		Revoked: func(ctx context.Context, tps []klamm.TopicPartition) {
			if beforeRevoke != nil {
				beforeRevoke(ctx)
			}
			r.note(&r.revoked, tps, false)
		},
		Lost: func(tps []klamm.TopicPartition) { r.note(&r.lost, tps, false) },
	})
	return r
}

// TestRebalanceListener has a second member join. The first one commits in its
// listener, so that no record is handled twice although nothing else commits.
func TestRebalanceListener(t *testing.T) {
	b := startBroker(t, 4, "in")
	fill(t, b, "in", 400)
	var mu sync.Mutex
	seen := map[string]int{}
	handle := func(_ context.Context, rec *klamm.Record) error {
		mu.Lock()
		defer mu.Unlock()
		seen[string(rec.Value)]++
		return nil
	}
	total := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, times := range seen {
			n += times
		}
		return n
	}
	start := func() (*rebalances, func()) {
		c := consumerOf(t, newHost(t, b, grouped(true)), "in")
		r := listening(c, func(ctx context.Context) {
			if err := c.Commit(ctx); err != nil {
				t.Errorf("commit in Revoked: %v", err)
			}
		})
		ctx, cancel := context.WithCancel(within(t))
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx, handle) }()
		return r, sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	one, stopOne := start()
	defer stopOne()
	waitFor(t, func() bool { return one.has(4) && total() >= 400 })
	two, stopTwo := start()
	defer stopTwo()
	waitFor(t, func() bool { return one.has(2) && two.has(2) })
	fillFrom(t, b, "in", 400, 400)
	waitFor(t, func() bool { return total() >= 800 })
	stopOne()
	waitFor(t, func() bool { return two.has(4) })
	fillFrom(t, b, "in", 800, 400)
	waitFor(t, func() bool { return total() >= 1200 })
	stopTwo()
	if len(seen) != 1200 || total() != 1200 {
		t.Errorf("%d records were handled %d times", len(seen), total())
	}
	if one.lost+two.lost > 0 || !two.has(0) {
		t.Errorf("lost %d, %d", one.lost, two.lost)
	}
}

// TestLostPartitions: a member whose session has ended hears Lost, not Revoked, and
// reads again what it had not committed.
func TestLostPartitions(t *testing.T) {
	b := startBroker(t, 1, "in")
	brokers := b.Cluster(t)
	fill(t, b, "in", 10)
	cfg := grouped(true)
	cfg.Consumer.Heartbeat = host.Duration(20_000_000)
	c := consumerOf(t, newHost(t, b, cfg), "in")
	r := listening(c, nil)
	expired := false
	handled := map[int64]int{}
	runUntil(t, c, func(_ context.Context, rec *klamm.Record) error {
		handled[rec.Offset]++
		if rec.Offset == 9 && !expired {
			expired = true
			brokers.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true})
			return nil
		}
		if rec.Offset == 9 {
			return errHandled
		}
		return nil
	})
	if r.lost != 1 || r.assigned != 2 {
		t.Errorf("assigned %d, revoked %d, lost %d", r.assigned, r.revoked, r.lost)
	}
	for offset := range int64(10) {
		if handled[offset] != 2 {
			t.Errorf("offset %d was handled %d times: nothing was committed, so all is read again", offset, handled[offset])
		}
	}
}

// TestClaimsOfWhatIsReadAgain: dedup in on_consume does not take a record that
// failed, or that a seek has passed over, for its own duplicate.
func TestClaimsOfWhatIsReadAgain(t *testing.T) {
	b := startBroker(t, 1, "in")
	fill(t, b, "in", 100)
	cfg := dedupInto(host.StateConfig{})
	cfg.Consumer = grouped(true).Consumer
	cfg.Chain = map[string]host.ChainConfig{"in": {Topics: []string{"in"}, OnConsume: []string{"dedup"}}}
	h := newHost(t, b, cfg)
	bad := errors.New("the database is away")
	c := consumerOf(t, h, "in")
	if err := c.Run(within(t), func(_ context.Context, rec *klamm.Record) error {
		if rec.Offset == 50 {
			return bad
		}
		return nil
	}); !errors.Is(err, bad) {
		t.Fatalf("Run: %v", err)
	}
	again := consumerOf(t, h, "in")
	p := klamm.TopicPartition{Topic: "in"}
	var got []int64
	runUntil(t, again, func(_ context.Context, rec *klamm.Record) error {
		switch got = append(got, rec.Offset); len(got) {
		case 10:
			return again.Seek(p, 5)
		case 10 + 95:
			return errHandled
		}
		return nil
	})
	if want := slices.Concat(span(0, 10), span(5, 95)); !slices.Equal(got, want) {
		t.Errorf("handled %s", fmt.Sprint(got))
	}
}

// handledWithRetries runs a consumer that tries records again until the handler has
// had the last one, and returns the offsets that it had.
func handledWithRetries(t *testing.T, n int, backoff time.Duration, f func(c *host.Consumer, calls int, offset int64) error) []int64 {
	t.Helper()
	b := startBroker(t, 1, "in")
	fill(t, b, "in", n)
	cfg := grouped(true)
	cfg.Consumer.Retries, cfg.Consumer.RetryBackoff, cfg.Consumer.RetryBackoffMax = 5, host.Duration(backoff), host.Duration(backoff)
	c := consumerOf(t, newHost(t, b, cfg), "in")
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var got []int64
	must(t, c.Run(ctx, func(_ context.Context, rec *klamm.Record) error {
		got = append(got, rec.Offset)
		if rec.Offset == int64(n-1) {
			cancel()
		}
		return f(c, len(got), rec.Offset)
	}))
	s := c.Stats()
	balanced(t, s.Counts, s.In)
	return got
}

// TestSeekPastARecordThatIsTriedAgain: a seek does not wait for the tries, of which
// the next one is minutes away, and drops what is held.
func TestSeekPastARecordThatIsTriedAgain(t *testing.T) {
	sought := make(chan error, 1)
	got := handledWithRetries(t, 1000, 5*time.Minute, func(c *host.Consumer, _ int, offset int64) error {
		if offset != 5 {
			return nil
		}
		go func() {
			defer close(sought)
			comes(t, func() bool { return c.Stats().Retries == 1 })
			sought <- c.Seek(klamm.TopicPartition{Topic: "in"}, 990)
		}()
		return errFlaky
	})
	must(t, <-sought)
	if want := slices.Concat(span(0, 6), span(990, 10)); !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
}

// TestSeekWithinATry: what was held with the record that is being tried is handed
// out no more.
func TestSeekWithinATry(t *testing.T) {
	got := handledWithRetries(t, 100, time.Millisecond, func(c *host.Consumer, calls int, _ int64) error {
		switch calls {
		case 6:
			return errFlaky
		case 7:
			return c.Seek(klamm.TopicPartition{Topic: "in"}, 90)
		}
		return nil
	})
	if want := slices.Concat(span(0, 6), span(5, 1), span(90, 10)); !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
}
