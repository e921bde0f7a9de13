package host

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// progress follows one partition's records from being read to being completed.
// Its position, the offset to commit, passes a record only when that record and
// all before it are completed, in whatever order they complete.
type progress struct {
	c  *consumption // that follows the partition
	tp klamm.TopicPartition

	mu        sync.Mutex
	entries   []progressEntry
	open      int    // entries that are neither done nor failed
	first     uint64 // number of entries[0]
	position  int64  // -1: nothing completed yet
	committed int64
	highWater int64
	claims    []progressClaim // of completed records that are not committed yet
	givenUp   bool
	abandoned bool          // its claims were taken for the last time
	idle      chan struct{} // closed when none is open any more; nil: nobody waits
	retry     *retryHold    // nil: what a plugin fails is not tried again
	sought    atomic.Bool   // a seek is due: what is read and not begun is dropped
}

type progressEntry struct {
	offset int64
	done   bool
	drop   bool // it counts as dropped when the position passes it
}

// progressClaim is a record that holds claims made in on_consume. They are
// confirmed when the offset after the record is committed.
type progressClaim struct {
	ref    state.Ref
	offset int64
}

func newProgress() *progress { return &progress{position: -1, committed: -1} }

// begin notes a record that was read and returns its number.
func (p *progress) begin(offset int64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entries = append(p.entries, progressEntry{offset: offset})
	p.open++
	return p.first + uint64(len(p.entries)) - 1
}

// beginAll notes records that were read, and numbers their deliveries.
func (p *progress) beginAll(ds []delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	number := p.first + uint64(len(p.entries))
	p.entries = slices.Grow(p.entries, len(ds))
	for i := range ds {
		ds[i].number = number + uint64(i)
		p.entries = append(p.entries, progressEntry{offset: ds[i].offset})
	}
	p.open += len(ds)
}

// takeBack forgets the last n records that were begun, of which nothing was done.
func (p *progress) takeBack(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.givenUp {
		return
	}
	p.entries = p.entries[:len(p.entries)-n]
	for range n {
		p.closeOne()
	}
}

// done completes the record of that number. ref is its claims' owner, 0 if it
// has none. counts is false when giveUp was there first; follows is when giveUp
// or abandon was: nobody will settle the claims then.
func (p *progress) done(number uint64, ref state.Ref) (counts, follows bool) {
	return p.end(number, ref, false)
}

// drop is done for a record that counts as dropped when the position passes it.
func (p *progress) drop(number uint64, ref state.Ref) (follows bool) {
	_, follows = p.end(number, ref, true)
	return follows
}

func (p *progress) end(number uint64, ref state.Ref, drop bool) (counts, follows bool) {
	p.mu.Lock()
	if p.givenUp {
		p.mu.Unlock()
		return false, false
	}
	e := &p.entries[number-p.first]
	e.done, e.drop = true, drop
	if ref != 0 && !p.abandoned {
		p.claims = append(p.claims, progressClaim{ref: ref, offset: e.offset})
	}
	p.closeOne()
	p.advance()
	follows = !p.abandoned
	p.mu.Unlock()
	return true, follows
}

// advance moves the position over the completed entries at the front.
func (p *progress) advance() {
	n, drops := 0, 0
	for n < len(p.entries) && p.entries[n].done {
		p.position = p.entries[n].offset + 1
		if p.entries[n].drop {
			drops++
		}
		n++
	}
	if n == 0 {
		return
	}
	if drops > 0 {
		p.c.countDrops(p.tp, drops)
	}
	p.first += uint64(n)
	// What is left moves to the front where that is little: to go on behind it
	// would need new memory again and again.
	if left := len(p.entries) - n; left <= n {
		copy(p.entries, p.entries[n:])
		p.entries = p.entries[:left]
	} else {
		p.entries = p.entries[n:]
	}
}

// skip passes over offsets without a record that anybody sees, up to next:
// transaction markers, aborted records, gaps of compaction. The position follows
// when all before is completed.
func (p *progress) skip(next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entries = append(p.entries, progressEntry{offset: next - 1, done: true})
	p.advance()
}

// fail says that the record will not be completed: the position stays before it
// and nobody waits for it.
func (p *progress) fail() {
	p.mu.Lock()
	p.closeOne()
	p.mu.Unlock()
}

func (p *progress) closeOne() {
	p.open--
	if p.open == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// giveUp ends the following of records that are not completed, and returns how
// many they are. Their offsets are never committed.
func (p *progress) giveUp() (open int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if !e.done {
			open++
		}
	}
	p.givenUp = true
	return open
}

func (p *progress) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.entries) == 0 && p.position <= p.committed
}

// inFlight returns how many records are neither completed nor failed.
func (p *progress) inFlight() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.givenUp {
		return 0
	}
	return p.open
}

// drained returns a channel that is closed while nothing is in flight.
func (p *progress) drained() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	return p.idle
}

// toCommit returns the position if it has moved since the last commit.
func (p *progress) toCommit() (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.position, p.position > p.committed
}

// confirm notes a commit and returns the owners whose claims it confirms.
func (p *progress) confirm(offset int64) []progressClaim {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committed = max(p.committed, offset)
	var confirmed []progressClaim
	kept := p.claims[:0]
	for _, c := range p.claims {
		if c.offset < offset {
			confirmed = append(confirmed, c)
		} else {
			kept = append(kept, c)
		}
	}
	p.claims = kept
	return confirmed
}

// claimsBefore returns the owners that a commit of offset confirms.
func (p *progress) claimsBefore(offset int64) []progressClaim {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []progressClaim
	for _, c := range p.claims {
		if c.offset < offset {
			found = append(found, c)
		}
	}
	return found
}

// abandon returns the owners whose claims will never be confirmed here.
func (p *progress) abandon() []progressClaim {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.claims
	p.claims, p.abandoned = nil, true
	return left
}

func (p *progress) sawHighWater(hw int64) {
	p.mu.Lock()
	p.highWater = hw
	p.mu.Unlock()
}

// lagLocked is the records that are not completed yet, read or not.
func (p *progress) lagLocked() int64 {
	from := p.position
	if from < 0 && len(p.entries) > 0 {
		from = p.entries[0].offset // nothing is completed yet
	}
	if from < 0 {
		return 0
	}
	return max(0, p.highWater-from)
}

// settleClaims tells the ledger about claims made in on_consume.
func (h *Host) settleClaims(tp klamm.TopicPartition, claims []progressClaim, outcome klamm.Outcome, err error) {
	for _, c := range claims {
		s := h.consumed(tp, c)
		s.Outcome, s.Err = outcome, err
		h.settle(c.ref, s)
	}
}

// consumed is the settlement of a record that was read, and whose offset is
// committed.
func (h *Host) consumed(tp klamm.TopicPartition, c progressClaim) state.Settlement {
	return state.Settlement{
		Outcome: klamm.Written, NowMS: h.clock.nowMS(),
		At: state.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: c.offset},
	}
}
