package consume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

func tp(topic string, p int32) klamm.TopicPartition {
	return klamm.TopicPartition{Topic: topic, Partition: p}
}

func TestGroupReadsEveryRecordOnceInOrder(t *testing.T) {
	const partitions, n = 4, 700
	for kind, cfg := range kinds("range", "sticky", "cooperative-sticky", "consumer") {
		t.Run(kind, func(t *testing.T) {
			x := newBench(t, partitions, 3, "t", "u")
			cfg.MaxPollRecords = 100
			x.produce(t, "t", partitions, 0, n)
			m := x.join(t, newRecorder("m"), cfg, "g", "", "t", "u")
			m.waitRead(t, partitions*n)
			x.produce(t, "u", partitions, 0, n)
			m.waitRead(t, 2*partitions*n)
			if err := m.group.Commit(testContext(t), m.positions()); err != nil {
				t.Fatal(err)
			}
			if err := m.stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
			for _, topic := range []string{"t", "u"} {
				for p := range int32(partitions) {
					wantNumbers(t, m.read[tp(topic, p)], p, 0, n)
				}
			}
			if hw := m.hw[tp("t", 0)]; hw != n {
				t.Errorf("high watermark %d, want %d", hw, n)
			}
			committed := x.committed(t, "g")
			if len(committed) != 2*partitions || committed[tp("u", 3)] != n {
				t.Errorf("kadm sees %v", committed)
			}
		})
	}
}

// wantNumbers checks that recs are the records first ... first+n-1 of p.
func wantNumbers(t *testing.T, recs []klamm.Record, p int32, first, n int) {
	t.Helper()
	if len(recs) != n {
		t.Errorf("partition %d: %d records, want %d", p, len(recs), n)
		return
	}
	for i, rec := range recs {
		if want := fmt.Sprintf("%d:%d", p, first+i); string(rec.Value) != want || rec.Partition != p {
			t.Errorf("partition %d, record %d: value %q, want %q", p, i, rec.Value, want)
			return
		}
	}
}

func TestMaxPollRecords(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	x.produce(t, "t", 1, 0, 25)
	r := newRecorder("m")
	sizes := make(chan int, 100)
	r.onRecords = func(_ klamm.TopicPartition, recs []klamm.Record) error { sizes <- len(recs); return nil }
	cfg := consumerConfig()
	cfg.MaxPollRecords = 10
	m := x.join(t, r, cfg, "g", "", "t")
	m.waitRead(t, 25)
	close(sizes)
	sum := 0
	for n := range sizes {
		if n > 10 {
			t.Errorf("%d records at once, at most 10 are allowed", n)
		}
		sum += n
	}
	if sum != 25 {
		t.Errorf("%d records, want 25", sum)
	}
}

func TestRecordsComeAsTheyWere(t *testing.T) {
	at := time.UnixMilli(1700000000123)
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			x := newBench(t, 1, 1, "t")
			cl := x.client(t, kgo.ProducerBatchCompression(codec))
			long := strings.Repeat("klamm ", 2000)
			sent := []*kgo.Record{
				{Key: nil, Value: nil},
				{Key: []byte{}, Value: []byte{}},
				{Key: []byte("k"), Value: []byte(long)},
				{Key: []byte{0xff}, Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "a", Value: nil}, {Key: "b", Value: []byte{}}, {Key: "a", Value: []byte("2")}}},
			}
			for i, r := range sent {
				r.Topic, r.Timestamp = "t", at.Add(time.Duration(i)*time.Millisecond)
			}
			if err := cl.ProduceSync(testContext(t), sent...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
			m.waitRead(t, len(sent))
			_, epoch := x.cluster.Leader("t", 0)
			var want []klamm.Record
			for i, r := range sent {
				w := klamm.Record{Topic: "t", Key: r.Key, Value: r.Value, Timestamp: r.Timestamp, Offset: int64(i), LeaderEpoch: epoch}
				for _, h := range r.Headers {
					w.Headers = append(w.Headers, klamm.Header{Key: h.Key, Value: h.Value})
				}
				want = append(want, w)
			}
			if diff := cmp.Diff(want, m.read[tp("t", 0)]); diff != "" {
				t.Errorf("records (-sent +read):\n%s", diff)
			}
		})
	}
}

// TestC138_CommitSync: onCommit runs once after a commit that succeeded, never
// after one that did not, and the caller's error is the broker's.
func TestC138_CommitSync(t *testing.T) {
	x := newBench(t, 2, 1, "t")
	x.produce(t, "t", 2, 0, 5)
	m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
	m.waitRead(t, 10)
	offsets := m.positions()

	for _, code := range []*kerr.Error{kerr.GroupAuthorizationFailed, kerr.OffsetMetadataTooLarge} {
		x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: code})
		err := m.group.Commit(testContext(t), offsets)
		if codeOf(err) != klamm.Code(code.Code) {
			t.Errorf("error %v, want %s", err, code.Message)
		}
	}
	if len(m.commits) != 0 {
		t.Errorf("Committed was called for failed commits: %v", m.commits)
	}
	if got := x.committed(t, "g"); len(got) != 0 {
		t.Errorf("kadm sees %v after failed commits", got)
	}
	if err := m.group.Commit(testContext(t), offsets); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]map[klamm.TopicPartition]int64{offsets}, m.commits); diff != "" {
		t.Errorf("Committed calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(offsets, x.committed(t, "g")); diff != "" {
		t.Errorf("kadm sees (-want +got):\n%s", diff)
	}
}

func TestCommitRetries(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.RequestTimedOut, kerr.UnstableOffsetCommit} {
		t.Run(code.Message, func(t *testing.T) {
			x := newBench(t, 3, 2, "t")
			x.produce(t, "t", 3, 0, 5)
			m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
			m.waitRead(t, 15)
			// One partition of three, twice.
			h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: "t", Partitions: []int32{1}, Err: code, Count: 2})
			if err := m.group.Commit(testContext(t), m.positions()); err != nil {
				t.Fatal(err)
			}
			if h.Hits() != 2 {
				t.Errorf("%d faults met, want 2", h.Hits())
			}
			told := make(map[klamm.TopicPartition]int64)
			for _, c := range m.commits {
				for tp, at := range c {
					if _, ok := told[tp]; ok {
						t.Errorf("Committed was told of %v twice", tp)
					}
					told[tp] = at
				}
			}
			if diff := cmp.Diff(x.committed(t, "g"), told); diff != "" {
				t.Errorf("Committed (-kadm +told):\n%s", diff)
			}
		})
	}
	t.Run("until ctx ends", func(t *testing.T) {
		x := newBench(t, 1, 1, "t")
		x.produce(t, "t", 1, 0, 1)
		m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
		m.waitRead(t, 1)
		h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
		defer h.Remove()
		ctx, cancel := context.WithTimeout(testContext(t), 200*time.Millisecond)
		defer cancel()
		err := m.group.Commit(ctx, m.positions())
		if !errors.Is(err, context.DeadlineExceeded) || codeOf(err) != klamm.CodeCoordinatorLoadInProgress {
			t.Errorf("error %v, want the deadline and the last cause", err)
		}
	})
}

func TestCommitErrorsOfMembership(t *testing.T) {
	tests := []struct {
		code *kerr.Error
		want error
	}{
		{kerr.IllegalGeneration, ErrRebalancing},
		{kerr.RebalanceInProgress, ErrRebalancing},
		{kerr.UnknownMemberID, ErrNotOwner},
		{kerr.FencedInstanceID, ErrNotOwner},
	}
	x := newBench(t, 1, 1, "t")
	x.produce(t, "t", 1, 0, 1)
	cfg := consumerConfig()
	cfg.GroupProtocol = "classic"
	m := x.join(t, newRecorder("m"), cfg, "g", "", "t")
	m.waitRead(t, 1)
	for _, tt := range tests {
		t.Run(tt.code.Message, func(t *testing.T) {
			x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: tt.code})
			err := m.group.Commit(testContext(t), m.positions())
			if !errors.Is(err, tt.want) || codeOf(err) != klamm.Code(tt.code.Code) {
				t.Errorf("error %v, want %v with %s", err, tt.want, tt.code.Message)
			}
		})
	}
	t.Run("partition of another member", func(t *testing.T) {
		if err := m.group.Commit(testContext(t), map[klamm.TopicPartition]int64{tp("t", 9): 1}); !errors.Is(err, ErrNotOwner) {
			t.Errorf("error %v, want ErrNotOwner", err)
		}
	})
	t.Run("an older offset is passed over", func(t *testing.T) {
		for _, at := range []int64{1, 0} {
			if err := m.group.Commit(testContext(t), map[klamm.TopicPartition]int64{tp("t", 0): at}); err != nil {
				t.Fatal(err)
			}
		}
		if got := x.committed(t, "g")[tp("t", 0)]; got != 1 {
			t.Errorf("committed %d, want 1", got)
		}
	})
	t.Run("after the end", func(t *testing.T) {
		m.stop()
		if err := m.group.Commit(testContext(t), map[klamm.TopicPartition]int64{tp("t", 0): 9}); !errors.Is(err, ErrNotOwner) {
			t.Errorf("error %v, want ErrNotOwner", err)
		}
	})
}

// TestC139_CommitsAreToldInOrder has many commits at once.
func TestC139_CommitsAreToldInOrder(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	x.produce(t, "t", 1, 0, 50)
	m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
	m.waitRead(t, 50)
	var wg sync.WaitGroup
	for at := int64(1); at <= 50; at++ {
		wg.Go(func() {
			if err := m.group.Commit(testContext(t), map[klamm.TopicPartition]int64{tp("t", 0): at}); err != nil {
				t.Errorf("Commit(%d): %v", at, err)
			}
		})
	}
	wg.Wait()
	last := int64(0)
	for _, c := range m.commits {
		if at := c[tp("t", 0)]; at <= last {
			t.Errorf("Committed(%d) after %d", at, last)
		} else {
			last = at
		}
	}
	if got := x.committed(t, "g")[tp("t", 0)]; last != 50 || got != 50 {
		t.Errorf("told %d, kadm sees %d, want 50", last, got)
	}
}

// TestRebalance has members come and go while records are written. Each commits
// before it lets go, so that no record is read twice.
func TestRebalance(t *testing.T) {
	const partitions, n = 6, 60
	for kind, cfg := range kinds("range", "sticky", "cooperative-sticky", "consumer") {
		t.Run(kind, func(t *testing.T) {
			x := newBench(t, partitions, 2, "t")
			cfg.MaxPollRecords = 7
			start := func(name string) *member {
				r := newRecorder(name)
				r.commit = true
				return x.join(t, r, cfg, "g", "", "t")
			}
			has := func(n int) func(m *member) {
				return func(m *member) {
					m.wait(t, fmt.Sprintf("%d partitions", n), func() bool { return len(m.parts) == n })
				}
			}
			x.produce(t, "t", partitions, 0, n)
			a := start("a")
			has(partitions)(a)
			b := start("b")
			x.produce(t, "t", partitions, n, n)
			has(partitions / 2)(a)
			has(partitions / 2)(b)
			c := start("c")
			x.produce(t, "t", partitions, 2*n, n)
			for _, m := range []*member{a, b, c} {
				has(partitions / 3)(m)
			}
			if err := a.stop(); err != nil {
				t.Errorf("a: %v", err)
			}
			x.produce(t, "t", partitions, 3*n, n)
			has(partitions / 2)(b)
			has(partitions / 2)(c)
			all := []*member{a, b, c}
			waitAll(t, all, partitions*4*n)
			b.stop()
			c.stop()
			wantOnce(t, all, partitions, 4*n)
			for p := range int32(partitions) {
				if got := x.committed(t, "g")[tp("t", p)]; got != 4*n {
					t.Errorf("partition %d: committed %d, want %d", p, got, 4*n)
				}
			}
			if a.lost+b.lost+c.lost > 0 {
				t.Errorf("partitions were lost: %d, %d, %d", a.lost, b.lost, c.lost)
			}
			if kept := kind == "cooperative-sticky" || kind == "consumer"; kept && a.revoked > 3 {
				t.Errorf("a had partitions revoked %d times, at most 3 are needed", a.revoked)
			}
		})
	}
}

func waitAll(t *testing.T, ms []*member, total int) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		sum := 0
		for _, m := range ms {
			m.mu.Lock()
			sum += m.total()
			m.mu.Unlock()
		}
		if sum >= total {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records, want %d", sum, total)
		}
		select {
		case <-ms[0].changedChan():
		case <-ms[len(ms)-1].changedChan():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *recorder) changedChan() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// wantOnce checks that the members together read every record once.
func wantOnce(t *testing.T, ms []*member, partitions, n int) {
	t.Helper()
	seen := make(map[string]int)
	for _, m := range ms {
		for _, recs := range m.read {
			for _, r := range recs {
				seen[string(r.Value)]++
			}
		}
	}
	lost, twice := 0, 0
	for p := range partitions {
		for i := range n {
			switch seen[fmt.Sprintf("%d:%d", p, i)] {
			case 0:
				lost++
			case 1:
			default:
				twice++
			}
		}
	}
	if lost > 0 || twice > 0 {
		t.Errorf("%d records lost, %d read more than once, of %d", lost, twice, partitions*n)
	}
}

func TestStaticMembership(t *testing.T) {
	// Apache Kafka spares every assignor the rebalance, kfake only those whose
	// members join with the same words again.
	for kind, cfg := range kinds("range", "consumer") {
		t.Run(kind, func(t *testing.T) { testStaticMembership(t, cfg) })
	}
}

func testStaticMembership(t *testing.T, cfg config.Consumer) {
	x := newBench(t, 4, 1, "t")
	a := x.join(t, newRecorder("a"), cfg, "g", "host-a", "t")
	b := x.join(t, newRecorder("b"), cfg, "g", "host-b", "t")
	for _, m := range []*member{a, b} {
		m.wait(t, "2 partitions", func() bool { return len(m.parts) == 2 })
	}
	before, err := x.Cluster(t).WaitGroupStable(testContext(t), "g", 2)
	if err != nil {
		t.Fatal(err)
	}
	had := maps.Clone(a.parts)
	revokedB := b.revoked
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	again := x.join(t, newRecorder("a again"), cfg, "g", "host-a", "t")
	again.wait(t, "its partitions", func() bool { return maps.Equal(again.parts, had) })
	after, err := x.Cluster(t).WaitGroupStable(testContext(t), "g", 2)
	if err != nil {
		t.Fatal(err)
	}
	if after.Epoch != before.Epoch {
		t.Errorf("generation %d, want %d: the restart made a rebalance", after.Epoch, before.Epoch)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.revoked != revokedB {
		t.Error("the restart took partitions from the other member")
	}
}

func TestStaticMemberFenced(t *testing.T) {
	for kind, cfg := range kinds("cooperative-sticky", "consumer") {
		t.Run(kind, func(t *testing.T) { testStaticMemberFenced(t, cfg) })
	}
}

func testStaticMemberFenced(t *testing.T, cfg config.Consumer) {
	x := newBench(t, 1, 1, "t")
	a := x.join(t, newRecorder("a"), cfg, "g", "host", "t")
	a.wait(t, "its partition", func() bool { return len(a.parts) == 1 })
	b := x.join(t, newRecorder("b"), cfg, "g", "host", "t")
	b.wait(t, "the partition", func() bool { return len(b.parts) == 1 })
	a.wait(t, "the loss", func() bool { return a.lost > 0 })
	<-a.group.done
	if err := a.stop(); !errors.Is(err, klamm.ErrFenced) {
		t.Errorf("Run of the fenced member: %v, want ErrFenced", err)
	}
}

// TestPutOutOfGroup: a zombie's partitions are lost; it joins again by itself.
func TestPutOutOfGroup(t *testing.T) {
	for kind, cfg := range kinds("range", "cooperative-sticky", "consumer") {
		t.Run(kind, func(t *testing.T) {
			x := newBench(t, 2, 1, "t")
			m := x.join(t, newRecorder("m"), cfg, "g", "", "t")
			m.wait(t, "its partitions", func() bool { return len(m.parts) == 2 })
			_, id, _ := m.group.Membership()
			x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.ConsumerGroupHeartbeat}, Err: kerr.UnknownMemberID, TopLevel: true, When: func(r kmsg.Request) bool {
				switch r := r.(type) {
				case *kmsg.HeartbeatRequest:
					return r.MemberID == id
				case *kmsg.ConsumerGroupHeartbeatRequest:
					return r.MemberID == id && r.MemberEpoch > 0
				}
				return false
			}})
			m.wait(t, "the loss", func() bool { return m.lost == 1 })
			m.wait(t, "joining again", func() bool { return len(m.parts) == 2 })
			x.produce(t, "t", 2, 0, 3)
			m.waitRead(t, 6)
		})
	}
}

// TestC143_AbortedAndControlRecords: read_committed hides aborted records and
// markers, and the position passes them.
func TestC143_AbortedAndControlRecords(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	txn := func(id string, commit bool, values ...string) {
		cl := x.client(t, kgo.TransactionalID(id))
		defer cl.Close()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: "t", Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := cl.EndTransaction(testContext(t), kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(err)
		}
	}
	txn("x", true, "a", "b")    // 0 1, marker 2
	txn("x", false, "no", "no") // 3 4, marker 5
	txn("x", true, "c")         // 6, marker 7: the same producer again (A18)
	txn("y", false, "no")       // 8, marker 9
	m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
	m.wait(t, "the end", func() bool { return m.next[tp("t", 0)] == 10 })
	txn("x", false, "no") // 10, marker 11: nothing to show in the whole fetch
	m.wait(t, "the end after aborted records alone", func() bool { return m.next[tp("t", 0)] == 12 })
	if got := values(m.read[tp("t", 0)]); got != "a b c" {
		t.Errorf("read_committed shows %q, want \"a b c\"", got)
	}
	if err := m.group.Commit(testContext(t), m.positions()); err != nil || x.committed(t, "g")[tp("t", 0)] != 12 {
		t.Errorf("commit behind the last marker: %v, kadm sees %v", err, x.committed(t, "g"))
	}

	cfg := consumerConfig()
	cfg.IsolationLevel = "read_uncommitted"
	u := x.join(t, newRecorder("u"), cfg, "h", "", "t")
	u.wait(t, "the end", func() bool { return u.next[tp("t", 0)] == 12 })
	if got := values(u.read[tp("t", 0)]); got != "a b no no c no no" {
		t.Errorf("read_uncommitted shows %q", got)
	}
}

func values(recs []klamm.Record) string {
	var vs []string
	for _, r := range recs {
		vs = append(vs, string(r.Value))
	}
	return strings.Join(vs, " ")
}

// TestC145_CancelAfterFetch: what was fetched and not handed over when Run ends
// is not lost: the next member reads it.
func TestC145_CancelAfterFetch(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	x.produce(t, "t", 1, 0, 100)
	r := newRecorder("a")
	r.commit = true
	reading, goOn := make(chan struct{}), make(chan struct{})
	r.onRecords = func(_ klamm.TopicPartition, recs []klamm.Record) error {
		if recs[0].Offset == 20 {
			close(reading)
			<-goOn
		}
		return nil
	}
	cfg := consumerConfig()
	cfg.MaxPollRecords = 10
	a := x.join(t, r, cfg, "g", "", "t")
	<-reading
	a.cancel() // before it goes on, else it reads all
	close(goOn)
	if err := a.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	b := x.join(t, newRecorder("b"), cfg, "g", "", "t")
	b.wait(t, "the rest", func() bool { return b.next[tp("t", 0)] == 100 })
	b.stop()
	wantOnce(t, []*member{a, b}, 1, 100)
}

func TestPauseAndResume(t *testing.T) {
	x := newBench(t, 2, 1, "t")
	m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
	m.wait(t, "its partitions", func() bool { return len(m.parts) == 2 })
	m.group.Pause(tp("t", 0))
	x.produce(t, "t", 2, 0, 10)
	m.wait(t, "partition 1", func() bool { return m.next[tp("t", 1)] == 10 })
	if n := len(m.read[tp("t", 0)]); n != 0 {
		t.Errorf("%d records of the paused partition", n)
	}
	m.group.Resume(tp("t", 0))
	m.wait(t, "partition 0", func() bool { return m.next[tp("t", 0)] == 10 })

	// Paused between two calls of Records, with records fetched ahead.
	r := newRecorder("n")
	first, goOn := make(chan struct{}), make(chan struct{})
	r.onRecords = func(p klamm.TopicPartition, recs []klamm.Record) error {
		if p.Partition == 0 && recs[0].Offset == 0 {
			close(first)
			<-goOn
		}
		return nil
	}
	cfg := consumerConfig()
	cfg.MaxPollRecords = 2
	n := x.join(t, r, cfg, "h", "", "t")
	<-first
	n.group.Pause(tp("t", 0))
	close(goOn)
	n.wait(t, "the end of the running call", func() bool { return n.next[tp("t", 0)] > 0 })
	n.wait(t, "partition 1", func() bool { return n.next[tp("t", 1)] == 10 })
	n.mu.Lock()
	if got := n.next[tp("t", 0)]; got != 2 {
		t.Errorf("partition 0 is at %d after the pause, want 2", got)
	}
	n.mu.Unlock()
	n.group.Resume(tp("t", 0))
	n.wait(t, "partition 0", func() bool { return n.next[tp("t", 0)] == 10 })
}

func TestHandlerErrorStopsTheGroup(t *testing.T) {
	x := newBench(t, 3, 1, "t")
	x.produce(t, "t", 3, 0, 10)
	boom := errors.New("boom")
	r := newRecorder("m")
	r.onRecords = func(p klamm.TopicPartition, _ []klamm.Record) error {
		if p.Partition == 1 {
			return boom
		}
		return nil
	}
	m := x.join(t, r, consumerConfig(), "g", "", "t")
	<-m.group.done
	if err := m.stop(); !errors.Is(err, boom) {
		t.Errorf("Run: %v, want %v", err, boom)
	}
	if m.revoked != 1 || m.lost != 0 || len(m.parts) != 0 {
		t.Errorf("revoked %d times, lost %d times, left %v; want once, never, none", m.revoked, m.lost, m.parts)
	}
}

func TestGroupErrors(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	t.Run("configuration", func(t *testing.T) {
		for want, f := range map[string]func() (*Group, error){
			"group_id is empty": func() (*Group, error) {
				return NewGroup(x.cluster, &config.Consumer{}, "", "", []string{"t"}, newRecorder(""), nil)
			},
			"no topics": func() (*Group, error) {
				return NewGroup(x.cluster, &config.Consumer{}, "g", "", nil, newRecorder(""), nil)
			},
			"partition_assignment_strategy": func() (*Group, error) {
				return NewGroup(x.cluster, &config.Consumer{Assignor: "fair"}, "g", "", []string{"t"}, newRecorder(""), nil)
			},
			"instance id": func() (*Group, error) {
				return NewGroup(x.cluster, &config.Consumer{}, "g", "a b", []string{"t"}, newRecorder(""), nil)
			},
			"id a b is illegal": func() (*Group, error) {
				return NewGroup(x.cluster, &config.Consumer{GroupProtocol: "consumer"}, "g", "a b", []string{"t"}, newRecorder(""), nil)
			},
		} {
			if _, err := f(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		}
	})
	t.Run("unknown topic", func(t *testing.T) {
		m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "missing")
		<-m.group.done
		if err := m.stop(); !errors.Is(err, klamm.ErrUnknownTopic) {
			t.Errorf("Run: %v, want ErrUnknownTopic", err)
		}
	})
	t.Run("group refused", func(t *testing.T) {
		h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup, kmsg.ConsumerGroupHeartbeat}, TopLevel: true, Err: kerr.GroupAuthorizationFailed, Count: -1})
		defer h.Remove()
		m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
		<-m.group.done
		if err := m.stop(); codeOf(err) != klamm.CodeGroupAuthorizationFailed {
			t.Errorf("Run: %v, want GROUP_AUTHORIZATION_FAILED", err)
		}
	})
	t.Run("topic refused", func(t *testing.T) {
		h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		defer h.Remove()
		m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
		<-m.group.done
		if err := m.stop(); codeOf(err) != klamm.CodeTopicAuthorizationFailed || !strings.Contains(err.Error(), "t/0") {
			t.Errorf("Run: %v, want TOPIC_AUTHORIZATION_FAILED of t/0", err)
		}
	})
	t.Run("no offset", func(t *testing.T) {
		cfg := consumerConfig()
		cfg.AutoOffsetReset = "none"
		m := x.join(t, newRecorder("m"), cfg, "fresh", "", "t")
		<-m.group.done
		if err := m.stop(); !errors.Is(err, ErrNoOffset) {
			t.Errorf("Run: %v, want ErrNoOffset", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		cfg := consumerConfig()
		g, err := NewGroup(x.cluster, &cfg, "g", "", []string{"t"}, newRecorder("m"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := g.Run(testContext(t)); !errors.Is(err, klamm.ErrClosed) {
			t.Errorf("Run after Close: %v", err)
		}
	})
	t.Run("closed while it runs", func(t *testing.T) {
		m := x.join(t, newRecorder("m"), consumerConfig(), "g2", "", "t")
		m.wait(t, "its partition", func() bool { return len(m.parts) == 1 })
		if err := m.group.Close(); err != nil {
			t.Error(err)
		}
		if err := m.stop(); err != nil || len(m.parts) != 0 {
			t.Errorf("Run: %v, partitions left %v", err, m.parts)
		}
	})
}

func TestAutoOffsetReset(t *testing.T) {
	x := newBench(t, 1, 1, "t")
	x.Cluster(t) // the parts build on each other
	x.produce(t, "t", 1, 0, 10)
	t.Run("latest", func(t *testing.T) {
		cfg := consumerConfig()
		cfg.AutoOffsetReset = "latest"
		h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
			return r.(*kmsg.FetchRequest).Topics[0].Partitions[0].FetchOffset == 10
		}})
		defer h.Remove()
		m := x.join(t, newRecorder("m"), cfg, "latest", "", "t")
		if err := h.Wait(testContext(t), 1); err != nil {
			t.Fatal(err)
		}
		x.produce(t, "t", 1, 10, 5)
		m.waitRead(t, 5)
		wantNumbers(t, m.read[tp("t", 0)], 0, 10, 5)
	})
	t.Run("committed offset is gone", func(t *testing.T) {
		a := x.join(t, newRecorder("a"), consumerConfig(), "gone", "", "t")
		a.waitRead(t, 15)
		if err := a.group.Commit(testContext(t), map[klamm.TopicPartition]int64{tp("t", 0): 3}); err != nil {
			t.Fatal(err)
		}
		a.stop()
		if err := x.Cluster(t).DeleteRecords("t", 0, 7); err != nil {
			t.Fatal(err)
		}
		b := x.join(t, newRecorder("b"), consumerConfig(), "gone", "", "t")
		b.waitRead(t, 8)
		wantNumbers(t, b.read[tp("t", 0)], 0, 7, 8)
	})
	t.Run("offset goes while it is read", func(t *testing.T) {
		h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Err: kerr.OffsetOutOfRange})
		defer h.Remove()
		m := x.join(t, newRecorder("m"), consumerConfig(), "while", "", "t")
		m.waitRead(t, 8)
		if h.Hits() != 1 {
			t.Error("no fetch was out of range")
		}
	})
}

// TestLeadersMove reads on through new leaders and a broker that goes.
func TestLeadersMove(t *testing.T) {
	const partitions, n = 4, 40
	x := newBench(t, partitions, 3, "t")
	m := x.join(t, newRecorder("m"), consumerConfig(), "g", "", "t")
	for round := range 5 {
		x.produce(t, "t", partitions, round*n, n)
		m.waitRead(t, partitions*n*(round+1))
		x.Cluster(t).ShufflePartitionLeaders()
	}
	coordinator := x.Cluster(t).CoordinatorFor("g")
	if err := x.Cluster(t).RemoveNode((coordinator + 1) % 3); err != nil {
		t.Fatal(err)
	}
	x.produce(t, "t", partitions, 5*n, n)
	m.waitRead(t, partitions*n*6)
	m.stop()
	for p := range int32(partitions) {
		wantNumbers(t, m.read[tp("t", p)], p, 0, 6*n)
	}
}

// TestCoordinatorMoves: heartbeats and commits follow it.
func TestCoordinatorMoves(t *testing.T) {
	for kind, cfg := range kinds("cooperative-sticky", "consumer") {
		t.Run(kind, func(t *testing.T) { testCoordinatorMoves(t, cfg) })
	}
}

func testCoordinatorMoves(t *testing.T, cfg config.Consumer) {
	x := newBench(t, 2, 3, "t")
	m := x.join(t, newRecorder("m"), cfg, "g", "", "t")
	total := 0
	for round := range 4 {
		x.produce(t, "t", 2, round*5, 5)
		total += 10
		m.waitRead(t, total)
		if err := m.group.Commit(testContext(t), m.positions()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if got := x.committed(t, "g"); got[tp("t", 0)] != int64(total/2) || got[tp("t", 1)] != int64(total/2) {
			t.Errorf("round %d: kadm sees %v, want %d", round, got, total/2)
		}
		x.Cluster(t).RehashCoordinators()
	}
	if m.lost > 0 {
		t.Errorf("partitions were lost %d times", m.lost)
	}
}

// TestSlowPartitionDoesNotHoldOthers: they are led by the same broker.
func TestSlowPartitionDoesNotHoldOthers(t *testing.T) {
	x := newBench(t, 2, 1, "t")
	x.produce(t, "t", 2, 0, 10)
	r := newRecorder("m")
	goOn := make(chan struct{})
	r.onRecords = func(p klamm.TopicPartition, _ []klamm.Record) error {
		if p.Partition == 0 {
			<-goOn
		}
		return nil
	}
	m := x.join(t, r, consumerConfig(), "g", "", "t")
	m.wait(t, "partition 1", func() bool { return m.next[tp("t", 1)] == 10 })
	x.produce(t, "t", 2, 10, 10)
	m.wait(t, "more of partition 1", func() bool { return m.next[tp("t", 1)] == 20 })
	close(goOn)
	m.wait(t, "partition 0", func() bool { return m.next[tp("t", 0)] == 20 })
}
