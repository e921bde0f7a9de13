package interceptor

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// sieveLane opens a chain of one sieve over a state of its own.
func sieveLane(t testing.TB, p *runtime.Plugin, policy Policy, m Metrics) (*Lane, *state.Ledger) {
	t.Helper()
	ledger, space := spaceOf(t, p.Name())
	list := []Link{{Name: p.Name(), Plugin: p, Space: space, OnError: policy, Timeout: longTime}}
	l := chainOf(t, ChainConfig{OnSend: list, OnConsume: list, OnAcknowledgement: list, DeadLetterTopic: "dead", Metrics: m})
	return l, ledger
}

func TestGuestDedups(t *testing.T) {
	p := pluginOf(t, engineOf(t), "sieve", sieve(sieveOptions{}))
	var m counts
	l, ledger := sieveLane(t, p, Fail, &m)
	b := batchOf("a", "b", "a")
	l.OnSend(context.Background(), b)
	if got := values(b); got != "a:in_flight b:in_flight a:dropped" {
		t.Errorf("got %s", got)
	}
	if it := &b.Items[2]; it.Reason != "duplicate" || it.Plugin != "sieve" {
		t.Errorf("got reason %q of %q", it.Reason, it.Plugin)
	}
	finish(t, ledger, b)
	l.OnAcknowledgement(context.Background(), acksFor(b))
	if got := m.get("counter sieve dropped_total"); got != 3001 {
		t.Errorf("counter: got %d, want 1 drop and 3 acknowledgements of 1000", got)
	}
	if f, ok := l.Wants(abi.OnAcknowledgement); !ok || f != 0 {
		t.Errorf("wants: got %b, %t", f, ok)
	}
}

// A new version in the middle: each record is judged by one generation, and the
// claims stay.
func TestGuestIsSwapped(t *testing.T) {
	p := pluginOf(t, engineOf(t), "sieve", sieve(sieveOptions{}))
	l, ledger := sieveLane(t, p, Fail, nil)
	b := batchOf("a", "b")
	l.OnSend(context.Background(), b)
	if err := p.Load(context.Background(), sieve(sieveOptions{edit: 8})); err != nil {
		t.Fatal(err)
	}
	second := batchOf("c", "a")
	second.Items[0].Ref, second.Items[1].Ref = 11, 12
	l.OnSend(context.Background(), second)
	if it := &second.Items[0]; len(it.Record.Value) != 8 || it.Generations != 2 {
		t.Errorf("got %q by generation %d", it.Record.Value, it.Generations)
	}
	if it := &second.Items[1]; it.Outcome != klamm.Dropped || it.Wait == nil {
		t.Errorf("duplicate: got %s, waits %t", it.Outcome, it.Wait != nil)
	}
	if b.Items[0].Generations != 1 {
		t.Errorf("first batch: judged by generation %d", b.Items[0].Generations)
	}
	b.Items = append(b.Items, second.Items...)
	finish(t, ledger, b)
}

// guestScene is scene for the sieve: what goes wrong with a record stands in its
// value.
type guestScene struct {
	sieve  sieveOptions
	keys   []byte
	faults []byte // 'v' is none
	policy Policy
}

func (s guestScene) expected() []klamm.Outcome {
	owned := map[byte]bool{}
	out := make([]klamm.Outcome, len(s.keys))
	for i, k := range s.keys {
		switch {
		case s.faults[i] != 'v':
			out[i] = map[Policy]klamm.Outcome{Fail: klamm.Failed, Pass: klamm.InFlight, Drop: klamm.Dropped, DeadLetter: klamm.DeadLettered}[s.policy]
			if s.policy == Pass && (s.sieve.lot || s.faults[i] != 'T') {
				owned[k] = true
			}
		case owned[k]:
			out[i] = klamm.Dropped
		default:
			owned[k] = true
		}
	}
	return out
}

func (s guestScene) batch(ref uint64) *Batch {
	b := &Batch{NowMS: nowMS}
	for i, k := range s.keys {
		b.Items = append(b.Items, Item{Ref: ref + uint64(i), Record: klamm.Record{Topic: "orders", Key: []byte{k}, Value: []byte{s.faults[i], byte(i)}}})
	}
	return b
}

func (s guestScene) check(t testing.TB, p *runtime.Plugin) {
	t.Helper()
	var m counts
	l, ledger := sieveLane(t, p, s.policy, &m)
	b := s.batch(1)
	l.OnSend(context.Background(), b)
	duplicates, culprits := 0, 0
	for i, want := range s.expected() {
		if got := b.Items[i].Outcome; got != want {
			t.Errorf("keys %s faults %s policy %s: record %d: got %s, want %s", s.keys, s.faults, s.policy, i, got, want)
		}
		if s.faults[i] != 'v' {
			culprits++
		} else if want == klamm.Dropped {
			duplicates++
		}
	}
	for key, want := range map[string]int{
		"counter sieve dropped_total": duplicates, "drop sieve duplicate": duplicates,
		"records sieve on_send": len(s.keys) - culprits,
	} {
		if got := m.get(key); got != want {
			t.Errorf("keys %s faults %s policy %s: %s: got %d, want %d", s.keys, s.faults, s.policy, key, got, want)
		}
	}
	if got := sum(&m, "fault"); got != culprits {
		t.Errorf("keys %s faults %s policy %s: faults: got %d, want %d: %v", s.keys, s.faults, s.policy, got, culprits, m.m)
	}
	finish(t, ledger, b)
}

// sieves are the kinds of sieve that faults are tried with. The edits of the last
// two fill the modification area after some records.
var sieves = []sieveOptions{{}, {lot: true}, {edit: 100_000}, {edit: 100_000, lot: true}}

// faultySieves are plugins of all kinds.
func faultySieves(t *testing.T) map[sieveOptions]*runtime.Plugin {
	e, plugins := engineOf(t), map[sieveOptions]*runtime.Plugin{}
	for _, o := range sieves {
		plugins[o] = pluginOf(t, e, "sieve", sieve(o))
	}
	return plugins
}

func TestGuestFaultAtEveryRecord(t *testing.T) {
	plugins := faultySieves(t)
	for n := 1; n <= 6; n++ {
		for at := range n {
			for _, fault := range []byte("TUE") {
				for policy := Fail; policy <= DeadLetter; policy++ {
					for _, o := range sieves {
						s := guestScene{sieve: o, keys: []byte("abacab")[:n], faults: []byte("vvvvvv")[:n], policy: policy}
						s.faults[at] = fault
						s.check(t, plugins[o])
					}
				}
			}
		}
	}
}

func TestGuestFaultsProperty(t *testing.T) {
	plugins := faultySieves(t)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "records")
		s := guestScene{
			sieve:  rapid.SampledFrom(sieves).Draw(rt, "sieve"),
			keys:   rapid.SliceOfN(rapid.ByteRange('a', 'h'), n, n).Draw(rt, "keys"),
			faults: rapid.SliceOfN(rapid.SampledFrom([]byte("vvvvvvvvvvvvvvvvvTUE")), n, n).Draw(rt, "faults"),
			policy: Policy(rapid.IntRange(0, 3).Draw(rt, "policy")),
		}
		var failed failures
		s.check(&failed, plugins[s.sieve])
		failed.end(rt)
	})
}

// A guest whose edits do not fit is called again, or for the rest: nothing is
// counted twice.
func TestGuestEditsThatDoNotFit(t *testing.T) {
	tests := []struct {
		records, size int
	}{{10, 8}, {100, 1000}, {100, 20_000}, {20, 300_000}, {500, 40_000}}
	e := engineOf(t)
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d of %d bytes", tt.records, tt.size), func(t *testing.T) {
			p := pluginOf(t, e, "sieve", sieve(sieveOptions{edit: tt.size}))
			var m counts
			l, ledger := sieveLane(t, p, Fail, &m)
			b := &Batch{NowMS: nowMS}
			for i := range tt.records {
				b.Items = append(b.Items, Item{Ref: uint64(i + 1), Record: klamm.Record{
					Topic: "orders", Key: fmt.Appendf(nil, "%d", i/2), Value: []byte("v"),
				}})
			}
			l.OnSend(context.Background(), b)
			for i := range b.Items {
				it := &b.Items[i]
				if i%2 == 0 && (it.Outcome != klamm.InFlight || len(it.Record.Value) != tt.size) {
					t.Fatalf("record %d: got %s with %d bytes: %v", i, it.Outcome, len(it.Record.Value), it.Err)
				}
				if i%2 == 1 && (it.Outcome != klamm.Dropped || it.Wait == nil) {
					t.Fatalf("record %d: got %s, waits %t", i, it.Outcome, it.Wait != nil)
				}
			}
			if got := m.get("counter sieve dropped_total"); got != tt.records/2 {
				t.Errorf("counter: got %d, want %d", got, tt.records/2)
			}
			finish(t, ledger, b)
		})
	}
}

// An edit above the output limit is the record's fault, not the batch's.
func TestGuestEditTooLarge(t *testing.T) {
	p := pluginOf(t, engineOf(t), "sieve", sieve(sieveOptions{edit: 5 << 20}))
	l, ledger := sieveLane(t, p, Pass, nil)
	b := batchOf("a", "a", "b")
	l.OnSend(context.Background(), b)
	if got := values(b); got != "a:in_flight a:dropped b:in_flight" {
		t.Errorf("got %s", got)
	}
	finish(t, ledger, b)
}

func TestGuestNonsenseIsNamed(t *testing.T) {
	p := pluginOf(t, engineOf(t), "sieve", sieve(sieveOptions{}))
	for at := range 5 {
		var m counts
		l, ledger := sieveLane(t, p, Fail, &m)
		s := guestScene{keys: []byte("abcde"), faults: []byte("vvvvv")}
		s.faults[at] = 'N'
		b := s.batch(1)
		l.OnSend(context.Background(), b)
		for i := range b.Items {
			want := klamm.InFlight
			if i == at {
				want = klamm.Failed
			}
			if got := b.Items[i].Outcome; got != want {
				t.Errorf("culprit %d, record %d: got %s, want %s", at, i, got, want)
			}
		}
		if got := m.get("fault sieve on_send verdict"); got != 1 {
			t.Errorf("faults: %v", m.m)
		}
		finish(t, ledger, b)
	}
}

func TestGuestBreaker(t *testing.T) {
	e := engineOf(t)
	p := e.NewPlugin(runtime.PluginConfig{Name: "sieve", Grants: runtime.GrantAll, Timeout: longTime, Breaker: runtime.Breaker{Failures: 2}})
	if err := p.Load(context.Background(), sieve(sieveOptions{})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var m counts
	l, ledger := sieveLane(t, p, Fail, &m)
	ref := uint64(1)
	judge := func(faults string) *Batch {
		s := guestScene{keys: []byte("abcdefgh")[:len(faults)], faults: []byte(faults)}
		b := s.batch(ref)
		ref += 100
		l.OnSend(context.Background(), b)
		finish(t, ledger, b)
		return b
	}
	// One bad record among eight is one fault, however long the search.
	judge("vvvvvTvv")
	if got := m.get("fault sieve on_send breaker_open"); got != 0 {
		t.Fatalf("the breaker opened after one fault: %v", m.m)
	}
	judge("T")
	b := judge("vv")
	if got := m.get("fault sieve on_send breaker_open"); got != 2 {
		t.Errorf("after two faults: got %d records refused, want 2; %v", got, m.m)
	}
	if b.Items[0].Outcome != klamm.Failed {
		t.Errorf("got %s", b.Items[0].Outcome)
	}
}

func TestGuestConsumes(t *testing.T) {
	p := pluginOf(t, engineOf(t), "sieve", sieve(sieveOptions{}))
	l, ledger := sieveLane(t, p, Pass, nil)
	b := batchOf("a", "T", "a")
	l.OnConsume(context.Background(), b)
	if got := values(b); got != "a:in_flight T:in_flight a:dropped" {
		t.Errorf("got %s", got)
	}
	finish(t, ledger, b)
}

func TestC003_GuestTraps(t *testing.T) {
	p := pluginOf(t, engineOf(t), "sieve", sieve(sieveOptions{}))
	var calls int
	var m counts
	var log logged
	l := chainOf(t, ChainConfig{OnSend: []Link{
		{Name: "sieve", Plugin: p, OnError: Pass, Timeout: longTime}, {Name: "b", Native: appends("B", &calls)},
	}, Metrics: &m, Logger: log.logger()})
	b := batchOf("Tv")
	l.OnSend(context.Background(), b)
	if got := values(b); got != "TvB:in_flight" {
		t.Errorf("got %s", got)
	}
	if m.get("fault sieve on_send trap") != 1 || !strings.Contains(log.String(), "topic=orders partition=-1") {
		t.Errorf("counts %v, log %s", m.m, log.String())
	}
}

func TestC001_GuestsInOrder(t *testing.T) {
	e := engineOf(t)
	_, space := spaceOf(t, "sieve")
	one, two := pluginOf(t, e, "one", sieve(sieveOptions{edit: 3})), pluginOf(t, e, "two", sieve(sieveOptions{edit: 5}))
	l := chainOf(t, ChainConfig{OnSend: []Link{
		{Name: "one", Plugin: one, Space: space}, {Name: "two", Plugin: two},
	}})
	b := batchOf("v")
	want := b.Items[0].Record
	want.Value = make([]byte, 3) // the second one has no state: it sees a duplicate
	l.OnSend(context.Background(), b)
	it := &b.Items[0]
	if diff := cmp.Diff(want, it.Record); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if it.Outcome != klamm.Dropped || it.Plugin != "two" || it.Offered != 3 {
		t.Errorf("got %s by %q, offered to %b", it.Outcome, it.Plugin, it.Offered)
	}
}
