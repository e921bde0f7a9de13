package consume

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/klamm-io/klamm"
)

// revocations counts calls of Revoked, the first of which waits.
type revocations struct {
	begun, goOn chan struct{}
	calls       atomic.Int32
	parts       atomic.Int32
	assigned    atomic.Int32 // partitions
}

func (r *revocations) Assigned(_ context.Context, parts map[string][]int32) {
	for _, ids := range parts {
		r.assigned.Add(int32(len(ids)))
	}
}

func (r *revocations) Revoked(parts map[string][]int32, _ bool) {
	for _, ids := range parts {
		r.parts.Add(int32(len(ids)))
	}
	if r.calls.Add(1) == 1 {
		close(r.begun)
		<-r.goOn
	}
}

func (r *revocations) Records(context.Context, klamm.TopicPartition, []klamm.Record, int64) error {
	return nil
}

func (r *revocations) Committed(map[klamm.TopicPartition]int64) {}

// A partition that stays, and whose reading ends while Revoked runs for others, as it
// does when Run is to end, does not have them revoked again.
func TestRevokedOnceThoughOthersEnd(t *testing.T) {
	r := &revocations{begun: make(chan struct{}), goOn: make(chan struct{})}
	o := newOwnership(r)
	o.assign(map[string][]int32{"t": {0, 1}})
	o.begin(t.Context(), tp("t", 0))
	o.begin(t.Context(), tp("t", 1))
	o.assign(map[string][]int32{"t": {1}})
	ended := make(chan struct{})
	go func() { defer close(ended); o.end(tp("t", 0)) }()
	<-r.begun
	o.end(tp("t", 1))
	close(r.goOn)
	<-ended
	o.revokeAll(false)
	if calls, parts := r.calls.Load(), r.parts.Load(); calls != 2 || parts != 2 {
		t.Errorf("Revoked was called %d times, with %d partitions in all", calls, parts)
	}
}

// A partition that comes back while Revoked runs for it is assigned anew before it
// is read.
func TestAssignedThoughRevokedIsRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &revocations{begun: make(chan struct{}), goOn: make(chan struct{})}
		o := newOwnership(r)
		o.assign(map[string][]int32{"t": {0, 1}})
		o.begin(t.Context(), tp("t", 0))
		o.begin(t.Context(), tp("t", 1))
		o.assign(map[string][]int32{"t": {1}})
		go o.end(tp("t", 0))
		<-r.begun
		o.assign(map[string][]int32{"t": {0, 1}})
		go o.begin(t.Context(), tp("t", 0))
		synctest.Wait()
		close(r.goOn)
		synctest.Wait()
		if n := r.assigned.Load(); n != 3 {
			t.Errorf("%d partitions were assigned, want 2 and the one that came back", n)
		}
		if _, missing := o.missing(map[klamm.TopicPartition]int64{tp("t", 0): 0}); missing {
			t.Error("it is read and not owned")
		}
	})
}

// TestRebalanceWhileRevoking: partitions come back to a member that is still letting
// them go, for the one they were to go to has left.
func TestRebalanceWhileRevoking(t *testing.T) {
	for kind, cfg := range kinds("cooperative-sticky", "consumer") {
		t.Run(kind, func(t *testing.T) {
			x := newBench(t, 4, 1, "t")
			x.produce(t, "t", 4, 0, 5)
			r := newRecorder("a")
			r.commit = true
			revoking, goOn := make(chan struct{}, 8), make(chan struct{})
			r.onRevoked = func(bool) {
				revoking <- struct{}{}
				<-goOn
			}
			a := x.join(t, r, cfg, "g", "", "t")
			a.waitRead(t, 20)
			b := x.join(t, newRecorder("b"), cfg, "g", "", "t")
			<-revoking
			if err := b.stop(); err != nil {
				t.Error(err)
			}
			close(goOn)
			a.wait(t, "all partitions again", func() bool { return a.revoked > 0 && len(a.parts) == 4 })
			x.produce(t, "t", 4, 5, 5)
			a.waitRead(t, 40)
		})
	}
}
