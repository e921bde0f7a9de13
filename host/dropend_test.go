package host_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/sdk/abi"
)

// sieve drops what its key names, for the reason that the key is. It holds the key
// "gate" until open is closed, so that what is sent meanwhile is one block.
type sieve struct{ open chan struct{} }

func (s sieve) OnSend(_ context.Context, items []*interceptor.Item) error {
	for _, it := range items {
		switch key := string(it.Record.Key); {
		case key == "gate":
			<-s.open
		case strings.HasPrefix(key, "no "):
			it.Drop(key)
		}
	}
	return nil
}

// Records that a block drops end together, those of one reason after another:
// each is told its own reason, and of which record it is a duplicate, if it is.
func TestDroppedTogetherTellTheirOwn(t *testing.T) {
	open := make(chan struct{})
	h := hosttest.New(t, `
[state.ids]
[plugin.dedup]
module = "builtin:dedup"
state  = "ids"
config = { id = "key" }
[chain.orders]
topics  = ["orders"]
on_send = ["sieve", "dedup"]
`, host.WithInterceptor("sieve", sieve{open}))
	p, err := h.Producer()
	if err != nil {
		t.Fatal(err)
	}
	send := func(keys ...string) []klamm.Result {
		t.Helper()
		var recs []klamm.Record
		for _, k := range keys {
			recs = append(recs, klamm.Record{Topic: "orders", Key: []byte(k), Value: []byte(k)})
		}
		results, err := p.SendBatch(t.Context(), recs)
		if err != nil {
			t.Fatal(err)
		}
		return results
	}
	known := map[string]klamm.Result{}
	old := []string{"a", "b", "c"}
	for i, r := range send(old...) {
		known[old[i]] = r
	}
	keys := []string{"gate", "no 1", "a", "b", "no 2", "no 2", "no 1", "new", "b", "a", "c", "no 1", "no 3", "c"}
	const untold = 8                        // a duplicate of which nobody wants to know, before others
	told := make([]klamm.Result, len(keys)) // of the callbacks, which have one goroutine
	for i, k := range keys {
		done := func(r klamm.Result) { told[i] = r }
		if i == untold {
			done = nil
		}
		if err := p.SendAsync(t.Context(), &klamm.Record{Topic: "orders", Key: []byte(k)}, done); err != nil {
			t.Fatal(err)
		}
	}
	close(open)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	dropped := 0
	for i, r := range told {
		key := keys[i]
		first, dup := known[key]
		plugin, reason, of := "sieve", key, "none"
		switch {
		case dup:
			plugin, reason, of = "dedup", "duplicate", fmt.Sprintf("%s/%d/%d", first.Topic, first.Partition, first.Offset)
		case !strings.HasPrefix(key, "no "):
			if r.Outcome != klamm.Written {
				t.Errorf("key %q: got %+v", key, r)
			}
			continue
		}
		dropped++
		if i == untold {
			continue
		}
		got := "none"
		if r.DuplicateOf != nil {
			got = r.DuplicateOf.String()
		}
		if r.Outcome != klamm.Dropped || r.Plugin != plugin || r.Reason != reason || got != of || r.Err != nil || r.Offset != klamm.NoOffset {
			t.Errorf("%d, key %q: got %+v, duplicate of %s, want %s %q, of %s", i, key, r, got, plugin, reason, of)
		}
	}
	if c := p.Counts(); !c.Balanced() || c.Dropped != int64(dropped) {
		t.Errorf("got %+v", c)
	}
}

// What a block drops gives its memory back, and has one end for whoever listens: an
// on_acknowledgement, the figures of a transaction, a flush.
func TestDroppedTogetherLeaveNothing(t *testing.T) {
	const in, drops = 41, 36 // with the gate, which is written
	for name, row := range map[string]struct{ listened, committed, aborted bool }{
		"alone": {}, "with on_acknowledgement": {listened: true}, "in a transaction": {committed: true},
		"in one that is aborted, with on_acknowledgement": {listened: true, aborted: true},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			acks := map[string]int{}
			judging := sieve{make(chan struct{})}
			var plugin any = judging // told of no acknowledgement
			if row.listened {
				plugin = judge{
					send: func(it *interceptor.Item) { _ = judging.OnSend(t.Context(), []*interceptor.Item{it}) },
					ack: func(a *interceptor.Ack) {
						mu.Lock()
						defer mu.Unlock()
						acks[fmt.Sprint(a.Reason, a.Flags&abi.AckDropped != 0)]++
					},
				}
			}
			cfg := chainOf("t")
			if row.committed || row.aborted {
				cfg.Producer.TransactionalID = "id"
			}
			b := startBroker(t, 1, "t")
			h := newHost(t, b, cfg, host.WithInterceptor("j", plugin))
			p := producerOf(t, h)
			if cfg.Producer.TransactionalID != "" {
				must(t, p.BeginTransaction(within(t)))
			}
			var ends atomic.Int64
			for i := range in {
				key := fmt.Sprint("no ", i/12) // in groups of twelve, and five that pass
				if i == 0 {
					key = "gate"
				} else if i > drops {
					key = "yes"
				}
				must(t, p.SendAsync(within(t), &klamm.Record{Topic: "t", Key: []byte(key), Value: []byte(key)}, func(klamm.Result) { ends.Add(1) }))
			}
			close(judging.open)
			switch {
			case row.committed:
				must(t, p.CommitTransaction(within(t)))
			case row.aborted:
				must(t, p.AbortTransaction(within(t)))
			}
			must(t, p.Flush(within(t)))
			c := p.Counts()
			if !c.Balanced() || c.In != in || c.Dropped != drops || c.InFlight != 0 || ends.Load() != in {
				t.Errorf("got %+v, %d ends", c, ends.Load())
			}
			if s := h.Stats().Produce; s.BufferAvailable != s.BufferTotal {
				t.Errorf("%d bytes available of %d", s.BufferAvailable, s.BufferTotal)
			}
			must(t, h.Close(within(t))) // all acknowledgements are told
			want := map[string]int{}
			if row.listened {
				want = map[string]int{"no 0true": 11, "no 1true": 12, "no 2true": 12, "no 3true": 1, "false": in - drops}
			}
			if diff := cmp.Diff(want, acks); diff != "" {
				t.Errorf("acknowledgements (-want +got):\n%s", diff)
			}
		})
	}
}
