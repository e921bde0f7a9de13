package consume

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// TestStartsAreAskedForOnce: members with an epoch ask for the offsets of all that
// has come in one request, which waits for transactions as it is.
func TestStartsAreAskedForOnce(t *testing.T) {
	x := newBench(t, 4, 1, "t")
	x.produce(t, "t", 4, 0, 10)
	offsets := map[klamm.TopicPartition]Noted{}
	for p := range int32(3) { // the last one has none
		offsets[tp("t", p)] = Noted{Offset: int64(p) + 1}
	}
	if err := CommitNoted(testContext(t), x.cluster, "g", offsets); err != nil {
		t.Fatal(err)
	}
	h := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, TopLevel: true, Observe: true, Count: -1})
	defer h.Remove()
	m := x.joinAs(t, newRecorder("m"), heartConfig(), "g", "", (*Group).ReadStable, "t")
	m.waitRead(t, 9+8+7+10)
	if h.Hits() != 1 {
		t.Errorf("%d requests for committed offsets, want 1", h.Hits())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range int32(4) {
		want := offsets[tp("t", p)].Offset
		if first := m.read[tp("t", p)][0].Offset; first != want {
			t.Errorf("partition %d is read from %d on, want %d", p, first, want)
		}
	}
}

// TestAStartThatTheAnswerLeavesOut: a partition of which the coordinator says nothing
// has no committed offset, and is read by auto_offset_reset.
func TestAStartThatTheAnswerLeavesOut(t *testing.T) {
	x := newBench(t, 2, 1, "t")
	x.produce(t, "t", 2, 0, 10)
	x.Cluster(t).ControlKey(int16(kmsg.OffsetFetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		x.Cluster(t).KeepControl()
		resp := r.ResponseKind().(*kmsg.OffsetFetchResponse)
		g := kmsg.NewOffsetFetchResponseGroup()
		g.Group = "g"
		resp.Groups = append(resp.Groups, g)
		return resp, nil, true
	})
	m := x.joinAs(t, newRecorder("m"), heartConfig(), "g", "", (*Group).ReadStable, "t")
	m.waitRead(t, 20)
}

// TestOpenTransactionsHoldUpTheirPartitionAlone: while the offset of a partition is
// about to change, others begin, and a rebalance takes some of them, that one
// perhaps. It begins when the transaction has ended.
func TestOpenTransactionsHoldUpTheirPartitionAlone(t *testing.T) {
	for kind, cfg := range kinds("range", "consumer") {
		t.Run(kind, func(t *testing.T) {
			x := newBench(t, 4, 1, "t")
			x.produce(t, "t", 4, 0, 10)
			open := x.Cluster(t).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Topic: "t", Partitions: []int32{0}, Err: kerr.UnstableOffsetCommit, Count: -1,
				When: func(r kmsg.Request) bool { return r.(*kmsg.OffsetFetchRequest).RequireStable }})
			join := func(name string) *member {
				r := newRecorder(name)
				r.commit = true
				return x.joinAs(t, r, cfg, "g", "", (*Group).ReadStable, "t")
			}
			a := join("a")
			a.waitRead(t, 30)
			b := join("b")
			for _, m := range []*member{a, b} {
				m.wait(t, "2 partitions", func() bool { return len(m.parts) == 2 })
			}
			open.Remove()
			waitUntil(t, "the records of the partition", func() bool {
				for _, m := range []*member{a, b} {
					m.mu.Lock()
					n := len(m.read[tp("t", 0)])
					m.mu.Unlock()
					if n == 10 {
						return true
					}
				}
				return false
			})
		})
	}
}
