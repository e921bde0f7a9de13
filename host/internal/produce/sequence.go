package produce

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Idempotence (KIP-98, KIP-360): the broker keeps, for each producer id and
// partition, the epoch and the sequences of the last five batches. It takes a
// batch whose base sequence follows the last one, answers one that it has with
// the offset it gave it, and refuses any other. A new epoch starts at 0.

// stamp is a producer identity that sequences count under. Stamps are compared
// by pointer; each is used by a partition at most once.
type stamp struct {
	producerID int64
	epoch      int16
}

// sequences is one partition's side of that. It is guarded by partition.mu.
//
// In a transaction there is no new epoch: what is lost ends the transaction, and
// holes are closed by the epoch that follows its abort. A broker that has forgotten
// the producer because retention took all that it had of it is told the sequences
// from 0 under the same epoch, as Java's client does.
//
// Not all partitions move to a new epoch at once. One that has batches out
// under the old epoch repeats them as they are until they are acknowledged,
// for the broker may have written them; restamping them would write them twice
// (KAFKA-12152).
type sequences struct {
	// stamp is the identity that the partition uses; nil before its first batch.
	stamp *stamp
	// next is the sequence of the next new batch.
	next int32
	// acked is the sequence that the broker expects next as far as its
	// acknowledgements tell: one beyond the last acknowledged.
	acked int32
	// ackedOffset is that of the last record acknowledged under stamp, -1 before.
	ackedOffset int64
	// knownAt is when the leader last acknowledged a batch under stamp, unknown
	// if it has not, or if it is another leader now. A broker that knows nothing
	// of a producer takes any first sequence: were the first batch refused and
	// the second taken, the first could never be written in its place. So one
	// batch goes alone until the leader knows us.
	knownAt time.Duration
	// inflight holds the batches that have been taken and have no outcome yet,
	// in the order of their sequences: on the wire or in the queue for a retry.
	inflight []*batch
	// hole: a batch was given up whose sequence the broker may wait for. No new
	// batch may go, but the first in flight may, for its answer tells whether
	// the broker has what was given up.
	hole bool
	// restart: the broker waits for a sequence that will never come, or knows
	// nothing of us. What is in flight gets a new epoch, from 0, as soon as
	// none of it is on the wire.
	restart bool
	// broken: the batch that the broker waits for is certain not to be written,
	// so nothing behind it can be, under this stamp.
	broken bool
	// forgotten: the broker has lost our sequences and may take any.
	forgotten bool
	// ended are batches that a restart gave up, for the sender to complete.
	ended []endedBatch
}

// unknown is no time on the pipeline's clock.
const unknown = time.Duration(-1)

// knownFor is how long after an acknowledgement a leader is sure to know the
// producer. Brokers forget those that are idle for producer.id.expiration.ms,
// one day by default.
const knownFor = 10 * time.Minute

// addSequence counts n records on from s: 2^31-1 is followed by 0.
func addSequence(s, n int32) int32 { return int32((int64(s) + int64(n)) & math.MaxInt32) }

// sequenceAfter reports whether a comes after b.
func sequenceAfter(a, b int32) bool {
	d := (int64(a) - int64(b)) & math.MaxInt32
	return d > 0 && d < 1<<30
}

// end returns the sequence after b's last record.
func (b *batch) end() int32 { return addSequence(b.header.baseSequence, b.header.count) }

// restamp gives b an identity and a sequence. Its header must be made again.
func (b *batch) restamp(s *stamp, sequence int32) {
	b.stamp = s
	b.header.producerID = s.producerID
	b.header.producerEpoch = s.epoch
	b.header.baseSequence = sequence
	b.sealed = false
	b.unclear = false
	b.gaps = 0
}

// mayGo reports whether b, the batch in front of the queue, may be taken. It
// changes the partition's identity where the rules allow and demand it.
func (t *partition) mayGo(b *batch, now time.Duration) bool {
	if b.stamp != nil {
		// A retry. Only the first in flight may go, so that the broker sees
		// them in order; its successors follow one by one.
		return t.inflight[0] == b
	}
	if txn := t.pipeline.txn; txn != nil && (t.hole || !txn.mayDrain(t)) {
		return false
	}
	if t.hole && !t.settleHole() {
		return false
	}
	current := t.pipeline.identity.current()
	if current == nil {
		return false
	}
	if t.stamp != current {
		if len(t.inflight) > 0 || t.onWire > 0 {
			return false
		}
		t.adopt(current)
	}
	return len(t.inflight) == 0 || t.knownAt != unknown && now-t.knownAt < knownFor && !t.retrying()
}

// retrying reports whether a batch in flight has been sent more than once. No
// new one goes then: the broker knows five batches back. Were the first written
// but its answers lost, and five new ones acknowledged between its retries, the
// broker could not tell any more that it has the first.
func (t *partition) retrying() bool {
	return slices.ContainsFunc(t.inflight, func(b *batch) bool { return b.attempts > 1 || b.queued })
}

// stampNext gives b the next sequence. mayGo has allowed it.
func (t *partition) stampNext(b *batch) {
	b.restamp(t.stamp, t.next)
	t.next = b.end()
}

// adopt starts at sequence 0 under s.
func (t *partition) adopt(s *stamp) {
	t.sequences.stamp, t.next, t.acked, t.ackedOffset = s, 0, 0, -1
	t.hole, t.restart, t.broken, t.forgotten = false, false, false, false
	t.knownAt = unknown
}

// settleHole decides what became of batches that were given up, once nothing
// is in flight any more. It reports whether new batches may go.
func (t *partition) settleHole() bool {
	if len(t.inflight) > 0 || t.onWire > 0 {
		return false
	}
	if t.acked == t.next {
		t.hole = false // all of them were acknowledged after all
		return true
	}
	t.restart = true
	return t.beginAgain()
}

// beginAgain moves the partition, with all that it has in flight, to an epoch
// that it has not used, or in a transaction to sequence 0 of the same. It reports
// false while that must wait: for batches on the wire, which keep their old sequence
// there, or for a new producer id.
//
// A batch goes along only if it is certain that it is not written and that no
// copy of it can be taken any more: if every attempt was refused, or if the
// batch that the broker waits for was given up, all of whose attempts were.
// What a broker says of a later attempt is no proof. Suppose it stopped for a
// while: (1) the first batch expires, (2) the second, repeated on a new
// connection, is refused for the gap, (3) the broker comes to what the old
// connection left in its queue, and writes both, (4) the second arrives under
// its new epoch and is written twice. Or suppose that it keeps one epoch for all
// partitions: (1) the first batch is written and times out, (2) another
// partition moves to a new epoch, which (3) fences the second, (4) the first is
// written again under that epoch. So the outcome of such a batch is unknown.
func (t *partition) beginAgain() bool {
	if t.onWire > 0 {
		return false
	}
	fresh := t.sequences.stamp
	if t.pipeline.txn == nil {
		fresh = t.pipeline.identity.after(fresh)
	}
	if fresh == nil {
		return false
	}
	possible := t.forgotten || !t.broken // that something in flight is written
	t.adopt(fresh)
	for _, b := range slices.Clone(t.inflight) {
		if possible && b.unclear {
			why := fmt.Errorf("it may have been written, so it is not sent under another sequence: %w", b.lastErr)
			t.ended = append(t.ended, endedBatch{b, t.end(b, why)})
			continue
		}
		t.stampNext(b)
	}
	return true
}

// acknowledged notes that the broker has b, which is no longer in flight, at an
// offset, where it told one.
func (t *partition) acknowledged(b *batch, baseOffset int64) {
	if b.stamp == nil || b.stamp != t.sequences.stamp {
		return
	}
	if baseOffset >= 0 {
		t.ackedOffset = max(t.ackedOffset, baseOffset+int64(b.header.count)-1)
	}
	if end := b.end(); sequenceAfter(end, t.acked) {
		t.acked = end
	}
	t.knownAt = t.pipeline.now()
	// The broker takes no batch without the one before it, so it has whatever
	// was given up in front of what it has acknowledged.
	expected := t.next
	if len(t.inflight) > 0 {
		expected = t.inflight[0].header.baseSequence
	}
	if !sequenceAfter(expected, t.acked) {
		t.hole = false
	}
}

// isTurnOf reports whether b is the batch that the broker must expect.
func (t *partition) isTurnOf(b *batch) bool {
	return b.stamp != nil && t.inflight[0] == b && !t.hole && b.header.baseSequence == t.acked
}

// isOvertaken reports whether the broker has acknowledged batches behind b.
func (t *partition) isOvertaken(b *batch) bool {
	return b.stamp != nil && t.inflight[0] == b && sequenceAfter(t.acked, b.header.baseSequence)
}

// isBehindHole reports whether only what was given up is in front of b.
func (t *partition) isBehindHole(b *batch) bool {
	return b.stamp != nil && t.inflight[0] == b && t.hole
}

// outOfOrder notes that the broker refused b because it waits for another
// sequence. The caller retries b. If it was b's turn, or what it waits for was
// given up, b is first repeated as it is: a broker that has written it after all
// says so then, where restamping would write it twice. Else one before it has
// failed and comes first, or one after it was acknowledged.
func (t *partition) outOfOrder(b *batch) {
	switch {
	case t.isOvertaken(b):
		b.gaps++
	case t.isTurnOf(b), t.isBehindHole(b):
		b.gaps++
		t.restart = t.restart || b.gaps > 1
	}
}

// isBeyondMending reports whether b's sequence can be accepted under another epoch
// only, which is none of this transaction's.
func (t *partition) isBeyondMending(b *batch, a *answer, r rule) bool {
	switch r.do {
	case reorder:
		return t.inflight[0] == b && (t.hole || b.gaps > 0)
	case restart:
		return a.logStart >= 0 && t.ackedOffset >= a.logStart // it was not retention
	}
	return false
}

// forget takes b out of those in flight, because it has an outcome.
func (t *partition) forget(b *batch) {
	if i := slices.Index(t.inflight, b); i >= 0 {
		t.inflight = slices.Delete(t.inflight, i, i+1)
	}
}

// giveUp takes b out without an acknowledgement. If the broker was to take it
// next and certainly did not, those behind it restart. Else its sequence is a
// hole, about which the next answer tells.
func (t *partition) giveUp(b *batch, maybe bool) {
	certain := !maybe && len(t.inflight) > 0 && t.isTurnOf(b)
	t.forget(b)
	switch {
	case b.stamp == nil || b.stamp != t.sequences.stamp:
	case certain && t.pipeline.txn == nil:
		t.restart, t.broken = true, true
	default:
		t.hole = true
	}
}

// newIncarnation notes that the topic was deleted and made anew: its partitions
// know nothing of earlier sequences.
func (t *partition) newIncarnation() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.sequences.stamp == nil:
	case t.pipeline.txn != nil:
		t.pipeline.txn.renewed(t)
	default:
		t.restart, t.forgotten = true, true
	}
}
