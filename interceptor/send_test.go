package interceptor

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

func TestC001_ChainOrder(t *testing.T) {
	var one, two int
	l := chainOf(t, ChainConfig{OnSend: []Link{
		{Name: "one", Native: appends("One", &one)}, {Name: "two", Native: appends("Two", &two)},
	}})
	b := batchOf("v")
	want := b.Items[0].Record
	want.Value = []byte("vOneTwo")
	l.OnSend(context.Background(), b)
	if diff := cmp.Diff(want, b.Items[0].Record); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if one != 1 || two != 1 {
		t.Errorf("calls: got %d and %d, want 1 each", one, two)
	}
	if b.Items[0].Outcome != klamm.InFlight {
		t.Errorf("outcome: got %s", b.Items[0].Outcome)
	}
}

func TestC002_SameRecordTwice(t *testing.T) {
	var n int
	l := chainOf(t, ChainConfig{OnSend: []Link{{Name: "one", Native: appends("One", &n)}}})
	b := batchOf("v")
	l.OnSend(context.Background(), b)
	first := string(b.Items[0].Record.Value)
	b.Reset()
	b.Items = append(b.Items, batchOf("v").Items...)
	l.OnSend(context.Background(), b)
	if got := string(b.Items[0].Record.Value); got != first {
		t.Errorf("second: got %q, want %q", got, first)
	}
}

func TestC003_FailureIsSkipped(t *testing.T) {
	faults := []struct {
		name, kind string
		link       func(before *string) Link
	}{
		{"error", "error", func(*string) Link {
			return Link{Native: sends(func(items []*Item) error {
				items[0].Record.Value = []byte("spoilt")
				return errBoom
			})}
		}},
		{"panic", "panic", func(*string) Link {
			return Link{Native: sends(func(items []*Item) error {
				items[0].Record.Topic = "elsewhere"
				items[0].Drop("no")
				panic("boom")
			})}
		}},
		{"trap", "trap", func(*string) Link {
			return (&fakeSeat{onSend: func(*fakeCall) error { return trap() }}).link("")
		}},
		{"timeout", "deadline", func(*string) Link {
			return (&fakeSeat{onSend: func(*fakeCall) error {
				return &runtime.DeadlineError{Plugin: "a", Export: abi.ExportOnSend, Limit: DefaultTimeout}
			}}).link("")
		}},
	}
	for _, tt := range faults {
		t.Run(tt.name, func(t *testing.T) {
			var calls int
			var m counts
			var log logged
			a := tt.link(nil)
			a.Name, a.OnError = "a", Pass
			l := chainOf(t, ChainConfig{
				OnSend:  []Link{a, {Name: "b", Native: appends("B", &calls)}},
				Metrics: &m, Logger: log.logger(),
			})
			b := batchOf("v")
			b.Items[0].Record.Target = klamm.ToPartition(3)
			l.OnSend(context.Background(), b)
			if got := values(b); got != "vB:in_flight" {
				t.Errorf("got %s, want vB:in_flight", got)
			}
			if got := m.get("fault a on_send " + tt.kind); got != 1 {
				t.Errorf("faults of kind %s: got %d, want 1; all: %v", tt.kind, got, m.m)
			}
			for _, want := range []string{"plugin=a", "topic=orders", "partition=3", "kind=" + tt.kind} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("log lacks %s: %s", want, log.String())
				}
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	tests := []struct {
		name    string
		policy  Policy
		dead    string
		outcome klamm.Outcome
	}{
		{"fail", Fail, "", klamm.Failed},
		{"pass", Pass, "", klamm.InFlight},
		{"drop", Drop, "", klamm.Dropped},
		{"dead letter", DeadLetter, "orders.dead", klamm.DeadLettered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &fakeSeat{onSend: func(c *fakeCall) error {
				for i := range c.b.Len() {
					if string(c.b.Key(i)) == "bad" {
						return trap()
					}
					c.edit(i, runtime.Edit{Op: abi.OpAddHeader, Key: []byte("seen"), Value: []byte("1")})
				}
				return nil
			}}
			link := s.link("p")
			link.OnError = tt.policy
			var m counts
			l := chainOf(t, ChainConfig{OnSend: []Link{link}, DeadLetterTopic: tt.dead, Metrics: &m})
			b := batchOf("a", "b", "bad", "c", "d")
			l.OnSend(context.Background(), b)
			for i := range b.Items {
				it := &b.Items[i]
				if i == 2 {
					checkCulprit(t, it, tt.outcome, tt.dead)
				} else if it.Outcome != klamm.InFlight || len(it.Record.Headers) != 1 {
					t.Errorf("record %d: got %s with %d headers, want in_flight with 1", i, it.Outcome, len(it.Record.Headers))
				}
			}
			if got := sum(&m, "fault"); got != 1 {
				t.Errorf("faults: got %d, want 1", got)
			}
			if got := m.get("records p on_send"); got != 4 {
				t.Errorf("records: got %d, want 4", got)
			}
			if got := m.get("verdict p on_send edit"); got != 4 {
				t.Errorf("edits: got %d, want 4", got)
			}
		})
	}
}

func checkCulprit(t *testing.T, it *Item, want klamm.Outcome, dead string) {
	t.Helper()
	if it.Outcome != want {
		t.Errorf("culprit: got %s, want %s", it.Outcome, want)
	}
	if len(it.Record.Headers) != 0 {
		t.Errorf("culprit has headers: %v", it.Record.Headers)
	}
	if want == klamm.InFlight {
		return
	}
	if it.Plugin != "p" || it.Link != 1 || it.Reason == "" {
		t.Errorf("culprit: got plugin %q, link %d, reason %q", it.Plugin, it.Link, it.Reason)
	}
	var pe *klamm.PluginError
	if want == klamm.Failed && (!errors.As(it.Err, &pe) || pe.Plugin != "p" || pe.Hook != "on_send") {
		t.Errorf("culprit: got error %v, want a PluginError", it.Err)
	}
	var trap *runtime.TrapError
	if want == klamm.Failed && (!errors.As(it.Err, &trap) || it.Err.Error() != `plugin "p": on_send: call klamm_on_send: trap: unreachable`) {
		t.Errorf("culprit: got error %v, want that of the trap", it.Err)
	}
	if want != klamm.Failed && it.Err != nil {
		t.Errorf("culprit: got error %v", it.Err)
	}
	if it.DeadLetterTopic != dead {
		t.Errorf("culprit: got dead-letter topic %q, want %q", it.DeadLetterTopic, dead)
	}
}

func TestBreakerOpenAppliesPolicyWithoutCall(t *testing.T) {
	s := &fakeSeat{onSend: func(*fakeCall) error { return runtime.ErrBreakerOpen }}
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}, Metrics: &m})
	b := batchOf("a", "b")
	l.OnSend(context.Background(), b)
	for i := range b.Items {
		it := &b.Items[i]
		if it.Outcome != klamm.Failed || !errors.Is(it.Err, klamm.ErrBreakerOpen) {
			t.Errorf("record %d: got %s, %v", i, it.Outcome, it.Err)
		}
		if it.Offered != 0 {
			t.Errorf("record %d was not offered, got bits %b", i, it.Offered)
		}
	}
	if got := m.get("fault p on_send breaker_open"); got != 2 {
		t.Errorf("faults: got %d, want 2", got)
	}
	if s.calls != 1 {
		t.Errorf("the search asked an open breaker: %d calls", s.calls)
	}
}

func TestVerdicts(t *testing.T) {
	tests := []struct {
		name    string
		verdict runtime.Verdict
		links   ChainConfig
		target  klamm.Target
		check   func(t *testing.T, it *Item)
	}{
		{"route", runtime.Verdict{Code: abi.Route, Partition: 7}, ChainConfig{}, 0, func(t *testing.T, it *Item) {
			if p, ok := it.Record.Target.Partition(); p != 7 || !ok {
				t.Errorf("got partition %d, %t", p, ok)
			}
		}},
		{"route clears", runtime.Verdict{Code: abi.Route, Partition: -1}, ChainConfig{}, klamm.ToPartition(2), func(t *testing.T, it *Item) {
			if it.Record.Target != 0 {
				t.Errorf("got target %d", it.Record.Target)
			}
		}},
		{"in place", runtime.Verdict{Code: abi.ValueInPlace, Value: []byte("*****")}, ChainConfig{}, 0, func(t *testing.T, it *Item) {
			if string(it.Record.Value) != "*****" {
				t.Errorf("got value %q", it.Record.Value)
			}
		}},
		{"drop", runtime.Verdict{Code: abi.Drop, Reason: abi.ReasonDuplicate}, ChainConfig{}, 0, func(t *testing.T, it *Item) {
			if it.Outcome != klamm.Dropped || it.Reason != "duplicate" || it.ReasonCode != abi.ReasonDuplicate {
				t.Errorf("got %s, %q, %d", it.Outcome, it.Reason, it.ReasonCode)
			}
		}},
		{"drop with text", runtime.Verdict{Code: abi.Drop, Reason: abi.ReasonDuplicate, Text: []byte("of yesterday")}, ChainConfig{}, 0, func(t *testing.T, it *Item) {
			if it.Reason != "duplicate: of yesterday" {
				t.Errorf("got reason %q", it.Reason)
			}
		}},
		{"fail", runtime.Verdict{Code: abi.Fail, Text: []byte("no id")}, ChainConfig{}, 0, func(t *testing.T, it *Item) {
			if it.Outcome != klamm.Failed || it.Err == nil || it.Err.Error() != `plugin "p": on_send: no id` {
				t.Errorf("got %s, %v", it.Outcome, it.Err)
			}
		}},
		{"dead letter", runtime.Verdict{Code: abi.DeadLetter, Text: []byte("torn")}, ChainConfig{DeadLetterTopic: "dead"}, 0, func(t *testing.T, it *Item) {
			if it.Outcome != klamm.DeadLettered || it.DeadLetterTopic != "dead" || it.Reason != "torn" {
				t.Errorf("got %s to %q, %q", it.Outcome, it.DeadLetterTopic, it.Reason)
			}
		}},
		{"dead letter without a topic", runtime.Verdict{Code: abi.DeadLetter, Text: []byte("torn")}, ChainConfig{}, 0, func(t *testing.T, it *Item) {
			if it.Outcome != klamm.Failed || !errors.Is(it.Err, errNoDeadLetterTopic) {
				t.Errorf("got %s, %v", it.Outcome, it.Err)
			}
		}},
		{"code of another hook", runtime.Verdict{Code: 7}, ChainConfig{}, 0, func(t *testing.T, it *Item) {
			if it.Outcome != klamm.Failed {
				t.Errorf("got %s", it.Outcome)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &fakeSeat{onSend: func(c *fakeCall) error {
				c.verdicts[0] = tt.verdict
				return nil
			}}
			tt.links.OnSend = []Link{s.link("p")}
			l := chainOf(t, tt.links)
			b := batchOf("value")
			mine := b.Items[0].Record.Value
			b.Items[0].Record.Target = tt.target
			l.OnSend(context.Background(), b)
			tt.check(t, &b.Items[0])
			checkReset(t, b)
			if string(mine) != "value" {
				t.Errorf("the caller's bytes were written: %q", mine)
			}
		})
	}
}

func TestC015_KeyEdit(t *testing.T) {
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		c.edit(0, runtime.Edit{Op: abi.OpSetKey, Value: []byte("new")})
		c.edit(1, runtime.Edit{Op: abi.OpSetKey})
		c.edit(2, runtime.Edit{Op: abi.OpSetKey, Value: []byte{}})
		return nil
	}}
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}})
	b := batchOf("a", "b", "c")
	l.OnSend(context.Background(), b)
	want := [][]byte{[]byte("new"), nil, {}}
	for i := range b.Items {
		if diff := cmp.Diff(want[i], b.Items[i].Record.Key); diff != "" {
			t.Errorf("key %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestC017_TopicEdit(t *testing.T) {
	tests := []struct {
		name    string
		allowed []string
		to      string
		refused string // part of the error; "" is allowed
	}{
		{"its own", nil, "orders", ""},
		{"exact", []string{"orders.eu"}, "orders.eu", ""},
		{"glob", []string{"orders.*"}, "orders.us", ""},
		{"not listed", []string{"orders.*"}, "payments", "does not name it"},
		{"none listed", nil, "payments", "does not name it"},
		{"Kafka's own", []string{"*"}, "__consumer_offsets", "Kafka's own"},
		{"of a state", []string{"*"}, "klamm.state", "belongs to a state"},
		{"dead-letter topic", []string{"*"}, "dead", "is a dead-letter topic"},
		{"dead-letter topic of a link", []string{"*"}, "dead2", "is a dead-letter topic"},
		{"illegal", []string{"*"}, "a b", "letters, digits"},
		{"empty", []string{"*"}, "", "needs a name"},
		{"dots", []string{"*"}, "..", "no topic of that name"},
		{"long", []string{"*"}, strings.Repeat("x", 250), "at most 249"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &fakeSeat{onSend: func(c *fakeCall) error {
				c.edit(0, runtime.Edit{Op: abi.OpSetValue, Value: []byte("edited")}, runtime.Edit{Op: abi.OpSetTopic, Value: []byte(tt.to)})
				return nil
			}}
			link := s.link("p")
			link.AllowedTopics, link.DeadLetterTopic = tt.allowed, "dead2"
			var m counts
			l := chainOf(t, ChainConfig{
				OnSend: []Link{link}, DeadLetterTopic: "dead", Metrics: &m,
				Refused: func(topic string) bool { return topic == "klamm.state" },
			})
			b := batchOf("v", "w")
			l.OnSend(context.Background(), b)
			it := &b.Items[0]
			if tt.refused == "" {
				if it.Record.Topic != tt.to || it.Outcome != klamm.InFlight || it.Origin() != "orders" {
					t.Errorf("got %q, %s, from %q", it.Record.Topic, it.Outcome, it.Origin())
				}
				return
			}
			if it.Outcome != klamm.Failed || !errors.Is(it.Err, klamm.ErrTopicRefused) || !strings.Contains(it.Err.Error(), tt.refused) {
				t.Errorf("got %s, %v", it.Outcome, it.Err)
			}
			for _, want := range []string{`"p"`, `"orders"`, `"` + tt.to + `"`} {
				if it.Err != nil && !strings.Contains(it.Err.Error(), want) {
					t.Errorf("error lacks %s: %v", want, it.Err)
				}
			}
			if it.Record.Topic != "orders" || string(it.Record.Value) != "v" {
				t.Errorf("half of the edit took effect: %q to %q", it.Record.Value, it.Record.Topic)
			}
			if b.Items[1].Outcome != klamm.InFlight {
				t.Errorf("the other record: got %s", b.Items[1].Outcome)
			}
			if m.get("fault p on_send topic_refused") != 1 || m.get("verdict p on_send edit") != 0 {
				t.Errorf("counts: %v", m.m)
			}
		})
	}
}

// A record may go back to the topic that its caller named.
func TestTopicEditBackToTheCallers(t *testing.T) {
	to := func(topic string) *fakeSeat {
		return &fakeSeat{onSend: func(c *fakeCall) error {
			c.edit(0, runtime.Edit{Op: abi.OpSetTopic, Value: []byte(topic)})
			return nil
		}}
	}
	away := to("orders.eu").link("away")
	away.AllowedTopics = []string{"orders.eu"}
	l := chainOf(t, ChainConfig{OnSend: []Link{away, to("orders").link("back")}})
	b := batchOf("v")
	l.OnSend(context.Background(), b)
	if it := &b.Items[0]; it.Outcome != klamm.InFlight || it.Record.Topic != "orders" {
		t.Errorf("got %s to %q, %v", it.Outcome, it.Record.Topic, it.Err)
	}
}

func TestC018_Headers(t *testing.T) {
	add := func(k, v string) runtime.Edit {
		return runtime.Edit{Op: abi.OpAddHeader, Key: []byte(k), Value: []byte(v)}
	}
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		c.edit(0, add("a", "1"), add("b", "2"), add("a", "3"))
		return nil
	}}
	two := &fakeSeat{onSend: func(c *fakeCall) error {
		c.edit(0, runtime.Edit{Op: abi.OpAddHeader, Key: []byte("a")})
		return nil
	}}
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("one"), two.link("two")}})
	b := batchOf("v")
	own := []klamm.Header{{Key: "a", Value: []byte("0")}}
	b.Items[0].Record.Headers = own
	l.OnSend(context.Background(), b)
	want := []klamm.Header{
		{Key: "a", Value: []byte("0")}, {Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")},
		{Key: "a", Value: []byte("3")}, {Key: "a"},
	}
	if diff := cmp.Diff(want, b.Items[0].Record.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if len(own) != 1 || string(own[0].Value) != "0" {
		t.Errorf("the caller's headers changed: %v", own)
	}
}

func TestC031_GuestErrorFlowsUnmodified(t *testing.T) {
	s := &fakeSeat{onSend: func(*fakeCall) error {
		return &runtime.GuestError{Plugin: "p", Export: abi.ExportOnSend, Code: 2}
	}}
	link := s.link("p")
	link.OnError = Pass
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{link}, Metrics: &m})
	b := batchOf("a", "b", "c")
	l.OnSend(context.Background(), b)
	if got := values(b); got != "a:in_flight b:in_flight c:in_flight" {
		t.Errorf("got %s", got)
	}
	if got := m.get("fault p on_send guest_error"); got != 3 {
		t.Errorf("faults: got %d, want 3", got)
	}
}

// Only what passed the first link reaches the second.
func TestDroppedRecordsGoNoFurther(t *testing.T) {
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		for i := range c.b.Len() {
			if string(c.b.Key(i)) == "x" {
				c.drop(i, abi.ReasonDuplicate)
			}
		}
		return nil
	}}
	var n int
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p"), {Name: "n", Native: appends("!", &n)}}, Metrics: &m})
	b := batchOf("a", "x", "b", "x")
	l.OnSend(context.Background(), b)
	if got := values(b); got != "a!:in_flight x:dropped b!:in_flight x:dropped" {
		t.Errorf("got %s", got)
	}
	if got := m.get("drop p duplicate"); got != 2 {
		t.Errorf("drops: got %d, want 2", got)
	}
	for i, want := range []uint16{3, 1, 3, 1} {
		if got := b.Items[i].Offered; got != want {
			t.Errorf("record %d offered to %b, want %b", i, got, want)
		}
	}
}
