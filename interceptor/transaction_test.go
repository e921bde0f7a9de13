package interceptor

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// dedup is a guest that drops records whose key it has seen. Each drop is
// counted, and the last key is put.
type dedup struct {
	fakeSeat
	dropped int32 // metric
	// fault is asked before and after the claim of each record, and once more,
	// with -1, when all are judged.
	fault func(c *fakeCall, i int, claimed bool) error
	// room is how many records a call has room for; 0 is all.
	room int
	// lot has the keys of a block claimed together, as ClaimKeys does, before the
	// first fault.
	lot bool
}

func newDedup() *dedup {
	d := &dedup{}
	d.onSend = d.judgeAll
	return d
}

func (d *dedup) link(t testing.TB, name string, space *state.Space) Link {
	t.Helper()
	link := d.fakeSeat.link(name)
	open := link.open
	link.Space = space
	link.open = func(ctx context.Context, cfg runtime.SeatConfig) (seat, error) {
		var err error
		d.dropped, err = cfg.Host.DefineMetric(abi.MetricCounter, "dropped_total")
		if err != nil {
			return nil, err
		}
		return open(ctx, cfg)
	}
	return link
}

func (d *dedup) judgeAll(c *fakeCall) error {
	var fresh [abi.BatchMax / 8]byte
	if d.lot {
		c.host.(runtime.KeyClaimer).ClaimKeys(c.b, 60_000, fresh[:])
	}
	for i := range c.b.Len() {
		if err := d.ask(c, i, false); err != nil {
			return err
		}
		d.one(c, i, fresh[i/8]>>(i%8)&1 != 0)
		if err := d.ask(c, i, true); err != nil {
			return err
		}
	}
	if d.room > 0 {
		c.judged = min(c.b.Len(), d.room)
	}
	return d.ask(c, -1, true)
}

func (d *dedup) ask(c *fakeCall, i int, claimed bool) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(c, i, claimed)
}

func (d *dedup) one(c *fakeCall, i int, fresh bool) {
	key := c.b.Key(i)
	if err := c.host.StatePut([]byte("last"), key, 0); err != nil {
		panic(err)
	}
	if !d.lot {
		fresh = c.host.Claim(i, key, 60_000) == abi.ClaimNew
	}
	if fresh {
		c.edit(i, runtime.Edit{Op: abi.OpAddHeader, Key: []byte("first"), Value: key})
		return
	}
	c.host.AddMetric(d.dropped, 1)
	c.drop(i, abi.ReasonDuplicate)
}

// finish settles a judged batch as a host does: written where the chain let it
// through. It returns what the records were completed with.
func finish(t testing.TB, ledger *state.Ledger, b *Batch) map[uint64]klamm.Outcome {
	t.Helper()
	done := map[uint64]klamm.Outcome{}
	end := func(ref uint64, o klamm.Outcome) {
		if was, twice := done[ref]; twice {
			t.Errorf("record %d is completed as %s after %s", ref, o, was)
		}
		done[ref] = o
	}
	settle := func(it *Item, o klamm.Outcome) {
		end(it.Ref, o)
		rs := ledger.Settle(state.Ref(it.Ref), state.Settlement{
			Outcome: o, Plugin: it.Plugin, Reason: it.Reason, Err: it.Err, NowMS: nowMS,
			At: state.Position{Topic: it.Record.Topic, Partition: 0, Offset: int64(it.Ref)},
		})
		if len(rs) > 0 && !it.Claimed {
			t.Errorf("record %d had claims and does not say so", it.Ref)
		}
		for _, r := range rs {
			end(uint64(r.Waiter), r.Outcome)
		}
	}
	waiters := map[uint64]bool{}
	for i := range b.Items {
		it := &b.Items[i]
		if it.Wait == nil {
			continue
		}
		waiters[it.Ref] = true
		if r, settled := it.Wait.Commit(state.Ref(it.Ref), it.Plugin); settled {
			if r.Outcome == klamm.InFlight {
				r.Outcome = klamm.Failed // no duplicate after all
			}
			settle(it, r.Outcome)
		}
	}
	for i := range b.Items {
		it := &b.Items[i]
		switch {
		case waiters[it.Ref]:
		case it.Outcome == klamm.InFlight:
			settle(it, klamm.Written)
		default:
			settle(it, it.Outcome)
		}
	}
	for _, s := range ledger.Stats() {
		if s.Pending != 0 || s.Waiters != 0 {
			t.Errorf("after the end %d claims are pending and %d records wait", s.Pending, s.Waiters)
		}
	}
	return done
}

func TestDuplicateInFlightWaits(t *testing.T) {
	ledger, space := spaceOf(t, "dedup")
	l := chainOf(t, ChainConfig{OnSend: []Link{newDedup().link(t, "dedup", space)}})
	b := batchOf("a", "b", "a", "a")
	l.OnSend(context.Background(), b)
	for i, want := range []struct {
		outcome       klamm.Outcome
		wait, claimed bool
	}{
		{klamm.InFlight, false, true}, {klamm.InFlight, false, true},
		{klamm.Dropped, true, false}, {klamm.Dropped, true, false},
	} {
		it := &b.Items[i]
		if it.Outcome != want.outcome || (it.Wait != nil) != want.wait || it.Claimed != want.claimed {
			t.Errorf("record %d: got %s, waits %t, claimed %t", i, it.Outcome, it.Wait != nil, it.Claimed)
		}
	}
	done := finish(t, ledger, b)
	if got := fmt.Sprint(done); got != "map[1:out 2:out 3:dropped 4:dropped]" {
		t.Errorf("got %s", got)
	}
}

func TestDuplicateOfAConfirmedRecord(t *testing.T) {
	ledger, space := spaceOf(t, "dedup")
	l := chainOf(t, ChainConfig{OnSend: []Link{newDedup().link(t, "dedup", space)}})
	b := batchOf("a")
	l.OnSend(context.Background(), b)
	finish(t, ledger, b)
	again := batchOf("a")
	again.Items[0].Ref = 77
	l.OnSend(context.Background(), again)
	it := &again.Items[0]
	if it.Outcome != klamm.Dropped || it.Wait != nil || it.Claimed || it.Duplicate.Topic != "orders" {
		t.Errorf("got %s, waits %t, claimed %t, duplicate of %v", it.Outcome, it.Wait != nil, it.Claimed, it.Duplicate)
	}
}

// The drop of a plugin that met no pending id is final, and a wait that was not
// followed by a drop ends.
func TestOnlyTheDropOfThePluginThatMetTheIDWaits(t *testing.T) {
	ledger, space := spaceOf(t, "looks")
	looks := &fakeSeat{}
	looks.onSend = func(c *fakeCall) error {
		for i := range c.b.Len() {
			c.host.Claim(i, []byte("same"), 0)
		}
		return nil
	}
	link := looks.link("looks")
	link.Space = space
	drops := &fakeSeat{onSend: func(c *fakeCall) error {
		c.drop(1, abi.ReasonDuplicate)
		return nil
	}}
	l := chainOf(t, ChainConfig{OnSend: []Link{link, drops.link("drops")}})
	b := batchOf("a", "b", "c")
	l.OnSend(context.Background(), b)
	if it := &b.Items[1]; it.Outcome != klamm.Dropped || it.Wait != nil {
		t.Errorf("got %s, waits %t", it.Outcome, it.Wait != nil)
	}
	if got := fmt.Sprint(finish(t, ledger, b)); got != "map[1:out 2:dropped 3:out]" {
		t.Errorf("got %s", got)
	}
}

func TestPolicyPassKeepsReservedIDs(t *testing.T) {
	for _, tt := range []struct {
		policy Policy
		want   string // of the duplicate
	}{{Pass, "dropped"}, {Fail, "in_flight"}, {Drop, "in_flight"}} {
		for _, named := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, named %t", tt.policy, named), func(t *testing.T) {
				ledger, space := spaceOf(t, "dedup")
				d := newDedup()
				d.fault = func(c *fakeCall, i int, claimed bool) error {
					if i >= 0 && claimed && c.host.Value(i) != nil && string(c.host.Value(i)) == "bad" {
						if named {
							return &runtime.VerdictError{Index: i, Problem: "nonsense"}
						}
						return trap()
					}
					return nil
				}
				link := d.link(t, "dedup", space)
				link.OnError = tt.policy
				l := chainOf(t, ChainConfig{OnSend: []Link{link}})
				b := batchOf("z", "bad", "y", "bad")
				b.Items[3].Record.Value = []byte("good")
				l.OnSend(context.Background(), b)
				if got := b.Items[3].Outcome.String(); got != tt.want {
					t.Errorf("duplicate of the culprit: got %s, want %s", got, tt.want)
				}
				if !b.Items[1].Claimed {
					t.Error("the culprit had claims and does not say so")
				}
				finish(t, ledger, b)
			})
		}
	}
}

// A call that says that its room is used up judges the records that fit.
func TestPartialResult(t *testing.T) {
	ledger, space := spaceOf(t, "dedup")
	d := newDedup()
	d.room = 2
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{d.link(t, "dedup", space)}, Metrics: &m})
	b := batchOf("a", "b", "a", "c", "a", "b", "d")
	l.OnSend(context.Background(), b)
	if got := values(b); got != "a:in_flight b:in_flight a:dropped c:in_flight a:dropped b:dropped d:in_flight" {
		t.Errorf("got %s", got)
	}
	for key, want := range map[string]int{
		"counter dedup dropped_total": 3, "drop dedup duplicate": 3, "records dedup on_send": 7,
		"verdict dedup on_send edit": 4, "fault": 0,
	} {
		if got := m.get(key); got != want {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
	if v, _ := space.Get([]byte("last"), nowMS); string(v) != "d" {
		t.Errorf("last put: got %q", v)
	}
	finish(t, ledger, b)
}

// A guest that judges nothing and says that all is well is at fault.
func TestNoVerdicts(t *testing.T) {
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		c.judged = 0
		return nil
	}}
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}, Metrics: &m})
	b := batchOf("a", "b")
	l.OnSend(context.Background(), b)
	if got := values(b); got != "a:failed b:failed" {
		t.Errorf("got %s", got)
	}
	if got := m.get("fault p on_send verdict"); got != 2 {
		t.Errorf("faults: %v", m.m)
	}
}

func TestFaultedCallIsUndone(t *testing.T) {
	ledger, space := spaceOf(t, "dedup")
	d := newDedup()
	d.fault = func(_ *fakeCall, i int, _ bool) error {
		if i == -1 {
			return trap()
		}
		return nil
	}
	link := d.link(t, "dedup", space)
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{link}, Metrics: &m})
	b := batchOf("a", "a", "b")
	l.OnSend(context.Background(), b)
	if _, ok := space.Get([]byte("last"), nowMS); ok {
		t.Error("a value was put by a call that failed")
	}
	if n := sum(&m, "counter"); n != 0 {
		t.Errorf("metrics were changed by calls that failed: %d", n)
	}
	if s := ledger.Stats()[0]; s.Pending != 0 {
		t.Errorf("%d claims are left", s.Pending)
	}
	finish(t, ledger, b)
}

func TestHostLimits(t *testing.T) {
	_, space := spaceOf(t, "p")
	var line logged
	s := &fakeSeat{}
	var counter, histogram int32
	s.onSend = func(c *fakeCall) error {
		h := c.host
		for _, index := range []int{-1, 2, math.MaxInt} {
			if got := h.Claim(index, []byte("x"), 0); got != abi.ClaimRefused {
				t.Errorf("claim for record %d: got %d", index, got)
			}
			if v := h.Value(index); v != nil {
				t.Errorf("value of record %d: %q", index, v)
			}
			h.Headers(index, func(string, []byte) { t.Errorf("record %d has headers", index) })
		}
		for i := range claimsMax + 1 {
			got := h.Claim(0, fmt.Appendf(nil, "id%d", i), math.MaxInt64)
			if want := abi.ClaimNew; i < claimsMax && got != want || i == claimsMax && got != abi.ClaimRefused {
				t.Fatalf("claim %d: got %d", i, got)
			}
		}
		if err := h.StatePut([]byte("k"), make([]byte, putBytesMax), 0); err == nil {
			t.Error("a value above the limit was taken")
		}
		if err := h.StatePut([]byte("k"), nil, 5); err != nil {
			t.Error(err)
		}
		if err := h.StatePut([]byte("k"), []byte("second"), 5); err != nil {
			t.Error(err)
		}
		if v, ok := h.StateGet([]byte("k")); !ok || string(v) != "second" {
			t.Errorf("own put: got %q, %t", v, ok)
		}
		h.AddMetric(counter, -5)
		h.AddMetric(counter, math.MaxInt64)
		h.AddMetric(counter, 7)
		h.AddMetric(histogram, 7)
		h.AddMetric(99, 7)
		h.ObserveMetric(histogram, math.NaN())
		h.ObserveMetric(counter, 1)
		for range observationsMax + 1 {
			h.ObserveMetric(histogram, 1)
		}
		return nil
	}
	link := s.link("p")
	link.Space = space
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{link}, Metrics: &m, Logger: line.logger()})
	counter, _ = s.host.DefineMetric(abi.MetricCounter, "c")
	histogram, _ = s.host.DefineMetric(abi.MetricHistogram, "h")
	if again, _ := s.host.DefineMetric(abi.MetricCounter, "c"); again != counter {
		t.Errorf("the same metric got id %d and %d", counter, again)
	}
	if _, err := s.host.DefineMetric(9, "x"); err == nil {
		t.Error("a metric of unknown kind was taken")
	}
	b := batchOf("a", "b")
	l.OnSend(context.Background(), b)
	if got := m.get("counter p c"); int64(got) != math.MaxInt64 {
		t.Errorf("counter: got %d", got)
	}
	if got := m.get("observed p h"); got != observationsMax {
		t.Errorf("observed: got %d", got)
	}
	if !strings.Contains(line.String(), "too many values observed") {
		t.Errorf("log: %s", line.String())
	}
	// Between calls nothing answers.
	if s.host.Claim(0, []byte("x"), 0) != abi.ClaimRefused || s.host.Value(0) != nil {
		t.Error("the host answers outside of a call")
	}
}

func TestNoState(t *testing.T) {
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		if got := c.host.Claim(0, []byte("x"), 0); got != abi.ClaimRefused {
			t.Errorf("claim: got %d", got)
		}
		if _, ok := c.host.StateGet([]byte("x")); ok {
			t.Error("state_get answers")
		}
		if err := c.host.StatePut([]byte("x"), nil, 0); err == nil {
			t.Error("state_put is taken")
		}
		return nil
	}}
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}})
	l.OnSend(context.Background(), batchOf("a"))
	if s.calls != 1 {
		t.Errorf("calls: %d", s.calls)
	}
}

func TestDuration(t *testing.T) {
	for ms, want := range map[int64]time.Duration{
		-1: 0, 0: 0, 1500: 1500 * time.Millisecond, math.MaxInt64: math.MaxInt64,
	} {
		if got := duration(ms); got != want {
			t.Errorf("%d: got %d, want %d", ms, got, want)
		}
	}
}

// Claims of records that a call left without a verdict are given back.
func TestPartialResultGivesClaimsBack(t *testing.T) {
	ledger, space := spaceOf(t, "p")
	s := &fakeSeat{}
	s.onSend = func(c *fakeCall) error {
		if s.calls > 1 {
			return trap()
		}
		for i := range c.b.Len() {
			c.host.Claim(i, c.b.Key(i), 0)
		}
		c.judged = 1
		return nil
	}
	link := s.link("p")
	link.Space = space
	l := chainOf(t, ChainConfig{OnSend: []Link{link}})
	b := batchOf("a", "b", "c")
	l.OnSend(context.Background(), b)
	if got := values(b); got != "a:in_flight b:failed c:failed" {
		t.Errorf("got %s", got)
	}
	if got := ledger.Stats()[0].Pending; got != 1 {
		t.Errorf("%d claims are pending, want that of the first record", got)
	}
	finish(t, ledger, b)
}

// A plugin that met a pending id and edits the record does not make it wait.
func TestEditEndsTheWait(t *testing.T) {
	ledger, space := spaceOf(t, "p")
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		for i := range c.b.Len() {
			c.host.Claim(i, []byte("same"), 0)
			c.edit(i, runtime.Edit{Op: abi.OpSetKey})
		}
		return nil
	}}
	link := s.link("p")
	link.Space = space
	drops := sends(func(items []*Item) error {
		items[1].Drop("later")
		return nil
	})
	l := chainOf(t, ChainConfig{OnSend: []Link{link, {Name: "drops", Native: drops}}})
	b := batchOf("a", "b")
	l.OnSend(context.Background(), b)
	if it := &b.Items[1]; it.Wait != nil || it.Outcome != klamm.Dropped {
		t.Errorf("got %s, waits %t", it.Outcome, it.Wait != nil)
	}
	finish(t, ledger, b)
}

func TestRewind(t *testing.T) {
	ledger, space := spaceOf(t, "p")
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		c.host.Claim(0, []byte("x"), 0)
		c.host.Claim(1, []byte("x"), 0)
		c.host.(runtime.Rewinder).Rewind()
		if got := ledger.Stats()[0].Pending; got != 0 {
			t.Errorf("%d claims are pending", got)
		}
		if got := c.host.Claim(1, []byte("x"), 0); got != abi.ClaimNew {
			t.Errorf("claim after the rewind: got %d", got)
		}
		return nil
	}}
	link := s.link("p")
	link.Space = space
	l := chainOf(t, ChainConfig{OnSend: []Link{link}})
	b := batchOf("a", "b")
	l.OnSend(context.Background(), b)
	finish(t, ledger, b)
}
