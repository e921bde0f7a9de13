package interceptor

import (
	"context"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

func TestExplain(t *testing.T) {
	ledger, space := spaceOf(t, "dedup")
	ids := newDedup()
	headers := &fakeSeat{onSend: func(c *fakeCall) error {
		c.edit(0, runtime.Edit{Op: abi.OpAddHeader, Key: []byte("h"), Value: []byte("1")})
		return nil
	}}
	faulty := (&fakeSeat{onSend: func(*fakeCall) error { return trap() }}).link("faulty")
	faulty.OnError = Pass
	listens := (&fakeSeat{told: func(abi.Hook, *runtime.Block) error { return nil }}).link("listens")
	drops := Link{Name: "drops", Native: sends(func(items []*Item) error { items[0].Drop("enough"); return nil })}
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{
		ids.link(t, "dedup", space), listens, faulty, headers.link("headers"), drops, headers.link("never"),
	}, Metrics: &m})
	it := batchOf("v").Items[0]
	steps := l.Explain(context.Background(), abi.OnSend, &it, nowMS, nil)
	want := []struct {
		plugin, verdict string
		called          bool
		headers         int // after
	}{
		{"dedup", "edit", true, 1}, {"listens", "", false, 1}, {"faulty", "pass", true, 1}, {"headers", "edit", true, 2}, {"drops", "drop", true, 2},
	}
	if len(steps) != len(want) {
		t.Fatalf("got %d steps, want %d: %+v", len(steps), len(want), steps)
	}
	for i, w := range want {
		s := &steps[i]
		if s.Plugin != w.plugin || s.Verdict != w.verdict || s.Called != w.called || len(s.After.Headers) != w.headers {
			t.Errorf("step %d: got %s %q, called %t, %d headers; want %+v", i, s.Plugin, s.Verdict, s.Called, len(s.After.Headers), w)
		}
		if (s.Fault != nil) != (w.plugin == "faulty") {
			t.Errorf("step %d: fault %v", i, s.Fault)
		}
	}
	if len(steps[0].Before.Headers) != 0 || steps[4].Reason != "enough" || it.Outcome != klamm.Dropped {
		t.Errorf("got %+v, outcome %s", steps, it.Outcome)
	}
	if steps[0].Generation != 1 || steps[0].Digest != "d1" {
		t.Errorf("got generation %d, digest %q", steps[0].Generation, steps[0].Digest)
	}
	if len(m.m) != 0 {
		t.Errorf("metrics were told: %v", m.m)
	}
	if _, ok := space.Get([]byte("last"), nowMS); ok || ledger.Stats()[0].Pending != 0 {
		t.Error("the explanation left something behind")
	}
}

func TestExplainDuplicates(t *testing.T) {
	ledger, space := spaceOf(t, "dedup")
	l := chainOf(t, ChainConfig{OnSend: []Link{newDedup().link(t, "dedup", space)}})
	b := batchOf("pending", "confirmed")
	l.OnSend(context.Background(), b)
	ledger.Settle(state.Ref(b.Items[1].Ref), state.Settlement{Outcome: klamm.Written, At: state.Position{Topic: "orders", Partition: 3, Offset: 4}, NowMS: nowMS})
	for _, tt := range []struct {
		value   string
		pending bool
		at      state.Position
	}{
		{"pending", true, state.Position{}},
		{"confirmed", false, state.Position{Topic: "orders", Partition: 3, Offset: 4}},
	} {
		it := batchOf(tt.value).Items[0]
		it.Ref = 99
		steps := l.Explain(context.Background(), abi.OnSend, &it, nowMS, nil)
		if s := &steps[0]; s.Verdict != "drop" || s.Reason != "duplicate" || s.Pending != tt.pending || s.Duplicate != tt.at {
			t.Errorf("%s: got %+v", tt.value, s)
		}
		if it.Wait != nil {
			t.Errorf("%s: the explained record waits", tt.value)
		}
	}
	b.Items = b.Items[:1]
	finish(t, ledger, b)
}

// The lane judges as before after an explanation.
func TestExplainLeavesTheLaneAlone(t *testing.T) {
	var n int
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{{Name: "one", Native: appends("!", &n)}}, Metrics: &m})
	it := batchOf("v").Items[0]
	if steps := l.Explain(context.Background(), abi.OnSend, &it, nowMS, nil); string(steps[0].After.Value) != "v!" || string(steps[0].Before.Value) != "v" {
		t.Errorf("got %+v", steps)
	}
	b := batchOf("w")
	l.OnSend(context.Background(), b)
	if got := values(b); got != "w!:in_flight" || m.get("verdict one on_send edit") != 1 {
		t.Errorf("got %s, %v", got, m.m)
	}
}
