package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// world is what a pipeline's hosts live in: an input, a group that gives its
// partitions to hosts and fences those that have lost them, a coordinator of
// transactions, the topic of ids, and an output. Hosts end at any point, go on as
// zombies, are told nothing of what became of their commits, and come back; the
// topic is compacted whenever. What holds at all times: what is committed of the
// output has every id of what is committed of the input, once.
type world struct {
	rng   *rand.Rand
	bug   bug
	log   *fakeLog
	parts []*inputPartition
	hosts []*process
	txns  []*openTxn // that have no decision yet
	late  []*openTxn // that are decided and whose markers are on their way
	ids   int
	seen  struct{ restores, kept, zombies, crashes, unknown, commits int }
}

// bug is a mistake that is made on purpose.
type bug string

const (
	noBug          bug = ""
	staleAccepted  bug = "offsets of a member that was replaced are accepted"
	outsideOfTxn   bug = "ids are written outside of the transaction"
	readToStable   bug = "ids are read back to the last stable offset"
	unknownIsGood  bug = "a commit of unknown outcome counts as one"
	noCatchUp      bug = "a partition that was kept is not brought up to date"
	abortedAreRead bug = "ids of aborted transactions are read back"
	keptOfOthers   bug = "a partition that another one has had counts as kept"
	keptUnclean    bug = "a partition whose last transaction was lost counts as kept"
	tombstoneAll   bug = "ids that are in the window get tombstones"
)

type inputPartition struct {
	input      []string
	committed  int
	generation int
	owner      *process
	output     map[string]state.Position // committed
	doubled    bool
	pending    *openTxn // has sent offsets and has no decision
}

// openTxn is one transaction with all that is in it.
type openTxn struct {
	*fakeTxn
	offsets map[int]int
	output  map[int]map[string]state.Position
}

// process is one life of a host.
type process struct {
	w       *world
	b       *Backend
	ledger  *state.Ledger
	space   *state.Space
	owned   map[int]int // partition to generation, as it believes
	left    map[int]int // partition to generation, of those that it let go with nothing open
	at      map[int]int
	txn     *openTxn
	held    []state.Ref
	fates   []state.Settlement
	sources map[state.Ref]int
	refs    state.Ref
	serial  int64
}

func newWorld(seed uint64, b bug) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), bug: b, log: newFakeLog()}
	w.log.rng = rand.New(rand.NewPCG(seed, 2))
	for range 1 + w.rng.IntN(3) {
		w.parts = append(w.parts, &inputPartition{output: map[string]state.Position{}})
	}
	if b == readToStable {
		w.log.ends = (*fakeLog).stable
	}
	for range 2 {
		w.hosts = append(w.hosts, w.newProcess())
	}
	return w
}

// faulty is the log with what is wrong with it.
type faulty struct {
	*fakeLog
	w *world
}

func (f faulty) Read(ctx context.Context, p int32, from, end int64, g func([]klamm.Record) error) error {
	if f.w.bug == noCatchUp && from > 1 {
		return nil
	}
	if f.w.bug == abortedAreRead {
		f.mu.Lock()
		for i := range f.parts[p].recs {
			f.parts[p].recs[i].txn = nil
		}
		f.mu.Unlock()
	}
	return f.fakeLog.Read(ctx, p, from, end, g)
}

func (w *world) newProcess() *process {
	h := &process{w: w, owned: map[int]int{}, left: map[int]int{}, at: map[int]int{}, sources: map[state.Ref]int{}}
	h.b = New(Options{
		Name: "ids", Topic: "t", Pipeline: "p", Log: faulty{w.log, w}, Standby: time.Hour,
		Source: func(r state.Ref) (int32, bool) { p, ok := h.sources[r]; return int32(p), ok },
	})
	h.ledger = state.NewLedger(state.Options{})
	must(h.ledger.OpenBackend("ids", h.b, state.StoreConfig{}))
	must(h.b.Open(context.Background(), int32(len(w.parts))))
	var err error
	h.space, err = h.ledger.Space("ids", "dedup", state.SpaceOptions{})
	must(err)
	return h
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// run makes steps and returns what does not hold.
func (w *world) run(steps int) (err error) {
	defer func() {
		for _, h := range w.hosts {
			must(h.ledger.Close())
		}
	}()
	for range steps {
		if err := w.step(); err != nil {
			return err
		}
		if err := w.check(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) step() error {
	p := w.rng.IntN(len(w.parts))
	slot := w.rng.IntN(len(w.hosts))
	h := w.hosts[slot]
	switch n := w.rng.IntN(20); {
	case n < 4:
		for range 1 + w.rng.IntN(4) {
			w.parts[p].input = append(w.parts[p].input, fmt.Sprint(p, "-", w.rng.IntN(8+w.ids/4)))
			w.ids++
		}
	case n < 7:
		return w.rebalance(p, slot)
	case n < 13:
		h.process(p)
	case n < 17:
		h.commit()
	case n < 18:
		w.crash(h)
	case n < 19:
		w.deliver(1)
	default:
		w.log.compact(int32(p), w.rng.IntN(2) == 0)
	}
	return nil
}

func (w *world) check() error {
	for i, p := range w.parts {
		if p.doubled {
			return fmt.Errorf("partition %d: an id is in the output twice", i)
		}
		for _, id := range p.input[:p.committed] {
			if _, ok := p.output[id]; !ok {
				return fmt.Errorf("partition %d: id %s was read, is committed, and is not in the output", i, id)
			}
		}
	}
	return nil
}

// rebalance gives a partition to a host. The one that has it is asked, or not.
func (w *world) rebalance(i, slot int) error {
	p := w.parts[i]
	if old := p.owner; old != nil {
		if w.rng.IntN(2) == 0 {
			old.commit()
			old.revoke(i, old.txn == nil)
		} else {
			w.seen.zombies++
		}
	}
	h := w.hosts[slot]               // which may be another one now
	if _, mine := h.owned[i]; mine { // lost, and given back
		h.fail()
	}
	p.generation++
	p.owner = h
	h.owned[i] = p.generation
	// What has sent offsets and has no decision is waited for; the brokers end it.
	if t := p.pending; t != nil {
		w.decide(t, false)
	}
	asked := w.log.asked.Load()
	if h.assign(i) {
		w.seen.kept++ // and it waits for nobody
		h.at[i] = p.committed
		return h.knows(i)
	}
	for first := w.rng.IntN(2) == 0; first && w.log.asked.Load() == asked; {
		goruntime.Gosched() // the reading may begin before the markers arrive, or after
	}
	// Transactions of those who are gone end some time.
	for _, t := range slices.Clone(w.txns) {
		if t != h.txn && t.touched[int32(i)] {
			w.decide(t, false)
		}
	}
	w.deliver(len(w.late))
	if err := h.b.Await(context.Background(), int32(i)); err != nil {
		return err
	}
	w.seen.restores++
	h.at[i] = p.committed
	return h.knows(i)
}

// assign reports whether a partition was kept.
func (h *process) assign(i int) bool {
	generation, ok := h.left[i]
	delete(h.left, i)
	if !ok || generation+1 != h.w.parts[i].generation && h.w.bug != keptOfOthers {
		h.b.Assign(int32(i))
		return false
	}
	h.b.Keep(int32(i))
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	return h.b.parts[int32(i)].phase == ready
}

// knows compares what a host has read back with what is committed.
func (h *process) knows(i int) error {
	p, ref := h.w.parts[i], state.Ref(1)<<40
	h.sources[ref] = i
	h.b.mu.Lock()
	n := h.b.parts[int32(i)].window.Len()
	h.b.mu.Unlock()
	if n != len(p.output) {
		return fmt.Errorf("partition %d: %d ids read back, %d are committed", i, n, len(p.output))
	}
	for id, want := range p.output {
		c := h.space.Claim(ref, "", []byte(id), 0, 0)
		if c.Code != state.Confirmed || c.At != want {
			return fmt.Errorf("partition %d: id %s of %v read back as %+v", i, id, want, c)
		}
	}
	return nil
}

// process judges what is next of a partition.
func (h *process) process(i int) {
	if _, ok := h.owned[i]; !ok {
		return
	}
	p := h.w.parts[i]
	for range 1 + h.w.rng.IntN(4) {
		if h.at[i] >= len(p.input) {
			return
		}
		id := p.input[h.at[i]]
		h.at[i]++
		if h.txn == nil {
			h.txn = &openTxn{fakeTxn: h.w.log.begin(), offsets: map[int]int{}, output: map[int]map[string]state.Position{}}
			h.w.txns = append(h.w.txns, h.txn)
		}
		h.refs++
		h.sources[h.refs] = i
		a := h.space.Claim(h.refs, "", []byte(id), 0, 0)
		switch a.Code {
		case state.New:
			h.written(i, id)
		case state.Pending:
			a.Wait.Cancel() // one of the same transaction
		case state.Refused:
			panic(h.space.Refusal())
		}
	}
}

func (h *process) written(i int, id string) {
	h.serial++
	at := state.Position{Topic: "out", Partition: int32(i), Offset: h.serial<<8 | int64(h.w.rng.IntN(256))}
	if h.txn.output[i] == nil {
		h.txn.output[i] = map[string]state.Position{}
	}
	h.txn.output[i][id] = at
	s := state.Settlement{Outcome: klamm.Written, At: at}
	h.ledger.Stage(h.refs, s, int32(i))
	h.held, h.fates = append(h.held, h.refs), append(h.fates, s)
}

// commit is a pipeline's commit, which may end anywhere.
func (h *process) commit() {
	w, t := h.w, h.txn
	if t == nil {
		return
	}
	next := map[int32]int64{}
	writes := h.b.Take()
	for i, write := range writes {
		if w.rng.IntN(8*len(writes)) == 0 {
			w.crash(h)
			return
		}
		if w.bug == tombstoneAll && i > 0 {
			write.Value = nil
		}
		if w.bug == outsideOfTxn {
			w.log.mu.Lock()
			next[write.Partition] = w.log.append(write.Partition, bytes.Clone(write.Key), bytes.Clone(write.Value), nil) + 1
			w.log.mu.Unlock()
			continue
		}
		next[write.Partition] = t.append(write) + 1
	}
	for i, generation := range h.owned {
		if w.parts[i].generation != generation && w.bug != staleAccepted {
			h.fail()
			return
		}
		t.offsets[i] = h.at[i]
		w.parts[i].pending = t
	}
	switch w.rng.IntN(10) {
	case 0:
		w.crash(h)
	case 1: // no answer
		w.seen.unknown++
		good := w.rng.IntN(2) == 0
		w.decide(t, good)
		if w.bug == unknownIsGood {
			h.settle(true, next)
			return
		}
		h.fail()
	default:
		w.decide(t, true)
		w.seen.commits++
		h.settle(true, next)
	}
}

// decide is the coordinator's decision.
func (w *world) decide(t *openTxn, commit bool) {
	i := slices.Index(w.txns, t)
	if i < 0 {
		return // it has its decision
	}
	w.txns, w.late = slices.Delete(w.txns, i, i+1), append(w.late, t)
	for _, p := range w.parts {
		if p.pending == t {
			p.pending = nil
		}
	}
	w.log.mu.Lock()
	t.committed = commit
	w.log.mu.Unlock()
	if !commit {
		return
	}
	for i, at := range t.offsets {
		w.parts[i].committed = max(w.parts[i].committed, at)
	}
	for i, ids := range t.output {
		for id, at := range ids {
			_, again := w.parts[i].output[id]
			w.parts[i].doubled = w.parts[i].doubled || again
			w.parts[i].output[id] = at
		}
	}
}

// deliver has markers of n transactions arrive.
func (w *world) deliver(n int) {
	for range n {
		if len(w.late) == 0 {
			return
		}
		i := w.rng.IntN(len(w.late))
		w.late[i].markAll()
		w.late = slices.Delete(w.late, i, i+1)
	}
}

func (h *process) settle(good bool, next map[int32]int64) {
	if !good {
		for i := range h.fates {
			h.fates[i] = state.Settlement{Outcome: klamm.Failed, Err: errors.New("not committed")}
		}
	}
	h.ledger.SettleAll(h.held, h.fates, nil)
	h.held, h.fates, h.txn = nil, nil, nil
	if good {
		h.b.Committed(next)
	} else {
		h.b.Aborted()
	}
}

// fail ends a life: what is open is aborted, and the partitions are others'.
func (h *process) fail() {
	if h.txn != nil {
		h.w.decide(h.txn, false)
	}
	h.settle(false, nil)
	for i := range h.owned {
		h.revoke(i, h.w.bug == keptUnclean)
	}
}

// revoke has a partition let go. It is clean where nothing of it is open.
func (h *process) revoke(i int, clean bool) {
	generation, mine := h.owned[i]
	if mine && generation == h.w.parts[i].generation {
		h.w.parts[i].owner = nil
	}
	if mine && clean {
		h.left[i] = generation
	}
	delete(h.owned, i)
	h.b.Revoke(int32(i))
}

// crash is kill -9. The transaction stays open; the next life of the same id ends
// it at once.
func (w *world) crash(h *process) {
	w.seen.crashes++
	for _, p := range w.parts {
		if p.owner == h {
			p.owner = nil
		}
	}
	if h.txn != nil && w.rng.IntN(2) == 0 {
		w.decide(h.txn, false)
	}
	must(h.ledger.Close())
	w.hosts[slices.Index(w.hosts, h)] = w.newProcess()
}

func TestCrashes(t *testing.T) {
	n := 600
	if testing.Short() {
		n = 100
	}
	base := seed()
	var sum world
	for i := range n {
		w := newWorld(base+uint64(i), noBug)
		if err := w.run(120); err != nil {
			t.Fatalf("world %d, first with -run TestCrashes -seed %d: %v", i, base+uint64(i), err)
		}
		sum.seen.restores += w.seen.restores
		sum.seen.kept += w.seen.kept
		sum.seen.zombies += w.seen.zombies
		sum.seen.crashes += w.seen.crashes
		sum.seen.unknown += w.seen.unknown
		sum.seen.commits += w.seen.commits
	}
	t.Logf("%d worlds: %+v", n, sum.seen)
	if s := sum.seen; s.restores < n || s.kept < n/2 || s.zombies < n/2 || s.crashes < n || s.unknown < n/8 || s.commits < n {
		t.Errorf("too little happened: %+v", s)
	}
}

// TestPlantedBugs has TestCrashes' worlds find what is wrong on purpose.
func TestPlantedBugs(t *testing.T) {
	for _, b := range []bug{staleAccepted, outsideOfTxn, readToStable, unknownIsGood, noCatchUp, keptOfOthers, keptUnclean, abortedAreRead, tombstoneAll} {
		t.Run(string(b), func(t *testing.T) {
			base := seed()
			for i := range 5000 {
				if err := newWorld(base+uint64(i), b).run(120); err != nil {
					t.Logf("found in world %d: %v", i, err)
					return
				}
			}
			t.Error("not found in 5000 worlds")
		})
	}
}
