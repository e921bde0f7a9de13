package host

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// slot is what the host keeps of a record between its acceptance and its
// completion: enough to run on_acknowledgement and the callback, never the
// value. It is written by the goroutine that stages the record, then by the one
// that judges it, then by the acknowledger, one after the other.
//
// It has the size of a cache line, since with many records in flight each line
// that a record touches is read from far away. What few records need is in more.
type slot struct {
	ref       state.Ref
	lane      *lane
	group     *flushGroup
	done      func(klamm.Result)
	timestamp int64
	accepted  time.Duration // on the producer's monotonic clock
	rest      *more         // kept with the slot; what it says is of this record if special
	reserved  int32
	special   bool
	claimed   bool   // the ledger must be told what became of it
	txn       uint16 // the transaction that it belongs to; 0: none
}

// more is what a slot holds of records that need it.
type more struct {
	tally *tally   // of the pipeline that the record came from; nil for a Send
	sync  *awaited // set by the acknowledger; for Send
	index int      // of the result in sync
	topic string   // of a record that waits for the one that it duplicates
	kept  kept     // where on_acknowledgement asks for it
	// delivery is the record that a pipeline read and tries again; nil: it does not.
	delivery *delivery
	// source is 1 more than the partition that a pipeline read the record from; 0:
	// none did.
	source int32

	// What the acknowledgement tells plugins; see interceptor.Item.
	generations uint64
	offered     uint16
	link        uint16
	reasonCode  uint16
	// dead is the verdict that sent the record to its dead-letter topic; the
	// write now in flight is the dead letter's.
	dead *deadVerdict
}

// more returns the rarer part, to be written.
func (sl *slot) more() *more {
	if !sl.special {
		sl.special = true
		if sl.rest == nil {
			sl.rest = new(more)
		}
		*sl.rest = more{}
	}
	return sl.rest
}

var nothing more

// seen returns the rarer part, to be read.
func (sl *slot) seen() *more {
	if sl.special {
		return sl.rest
	}
	return &nothing
}

// kept is what on_acknowledgement asked to see of a record.
type kept struct {
	key     []byte
	headers []klamm.Header
}

// deadVerdict is why a record is on its way to a dead-letter topic.
type deadVerdict struct{ plugin, reason string }

const (
	slotChunk = 1024
	slotBits  = 24 // low bits of a ref; the rest makes it unique in the process
	slotIndex = 1<<slotBits - 1
	maxSlots  = slotIndex + 1

	// The bits above are a serial number, and the producer's number below the top
	// bit, which is seatRef.
	producerShift = 55
	producerMax   = 1<<8 - 1
	serialMask    = 1<<(producerShift-slotBits) - 1
)

// producerOf returns the number of the producer whose slot a ref is of; ok is
// false for the ref of a record that is no producer's.
func producerOf(ref state.Ref) (number uint8, ok bool) {
	return uint8(ref >> producerShift), ref&seatRef == 0
}

// slots hands out acknowledgement slots, first come first served, and counts
// the records of each flush group. A slot's ref is unique in the process among those
// that anybody knows: it comes again after 2^31 records, and by then its record is
// completed, since the slot has another one. Claims alone know refs for longer, until
// their transaction ends, and no transaction has so many records.
type slots struct {
	mu      sync.Mutex
	chunks  []*[slotChunk]slot // filled as needed; an entry never changes once set
	made    int
	free    []uint32
	limit   int
	lot     int // how many a lane takes in advance
	serial  uint64
	since   uint64    // serial as the transaction began
	bounded bool      // there are transactions
	base    state.Ref // the producer's number, where refs have it
	group   *flushGroup
	open    []*flushGroup // groups that were closed and are not empty yet, oldest first
	waiting []chan uint32 // FIFO; a released slot goes straight to the first
	closed  bool
}

func newSlots(limit int) *slots {
	if limit > maxSlots {
		limit = maxSlots
	}
	chunks := make([]*[slotChunk]slot, (limit+slotChunk-1)/slotChunk)
	return &slots{limit: limit, lot: max(1, min(limit/1024, lotMax)), chunks: chunks, group: newFlushGroup()}
}

// lotMax bounds a lot, so that lanes keep few slots from each other.
const lotMax = 128

// lot is slots that a lane has taken in advance, under one lock. They count as
// taken, and their records as accepted, from then on: whoever wants to know
// better has lanes give theirs back.
type lot struct {
	refs  []state.Ref
	group *flushGroup
	read  int32 // kept so that the compiler keeps the readings of fill
}

// begin starts a transaction, whose records have refs of their own.
func (s *slots) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.bounded = s.serial, true
}

// spent reports whether the transaction has as many records as there are refs.
func (s *slots) spent() bool { return s.bounded && s.serial-s.since >= serialMask-lotMax }

var errManyRecords = fmt.Errorf("the transaction has %d records, the most that one can have; commit it: %w", serialMask-lotMax, klamm.ErrTransactionState)

// fill takes free slots, at most a lot, and none while somebody waits for one.
func (s *slots) fill(l *lot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.waiting) > 0 || s.spent() {
		return
	}
	for len(l.refs) < s.lot {
		i, ok := s.take()
		if !ok {
			break
		}
		l.refs = append(l.refs, s.number(i))
	}
	l.group = s.group
	s.group.count += len(l.refs)
	// A slot that was free for a while is in no cache. All of a lot are read at
	// once here; each Send would wait for its own.
	for _, ref := range l.refs {
		l.read += s.at(ref).reserved
	}
}

// readAll reads the slots of records in flight, which are in no cache any more,
// all at once. The sum means nothing.
func (s *slots) readAll(refs []uint64) (sum int32) {
	for _, ref := range refs {
		sum += s.at(state.Ref(ref)).reserved
	}
	return sum
}

// giveBack takes a lot's slots back.
func (s *slots) giveBack(l *lot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range l.refs {
		s.put(uint32(ref) & slotIndex)
	}
	l.group.count -= len(l.refs)
	l.refs = l.refs[:0]
	s.sweep()
}

// from takes the slot of one record out of a lot that is not empty.
func (s *slots) from(l *lot) *slot {
	last := len(l.refs) - 1
	ref := l.refs[last]
	l.refs = l.refs[:last]
	sl := s.at(ref)
	// What accept does not write, field by field: a literal would be copied.
	sl.ref, sl.group = ref, l.group
	sl.special, sl.claimed = false, false
	return sl
}

// number makes the ref of a slot's next record.
func (s *slots) number(i uint32) state.Ref {
	s.serial++
	return s.base | state.Ref(s.serial&serialMask<<slotBits|uint64(i))
}

// at returns the slot of a ref or of an index.
func (s *slots) at(ref state.Ref) *slot {
	i := uint32(ref) & slotIndex
	return &s.chunks[i/slotChunk][i%slotChunk]
}

// acquire returns a free slot, waiting for one until deadline.
func (s *slots) acquire(ctx context.Context, deadline time.Time) (*slot, error) {
	s.mu.Lock()
	if err := s.refusal(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	if len(s.waiting) == 0 {
		if i, ok := s.take(); ok {
			sl := s.assign(i)
			s.mu.Unlock()
			return sl, nil
		}
	}
	turn := make(chan uint32, 1)
	s.waiting = append(s.waiting, turn)
	s.mu.Unlock()
	return s.await(ctx, turn, deadline)
}

func (s *slots) await(ctx context.Context, turn chan uint32, deadline time.Time) (*slot, error) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var err error
	select {
	case i, ok := <-turn:
		return s.granted(i, ok)
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = klamm.ErrBufferFull
	}
	s.mu.Lock()
	if !s.leave(turn) { // it was granted, or the producer closed, in the meantime
		s.mu.Unlock()
		i, ok := <-turn
		if ok {
			s.mu.Lock()
			s.put(i)
			s.mu.Unlock()
		}
		return nil, err
	}
	s.mu.Unlock()
	return nil, err
}

func (s *slots) granted(i uint32, ok bool) (*slot, error) {
	if !ok {
		return nil, errProducerClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refusal(); err != nil {
		s.put(i)
		return nil, err
	}
	return s.assign(i), nil
}

// refusal is why no record gets a slot any more, whatever is free.
func (s *slots) refusal() error {
	switch {
	case s.closed:
		return errProducerClosed
	case s.spent():
		return errManyRecords
	}
	return nil
}

func (s *slots) leave(turn chan uint32) bool {
	for i, t := range s.waiting {
		if t == turn {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// take returns a free index, making a chunk when there is none.
func (s *slots) take() (uint32, bool) {
	if len(s.free) == 0 {
		if s.made >= s.limit {
			return 0, false
		}
		s.chunks[s.made/slotChunk] = new([slotChunk]slot)
		end := min(s.made+slotChunk, s.limit)
		for i := end - 1; i >= s.made; i-- {
			s.free = append(s.free, uint32(i))
		}
		s.made = end
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return i, true
}

// assign makes a slot a record's and counts it into the running flush group.
func (s *slots) assign(i uint32) *slot {
	sl := &s.chunks[i/slotChunk][i%slotChunk]
	*sl = slot{ref: s.number(i), group: s.group, rest: sl.rest}
	s.group.count++
	return sl
}

// abandon takes back a slot that no record came into.
func (s *slots) abandon(sl *slot) {
	s.release([]state.Ref{sl.ref})
	s.forget(sl.group, 1)
}

func (s *slots) put(i uint32) {
	if len(s.waiting) > 0 && !s.closed {
		turn := s.waiting[0]
		s.waiting = s.waiting[1:]
		turn <- i
		return
	}
	s.free = append(s.free, i)
}

// release frees slots; their groups still count the records until forget.
func (s *slots) release(refs []state.Ref) {
	if len(refs) == 0 {
		return
	}
	s.mu.Lock()
	for _, r := range refs {
		s.put(uint32(r) & slotIndex)
	}
	s.mu.Unlock()
}

// forget tells that n records of group g are wholly completed, callbacks
// included.
func (s *slots) forget(g *flushGroup, n int) {
	s.mu.Lock()
	g.count -= n
	s.sweep()
	s.mu.Unlock()
}

// cut closes the running group and returns a channel that closes when every
// record accepted so far is completed.
func (s *slots) cut() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.group
	s.open = append(s.open, g)
	s.group = newFlushGroup()
	s.sweep()
	return g.done
}

// sweep ends groups in order, so that a group's end means the end of all older
// ones too.
func (s *slots) sweep() {
	for len(s.open) > 0 && s.open[0].count == 0 {
		close(s.open[0].done)
		s.open = s.open[1:]
	}
}

// close refuses further slots and wakes all who wait for one.
func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, turn := range s.waiting {
		close(turn)
	}
	s.waiting = nil
}

// flushGroup is the records accepted between two flushes. Its count is guarded
// by slots.mu.
type flushGroup struct {
	count int
	done  chan struct{}
}

func newFlushGroup() *flushGroup { return &flushGroup{done: make(chan struct{})} }
