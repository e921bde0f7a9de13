package interceptor

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

func headersOf(rec klamm.Record) map[string]string {
	out := map[string]string{}
	for _, h := range rec.Headers {
		out[h.Key] += string(h.Value)
	}
	return out
}

func TestDeadLetterRecord(t *testing.T) {
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		c.verdicts[0] = runtime.Verdict{Code: abi.DeadLetter, Reason: abi.ReasonDuplicate, Text: []byte("torn")}
		return nil
	}}
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}, DeadLetterTopic: "dead"})
	b := batchOf("v")
	it := &b.Items[0]
	own := []klamm.Header{{Key: "own", Value: []byte("1")}, {Key: "klamm.error.reason", Value: []byte("earlier")}, {Key: "own"}}
	it.Record.Headers = own
	it.Record.Target = klamm.ToPartition(5)
	l.OnSend(context.Background(), b)

	rec := DeadLetterRecord(it, Sent)
	want := map[string]string{
		"own": "1", HeaderPlugin: "p", HeaderVersion: "1.0.0", HeaderDigest: "d1", HeaderHook: "on_send",
		HeaderReason: "duplicate: torn", HeaderTopic: "orders",
	}
	if diff := cmp.Diff(want, headersOf(rec)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if rec.Topic != "dead" || rec.Target != 0 || string(rec.Value) != "v" || string(rec.Key) != "v" {
		t.Errorf("got %+v", rec)
	}
	if len(it.Record.Headers) != 3 || it.Record.Topic != "orders" {
		t.Errorf("the item changed: %+v", it.Record)
	}

	rec = DeadLetterRecord(it, Origin{Topic: "in", Partition: 0, Offset: 12})
	got := headersOf(rec)
	for k, v := range map[string]string{HeaderTopic: "in", HeaderPartition: "0", HeaderOffset: "12"} {
		if got[k] != v {
			t.Errorf("%s: got %q, want %q", k, got[k], v)
		}
	}
}

// The origin is the topic that the caller named, whatever plugins made of it.
func TestDeadLetterOfAnEditedRecord(t *testing.T) {
	moves := sends(func(items []*Item) error { items[0].Record.Topic = "moved"; return nil })
	rejects := sends(func(items []*Item) error { items[0].DeadLetter(strings.Repeat("x", 5000)); return nil })
	l := chainOf(t, ChainConfig{OnSend: []Link{
		{Name: "moves", Native: moves}, {Name: "rejects", Native: rejects, DeadLetterTopic: "rejects.dead"},
	}, DeadLetterTopic: "dead"})
	b := batchOf("v")
	l.OnSend(context.Background(), b)
	rec := DeadLetterRecord(&b.Items[0], Sent)
	h := headersOf(rec)
	if rec.Topic != "rejects.dead" || h[HeaderTopic] != "orders" || h[HeaderPlugin] != "rejects" || len(h[HeaderReason]) != reasonMax {
		t.Errorf("got topic %q, headers %v", rec.Topic, h)
	}
	if _, ok := h[HeaderDigest]; ok {
		t.Error("a native interceptor has a digest")
	}
}

// TestParseDeadLetter: what DeadLetterRecord writes, ParseDeadLetter takes back,
// whatever headers the record has of its own.
func TestParseDeadLetter(t *testing.T) {
	own := []klamm.Header{{Key: "own", Value: []byte("1")}, {Key: "own"}, {Key: "", Value: []byte{}}}
	it := Item{Record: klamm.Record{Topic: "orders", Key: []byte("k"), Value: []byte{}, Headers: own}, Plugin: "p", Reason: "torn", DeadLetterTopic: "dead"}
	dead := DeadLetterRecord(&it, Origin{Topic: "in", Partition: 3, Offset: 12})
	got, ok := ParseDeadLetter(&dead)
	if !ok || got.Plugin != "p" || got.Reason != "torn" || got.From != (Origin{"in", 3, 12}) {
		t.Errorf("got %+v, %v", got, ok)
	}
	want := klamm.Record{Topic: "in", Key: []byte("k"), Value: []byte{}, Headers: own, Partition: 3, Offset: 12}
	if diff := cmp.Diff(want, got.Record); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if _, ok := ParseDeadLetter(&klamm.Record{Topic: "dead", Headers: own}); ok {
		t.Error("a record without an origin is no dead letter")
	}
}
