package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/demo"
)

// demoPatience bounds how long the end of the demo may take.
const demoPatience = 20 * time.Second

// demoRun is one run: it sends what the feed's polls return and reads the topic
// back.
type demoRun struct {
	a        *app
	h        *host.Host
	producer *host.Producer
	o        demoOptions
	feed     *demo.Feed
	began    time.Time

	mu         sync.Mutex
	polls      int64
	sent       int64 // different versions of events
	revisions  int64
	firstDrop  time.Duration // since the process started; 0: none yet
	lastDrop   string
	failure    error // of the first record that failed
	read       int64
	again      int64 // records read that had been read before
	partitions []int64
	networks   []map[string]int64 // of each partition
	versions   map[string]bool    // id and updated of what was read
	caughtUp   chan struct{}      // closed when target records were read
	target     int64              // -1 until the producer has flushed
}

func newDemoRun(a *app, h *host.Host, o demoOptions, partitions int, feed *demo.Feed) (*demoRun, error) {
	p, err := h.Producer()
	if err != nil {
		return nil, err
	}
	r := &demoRun{
		a: a, h: h, producer: p, o: o, feed: feed, began: time.Now(), target: -1,
		partitions: make([]int64, partitions), networks: make([]map[string]int64, partitions),
		versions: map[string]bool{}, caughtUp: make(chan struct{}),
	}
	for i := range r.networks {
		r.networks[i] = map[string]int64{}
	}
	return r, nil
}

// all runs the demo to its end and prints the result.
func (r *demoRun) all(ctx context.Context) error {
	if r.o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.o.length)
		defer cancel()
	}
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReading()
	var reader sync.WaitGroup
	var readErr error
	reader.Go(func() { readErr = r.h.Consume(reading, []string{demoTopic}, r.readBack) })
	shown := r.a.liveFigures(r)

	err := r.send(ctx)
	if err == nil {
		err = r.drain(reading)
	}
	stopReading()
	reader.Wait()
	shown()
	if err = errors.Join(err, readErr); err != nil {
		return err
	}
	if err := r.a.printDemo(r); err != nil {
		return err
	}
	return r.check()
}

// send plays polls until ctx ends, at the wanted rate. The first window goes out
// at once, so that the second poll, with the first duplicates, is not waited for.
func (r *demoRun) send(ctx context.Context) error {
	var items []demo.Item
	known := map[string]bool{}
	for sent := 0; ; {
		items = r.feed.Poll(items[:0])
		r.mu.Lock()
		r.polls++
		r.mu.Unlock()
		for _, it := range items {
			if !r.pace(ctx, sent-demo.DefaultWindow) {
				return nil
			}
			r.count(known, it)
			rec := klamm.Record{Topic: demoTopic, Key: []byte(it.ID), Value: it.Value}
			if err := r.producer.SendAsync(context.WithoutCancel(ctx), &rec, func(res klamm.Result) { r.completed(it, res) }); err != nil {
				return err
			}
			sent++
		}
	}
}

// pace waits until record n is due and reports false when ctx ends first.
func (r *demoRun) pace(ctx context.Context, n int) bool {
	if r.o.rate == 0 || n <= 0 {
		return ctx.Err() == nil
	}
	due := r.began.Add(time.Duration(float64(n) / r.o.rate * float64(time.Second)))
	wait := time.NewTimer(time.Until(due))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wait.C:
		return true
	}
}

// count notes what must come of an item: a version that was not sent before is
// written, a revision if the event was.
func (r *demoRun) count(known map[string]bool, it demo.Item) {
	if it.Seen {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent++
	if known[it.ID] {
		r.revisions++
	}
	known[it.ID] = true
}

// completed is called for every record, by the producer's notifier.
func (r *demoRun) completed(it demo.Item, res klamm.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case res.Outcome == klamm.Failed && r.failure == nil:
		r.failure = fmt.Errorf("%s: %w", it.ID, res.Err)
	case res.Outcome == klamm.Dropped:
		r.lastDrop = fmt.Sprintf("%s of %s, updated %s, %s", it.ID, it.Net, time.UnixMilli(it.Updated).UTC().Format("Jan 2 15:04:05"), dropText(res))
		if r.firstDrop == 0 {
			r.firstDrop = time.Since(processStart)
			r.a.say("first duplicate after %v: %s", r.firstDrop.Round(time.Millisecond), r.lastDrop)
		}
	}
}

// readBack is called with every record of the topic.
func (r *demoRun) readBack(_ context.Context, rec *klamm.Record) error {
	e, err := demo.Identify(rec.Value)
	if err != nil {
		return err
	}
	version := fmt.Sprintf("%s@%d", e.ID, e.Updated)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.versions[version] {
		r.again++
	}
	r.versions[version] = true
	r.read++
	r.partitions[rec.Partition]++
	r.networks[rec.Partition][e.Net]++
	if r.read == r.target {
		close(r.caughtUp)
	}
	return nil
}

// drain completes what is in flight and waits until all of it was read back.
func (r *demoRun) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	if err := r.producer.Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	out := r.h.Stats().Producer.Out
	r.mu.Lock()
	r.target = out
	done := r.read >= out
	r.mu.Unlock()
	if done {
		return nil
	}
	select {
	case <-r.caughtUp:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("only %d of %d records were read back within %v", r.snapshot().read, out, demoPatience)
	}
}

// demoFigures are what is shown, at one moment.
type demoFigures struct {
	counts                              host.Counts
	polls, sent, revisions, read, again int64
	partitions                          []int64
	networks                            []string
	lastDrop                            string
}

func (r *demoRun) snapshot() demoFigures {
	counts := r.h.Stats().Producer
	r.mu.Lock()
	defer r.mu.Unlock()
	f := demoFigures{
		counts: counts, polls: r.polls, sent: r.sent, revisions: r.revisions, read: r.read, again: r.again,
		partitions: slices.Clone(r.partitions), lastDrop: r.lastDrop,
	}
	for _, n := range r.networks {
		f.networks = append(f.networks, networkText(n))
	}
	return f
}

// networkText lists a partition's networks, the largest first.
func networkText(networks map[string]int64) string {
	names := sortedKeys(networks)
	slices.SortStableFunc(names, func(a, b string) int { return int(networks[b] - networks[a]) })
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %d", n, networks[n])
	}
	return strings.Join(names, ", ")
}
