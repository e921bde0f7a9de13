package consume

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/klamm-io/klamm"
)

// revocations counts calls of Revoked, the first of which waits.
type revocations struct {
	begun, goOn chan struct{}
	calls       atomic.Int32
	parts       atomic.Int32
}

func (r *revocations) Assigned(context.Context, map[string][]int32) {}

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
