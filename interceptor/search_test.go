package interceptor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// trapsOn returns a seat that traps on records with that value, and the values
// of the records of each call.
func trapsOn(bad string, seen *[]string) *fakeSeat {
	return &fakeSeat{onSend: func(c *fakeCall) error {
		var vs []string
		var err error
		for i := range c.b.Len() {
			v := string(c.host.Value(i))
			vs = append(vs, v)
			if v == bad {
				err = trap()
			}
		}
		*seen = append(*seen, strings.Join(vs, ""))
		return err
	}}
}

func TestSearchHalves(t *testing.T) {
	var calls []string
	s := trapsOn("X", &calls)
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}})
	b := batchOf("a", "b", "c", "d", "e", "f", "X", "h")
	l.OnSend(context.Background(), b)
	// The second half is not tried as a whole once the first one is clean.
	if got, want := strings.Join(calls, " "), "abcdefXh abcd ef X h"; got != want {
		t.Errorf("calls: got %s, want %s", got, want)
	}
	if got := values(b); strings.Count(got, "failed") != 1 || !strings.Contains(got, "X:failed") {
		t.Errorf("got %s", got)
	}
}

func TestSearchTrustsANamedCulprit(t *testing.T) {
	var calls []string
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		var err error
		vs := ""
		for i := range c.b.Len() {
			v := string(c.host.Value(i))
			vs += v
			if v == "X" && err == nil {
				err = &runtime.VerdictError{Plugin: "p", Export: abi.ExportOnSend, Index: i, Problem: "code 99"}
			}
		}
		calls = append(calls, vs)
		return err
	}}
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}})
	b := batchOf("a", "b", "X", "d", "X", "f")
	l.OnSend(context.Background(), b)
	if got, want := strings.Join(calls, " "), "abXdXf ab dXf d f"; got != want {
		t.Errorf("calls: got %s, want %s", got, want)
	}
	if got := values(b); got != "a:in_flight b:in_flight X:failed d:in_flight X:failed f:in_flight" {
		t.Errorf("got %s", got)
	}
}

// Repeated calls are marked, so that one bad record is one fault to the breaker.
func TestSearchMarksRepeatedCalls(t *testing.T) {
	var marks []bool
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		marks = append(marks, c.b.Retry)
		return trap()
	}}
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}})
	for range 2 {
		l.OnSend(context.Background(), batchOf("a", "b"))
	}
	if got := fmt.Sprint(marks); got != "[false true true false true true]" {
		t.Errorf("got %s", got)
	}
}

// A fault that goes away when the records are judged in smaller batches hurts
// none of them.
func TestFaultOfTheWholeBatch(t *testing.T) {
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		if c.b.Len() > 2 {
			return trap()
		}
		return nil
	}}
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}, Metrics: &m})
	b := batchOf("a", "b", "c", "d", "e")
	l.OnSend(context.Background(), b)
	if got := values(b); strings.Contains(got, "failed") {
		t.Errorf("got %s", got)
	}
	if got := m.get("fault p on_send trap"); got != 1 {
		t.Errorf("faults: got %d, want 1", got)
	}
	if got := m.get("records p on_send"); got != 5 {
		t.Errorf("records: got %d, want 5", got)
	}
}

// The search ends with its budget; what is left gets the policy.
func TestSearchBudget(t *testing.T) {
	s := &fakeSeat{onSend: func(*fakeCall) error { return trap() }}
	link := s.link("p")
	link.Timeout = time.Nanosecond
	link.OnError = Pass
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{link}, Metrics: &m})
	b := batchOf("a", "b", "c", "d")
	l.OnSend(context.Background(), b)
	if got := m.get("fault p on_send unjudged"); got != 4 {
		t.Errorf("unjudged: got %d, want 4; %v", got, m.m)
	}
	if s.calls != 1 {
		t.Errorf("calls: got %d, want 1", s.calls)
	}
	if got := values(b); strings.Count(got, "in_flight") != 4 {
		t.Errorf("got %s", got)
	}
}

func TestEndOfContextFailsTheRest(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &fakeSeat{onSend: func(*fakeCall) error {
		cancel()
		return ctx.Err()
	}}
	link := s.link("p")
	link.OnError = Pass
	l := chainOf(t, ChainConfig{OnSend: []Link{link}})
	b := batchOf("a", "b")
	l.OnSend(ctx, b)
	for i := range b.Items {
		if it := &b.Items[i]; it.Outcome != klamm.Failed || !errors.Is(it.Err, context.Canceled) {
			t.Errorf("record %d: got %s, %v", i, it.Outcome, it.Err)
		}
	}
}

// Errors that are no faults, as of a plugin without a generation, meet the
// policy without a search.
func TestHostErrorMeetsPolicy(t *testing.T) {
	s := &fakeSeat{onSend: func(*fakeCall) error { return runtime.ErrNotLoaded }}
	link := s.link("p")
	link.OnError = Drop
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{link}, Metrics: &m})
	b := batchOf("a", "b")
	l.OnSend(context.Background(), b)
	if got := values(b); got != "a:dropped b:dropped" || s.calls != 1 {
		t.Errorf("got %s after %d calls", got, s.calls)
	}
	if m.get("fault p on_send host") != 2 || m.get("drop p error") != 2 {
		t.Errorf("counts: %v", m.m)
	}
}

func TestBlocksAreCut(t *testing.T) {
	tests := []struct {
		name    string
		records int
		value   int
		want    string
	}{
		{"by count", 1100, 10, "[512 512 76]"},
		{"by bytes", 40, 100 << 10, "[10 10 10 10]"},
		{"one record above the block", 2, 2 << 20, "[1 1]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sizes []int
			s := &fakeSeat{onSend: func(c *fakeCall) error {
				sizes = append(sizes, c.b.Len())
				return nil
			}}
			l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}})
			b := &Batch{NowMS: nowMS}
			for i := range tt.records {
				b.Items = append(b.Items, Item{Ref: uint64(i), Record: klamm.Record{Topic: "t", Value: make([]byte, tt.value)}})
			}
			l.OnSend(context.Background(), b)
			if got := fmt.Sprint(sizes); got != tt.want {
				t.Errorf("blocks: got %s, want %s", got, tt.want)
			}
		})
	}
}

// Slow calls make blocks shorter, quick ones longer again.
func TestBlockLengthFollowsTheDeadline(t *testing.T) {
	p := &place{link: &Link{Timeout: 40 * time.Millisecond}, limit: abi.BatchMax}
	steps := []struct {
		records int
		took    time.Duration
		want    int
	}{
		{400, 11 * time.Millisecond, 200}, {200, 5 * time.Millisecond, 200},
		{200, 40 * time.Millisecond, 100}, {1, time.Second, 1}, {1, time.Second, 1},
		{1, time.Millisecond, 2}, {2, time.Millisecond, 4}, {4, 3 * time.Millisecond, 4},
	}
	for i, s := range steps {
		p.adapt(s.records, s.took)
		if p.limit != s.want {
			t.Errorf("step %d: got limit %d, want %d", i, p.limit, s.want)
		}
	}
	for range 20 {
		p.adapt(1, 0)
	}
	if p.limit != abi.BatchMax {
		t.Errorf("got limit %d at last, want %d", p.limit, abi.BatchMax)
	}
}

// The block is encoded once for links with the same fields, as long as no
// verdict changes a record.
func TestEncodingIsReused(t *testing.T) {
	tests := []struct {
		name   string
		change bool
		fields abi.Fields
		same   bool
	}{
		{"unchanged", false, allFields, true},
		{"edited", true, allFields, false},
		{"other fields", false, abi.FieldKey, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var keys [2][]byte // where the block keeps the first key
			one := &fakeSeat{onSend: func(c *fakeCall) error {
				keys[0] = c.b.Key(0)
				if tt.change {
					c.edit(0, runtime.Edit{Op: abi.OpSetKey, Value: []byte("kkkkkkkk")})
				}
				c.b.Key(0)[0] = '#' // only a block that is encoded anew loses the mark
				return nil
			}}
			two := &fakeSeat{onSend: func(c *fakeCall) error {
				keys[1] = append([]byte(nil), c.b.Key(0)...)
				return nil
			}}
			second := two.link("two")
			two.gen.fields[abi.OnSend] = tt.fields
			l := chainOf(t, ChainConfig{OnSend: []Link{one.link("one"), second}})
			l.OnSend(context.Background(), batchOf("aaaaaaaa", "b"))
			if got := keys[1][0] == '#'; got != tt.same {
				t.Errorf("reused: got %t, want %t", got, tt.same)
			}
			// The next batch is always encoded anew, although its items lie in the
			// same memory.
			b := batchOf("cccccccc", "d")
			l.OnSend(context.Background(), b)
			if string(keys[1][1:2]) == "a" {
				t.Errorf("the second batch saw the first one's records: %q", keys[1])
			}
		})
	}
}
