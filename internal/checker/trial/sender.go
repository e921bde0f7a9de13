package trial

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/checker"
)

// livenessProducer sends the last records.
const livenessProducer = checker.Producers - 1

// Sender sends the records of one producer number, in order.
type Sender struct {
	t        *Trial
	producer int
	rand     *rand.Rand
	sent     []int // of each key
	recent   []uint64
	older    []uint64 // every olderEvery-th id
	ids      int
	txn      uint32 // that the next record belongs to; 0: none
	// Errors counts sends that were refused; the last one is kept.
	refused atomic.Int64
	last    atomic.Pointer[error]
}

// An id is repeated that is one of the last recentIDs or so, and with a window
// sometimes one of olderIDs, olderEvery of which one is kept.
const (
	recentIDs  = 500
	olderIDs   = 5000
	olderEvery = 20
	olderShare = 0.1
)

func (t *Trial) newSender(producer int) *Sender {
	return &Sender{t: t, producer: producer, rand: t.Rand(uint64(producer)), sent: make([]int, max(t.o.Keys, t.o.Partitions))}
}

// Send sends one record of a random key. The error is that of ctx; one that the
// producer refuses is in the history.
func (s *Sender) Send(ctx context.Context) error {
	key := s.rand.IntN(s.t.o.Keys)
	asked := int32(-1)
	if float64(key) < s.t.o.Asked*float64(s.t.o.Keys) {
		asked = int32(key % s.t.o.Partitions)
	}
	return s.to(ctx, key, asked, s.dedup(), nil)
}

// SendTo sends one record of a key to a partition, -1 for none.
func (s *Sender) SendTo(ctx context.Context, key int, partition int32) error {
	return s.to(ctx, key, partition, s.dedup(), nil)
}

// dedup returns the record's dedup id: a new one, or one of the last.
func (s *Sender) dedup() uint64 {
	if !s.t.o.Dedup {
		return 0
	}
	if n := len(s.recent); n > 0 && s.rand.Float64() < s.t.o.Repeats {
		if s.t.o.Window > 0 && len(s.older) > 0 && s.rand.Float64() < olderShare {
			return s.older[s.rand.IntN(len(s.older))]
		}
		return s.recent[s.rand.IntN(n)]
	}
	id := s.rand.Uint64() | 1
	if len(s.recent) < recentIDs {
		s.recent = append(s.recent, id)
	} else {
		s.recent[s.rand.IntN(recentIDs)] = id
	}
	if s.ids++; s.ids%olderEvery == 0 {
		if len(s.older) == olderIDs {
			s.older = append(s.older[:0], s.older[1:]...)
		}
		s.older = append(s.older, id)
	}
	return id
}

// to sends one record. done, if any, is told its outcome.
func (s *Sender) to(ctx context.Context, key int, asked int32, dedup uint64, done func(checker.Outcome)) error {
	t := s.t
	if s.sent[key] >= checker.PerKey {
		return fmt.Errorf("producer %d has used up the %d ids of key %d", s.producer, checker.PerKey, key)
	}
	if err := t.enter(ctx); err != nil {
		return err
	}
	if dedup == 0 && t.o.Dedup {
		dedup = s.rand.Uint64() | 1
	}
	id := checker.MakeID(s.producer, key, s.sent[key])
	s.sent[key]++
	rec := checker.Payload{Topic: t.o.Topic, ID: id, Dedup: dedup, Size: t.o.Size}.Record()
	rec.Timestamp = t.now()
	if asked >= 0 {
		rec.Target = klamm.ToPartition(asked)
	}
	if err := t.history.Sent(checker.Sent{ID: id, Asked: asked, Dedup: dedup, Txn: s.txn, Time: rec.Timestamp}); err != nil {
		return err
	}
	end := func(e checker.Ended) {
		t.note(t.history.Ended(e))
		t.leave()
		if done != nil {
			done(e.Outcome)
		}
	}
	err := t.Producer.SendAsync(ctx, &rec, func(r klamm.Result) {
		end(checker.Ended{ID: id, Outcome: outcomeOf(&r), Partition: r.Partition, Offset: r.Offset})
	})
	if err != nil {
		s.refused.Add(1)
		s.last.Store(&err)
		end(checker.Ended{ID: id, Outcome: checker.Refused, Partition: -1, Offset: -1})
	}
	return ctx.Err()
}

// Refused returns how many records the producer refused, and why the last one.
func (s *Sender) Refused() (int64, error) {
	if err := s.last.Load(); err != nil {
		return s.refused.Load(), *err
	}
	return 0, nil
}
