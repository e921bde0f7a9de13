package kafka

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/backendtest"
)

// oneByOne lets the suite, which knows no transactions, use a Backend: each id
// is a transaction of its own.
type oneByOne struct {
	*Backend
	log *fakeLog
}

type oneBucket struct {
	state.Bucket
	of     *oneByOne
	plugin string
}

func (o *oneByOne) Bucket(plugin string) state.Bucket {
	return &oneBucket{o.Backend.Bucket(plugin), o, plugin}
}

func (u *oneBucket) Find(id state.ID, nowMS int64) (state.Position, bool, error) {
	return u.Bucket.(state.SourcedBucket).FindFor(1, id, nowMS)
}

func (u *oneBucket) Remember(id state.ID, at state.Position, expiresMS, nowMS int64) error {
	u.of.Stage(0, u.plugin, id, at, expiresMS)
	next := u.of.write()
	if err := u.Bucket.Remember(id, at, expiresMS, nowMS); err != nil {
		return err
	}
	u.of.Committed(next)
	return nil
}

// write commits what is to be written.
func (o *oneByOne) write() map[int32]int64 {
	txn, next := o.log.begin(), map[int32]int64{}
	for _, w := range o.Take() {
		next[w.Partition] = txn.append(w) + 1
	}
	txn.committed = true
	txn.markAll()
	return next
}

// Close buries what has gone: the suite wants to find after a restart what was
// there before, and no less.
func (o *oneByOne) Close() error {
	o.Committed(o.write())
	return o.Backend.Close()
}

func TestSuite(t *testing.T) {
	var mu sync.Mutex
	logs := map[string]*fakeLog{}
	open := func(dir string, maxEntries int, maxBytes int64) (state.Backend, error) {
		mu.Lock()
		log := logs[dir]
		if log == nil {
			log = newFakeLog()
			logs[dir] = log
		}
		mu.Unlock()
		b := New(Options{
			Name: "ids", Topic: "t", Pipeline: "p", MaxEntries: maxEntries, MaxBytes: maxBytes, Log: log,
			Source: func(state.Ref) (int32, bool) { return 0, true },
			Now:    func() time.Time { return time.UnixMilli(0) },
		})
		ctx := context.Background()
		if err := b.Open(ctx, 1); err != nil {
			return nil, err
		}
		if rand.IntN(2) == 0 {
			log.compact(0, rand.IntN(2) == 0)
		}
		b.Assign(0)
		return &oneByOne{b, log}, b.Await(ctx, 0)
	}
	backendtest.Run(t, backendtest.Kit{Open: open, Reopen: open, LocalValues: true})
}
