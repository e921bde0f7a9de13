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

// sieve drops what its key names, for the reason that the key is.
type sieve struct{}

func (sieve) OnSend(_ context.Context, items []*interceptor.Item) error {
	for _, it := range items {
		if key := string(it.Record.Key); strings.HasPrefix(key, "no ") {
			it.Drop(key)
		}
	}
	return nil
}

// Records that a block drops end together, those of one reason after another:
// each is told its own reason, and of which record it is a duplicate, if it is.
func TestDroppedTogetherTellTheirOwn(t *testing.T) {
	h := hosttest.New(t, `
[state.ids]
[plugin.dedup]
module = "builtin:dedup"
state  = "ids"
config = { id = "key" }
[chain.orders]
topics  = ["orders"]
on_send = ["sieve", "dedup"]
`, host.WithInterceptor("sieve", sieve{}))
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
	keys := []string{"no 1", "a", "no 2", "no 2", "new", "b", "c", "no 1", "a", "no 3", "c"}
	told := make([]klamm.Result, len(keys)) // of the callbacks, which have one goroutine
	for i, k := range keys {
		err := p.SendAsync(t.Context(), &klamm.Record{Topic: "orders", Key: []byte(k)}, func(r klamm.Result) { told[i] = r })
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	known["new"] = told[4]
	for way, results := range map[string][]klamm.Result{"callback": told, "batch": send(keys...)} {
		for i, r := range results {
			key := keys[i]
			if way == "callback" && key == "new" {
				continue
			}
			plugin, reason, of := "sieve", key, "none"
			if first, dup := known[key]; dup {
				plugin, reason, of = "dedup", "duplicate", fmt.Sprintf("%s/%d/%d", first.Topic, first.Partition, first.Offset)
			}
			got := "none"
			if r.DuplicateOf != nil {
				got = r.DuplicateOf.String()
			}
			if r.Outcome != klamm.Dropped || r.Plugin != plugin || r.Reason != reason || got != of || r.Err != nil || r.Offset != klamm.NoOffset {
				t.Errorf("%s %d, key %q: got %+v, duplicate of %s, want %s %q, of %s", way, i, key, r, got, plugin, reason, of)
			}
		}
	}
	if c := p.Counts(); !c.Balanced() || c.Dropped != int64(2*len(keys)-1) {
		t.Errorf("got %+v", c)
	}
}
