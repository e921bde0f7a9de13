package host_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
	"github.com/klamm-io/klamm/interceptor"
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
