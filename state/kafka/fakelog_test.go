package kafka

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/klamm-io/klamm"
)

var seedFlag = flag.Uint64("seed", 0, "`number` that decides what is left to chance; 0: another one each time")

// seed decides what is left to chance. A run that fails tells it.
var seed = sync.OnceValue(func() uint64 {
	if *seedFlag > 0 {
		return *seedFlag
	}
	return max(1, rand.Uint64())
})

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if code != 0 {
			fmt.Fprintf(os.Stderr, "the same decisions again: -seed %d\n", seed())
		}
		os.Exit(code)
	}))
}

// fakeLog is a compacted topic with transactions, in which everything that is
// allowed to happen can be made to: markers that come late, gaps, tombstones that
// are gone.
type fakeLog struct {
	mu      sync.Mutex
	asked   atomic.Int64
	changed chan struct{} // closed and made anew with each change
	made    bool
	late    int // how many are told that there is none once it is made
	d       Description
	parts   []*fakePartition
	// ends, if it is set, tells the end instead of Bounds: a planted bug.
	ends func(l *fakeLog, p int32) int64
	err  error // of all that is asked
	rng  *rand.Rand
}

type fakePartition struct {
	start, next int64
	recs        []fakeRecord
}

type fakeRecord struct {
	offset     int64
	key, value []byte
	txn        *fakeTxn // nil: none
}

// fakeTxn is a transaction. Its end reaches each partition by a marker of its own.
type fakeTxn struct {
	log       *fakeLog
	touched   map[int32]bool
	committed bool
	marked    map[int32]bool
}

func newFakeLog() *fakeLog {
	return &fakeLog{changed: make(chan struct{}), rng: rand.New(rand.NewPCG(seed(), 2))}
}

// pick returns a number below n.
func (l *fakeLog) pick(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.IntN(n)
}

func (l *fakeLog) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *fakeLog) Describe(context.Context) (Description, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late > 0 && l.made {
		l.late--
		return l.d, false, l.err
	}
	return l.d, l.made, l.err
}

func (l *fakeLog) Create(_ context.Context, partitions int32, _ int16, settings map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.made {
		l.made, l.d = true, Description{partitions, settings["cleanup.policy"]}
		for range partitions {
			l.parts = append(l.parts, new(fakePartition))
		}
	}
	return nil
}

func (l *fakeLog) Append(_ context.Context, p int32, key, value []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(p, key, value, nil)
	return l.err
}

func (l *fakeLog) append(p int32, key, value []byte, txn *fakeTxn) int64 {
	part := l.parts[p]
	part.recs = append(part.recs, fakeRecord{part.next, key, value, txn})
	part.next++
	l.change()
	return part.next - 1
}

func (l *fakeLog) begin() *fakeTxn {
	return &fakeTxn{log: l, touched: map[int32]bool{}, marked: map[int32]bool{}}
}

func (t *fakeTxn) append(w Write) int64 {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	t.touched[w.Partition] = true
	// The writes' bytes are the backend's.
	return t.log.append(w.Partition, bytes.Clone(w.Key), bytes.Clone(w.Value), t)
}

// mark writes the marker of one partition. committed must be decided.
func (t *fakeTxn) mark(p int32) {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if !t.marked[p] {
		t.marked[p] = true
		t.log.parts[p].next++
		t.log.change()
	}
}

func (t *fakeTxn) markAll() {
	for p := range t.touched {
		t.mark(p)
	}
}

func (l *fakeLog) Bounds(_ context.Context, p int32) (int64, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.asked.Add(1)
	if l.ends != nil {
		return l.parts[p].start, l.ends(l, p), l.err
	}
	return l.parts[p].start, l.parts[p].next, l.err
}

// stable is the last stable offset. The mutex is held.
func (l *fakeLog) stable(p int32) int64 {
	for _, r := range l.parts[p].recs {
		if r.txn != nil && !r.txn.marked[p] {
			return r.offset
		}
	}
	return l.parts[p].next
}

func (l *fakeLog) Read(ctx context.Context, p int32, from, end int64, f func([]klamm.Record) error) error {
	for from < end {
		l.mu.Lock()
		stable, changed := l.stable(p), l.changed
		var recs []klamm.Record
		for _, r := range l.parts[p].recs {
			if r.offset >= from && r.offset < min(stable, end) && (r.txn == nil || r.txn.committed) {
				recs = append(recs, klamm.Record{Partition: p, Offset: r.offset, Key: r.key, Value: r.value})
			}
		}
		l.mu.Unlock()
		for len(recs) > 0 {
			n := 1 + l.pick(len(recs))
			if err := f(recs[:n:n]); err != nil {
				return err
			}
			recs = recs[n:]
		}
		if from = stable; from >= end {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// compact takes out what a later record of the same key supersedes, what was
// aborted, and, where tombstones is set, those that have superseded everything.
func (l *fakeLog) compact(p int32, tombstones bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part, last := l.parts[p], map[string]int64{}
	stable := l.stable(p)
	for _, r := range part.recs {
		if r.offset < stable && (r.txn == nil || r.txn.committed) {
			last[string(r.key)] = r.offset
		}
	}
	var kept []fakeRecord
	for _, r := range part.recs {
		switch {
		case r.offset >= stable:
		case last[string(r.key)] != r.offset, tombstones && r.value == nil:
			continue
		}
		kept = append(kept, r)
	}
	part.recs = kept
}

// within is long enough for a busy machine.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
