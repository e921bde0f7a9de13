//go:build unix

package killtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm/internal/checker"
)

// feed writes the input until it is stopped. A fifth of the records are duplicates
// of one of the last of their key.
type feed struct {
	rng    *rand.Rand
	cl     *kgo.Client
	sent   [feedKeys]int
	recent [feedKeys][]uint64
	dedups uint64
	stop   chan struct{}
	done   chan error
}

const (
	feedKeys  = 60
	feedEvery = 10 * time.Millisecond
	feedBatch = 12
)

func startFeed(t *testing.T, addrs []string, seed uint64) *feed {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	must(t, err)
	f := &feed{rng: rand.New(rand.NewPCG(seed, 1)), cl: cl, stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { f.done <- f.run() }()
	return f
}

func (f *feed) run() error {
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return nil
		case <-tick.C:
		}
		var recs []*kgo.Record
		for range feedBatch {
			recs = append(recs, f.record())
		}
		if err := f.cl.ProduceSync(context.Background(), recs...).FirstErr(); err != nil {
			return fmt.Errorf("feed: %w", err)
		}
	}
}

func (f *feed) record() *kgo.Record {
	key := f.rng.IntN(feedKeys)
	id := checker.MakeID(0, key, f.sent[key])
	f.sent[key]++
	rec := checker.Payload{Topic: inTopic, ID: id, Dedup: f.dedup(key, poisoned(id)), Size: 60}.Record()
	out := &kgo.Record{Topic: inTopic, Key: rec.Key, Value: rec.Value}
	for _, h := range rec.Headers {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return out
}

// dedup returns a new id or one of the last of the key. A poisoned record has one
// of its own: whether a duplicate of it passes depends on which is judged first.
func (f *feed) dedup(key int, alone bool) uint64 {
	recent := f.recent[key]
	if !alone && len(recent) > 0 && f.rng.IntN(5) == 0 {
		return recent[f.rng.IntN(len(recent))]
	}
	f.dedups++
	if !alone {
		f.recent[key] = append(recent[max(0, len(recent)-20):], f.dedups)
	}
	return f.dedups
}

// end stops it; all is written then.
func (f *feed) end() error {
	close(f.stop)
	err := <-f.done
	f.cl.Close()
	return err
}
