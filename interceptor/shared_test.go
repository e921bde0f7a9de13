package interceptor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/redis"
)

// questions counts those of a host, and may hold them.
type questions struct {
	state.Remote
	rounds  int
	ids     int
	meeting chan chan struct{} // each question sends one here and waits for it, where there is one
}

func (a *questions) Claim(ctx context.Context, asks []state.RemoteAsk) error {
	a.rounds++
	a.ids += len(asks)
	if a.meeting != nil {
		c := make(chan struct{})
		a.meeting <- c
		<-c
	}
	return a.Remote.Claim(ctx, asks)
}

// sharing is a chain with one dedup plugin on a host that shares its state.
type sharing struct {
	asked    *questions
	trap     string // the key at which the guest traps once it has claimed
	outdated int    // how often the block is of an earlier generation
	blame    bool   // the trap tells whose fault it is
	restless bool   // the guest's ids have the number of the call in them
	lane     *Lane
	ledger   *state.Ledger
	calls    int
	serial   uint64
}

func newSharing(t *testing.T, address, host string, settings ...func(*Link)) *sharing {
	t.Helper()
	b, err := redis.New(t.Context(), redis.Options{Address: address, Name: "ids", Host: host, Timeout: time.Minute, Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s := &sharing{ledger: state.NewLedger(state.Options{}), asked: &questions{Remote: b}}
	if err := s.ledger.OpenBackend("ids", s.asked, state.StoreConfig{}); err != nil {
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
		if s.outdated--; s.outdated >= 0 {
			return fmt.Errorf("call: %w", runtime.ErrOutdated)
		}
		s.calls++
		for i := range c.b.Len() {
			id := c.b.Key(i)
			if s.restless {
				id = fmt.Appendf(nil, "%s %d", id, s.calls)
			}
			if c.host.Claim(i, id, 0) != abi.ClaimNew {
				c.drop(i, abi.ReasonDuplicate)
			}
			if s.trap != "" && string(c.b.Key(i)) == s.trap {
				return s.fault(i)
			}
		}
		return nil
	}, told: func(abi.Hook, *runtime.Block) error { return nil }}
	link := seat.link("p")
	link.Space = space
	for _, set := range settings {
		set(&link)
	}
	s.lane = chainOf(t, ChainConfig{OnSend: []Link{link}, OnAcknowledgement: []Link{link}})
	return s
}

func (s *sharing) fault(index int) error {
	if s.blame {
		return &runtime.VerdictError{Plugin: "p", Export: abi.ExportOnSend, Index: index, Problem: "it is none"}
	}
	return trap()
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

// A guest that claims other ids in each call never learns what other hosts have of
// them. Its records fail, and what it has claimed is nobody's.
func TestSharedStateOfARestlessGuest(t *testing.T) {
	m := miniredis.RunT(t)
	one, two := newSharing(t, "redis://"+m.Addr(), "one"), newSharing(t, "redis://"+m.Addr(), "two")
	one.settle(one.judge(t, "a 1", "a 2", "a 3", "a 4", "a 5"), klamm.Written)
	two.restless = true
	b := two.judge(t, "a", "x")
	if got := outcomes(b); got != "!!" || two.calls < roundsMax {
		t.Errorf("got %s after %d calls", got, two.calls)
	}
	for i := range b.Items {
		if err := b.Items[i].Err; !errors.Is(err, errRestless) {
			t.Errorf("record %d: %v", i, err)
		}
	}
	two.settle(b, klamm.Failed)
	if got := outcomes(one.judge(t, "x 1", "x 2", "x 3", "x 4", "x 5", "a 1")); got != "+++++-" {
		t.Errorf("the other host then: got %s", got)
	}
	if got := two.ledger.Stats()[0]; got.Pending != 0 {
		t.Errorf("left over: %+v", got)
	}
}

// However many ids of a batch are in flight on another host, they are asked for
// together and waited for once.
func TestSharedStatePendingMany(t *testing.T) {
	m := miniredis.RunT(t)
	one, two := newSharing(t, "redis://"+m.Addr(), "one"), newSharing(t, "redis://"+m.Addr(), "two")
	var theirs, ours []string
	want := ""
	for i := range 30 {
		theirs = append(theirs, fmt.Sprintf("theirs %d", i))
		ours = append(ours, fmt.Sprintf("ours %d", i), theirs[i])
		want += "+!"
	}
	held := one.judge(t, theirs...)
	b := two.judge(t, ours...)
	if got := outcomes(b); got != want {
		t.Errorf("got %s", got)
	}
	// In the second that one waits at most there is time for 15 questions.
	if a := two.asked; a.rounds > 16 || a.ids > 60+15*30 {
		t.Errorf("%d questions for %d ids", a.rounds, a.ids)
	}
	one.settle(held, klamm.Failed)
	two.settle(b, klamm.Written)
}

// While other hosts are asked, nobody waits for the guest.
func TestSharedStateIsAskedWithoutTheGuest(t *testing.T) {
	m := miniredis.RunT(t)
	s := newSharing(t, "redis://"+m.Addr(), "one")
	s.asked.meeting = make(chan chan struct{})
	done := make(chan *Batch)
	go func() { done <- s.judge(t, "a", "b") }()
	asked := <-s.asked.meeting
	told := make(chan struct{})
	go func() {
		defer close(told)
		s.lane.OnAcknowledgement(context.Background(), []Ack{{Record: klamm.Record{Topic: "orders"}, Ref: 99, Offered: 1}})
	}()
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Error("an acknowledgement waits until the other hosts have answered")
	}
	close(asked)
	b := <-done
	<-told
	if got := outcomes(b); got != "++" || s.calls != 1 {
		t.Errorf("got %s after %d calls", got, s.calls)
	}
	s.settle(b, klamm.Written)
}

// The ids of a record that on_error = "pass" lets through are this host's among
// the others, so that no duplicate of it gets through there.
func TestSharedStatePassesWithItsIDs(t *testing.T) {
	for _, blame := range []bool{false, true} {
		m := miniredis.RunT(t)
		one := newSharing(t, "redis://"+m.Addr(), "one", func(l *Link) { l.OnError = Pass })
		two := newSharing(t, "redis://"+m.Addr(), "two")
		one.trap, one.blame = "bad", blame
		held := one.judge(t, "a", "bad", "b")
		if got := outcomes(held); got != "+++" {
			t.Fatalf("got %s", got)
		}
		if got := outcomes(two.judge(t, "bad")); got != "!" {
			t.Errorf("blamed %v: while it is in flight: got %s", blame, got)
		}
		one.settle(held, klamm.Written)
		if got := outcomes(two.judge(t, "b", "bad", "a")); got != "---" {
			t.Errorf("blamed %v: after it was written: got %s", blame, got)
		}
		theirs := two.judge(t, "worse")
		one.trap = "worse"
		passed := one.judge(t, "worse")
		one.settle(passed, klamm.Failed)
		two.settle(theirs, klamm.Written)
		one.trap = ""
		if got := outcomes(one.judge(t, "worse")); got != "-" {
			t.Errorf("blamed %v: what another host had: got %s", blame, got)
		}
	}
}

// A block that is built anew for another generation is no round, and tells
// nothing of how long a call takes.
func TestSharedStateOutdated(t *testing.T) {
	m := miniredis.RunT(t)
	one, two := newSharing(t, "redis://"+m.Addr(), "one"), newSharing(t, "redis://"+m.Addr(), "two")
	first := one.judge(t, "a")
	one.settle(first, klamm.Written)
	two.outdated = 2 * roundsMax
	p := two.lane.places[abi.OnSend][0]
	p.limit = 2
	if got := outcomes(two.judge(t, "x", "a")); got != "+-" {
		t.Errorf("got %s", got)
	}
	if p.limit != 8 { // two calls
		t.Errorf("the limit is %d records", p.limit)
	}
}
