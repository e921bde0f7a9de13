package partitioner

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/klamm-io/klamm"
)

// sticky keeps records on one partition of their topic until a batch's bytes
// went there, so that batches get full.
type sticky struct {
	batchSize int
	pick      picker
	rand      func() uint32

	used   atomic.Bool // false while nothing was partitioned: nothing to account for
	mu     sync.Mutex
	topics byTopic[pin]
}

// picker returns the index of the next partition. batchSize is the bytes of one
// batch in a queue.
type picker func(t *Topic, batchSize int, rand func() uint32) int

// pin is the partition that a topic's records go to for now.
type pin struct {
	set      bool
	to       int32
	produced int // bytes appended to it since it was chosen
	open     int // bytes in its open batch
}

func newSticky(batchSize int, pick picker, rand func() uint32) (*sticky, error) {
	if batchSize < 1 {
		return nil, fmt.Errorf("partitioner: batch size %d: it must be positive", batchSize)
	}
	return &sticky{batchSize: batchSize, pick: pick, rand: rand}, nil
}

func (s *sticky) partition(rec *klamm.Record, t *Topic) int32 {
	s.used.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.topics.of(t.Name)
	if !p.set || s.done(p, rec) || !t.usable(p.to) {
		*p = pin{set: true, to: t.Partitions[s.pick(t, s.batchSize, s.rand)]}
	}
	return p.to
}

// done reports whether the record should open a batch elsewhere. Moving on
// before the batch is complete would leave small batches behind (KIP-794), so
// it must be one that the record does not fit into; twice the bytes are enough
// in any case.
func (s *sticky) done(p *pin, rec *klamm.Record) bool {
	return p.produced >= s.batchSize && p.open+recordSize(rec) > s.batchSize || p.produced >= 2*s.batchSize
}

func (s *sticky) appended(topic string, partition int32, bytes int, newBatch bool) {
	if !s.used.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.topics.of(topic)
	if !p.set || p.to != partition {
		return
	}
	p.produced += bytes
	if newBatch {
		p.open = 0
	}
	p.open += bytes
}

// recordSize is about what the record takes in a batch.
func recordSize(rec *klamm.Record) int {
	const record, header = 8, 2 // lengths, deltas and attributes, mostly of one byte each
	n := record + len(rec.Key) + len(rec.Value)
	for _, h := range rec.Headers {
		n += header + len(h.Key) + len(h.Value)
	}
	return n
}

// anyOf picks among the available partitions at random.
func anyOf(t *Topic, _ int, rand func() uint32) int {
	n, all := t.choices()
	return t.choice(int(rand()%uint32(n)), all)
}

// shortQueue picks at random, the more often the shorter a partition's queue:
// by the longest queue plus one less its own, counted in batches. It is anyOf
// where loads are not known or equal.
func shortQueue(t *Topic, batchSize int, rand func() uint32) int {
	n, all := t.choices()
	if n < 2 || len(t.Load) != len(t.Partitions) {
		return anyOf(t, batchSize, rand)
	}
	queue := func(k int) uint64 { // in batches
		return (uint64(t.load(t.choice(k, all))) + uint64(batchSize) - 1) / uint64(batchSize)
	}
	longest, sum := uint64(0), uint64(0)
	for k := range n {
		q := queue(k)
		longest, sum = max(longest, q), sum+q
	}
	total := (longest+1)*uint64(n) - sum
	if total == uint64(n) { // all equal
		return anyOf(t, batchSize, rand)
	}
	at := uint64(rand()) % total
	for k := range n {
		weight := longest + 1 - queue(k)
		if at < weight {
			return t.choice(k, all)
		}
		at -= weight
	}
	panic("partitioner: weights do not add up")
}

// shortestQueue picks the partition with the fewest bytes queued.
func shortestQueue(t *Topic, _ int, rand func() uint32) int {
	n, all := t.choices()
	best, ties := t.choice(0, all), uint32(0)
	for k := range n {
		switch i := t.choice(k, all); {
		case t.load(i) < t.load(best):
			best, ties = i, 1
		case t.load(i) == t.load(best):
			// The j-th of equals takes the place with a chance of 1 in j.
			if ties++; rand()%ties == 0 {
				best = i
			}
		}
	}
	return best
}
