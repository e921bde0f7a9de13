package checker

import (
	"fmt"
	"math"
	"time"
)

// Head opens a history.
type Head struct {
	Topic   string    `json:"topic"`
	Seed    uint64    `json:"seed"`
	Started time.Time `json:"started"`
	// Durable: each record was on disk before it was sent, so that the log holds
	// none which the history lacks, whatever happened to the process.
	Durable bool `json:"durable"`
	// Hooks: a probe noted each on_send and on_acknowledgement.
	Hooks bool `json:"hooks"`
	// Window is how long a dedup plugin remembers; 0 is for ever.
	Window time.Duration `json:"window"`
	// Lanes: records of different keys may overtake one another.
	Lanes bool `json:"lanes"`
}

// History is what became of records as their senders saw it.
type History struct {
	Head
	// Closed: the history was ended in order. What has no completion then never
	// got one; else the process may have died before.
	Closed bool
	// TornBytes is what of the file's end could not be read.
	TornBytes int64

	facts  map[uint64][]fact // by series, then n
	orders map[int]uint32    // records of each producer
	sends  uint32            // records of all
	txns   map[uint32]TxnOutcome
	polls  []Polled
	// offsets are in the order of their transactions.
	offsets []TxnOffset
	// strange are completions and calls for records that were never sent.
	strange int64
}

// fact is all that is known of one record, from both sides.
type fact struct {
	dedup  uint64
	offset int64 // as told
	order  uint32
	sentAs uint32 // how many were sent before it, and
	endAs  uint32 // before it had a completion
	ms     uint32 // since the history began
	txn    uint32
	asked  int32

	partition int32 // as told
	outcome   Outcome
	ends      uint8
	hooks     [2]uint8

	at place // where the log has it first
	// seen counts how often: read uncommitted, read committed.
	seen [2]uint8
}

type place struct {
	partition int32
	offset    int64
}

func newHistory(head Head) *History {
	return &History{Head: head, facts: map[uint64][]fact{}, orders: map[int]uint32{}, txns: map[uint32]TxnOutcome{}}
}

// Len returns how many records were sent.
func (h *History) Len() int64 {
	n := int64(0)
	for _, s := range h.facts {
		n += int64(len(s))
	}
	return n
}

func (h *History) fact(id ID) *fact {
	s := h.facts[id.series()]
	if id.N() >= len(s) {
		return nil
	}
	return &s[id.N()]
}

// each calls f with every record. It may change the fact.
func (h *History) each(f func(ID, *fact)) {
	for series, facts := range h.facts {
		for n := range facts {
			f(ID(series<<24|uint64(n)), &facts[n])
		}
	}
}

func (h *History) sent(id ID, asked int32, dedup uint64, txn uint32, ms int64) error {
	s := h.facts[id.series()]
	if id.N() != len(s) {
		return fmt.Errorf("record %v follows %d others of its producer and key", id, len(s))
	}
	p := id.Producer()
	h.facts[id.series()] = append(s, fact{
		dedup: dedup, txn: txn, asked: asked, order: h.orders[p], sentAs: h.sends, endAs: math.MaxUint32, offset: -1, partition: -1,
		ms: uint32(min(max(ms, 0), math.MaxUint32)), at: place{-1, -1},
	})
	h.orders[p]++
	h.sends++
	return nil
}

func (h *History) ended(e Ended) error {
	if e.Outcome == None || int(e.Outcome) >= len(outcomeNames) {
		return fmt.Errorf("record %v ends with unknown outcome %d", e.ID, e.Outcome)
	}
	f := h.fact(e.ID)
	if f == nil {
		h.strange++
		return nil
	}
	increment(&f.ends)
	if f.ends == 1 {
		f.outcome, f.partition, f.offset, f.endAs = e.Outcome, e.Partition, e.Offset, h.sends
	}
	return nil
}

func (h *History) hook(hook Hook, id ID) error {
	if int(hook) >= 2 {
		return fmt.Errorf("unknown hook %d", hook)
	}
	f := h.fact(id)
	if f == nil {
		h.strange++
		return nil
	}
	increment(&f.hooks[hook])
	return nil
}

// increment counts without coming round to 0.
func increment(n *uint8) {
	if *n < math.MaxUint8 {
		*n++
	}
}
