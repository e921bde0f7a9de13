package interceptor

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/redis"
)

// sharing is a chain with one dedup plugin on a host that shares its state.
type sharing struct {
	lane   *Lane
	ledger *state.Ledger
	calls  int
	serial uint64
}

func newSharing(t *testing.T, address, host string, settings ...func(*Link)) *sharing {
	t.Helper()
	b, err := redis.New(t.Context(), redis.Options{Address: address, Name: "ids", Host: host, Timeout: time.Minute, Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s := &sharing{ledger: state.NewLedger(state.Options{})}
	if err := s.ledger.OpenBackend("ids", b, state.StoreConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
	space, err := s.ledger.Space("ids", "p", state.SpaceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seat := &fakeSeat{onSend: func(c *fakeCall) error {
		s.calls++
		for i := range c.b.Len() {
			if c.host.Claim(i, c.b.Key(i), 0) != abi.ClaimNew {
				c.drop(i, abi.ReasonDuplicate)
			}
		}
		return nil
	}}
	link := seat.link("p")
	link.Space = space
	for _, set := range settings {
		set(&link)
	}
	s.lane = chainOf(t, ChainConfig{OnSend: []Link{link}})
	return s
}

// judge runs keys through the chain and returns what became of them.
func (s *sharing) judge(t *testing.T, keys ...string) *Batch {
	t.Helper()
	b := batchOf(keys...)
	for i := range b.Items {
		s.serial++
		b.Items[i].Ref, b.Items[i].Record.Key = s.serial, []byte(keys[i])
	}
	s.lane.OnSend(context.Background(), b)
	return b
}

// settle completes what passed.
func (s *sharing) settle(b *Batch, o klamm.Outcome) {
	for i := range b.Items {
		it := &b.Items[i]
		st := state.Settlement{Outcome: o, At: state.Position{Topic: "orders", Offset: int64(i)}, NowMS: 1}
		if it.Outcome != klamm.InFlight {
			st.Outcome = it.Outcome
		}
		if o == klamm.Failed {
			st.Err = errors.New("refused")
		}
		s.ledger.Settle(state.Ref(it.Ref), st)
	}
	s.ledger.Flush()
}

func outcomes(b *Batch) (s string) {
	for i := range b.Items {
		s += map[klamm.Outcome]string{klamm.InFlight: "+", klamm.Dropped: "-", klamm.Failed: "!"}[b.Items[i].Outcome]
	}
	return s
}

// What another host has confirmed is dropped here, with its position, after at
// most two calls of the guest and one question for the batch.
func TestSharedState(t *testing.T) {
	m := miniredis.RunT(t)
	one, two := newSharing(t, "redis://"+m.Addr(), "one"), newSharing(t, "redis://"+m.Addr(), "two")
	first := one.judge(t, "a", "b", "c")
	if got := outcomes(first); got != "+++" || one.calls != 1 {
		t.Fatalf("got %s after %d calls", got, one.calls)
	}
	one.settle(first, klamm.Written)
	second := two.judge(t, "x", "b", "y", "c", "z", "x")
	if got := outcomes(second); got != "+-+-+-" || two.calls != 2 {
		t.Errorf("got %s after %d calls", got, two.calls)
	}
	if at := second.Items[3].Duplicate; at.Offset != 2 {
		t.Errorf("duplicate of %v", at)
	}
	if second.Items[5].Wait == nil {
		t.Error("the second x does not wait for the first")
	} else {
		second.Items[5].Wait.Cancel()
	}
	two.settle(second, klamm.Failed)
	if got := outcomes(one.judge(t, "x", "y", "z", "a")); got != "+++-" {
		t.Errorf("what failed there: got %s", got)
	}
}

// What is in flight on another host is neither dropped nor sent.
func TestSharedStatePending(t *testing.T) {
	m := miniredis.RunT(t)
	one, two := newSharing(t, "redis://"+m.Addr(), "one"), newSharing(t, "redis://"+m.Addr(), "two")
	held := one.judge(t, "a", "b")
	b := two.judge(t, "x", "a", "y", "b")
	if got := outcomes(b); got != "+!+!" {
		t.Fatalf("got %s", got)
	}
	if err := b.Items[1].Err; !errors.Is(err, state.ErrPendingElsewhere) {
		t.Errorf("got %v", err)
	}
	one.settle(held, klamm.Failed)
	two.settle(b, klamm.Written)
	if got := outcomes(two.judge(t, "a", "b", "x", "y")); got != "++--" {
		t.Errorf("got %s", got)
	}
	for _, s := range []*sharing{one, two} {
		if got := s.ledger.Stats()[0]; got.Waiters != 0 {
			t.Errorf("left over: %+v", got)
		}
	}
}

// That nobody knows yet is no fault of the plugin's, so on_error has no say.
func TestSharedStatePendingWhateverThePolicy(t *testing.T) {
	for _, policy := range []Policy{Fail, Pass, Drop, DeadLetter} {
		m := miniredis.RunT(t)
		one := newSharing(t, "redis://"+m.Addr(), "one")
		two := newSharing(t, "redis://"+m.Addr(), "two", func(l *Link) { l.OnError, l.DeadLetterTopic = policy, "dead" })
		held := one.judge(t, "a")
		b := two.judge(t, "x", "a")
		if it := b.Items[1]; it.Outcome != klamm.Failed || !errors.Is(it.Err, state.ErrPendingElsewhere) {
			t.Errorf("%v: got %v, %v", policy, it.Outcome, it.Err)
		}
		one.settle(held, klamm.Failed)
		two.settle(b, klamm.Failed)
	}
}
