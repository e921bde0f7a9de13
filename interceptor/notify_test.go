package interceptor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

func acksFor(b *Batch) []Ack {
	var out []Ack
	for i := range b.Items {
		it := &b.Items[i]
		out = append(out, Ack{
			Record: klamm.Record{Topic: it.Record.Topic, Key: it.Record.Key, Timestamp: it.Record.Timestamp},
			Ref:    it.Ref, Partition: 1, Offset: int64(i), Offered: it.Offered, Generations: it.Generations,
		})
	}
	return out
}

func TestC005_AcknowledgedInListOrder(t *testing.T) {
	var order []string
	ack := func(name string) Link {
		return Link{Name: name, Native: both{
			sends:  func([]*Item) error { return nil },
			acksOf: func(acks []*Ack) error { order = append(order, fmt.Sprintf("%s:%d", name, len(acks))); return nil },
		}}
	}
	list := []Link{ack("a"), ack("b")}
	l := chainOf(t, ChainConfig{OnSend: list, OnAcknowledgement: list})
	b := batchOf("v")
	l.OnSend(context.Background(), b)
	l.OnAcknowledgement(context.Background(), acksFor(b))
	if want := []string{"a:1", "b:1"}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}

func TestC006_AcknowledgementFails(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails int
	}{{"first", 1}, {"both", 2}} {
		t.Run(tt.name, func(t *testing.T) {
			var called []string
			var m counts
			seatOf := func(name string, fails bool) Link {
				return (&fakeSeat{told: func(abi.Hook, *runtime.Block) error {
					called = append(called, name)
					if fails {
						return trap()
					}
					return nil
				}}).link(name)
			}
			last := Link{Name: "c", Native: acksOf(func([]*Ack) error { called = append(called, "c"); panic("boom") })}
			l := chainOf(t, ChainConfig{
				OnAcknowledgement: []Link{seatOf("a", true), seatOf("b", tt.fails > 1), last}, Metrics: &m,
			})
			acks := []Ack{{Record: klamm.Record{Topic: "orders"}, Ref: 1, Partition: 2, Offset: 3}}
			before := acks[0]
			l.OnAcknowledgement(context.Background(), acks)
			if want := []string{"a", "b", "c"}; !slices.Equal(called, want) {
				t.Errorf("called %v, want %v", called, want)
			}
			if diff := cmp.Diff(before, acks[0]); diff != "" {
				t.Errorf("the result changed:\n%s", diff)
			}
			if got := m.get("fault a on_acknowledgement trap"); got != 1 {
				t.Errorf("faults of a: %d", got)
			}
			if got := m.get("fault c on_acknowledgement panic"); got != 1 {
				t.Errorf("panics of c: %d", got)
			}
			if got := m.get("fault b on_acknowledgement trap"); got != tt.fails-1 {
				t.Errorf("faults of b: %d", got)
			}
		})
	}
}

// Each plugin gets one entry for each record that it was offered, and one
// without on_send for every record.
func TestAcknowledgementGoesToThoseThatWereOffered(t *testing.T) {
	got := map[string][]uint64{}
	note := func(name string) func(acks []*Ack) error {
		return func(acks []*Ack) error {
			for _, a := range acks {
				got[name] = append(got[name], a.Ref)
			}
			return nil
		}
	}
	drops := Link{Name: "drops", Native: both{
		sends: func(items []*Item) error {
			for _, it := range items {
				if string(it.Record.Key) == "x" {
					it.Drop("x")
				}
			}
			return nil
		},
		acksOf: note("drops"),
	}}
	second := Link{Name: "second", Native: both{sends: func([]*Item) error { return nil }, acksOf: note("second")}}
	listens := Link{Name: "listens", Native: acksOf(note("listens"))}
	apart := Link{Name: "apart", Native: acksOf(note("apart"))}
	l := chainOf(t, ChainConfig{
		OnSend:            []Link{drops, second, listens},
		OnAcknowledgement: []Link{drops, second, listens, apart},
	})
	b := batchOf("a", "x", "b")
	l.OnSend(context.Background(), b)
	l.OnAcknowledgement(context.Background(), acksFor(b))
	want := map[string][]uint64{"drops": {1, 2, 3}, "second": {1, 3}, "listens": {1, 2, 3}, "apart": {1, 2, 3}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// A new version may lose or gain on_send between judgement and acknowledgement.
func TestAcknowledgementAcrossGenerations(t *testing.T) {
	tests := []struct {
		name          string
		before, after abi.HookMask
		want          int
	}{
		{"kept", 3, 3, 2},
		{"lost on_send", 3, 2, 2},
		{"gained on_send", 2, 3, 2},
		{"lost on_acknowledgement", 3, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			s := &fakeSeat{
				onSend: func(*fakeCall) error { return nil },
				told:   func(_ abi.Hook, b *runtime.Block) error { n += b.Len(); return nil },
			}
			list := []Link{s.link("p")}
			s.gen.hooks = tt.before
			l := chainOf(t, ChainConfig{OnSend: list, OnAcknowledgement: list})
			b := batchOf("a", "b")
			l.OnSend(context.Background(), b)
			gen := *s.gen
			gen.number, gen.hooks = 2, tt.after
			s.gen = &gen
			acks := acksFor(b)
			l.OnAcknowledgement(context.Background(), acks)
			if n != tt.want {
				t.Errorf("got %d entries, want %d", n, tt.want)
			}
			p := l.places[abi.OnAcknowledgement][0]
			if ackFlags(p, &gen, &acks[0])&abi.AckEarlierGeneration == 0 {
				t.Error("the flag of an earlier generation is missing")
			}
			gen.number = 1
			if ackFlags(p, &gen, &acks[0]) != 0 {
				t.Error("the flag of an earlier generation is set for the same one")
			}
		})
	}
}

func TestAcknowledgementBlocks(t *testing.T) {
	var sizes []int
	s := &fakeSeat{told: func(_ abi.Hook, b *runtime.Block) error { sizes = append(sizes, b.Len()); return nil }}
	var native []int
	var m counts
	l := chainOf(t, ChainConfig{OnAcknowledgement: []Link{
		s.link("p"), {Name: "n", Native: acksOf(func(acks []*Ack) error { native = append(native, len(acks)); return nil })},
	}, Metrics: &m})
	acks := make([]Ack, 1100)
	for i := range acks {
		acks[i] = Ack{Record: klamm.Record{Topic: "t", Headers: []klamm.Header{{Key: "h", Value: []byte("v")}}}, Latency: time.Hour * 2, Ref: uint64(i)}
	}
	l.OnAcknowledgement(context.Background(), acks)
	for name, got := range map[string][]int{"plugin": sizes, "native": native} {
		if want := []int{512, 512, 76}; !slices.Equal(got, want) {
			t.Errorf("%s: got blocks of %v, want %v", name, got, want)
		}
	}
	if got := m.get("records p on_acknowledgement"); got != 1100 {
		t.Errorf("records counted: %d", got)
	}
}

// The log says where in the guest a call ended, of hooks without verdicts too.
func TestNoticeFaultHasItsStack(t *testing.T) {
	s := &fakeSeat{told: func(h abi.Hook, _ *runtime.Block) error {
		return &runtime.TrapError{Plugin: "p", Export: h.Export(), Trap: "unreachable", Stack: "act at " + h.String() + ".c:7"}
	}}
	var log logged
	link := s.link("p")
	l := chainOf(t, ChainConfig{OnAcknowledgement: []Link{link}, OnCommit: []Link{link}, Logger: log.logger()})
	l.OnAcknowledgement(context.Background(), []Ack{{Record: klamm.Record{Topic: "t"}, Ref: 1}})
	l.OnCommit(context.Background(), []Commit{{Topic: "t", Offset: 1}})
	for _, want := range []string{`stack="act at on_acknowledgement.c:7"`, `stack="act at on_commit.c:7"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in %s", want, log.String())
		}
	}
}

// What a plugin counts and puts while it is told takes effect, unless the call
// fails, and it may not claim.
func TestAcknowledgementTransaction(t *testing.T) {
	ledger, space := spaceOf(t, "p")
	var claimed int32
	var headers []string
	fails := false
	s := &fakeSeat{}
	var id int32
	s.told = func(_ abi.Hook, b *runtime.Block) error {
		s.host.AddMetric(id, int64(b.Len()))
		claimed = s.host.Claim(0, []byte("id"), 0)
		s.host.Headers(0, func(k string, v []byte) { headers = append(headers, k+"="+string(v)) })
		if err := s.host.StatePut([]byte("last"), []byte("v"), 0); err != nil {
			return err
		}
		if fails {
			return trap()
		}
		return nil
	}
	link := s.link("p")
	link.Space = space
	var m counts
	l := chainOf(t, ChainConfig{OnAcknowledgement: []Link{link}, Metrics: &m})
	var err error
	if id, err = s.host.DefineMetric(abi.MetricCounter, "told_total"); err != nil {
		t.Fatal(err)
	}
	acks := []Ack{{Record: klamm.Record{Topic: "t", Headers: []klamm.Header{{Key: "h", Value: []byte("v")}}}, Ref: 9}}
	fails = true
	l.OnAcknowledgement(context.Background(), acks)
	if _, ok := space.Get([]byte("last"), nowMS); ok || m.get("counter p told_total") != 0 {
		t.Errorf("a failed call took effect: %v", m.m)
	}
	fails = false
	l.OnAcknowledgement(context.Background(), acks)
	if v, ok := space.Get([]byte("last"), nowMS); !ok || string(v) != "v" {
		t.Errorf("put: got %q, %t", v, ok)
	}
	if got := m.get("counter p told_total"); got != 1 {
		t.Errorf("counter: got %d, want 1", got)
	}
	if claimed != abi.ClaimRefused || ledger.Stats()[0].Pending != 0 {
		t.Errorf("claim: got %d", claimed)
	}
	if want := []string{"h=v", "h=v"}; !slices.Equal(headers, want) {
		t.Errorf("headers: got %v", headers)
	}
}

func TestC141_CommitFails(t *testing.T) {
	var called []string
	var got []Commit
	a := Link{Name: "a", Native: commits(func([]Commit) error { called = append(called, "a"); return errBoom })}
	guest := &fakeSeat{told: func(h abi.Hook, b *runtime.Block) error {
		called = append(called, fmt.Sprintf("%s:%d", h, b.Len()))
		return trap()
	}}
	c := Link{Name: "c", Native: commits(func(cs []Commit) error { called = append(called, "c"); got = slices.Clone(cs); return nil })}
	var m counts
	var log logged
	l := chainOf(t, ChainConfig{OnCommit: []Link{a, guest.link("b"), c}, Metrics: &m, Logger: log.logger()})
	cs := []Commit{{Topic: "orders", Partition: 1, Offset: 42}, {Topic: "orders", Partition: 2, Offset: 7}}
	l.OnCommit(context.Background(), cs)
	if want := []string{"a", "on_commit:2", "c"}; !slices.Equal(called, want) {
		t.Errorf("called %v, want %v", called, want)
	}
	if diff := cmp.Diff(cs, got); diff != "" {
		t.Errorf("commits (-want +got):\n%s", diff)
	}
	if m.get("fault a on_commit error") != 1 || m.get("fault b on_commit trap") != 1 {
		t.Errorf("faults: %v", m.m)
	}
	if !strings.Contains(log.String(), "boom") {
		t.Errorf("log: %s", log.String())
	}
}

func TestC142_EmptyChain(t *testing.T) {
	l := chainOf(t, ChainConfig{})
	b := batchOf("v")
	l.OnSend(context.Background(), b)
	l.OnConsume(context.Background(), b)
	l.OnAcknowledgement(context.Background(), acksFor(b))
	l.OnCommit(context.Background(), []Commit{{Topic: "t"}})
	if it := &b.Items[0]; it.Outcome != klamm.InFlight || it.Offered != 0 {
		t.Errorf("got %s, %b", it.Outcome, it.Offered)
	}
	if _, ok := l.Wants(abi.OnSend); ok {
		t.Error("an empty chain wants something")
	}
}

func TestC135_TwoFilters(t *testing.T) {
	filter := func(partition int32) Link {
		return Link{Name: fmt.Sprint("not-", partition), Native: consumes(func(items []*Item) error {
			for _, it := range items {
				if it.Record.Partition == partition {
					it.Drop("filtered")
				}
			}
			return nil
		})}
	}
	l := chainOf(t, ChainConfig{OnConsume: []Link{filter(0), filter(1)}})
	b := batchOf("a", "b", "c")
	for i := range b.Items {
		b.Items[i].Record.Partition, b.Items[i].Record.Offset = int32(i), 40
	}
	l.OnConsume(context.Background(), b)
	if got := values(b); got != "a:dropped b:dropped c:in_flight" {
		t.Errorf("got %s", got)
	}
	for i := range b.Items {
		// The position of a dropped record is still there to be committed.
		if r := &b.Items[i].Record; r.Partition != int32(i) || r.Offset != 40 {
			t.Errorf("record %d: got %d/%d", i, r.Partition, r.Offset)
		}
	}
}

func TestC137_BothConsumersFail(t *testing.T) {
	fails := Link{Name: "a", OnError: Pass, Native: consumes(func(items []*Item) error {
		for _, it := range items {
			it.Record.Value = nil
		}
		return errBoom
	})}
	guest := (&fakeSeat{onSend: func(c *fakeCall) error { return trap() }}).link("b")
	guest.OnError = Pass
	l := chainOf(t, ChainConfig{OnConsume: []Link{fails, guest}})
	b, want := batchOf("a", "b", "c"), batchOf("a", "b", "c")
	l.OnConsume(context.Background(), b)
	for i := range b.Items {
		if diff := cmp.Diff(want.Items[i].Record, b.Items[i].Record); diff != "" || b.Items[i].Outcome != klamm.InFlight {
			t.Errorf("record %d: %s:\n%s", i, b.Items[i].Outcome, diff)
		}
	}
}

func TestC143_EmptyBatch(t *testing.T) {
	l := chainOf(t, ChainConfig{OnConsume: []Link{(&fakeSeat{onSend: func(*fakeCall) error {
		return errors.New("called")
	}}).link("p")}})
	b := &Batch{}
	l.OnConsume(context.Background(), b)
	if len(b.Items) != 0 {
		t.Errorf("got %d items", len(b.Items))
	}
}

func TestCommitTold(t *testing.T) {
	var got []Commit
	l := chainOf(t, ChainConfig{OnCommit: []Link{{Name: "c", Native: commits(func(cs []Commit) error {
		got = append(got, cs...)
		return nil
	})}}})
	l.OnCommit(context.Background(), []Commit{{Topic: "t", Partition: 3, Offset: 9}})
	if diff := cmp.Diff([]Commit{{Topic: "t", Partition: 3, Offset: 9}}, got); diff != "" {
		t.Errorf("commits (-want +got):\n%s", diff)
	}
}

// A plugin without on_send learns of records that failed before the chain, too.
func TestAcknowledgementOfARecordThatNoPluginSaw(t *testing.T) {
	n := 0
	s := &fakeSeat{told: func(_ abi.Hook, b *runtime.Block) error { n += b.Len(); return nil }}
	judges := &fakeSeat{onSend: func(*fakeCall) error { return nil }, told: func(abi.Hook, *runtime.Block) error {
		t.Error("a plugin was told of a record that it was not offered")
		return nil
	}}
	list := []Link{s.link("listens"), judges.link("judges")}
	l := chainOf(t, ChainConfig{OnSend: list, OnAcknowledgement: list})
	l.OnAcknowledgement(context.Background(), []Ack{{Record: klamm.Record{Topic: "a b"}, Code: 17}})
	if n != 1 {
		t.Errorf("got %d entries, want 1", n)
	}
}
