package consume

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
)

// seeker is a handler that checks that records come without a gap, but for
// seeks, and that each one is followed.
type seeker struct {
	*recorder
	expect map[klamm.TopicPartition]int64 // guarded by the recorder's lock
	hands  int
	sought int
	hook   func(tp klamm.TopicPartition, recs []klamm.Record)
}

func (s *seeker) Records(ctx context.Context, tp klamm.TopicPartition, recs []klamm.Record, hw int64) error {
	s.change(func() {
		for _, rec := range recs {
			if rec.Offset != s.expect[tp] {
				s.faultf("%v: offset %d comes where %d is due", tp, rec.Offset, s.expect[tp])
			}
			s.expect[tp] = rec.Offset + 1
		}
		s.hands++
	})
	if s.hook != nil {
		s.hook(tp, recs)
	}
	return nil
}

func (s *seeker) Sought(tp klamm.TopicPartition, offset int64, forget func()) {
	s.change(func() {
		forget()
		s.expect[tp] = offset
		s.sought++
	})
}

func (x *bench) seeker(t *testing.T, group string, o func(s *seeker)) (*seeker, *Group) {
	t.Helper()
	s := &seeker{recorder: newRecorder("seeker"), expect: map[klamm.TopicPartition]int64{}}
	if o != nil {
		o(s)
	}
	cfg := consumerConfig()
	cfg.MaxPollRecords = 3
	g, err := NewGroup(x.cluster, &cfg, group, "", []string{"t"}, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.group = g
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, ErrTopicRecreated) && !errors.Is(err, klamm.ErrUnknownTopic) {
			t.Error(err)
		}
		s.check(t)
	})
	return s, g
}

// TestSeek seeks at random from within and from outside of the handler, paused
// and not, while records are fetched: none that was fetched before comes after.
func TestSeek(t *testing.T) {
	const partitions, n, seeks = 2, 100, 150
	x := newBench(t, partitions, 1, "t")
	x.produce(t, "t", partitions, 0, n)
	random := rand.New(rand.NewPCG(3, 4))
	s, g := x.seeker(t, "g", func(s *seeker) {
		s.hook = func(tp klamm.TopicPartition, _ []klamm.Record) {
			s.mu.Lock()
			seek, to := random.IntN(4) == 0 && s.sought < seeks, random.Int64N(n)
			s.mu.Unlock()
			if !seek {
				return
			}
			if err := s.group.Seek(tp, to); err != nil {
				s.change(func() { s.faultf("seek in the handler: %v", err) })
			}
		}
	})
	s.wait(t, "its partitions", func() bool { return len(s.parts) == partitions })
	for i := range seeks {
		tp := tp("t", int32(i%partitions))
		s.mu.Lock()
		before, to, pause := s.sought, random.Int64N(n), random.IntN(3) == 0
		s.mu.Unlock()
		if pause {
			g.Pause(tp)
		}
		if err := g.Seek(tp, to); err != nil {
			t.Fatal(err)
		}
		s.wait(t, "the seek", func() bool { return s.sought > before })
		if pause {
			g.Resume(tp)
		}
	}
	s.wait(t, "the end", func() bool {
		return s.expect[tp("t", 0)] == n && s.expect[tp("t", 1)] == n
	})
}

func TestSeekMistakes(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	s, g := x.seeker(t, "g", nil)
	if err := g.Seek(tp("t", 7), 1); !errors.Is(err, ErrNotOwner) {
		t.Errorf("not its partition: %v", err)
	}
	s.wait(t, "its partition", func() bool { return len(s.parts) == 1 })
	if err := g.Seek(tp("t", 0), -2); err == nil {
		t.Error("a negative offset is taken")
	}
}

// TestSeekBack: commits go back with the position, and one that was on its way
// does not undo that.
func TestSeekBack(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	x.produce(t, "t", 1, 0, 20)
	s, g := x.seeker(t, "g", nil)
	p := tp("t", 0)
	commit := func(ticket, at int64) {
		t.Helper()
		if err := g.CommitAs(testContext(t), ticket, map[klamm.TopicPartition]int64{p: at}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(at int64) {
		t.Helper()
		if got := x.committed(t, "g")[p]; got != at {
			t.Errorf("committed %d, want %d", got, at)
		}
	}
	s.wait(t, "the end", func() bool { return s.expect[p] == 20 })
	commit(g.Ticket(), 20)
	want(20)
	commit(g.Ticket(), 10) // a late one
	want(20)
	old := g.Ticket()
	if err := g.Seek(p, 5); err != nil {
		t.Fatal(err)
	}
	s.wait(t, "the seek", func() bool { return s.sought == 1 })
	commit(g.Ticket(), 7)
	want(7)
	commit(old, 20)
	want(7)
	commit(g.Ticket(), 9)
	want(9)
}

// TestSeekInAssigned is how offsets that are kept elsewhere are read on from.
func TestSeekInAssigned(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	x.produce(t, "t", 1, 0, 20)
	p := tp("t", 0)
	cfg := consumerConfig()
	s := &assignedSeeker{seeker: &seeker{recorder: newRecorder("seeker"), expect: map[klamm.TopicPartition]int64{}}, at: 15}
	g, err := NewGroup(x.cluster, &cfg, "g", "", []string{"t"}, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.group = g
	go g.Run(testContext(t))
	t.Cleanup(func() { g.Close(); s.check(t) })
	s.wait(t, "the end", func() bool { return s.expect[p] == 20 && s.sought == 1 })
}

type assignedSeeker struct {
	*seeker
	at int64
}

func (s *assignedSeeker) Assigned(ctx context.Context, parts map[string][]int32) {
	s.seeker.Assigned(ctx, parts)
	for _, tp := range flat(parts) {
		if err := s.group.Seek(tp, s.at); err != nil {
			s.change(func() { s.faultf("seek in Assigned: %v", err) })
		}
	}
}

// TestTopicMadeAnew: the old topic's offsets are not used in the new one, which
// has more records than were read of the old.
func TestTopicMadeAnew(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	x.produce(t, "t", 1, 0, 5)
	m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
	m.waitRead(t, 5)
	ctx := testContext(t)
	if _, err := x.admin.DeleteTopics(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.admin.CreateTopic(ctx, 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	x.produce(t, "t", 1, 0, 50)
	select {
	case <-m.group.done:
	case <-time.After(within):
		t.Fatal("it reads on")
	}
	err := m.stop()
	if !errors.Is(err, ErrTopicRecreated) {
		t.Errorf("got %v, want ErrTopicRecreated", err)
	}
	if got := m.total(); got != 5 {
		t.Errorf("%d records were read, of the old topic there were 5: %s", got, fmt.Sprint(m.read))
	}
	t.Log(err)
}
