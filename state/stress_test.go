package state_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// Judging goroutines of two chains, which list two dedup plugins in opposite
// order, and acknowledging goroutines work on records of few ids.
const (
	stressJudges = 4
	stressAckers = 2
	stressBatch  = 8
)

type stress struct {
	t      *testing.T
	ledger *state.Ledger
	p, q   *state.Space
	ids    int
	faulty bool // sends fail at random, calls fault and are undone

	sent      chan flown
	open      sync.WaitGroup // records without a completion
	completed []atomic.Int32 // by reference
	written   []atomic.Int32 // by id
	dropped   []atomic.Int32 // by id
	failed    atomic.Int32
	crossed   atomic.Int32
}

// flown is a record that passed its chain, or was settled by its commit.
type flown struct {
	ref    state.Ref
	settle state.Settlement
}

func newStress(t *testing.T, records, ids int, faulty bool) *stress {
	l, p := open(t, state.StoreConfig{}, state.SpaceOptions{})
	return &stress{
		t: t, ledger: l, p: p, q: space(t, l, "ids", "dedup2", state.SpaceOptions{}), ids: ids, faulty: faulty,
		sent: make(chan flown, records), completed: make([]atomic.Int32, records),
		written: make([]atomic.Int32, ids), dropped: make([]atomic.Int32, ids),
	}
}

// idOf gives the records that the goroutines judge at the same time the same id.
func (s *stress) idOf(ref state.Ref) int { return int(ref) / stressJudges % s.ids }

func (s *stress) id(ref state.Ref) []byte {
	return binary.LittleEndian.AppendUint32(nil, uint32(s.idOf(ref)))
}

func (s *stress) complete(ref state.Ref, outcome klamm.Outcome) {
	if s.completed[ref].Add(1) == 1 {
		s.open.Done()
	}
	switch outcome {
	case klamm.Written:
		s.written[s.idOf(ref)].Add(1)
	case klamm.Dropped:
		s.dropped[s.idOf(ref)].Add(1)
	default:
		s.failed.Add(1)
	}
}

// judge takes a batch of records through the chain.
func (s *stress) judge(rng *rand.Rand, refs []state.Ref, chain ...*state.Space) {
	for _, space := range chain {
		refs = s.call(rng, refs, space)
		goruntime.Gosched()
	}
	for _, ref := range refs {
		s.sent <- flown{ref, s.fate(rng, ref)}
	}
}

func (s *stress) fate(rng *rand.Rand, ref state.Ref) state.Settlement {
	if s.faulty && rng.IntN(4) == 0 {
		return state.Settlement{Outcome: klamm.Failed, Err: errBroker, Unknown: rng.IntN(2) == 0}
	}
	return state.Settlement{Outcome: klamm.Written, At: state.Position{Topic: "orders", Offset: int64(ref)}, NowMS: 1}
}

// call is one call of a plugin: it returns the records that pass it.
func (s *stress) call(rng *rand.Rand, refs []state.Ref, space *state.Space) (passed []state.Ref) {
	answers := make([]state.Answer, len(refs))
	claim := func() {
		for i, ref := range refs {
			answers[i] = space.Claim(ref, "orders", s.id(ref), 0, 1)
		}
	}
	if claim(); s.faulty && rng.IntN(3) == 0 {
		for i, a := range answers {
			if a.Wait != nil {
				a.Wait.Cancel()
			}
			if a.Fresh {
				space.Undo(refs[i], "orders", s.id(refs[i]))
			}
		}
		claim()
	}
	goruntime.Gosched()
	for i, a := range answers {
		if s.passes(refs[i], a) {
			passed = append(passed, refs[i])
		}
	}
	return passed
}

func (s *stress) passes(ref state.Ref, a state.Answer) bool {
	switch a.Code {
	case state.New:
		return true
	case state.Confirmed:
		s.sent <- flown{ref, state.Settlement{Outcome: klamm.Dropped, Plugin: "dedup", Reason: "duplicate"}}
		return false
	}
	r, settled := a.Wait.Commit(ref, "dedup")
	if settled && errors.Is(r.Err, state.ErrCrossed) {
		s.crossed.Add(1)
		return true
	}
	if settled {
		s.sent <- flown{ref, state.Settlement{Outcome: r.Outcome, Err: r.Err}}
	}
	return false
}

// acknowledge settles what is sent, as many at once as there are.
func (s *stress) acknowledge() {
	for f := range s.sent {
		refs, fates := []state.Ref{f.ref}, []state.Settlement{f.settle}
		for more := true; more && len(refs) < stressBatch; {
			select {
			case f, ok := <-s.sent:
				if more = ok; ok {
					refs, fates = append(refs, f.ref), append(fates, f.settle)
				}
			default:
				more = false
			}
		}
		resolved := s.ledger.SettleAll(refs, fates, nil)
		for i, ref := range refs {
			s.complete(ref, fates[i].Outcome)
		}
		for _, r := range resolved {
			s.complete(r.Waiter, r.Outcome)
		}
	}
}

func (s *stress) run() {
	s.open.Add(len(s.completed))
	var judges, ackers sync.WaitGroup
	for range stressAckers {
		ackers.Go(s.acknowledge)
	}
	for g := range stressJudges {
		judges.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			chain := []*state.Space{s.p, s.q}
			if g%2 == 1 {
				chain = []*state.Space{s.q, s.p}
			}
			var batch []state.Ref
			for ref := g; ref < len(s.completed); ref += stressJudges {
				if batch = append(batch, state.Ref(ref)); len(batch) == stressBatch {
					s.judge(rng, batch, chain...)
					batch = batch[:0]
				}
			}
			s.judge(rng, batch, chain...)
		})
	}
	judges.Wait()
	s.open.Wait()
	close(s.sent)
	ackers.Wait()
}

func TestConcurrentChains(t *testing.T) {
	for name, faulty := range map[string]bool{"sound": false, "faulty": true} {
		t.Run(name, func(t *testing.T) {
			const records, ids = 20_000, 20_000 / stressJudges // nobody comes later who might be written instead
			s := newStress(t, records, ids, faulty)
			s.run()
			for ref := range s.completed {
				if n := s.completed[ref].Load(); n != 1 {
					t.Fatalf("record %d has %d completions", ref, n)
				}
			}
			t.Logf("%d crossed", s.crossed.Load())
			total := s.failed.Load()
			for id := range ids {
				w, d := s.written[id].Load(), s.dropped[id].Load()
				total += w + d
				if w > 1 || w == 0 && (d > 0 || !faulty) {
					t.Errorf("id %d: %d written, %d dropped", id, w, d)
				}
			}
			if total != records {
				t.Errorf("%d completions of %d records", total, records)
			}
			for _, st := range s.ledger.Stats() {
				if st.Pending != 0 || st.Waiters != 0 {
					t.Errorf("left over: %+v", st)
				}
			}
		})
	}
}
