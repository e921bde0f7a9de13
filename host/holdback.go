package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/state"
)

// A record that duplicates one in flight in another transaction can be neither
// written nor dropped before that one has ended, and no transaction waits for
// another: two that did could wait for each other. So the pipeline commits what
// came before the record, and sends the record again in its next transaction, until
// it is known what the other one came to. What was judged after it is held back
// too, so that a transaction never has records beyond the offset it commits.
//
// Chains with several lanes have no order that could be cut. There the transaction
// is lost, and read again.

// errHeldBack completes the records that are to be sent again.
var errHeldBack = fmt.Errorf("held back for the next transaction")

// holdBack is what a pipeline holds back.
type holdBack struct {
	on atomic.Bool // the lane judges nothing more

	mu    sync.Mutex
	held  []heldRecord
	free  chan struct{} // closed when nothing is held any more; nil: nothing is
	pause time.Duration // before the next try
}

// heldRecord is one of them, by its place in the order of reading.
type heldRecord struct {
	d     *delivery
	aside *interceptor.Item // a verdict that lets it not pass; nil: it is sent
}

// Pauses between the tries.
const (
	holdFirst = 2 * time.Millisecond
	holdMost  = 200 * time.Millisecond
)

// mustHold reports whether an error is that of a record that is to be held back.
func mustHold(err error) bool {
	return errors.Is(err, klamm.ErrDuplicatePending) || errors.Is(err, state.ErrPendingElsewhere) || errors.Is(err, state.ErrCrossed)
}

// keep takes a record. It returns true for the first.
func (h *holdBack) keep(r heldRecord) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.on.Store(true)
	h.held = append(h.held, r)
	if h.free != nil {
		return false
	}
	h.free = make(chan struct{})
	return true
}

// take returns what is held, in the order of reading. It is no longer.
func (h *holdBack) take() []heldRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.held
	h.held = nil
	slices.SortFunc(all, func(a, b heldRecord) int { return cmp.Compare(a.d.turn, b.d.turn) })
	h.on.Store(false)
	return all
}

// tried tells after how long to try again, 0 for never: then nothing is held, and
// reading goes on.
func (h *holdBack) tried() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) > 0 {
		h.pause = min(max(2*h.pause, holdFirst), holdMost)
		return h.pause
	}
	h.on.Store(false)
	if h.free != nil {
		close(h.free)
		h.free, h.pause = nil, 0
	}
	return 0
}

// drop gives up the records of partitions.
func (h *holdBack) drop(parts map[string][]int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = slices.DeleteFunc(h.held, func(r heldRecord) bool {
		gone := slices.Contains(parts[r.d.pr.tp.Topic], r.d.pr.tp.Partition)
		if gone {
			r.d.fail(errPartitionGone)
		}
		return gone
	})
}

func (h *holdBack) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

// wait waits until nothing is held.
func (h *holdBack) wait(ctx context.Context) error {
	h.mu.Lock()
	free := h.free
	h.mu.Unlock()
	return awaitFree(ctx, free)
}

// awaitFree waits for a channel that is closed when nothing is held any more; nil:
// nothing is.
func awaitFree(ctx context.Context, free <-chan struct{}) error {
	if free == nil {
		return nil
	}
	select {
	case <-free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cuts reports whether the lane holds records back. Dead letters and ids, which go
// past the plugins, belong to records that are not.
func (l *lane) cuts() bool {
	return l.p.hold != nil && l.chain != l.p.chains.bare && len(l.chain.lanes) == 1
}

// holdRest completes the records of a block from n on as held back. The plugins
// may have judged them already.
func (l *lane) holdRest(b *block, n int) {
	rest := b.batch.Items[n:]
	for i := range rest {
		it, sl := &rest[i], b.slots[n+i]
		if it.Wait != nil {
			it.Wait.Cancel()
		}
		sl.claimed = it.Claimed
		if l.wants.any {
			sl.judged(it)
			sl.keep(l.wants, &it.Record)
		}
		l.holdOne(sl, it)
	}
	clear(rest)
	b.batch.Items = b.batch.Items[:n]
}

func (l *lane) holdOne(sl *slot, it *interceptor.Item) {
	l.p.hold.on.Store(true)
	l.p.completeLocal(sl, klamm.Result{Outcome: klamm.Failed, Topic: it.Record.Topic, Partition: klamm.NoPartition, Err: errHeldBack})
}
