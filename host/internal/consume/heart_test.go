package consume

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
)

func heartConfig() config.Consumer { return kinds("consumer")["consumer"] }

// heartbeatOf tells heartbeats of a member from others, by their epoch.
func heartbeatOf(member string, ok func(epoch int32) bool) func(kmsg.Request) bool {
	return func(r kmsg.Request) bool {
		hb, is := r.(*kmsg.ConsumerGroupHeartbeatRequest)
		return is && hb.MemberID == member && ok(hb.MemberEpoch)
	}
}

// kill ends a member whose farewell does not arrive.
func (x *bench) kill(t *testing.T, m *member) {
	t.Helper()
	_, id, _ := m.group.Membership()
	h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, Err: kerr.UnknownServerError, TopLevel: true,
		When: heartbeatOf(id, func(epoch int32) bool { return epoch < 0 })})
	if err := m.stop(); err != nil {
		t.Error(err)
	}
	if h.Hits() != 1 {
		t.Errorf("%d farewells, want 1", h.Hits())
	}
}

// TestKilledStaticMember comes back at once, with its partitions, though Kafka holds
// its name for the one that was killed.
func TestKilledStaticMember(t *testing.T) {
	x := newBench(t, 4, 1, "t")
	a := x.join(t, newRecorder("a"), heartConfig(), "g", "host-a", "t")
	b := x.join(t, newRecorder("b"), heartConfig(), "g", "host-b", "t")
	for _, m := range []*member{a, b} {
		m.wait(t, "2 partitions", func() bool { return len(m.parts) == 2 })
	}
	a.mu.Lock()
	had := maps.Clone(a.parts)
	a.mu.Unlock()
	x.kill(t, a)
	again := x.join(t, newRecorder("a again"), heartConfig(), "g", "host-a", "t")
	again.wait(t, "its partitions", func() bool { return maps.Equal(again.parts, had) })
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.revoked > 1 { // once when a came
		t.Errorf("the other member had partitions revoked %d times", b.revoked)
	}
}

// TestReplacedMemberStaysOut: of two that want the same name for ever the first ends,
// and does not take the name back from the second.
func TestReplacedMemberStaysOut(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	a := x.join(t, newRecorder("a"), heartConfig(), "g", "host", "t")
	a.wait(t, "its partition", func() bool { return len(a.parts) == 1 })
	_, id, _ := a.group.Membership()
	// After the first step of the take-over it hears that it is fenced, not by whom.
	var taken atomic.Bool
	x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, Observe: true, Count: -1,
		When: heartbeatOf(id, func(epoch int32) bool { return epoch < 0 && !taken.Swap(true) })})
	x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, Err: kerr.FencedMemberEpoch, TopLevel: true,
		When: heartbeatOf(id, func(epoch int32) bool { return epoch > 0 && taken.Load() })})
	b := x.join(t, newRecorder("b"), heartConfig(), "g", "host", "t")
	<-a.group.done
	if err := a.stop(); !errors.Is(err, klamm.ErrFenced) {
		t.Errorf("Run of the replaced member: %v, want ErrFenced", err)
	}
	b.wait(t, "the partition", func() bool { return len(b.parts) == 1 })
	if b.lost > 0 {
		t.Error("the second one lost its partition")
	}
}

// TestLeaveForGood: others need not wait for a static member that has said so.
func TestLeaveForGood(t *testing.T) {
	x := newBench(t, 2, 1, "t")
	a := x.join(t, newRecorder("a"), heartConfig(), "g", "host-a", "t")
	b := x.join(t, newRecorder("b"), heartConfig(), "g", "host-b", "t")
	for _, m := range []*member{a, b} {
		m.wait(t, "a partition", func() bool { return len(m.parts) == 1 })
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.group.Leave(testContext(t)); err != nil {
		t.Fatal(err)
	}
	b.wait(t, "both partitions", func() bool { return len(b.parts) == 2 })
}

// TestPutOutWhileRevoking: a member that is put out while it lets partitions go has
// lost them, with the rest.
func TestPutOutWhileRevoking(t *testing.T) {
	x := newBench(t, 2, 1, "t")
	cluster := x.Cluster(t)
	x.produce(t, "t", 2, 0, 1)
	r := newRecorder("a")
	reading, goOn := make(chan struct{}, 2), make(chan struct{})
	r.onRecords = func(klamm.TopicPartition, []klamm.Record) error {
		reading <- struct{}{}
		<-goOn
		return nil
	}
	a := x.join(t, r, heartConfig(), "g", "", "t")
	<-reading
	<-reading
	_, id, _ := a.group.Membership()
	heart := a.group.member.(*heart)
	b := x.join(t, newRecorder("b"), heartConfig(), "g", "", "t")
	waitUntil(t, "the revocation", func() bool { target, _ := heart.target(); return len(target) == 1 })
	waitUntil(t, "its beginning", func() bool {
		a.group.own.mu.Lock()
		defer a.group.own.mu.Unlock()
		return len(a.group.own.revoking) == 1
	})
	h := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, Err: kerr.UnknownMemberID, TopLevel: true,
		When: heartbeatOf(id, func(epoch int32) bool { return epoch > 0 })})
	if err := h.Wait(testContext(t), 1); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the end of the membership", func() bool { return !a.group.Joined() })
	close(goOn)
	a.wait(t, "the loss", func() bool { return a.lost == 1 })
	a.mu.Lock()
	if a.revoked != 1 {
		t.Errorf("Revoked was called %d times", a.revoked)
	}
	a.mu.Unlock()
	b.wait(t, "a partition", func() bool { return len(b.parts) == 1 })
}

// TestIdentityStaysWhileItIsLost: what a member commits in a transaction while it
// hears that it was put out goes out under its old name, and is refused. Under no
// name it would be taken, and under the next one too.
func TestIdentityStaysWhileItIsLost(t *testing.T) {
	for kind, cfg := range kinds("range", "consumer") {
		t.Run(kind, func(t *testing.T) {
			x := newBench(t, 1, 1, "t")
			r := newRecorder("m")
			var had, heard identity
			r.onRevoked = func(lost bool) {
				if lost {
					heard.generation, heard.member, _ = r.group.Membership()
				}
			}
			m := x.join(t, r, cfg, "g", "", "t")
			m.wait(t, "its partition", func() bool { return len(m.parts) == 1 })
			had.generation, had.member, _ = m.group.Membership()
			x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.ConsumerGroupHeartbeat}, Err: kerr.UnknownMemberID, TopLevel: true})
			m.wait(t, "the loss", func() bool { return m.lost == 1 })
			if heard != had || had.member == "" {
				t.Errorf("it hears of the loss as %+v, and was %+v", heard, had)
			}
			m.wait(t, "joining again", func() bool { return len(m.parts) == 1 })
			if now, _, _ := m.group.Membership(); now <= 0 {
				t.Errorf("generation %d after joining again", now)
			}
		})
	}
}

// waitUntil polls what nobody tells.
func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := testContext(t)
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestCommitWithAnEpoch: an epoch that has just risen is no reason to fail, the end
// of a membership is.
func TestCommitWithAnEpoch(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	x.produce(t, "t", 1, 0, 9)
	m := x.join(t, newRecorder("m"), heartConfig(), "g", "", "t")
	m.waitRead(t, 9)
	for at, row := range map[int64]struct {
		code *kerr.Error
		want error
	}{1: {kerr.StaleMemberEpoch, nil}, 3: {kerr.UnknownMemberID, ErrNotOwner}, 5: {kerr.FencedMemberEpoch, ErrNotOwner}} {
		t.Run(row.code.Message, func(t *testing.T) {
			h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: row.code})
			defer h.Remove()
			err := m.group.Commit(testContext(t), map[klamm.TopicPartition]int64{tp("t", 0): at})
			if !errors.Is(err, row.want) || h.Hits() != 1 {
				t.Errorf("error %v after %d faults, want %v", err, h.Hits(), row.want)
			}
			if got := x.committed(t, "g")[tp("t", 0)]; row.want == nil && got < at {
				t.Errorf("kadm sees %d, want %d", got, at)
			}
		})
	}
}

// TestEpochStaysWhileSteady has members come, each of which raises the epoch.
func TestEpochStaysWhileSteady(t *testing.T) {
	x := newBench(t, 4, 1, "t")
	m := x.joinAs(t, newRecorder("m"), heartConfig(), "g", "", func(g *Group) { g.member.(*heart).patience = time.Hour }, "t")
	m.wait(t, "its partitions", func() bool { return len(m.parts) == 4 })
	release, err := m.group.Steady(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	before, id, _ := m.group.Membership()
	h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, Observe: true, Count: -1,
		When: heartbeatOf(id, func(int32) bool { return true })})
	defer h.Remove()
	other := x.join(t, newRecorder("other"), heartConfig(), "g", "", "t")
	waitUntil(t, "the other one", other.group.Joined)
	if now, _, _ := m.group.Membership(); now != before || h.Hits() != 0 {
		t.Errorf("epoch %d, it was %d; %d heartbeats meanwhile", now, before, h.Hits())
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.group.Steady(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a second one, whose context has ended: %v", err)
	}
	release()
	other.wait(t, "its partitions", func() bool { return len(other.parts) == 2 })
	waitUntil(t, "a higher epoch", func() bool { now, _, _ := m.group.Membership(); return now > before })
}

// TestHeartbeatsGoOnWhileSteady: who wants the epoch to stay for too long does not
// cost the member its session.
func TestHeartbeatsGoOnWhileSteady(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	m := x.joinAs(t, newRecorder("m"), heartConfig(), "g", "", func(g *Group) { g.member.(*heart).patience = time.Millisecond }, "t")
	m.wait(t, "its partition", func() bool { return len(m.parts) == 1 })
	_, id, _ := m.group.Membership()
	for range 2 { // the second one after heartbeats that did not wait
		release, err := m.group.Steady(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, Observe: true, Count: -1,
			When: heartbeatOf(id, func(int32) bool { return true })})
		if err := h.Wait(testContext(t), 3); err != nil {
			t.Errorf("heartbeats: %v", err)
		}
		h.Remove()
		release()
	}
}

func TestHeartErrors(t *testing.T) {
	t.Run("assignor", func(t *testing.T) {
		x := newBench(t, 1, 1, "t")
		cfg := heartConfig()
		cfg.RemoteAssignor = "fair"
		m := x.join(t, newRecorder("m"), cfg, "g", "", "t")
		<-m.group.done
		if err := m.stop(); codeOf(err) != klamm.CodeUnsupportedAssignor {
			t.Errorf("Run: %v, want UNSUPPORTED_ASSIGNOR", err)
		}
	})
	t.Run("brokers without it", func(t *testing.T) {
		x := newBenchOf(t, nil, 1, broker.Options{Kafka: []kfake.Opt{kfake.MaxVersions(kversion.V3_6_0())}}, "t")
		m := x.join(t, newRecorder("m"), heartConfig(), "g", "", "t")
		<-m.group.done
		if err := m.stop(); codeOf(err) != klamm.CodeUnsupportedVersion || !strings.Contains(err.Error(), `use "classic"`) {
			t.Errorf("Run: %v, want UNSUPPORTED_VERSION and what to do", err)
		}
	})
	t.Run("classic members", func(t *testing.T) {
		x := newBench(t, 1, 1, "t")
		x.Cluster(t) // Apache Kafka lets both in
		a := x.join(t, newRecorder("a"), kinds("range")["range"], "g", "", "t")
		a.wait(t, "its partition", func() bool { return len(a.parts) == 1 })
		b := x.join(t, newRecorder("b"), heartConfig(), "g", "", "t")
		<-b.group.done
		if err := b.stop(); codeOf(err) != klamm.CodeGroupIdNotFound {
			t.Errorf("Run: %v, want GROUP_ID_NOT_FOUND", err)
		}
	})
}

// TestMembersOfBothProtocols share a group on Apache Kafka while it is changed over.
func TestMembersOfBothProtocols(t *testing.T) {
	x := newBench(t, 4, 1, "t")
	if x.own != nil {
		t.Skip("the embedded broker does not let both into a group")
	}
	x.produce(t, "t", 4, 0, 50)
	var all []*member
	for _, kind := range []string{"cooperative-sticky", "consumer"} {
		r := newRecorder(kind)
		r.commit = true
		m := x.join(t, r, kinds(kind)[kind], "g", "", "t")
		all = append(all, m)
		m.wait(t, "partitions", func() bool { return len(m.parts) > 0 })
	}
	for _, m := range all {
		m.wait(t, "2 partitions", func() bool { return len(m.parts) == 2 })
	}
	x.produce(t, "t", 4, 50, 50)
	waitAll(t, all, 400)
	for _, m := range all {
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	}
	wantOnce(t, all, 4, 100)
}
