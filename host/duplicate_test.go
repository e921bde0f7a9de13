package host_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
	"github.com/klamm-io/klamm/interceptor"
)

// Whoever sends a duplicate is told where the record stands that it duplicates:
// of one that was in flight, of one that is remembered, and of one that went to a
// dead-letter topic.
func TestDuplicatesTellOfWhat(t *testing.T) {
	h := hosttest.New(t, `
[state.ids]
[plugin.dedup]
module = "builtin:dedup"
state  = "ids"
config = { id = "key" }
[chain.orders]
topics  = ["orders"]
on_send = ["dedup", "bury"]
dead_letter_topic = "dead"
`, host.WithInterceptor("bury", bury{}))
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
	check := func(dup, of klamm.Result) {
		t.Helper()
		want := fmt.Sprintf("%s/%d/%d", of.Topic, of.Partition, of.Offset)
		if dup.Outcome != klamm.Dropped || dup.DuplicateOf == nil || dup.DuplicateOf.String() != want {
			t.Errorf("got %s, duplicate of %v, want of %s", dup.Outcome, dup.DuplicateOf, want)
		}
		if of.DuplicateOf != nil {
			t.Errorf("the first is a duplicate of %s", of.DuplicateOf)
		}
	}
	both := send("a", "b", "b") // b twice in one block: the second waits
	check(both[2], both[1])
	check(send("b")[0], both[1]) // remembered
	told := make(chan klamm.Result, 1)
	if err := p.SendAsync(t.Context(), &klamm.Record{Topic: "orders", Key: []byte("a")}, func(r klamm.Result) { told <- r }); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(<-told, both[0])
	dead := send("dead", "dead")
	if dead[0].Outcome != klamm.DeadLettered || dead[0].Topic != "dead" {
		t.Fatalf("got %s to %q", dead[0].Outcome, dead[0].Topic)
	}
	check(dead[1], dead[0])
	if dead[1].Reason != "duplicate of a dead-lettered record" {
		t.Errorf("got reason %q", dead[1].Reason)
	}
}

// bury sends the records of key "dead" to the dead-letter topic.
type bury struct{}

func (bury) OnSend(_ context.Context, items []*interceptor.Item) error {
	for _, it := range items {
		if string(it.Record.Key) == "dead" {
			it.DeadLetter("buried")
		}
	}
	return nil
}
