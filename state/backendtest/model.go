package backendtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// oracle says naively what the ledger must say: everything is in slices and
// maps, and is looked for from one end to the other.
type oracle struct {
	now        int64
	maxEntries int
	recordTime bool // the clock is that of the records
	plugins    []string
	hold       []bool
	confirmed  []memory  // oldest first
	claims     []pending // oldest first
	records    []*record // that have no completion yet
	evictions  [2]uint64
	expired    [2]uint64
	fates      map[state.Ref]int // completions of each record
}

type pending struct {
	slot
	owner *record
	asked int64
}

// slot is one id of one plugin.
type slot struct {
	plugin int
	id     string
}

type memory struct {
	slot
	at      state.Position
	expires int64
	held    bool
}

// record is a record in flight, or one that has become a waiter.
type record struct {
	ref     state.Ref
	time    int64
	waitsOn *record // committed
	by      string  // the plugin that dropped it then
	fate    *state.Settlement
	waits   []*tentative
	fresh   []slot
}

type tentative struct {
	of     *record
	slot   slot
	on     *record // nil once fate or void is set
	fate   *state.Settlement
	void   bool
	real   *state.Wait
	asked  int64
	closed bool
}

func (o *oracle) ownerOf(s slot) *record {
	for _, p := range o.claims {
		if p.slot == s {
			return p.owner
		}
	}
	return nil
}

// clock is the time that a claim of the record counts from.
func (o *oracle) clock(r *record) int64 {
	if o.recordTime {
		return r.time
	}
	return o.now
}

func (o *oracle) find(s slot, now int64) (memory, bool) {
	for i, m := range o.confirmed {
		if m.slot != s {
			continue
		}
		if m.expires != 0 && now >= m.expires {
			o.expired[s.plugin]++
			o.confirmed = slices.Delete(o.confirmed, i, i+1)
			return memory{}, false
		}
		return m, true
	}
	return memory{}, false
}

func (o *oracle) remember(m memory) {
	o.confirmed = append(o.confirmed, m)
	for range 2 {
		if o.recordTime {
			break // its time is not that of the others
		}
		if first := o.confirmed[0]; first.expires != 0 && o.now >= first.expires {
			o.expired[first.plugin]++
			o.confirmed = o.confirmed[1:]
		}
	}
	for len(o.confirmed) > o.maxEntries {
		o.evictions[o.confirmed[0].plugin]++
		o.confirmed = o.confirmed[1:]
	}
}

// claim returns the answer, and the owner of a pending id.
func (o *oracle) claim(r *record, s slot, now int64) (state.Answer, *record) {
	if owner := o.ownerOf(s); owner != nil {
		if owner == r {
			return state.Answer{Code: state.New}, nil
		}
		return state.Answer{Code: state.Pending}, owner
	}
	if m, ok := o.find(s, now); ok {
		return state.Answer{Code: state.Confirmed, At: m.at}, nil
	}
	o.claims = append(o.claims, pending{s, r, now})
	return state.Answer{Code: state.New, Fresh: true}, nil
}

func (o *oracle) release(r *record) {
	o.claims = slices.DeleteFunc(o.claims, func(p pending) bool { return p.owner == r })
}

// tentatives calls f for every open wait on r.
func (o *oracle) tentatives(on *record, f func(*tentative)) {
	for _, r := range o.records {
		for _, w := range r.waits {
			if !w.closed && w.on == on {
				f(w)
			}
		}
	}
}

// join makes w's record wait on owner.
func (o *oracle) join(w *tentative, owner *record, by string) {
	o.release(w.of)
	for _, r := range o.records {
		if r.waitsOn == w.of {
			r.waitsOn = owner
		}
	}
	o.tentatives(w.of, func(x *tentative) {
		if x.of == owner {
			x.on, x.void = nil, true
		} else {
			x.on = owner
		}
	})
	w.of.waitsOn, w.of.by = owner, by
}

// share gives a record the fate of the one that it duplicates.
func (o *oracle) share(r *record, fate *state.Settlement) {
	o.release(r)
	r.fate = fate
	o.tentatives(r, func(x *tentative) { x.on, x.fate = nil, fate })
}

func unknown(s *state.Settlement) bool {
	return s.Unknown || s.Outcome == klamm.Failed && errors.Is(s.Err, klamm.ErrOutcomeUnknown)
}

// resolution is the outcome table, written down once more.
func resolution(s *state.Settlement, ref state.Ref, by string) state.Resolution {
	switch {
	case unknown(s):
		return state.Resolution{Waiter: ref, Outcome: klamm.Failed, Err: klamm.ErrOutcomeUnknown}
	case s.Outcome == klamm.Written:
		return state.Resolution{Waiter: ref, Outcome: klamm.Dropped, Plugin: by, Reason: "duplicate", At: s.At}
	case s.Outcome == klamm.DeadLettered:
		return state.Resolution{Waiter: ref, Outcome: klamm.Dropped, Plugin: by, Reason: "duplicate of a dead-lettered record", At: s.At}
	case s.Outcome == klamm.Dropped:
		return state.Resolution{Waiter: ref, Outcome: klamm.Dropped, Plugin: s.Plugin, Reason: s.Reason}
	}
	return state.Resolution{Waiter: ref, Outcome: klamm.Failed, Err: s.Err}
}

func (o *oracle) settle(r *record, s *state.Settlement) []state.Resolution {
	for _, p := range slices.Backward(o.claims) { // a record's newest claim first
		if p.owner != r {
			continue
		}
		at, held := s.At, unknown(s) && o.hold[p.plugin]
		if held {
			at = state.Position{Partition: -1, Offset: -1}
		}
		if held || !unknown(s) && s.Outcome == klamm.Written {
			from := o.now
			if o.recordTime {
				from = p.asked
			}
			o.remember(memory{p.slot, at, from + ttl.Milliseconds(), held})
		}
	}
	o.release(r)
	fate := s
	if r.fate != nil {
		fate = r.fate
	}
	var out []state.Resolution
	for _, x := range slices.Clone(o.records) {
		if x.waitsOn == r {
			out = append(out, resolution(fate, x.ref, x.by))
			o.complete(x)
		}
	}
	o.tentatives(r, func(x *tentative) { x.on, x.fate = nil, fate })
	o.complete(r)
	return out
}

func (o *oracle) complete(r *record) {
	o.fates[r.ref]++
	o.records = slices.DeleteFunc(o.records, func(x *record) bool { return x == r })
}

// live returns the records that are still judged or sent.
func (o *oracle) live() []*record {
	var out []*record
	for _, r := range o.records {
		if r.waitsOn == nil {
			out = append(out, r)
		}
	}
	return out
}

func (o *oracle) undecided() []*tentative {
	var out []*tentative
	for _, r := range o.records {
		for _, w := range r.waits {
			if !w.closed {
				out = append(out, w)
			}
		}
	}
	return out
}

const ttl = 20 * time.Millisecond

var errSend = errors.New("not sent")

// machine drives ledger and oracle with the same random steps.
type machine struct {
	*oracle
	kit     Kit
	made    *made
	ledger  *state.Ledger
	spaces  []*state.Space
	serial  state.Ref
	written map[state.Position]bool
	lots    map[asking]*state.Asked // claims of ClaimAll
}

// asking is who claims what.
type asking struct {
	ref state.Ref
	slot
}

func newMachine(t *rapid.T, kit Kit) *machine {
	m := &machine{
		kit: kit,
		oracle: &oracle{
			now: 1000, maxEntries: rapid.IntRange(1, 6).Draw(t, "max entries"), plugins: []string{"p", "q"},
			recordTime: rapid.Bool().Draw(t, "record time"),
			hold:       []bool{false, rapid.Bool().Draw(t, "hold")}, fates: map[state.Ref]int{},
		},
		written: map[state.Position]bool{}, lots: map[asking]*state.Asked{},
	}
	m.made = kit.make(t, m.maxEntries, 1000)
	m.open(t, m.made.backend)
	return m
}

func (m *machine) open(t *rapid.T, b state.Backend) {
	m.ledger, m.spaces = state.NewLedger(state.Options{}), nil
	if err := m.ledger.OpenBackend("ids", b, state.StoreConfig{RecordClock: m.recordTime}); err != nil {
		t.Fatal(err)
	}
	for i, p := range m.plugins {
		s, err := m.ledger.Space("ids", p, state.SpaceOptions{HoldUnknown: m.hold[i]})
		if err != nil {
			t.Fatal(err)
		}
		m.spaces = append(m.spaces, s)
	}
}

// Restart ends the process between two steps: what is in flight has no outcome
// any more, and what is confirmed stays.
func (m *machine) Restart(t *rapid.T) {
	if m.kit.Reopen == nil {
		t.Skip("the backend ends with the process")
	}
	if err := m.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range m.records {
		m.fates[r.ref]++
	}
	m.records, m.claims = nil, nil
	m.evictions, m.expired = [2]uint64{}, [2]uint64{}
	m.open(t, m.made.reopen(t))
}

func pick[T any](t *rapid.T, from []T, label string) T {
	if len(from) == 0 {
		t.Skip("none")
	}
	return from[rapid.IntRange(0, len(from)-1).Draw(t, label)]
}

func (m *machine) Arrive(t *rapid.T) {
	m.serial++
	time := m.now + rapid.Int64Range(-30, 30).Draw(t, "time")
	m.records = append(m.records, &record{ref: m.serial, time: time})
}

func (m *machine) Tick(t *rapid.T) { m.now += rapid.Int64Range(1, 15).Draw(t, "ms") }

func (m *machine) Claim(t *rapid.T) {
	var judged []*record
	for _, r := range m.live() {
		if r.fate == nil {
			judged = append(judged, r)
		}
	}
	r := pick(t, judged, "record")
	s := slot{rapid.IntRange(0, 1).Draw(t, "plugin"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id")}
	now := m.clock(r)
	want, owner := m.claim(r, s, now)
	space := m.spaces[s.plugin]
	got := m.ask(t, space, r, s)
	if (got.Wait != nil) != (got.Code == state.Pending) {
		t.Fatalf("claim %v for %d: %+v", s, r.ref, got)
	}
	if owner != nil {
		r.waits = append(r.waits, &tentative{of: r, slot: s, on: owner, real: got.Wait, asked: now})
	}
	if want.Fresh {
		r.fresh = append(r.fresh, s)
	}
	got.Wait = nil
	if got != want {
		t.Fatalf("claim %v for %d: got %+v, want %+v", s, r.ref, got, want)
	}
	if got.Code == state.Confirmed && got.At.Offset >= 0 && !m.written[got.At] {
		t.Fatalf("claim %v for %d: duplicates %v, which was never written", s, r.ref, got.At)
	}
}

// ask claims in one of the two ways that there are.
func (m *machine) ask(t *rapid.T, space *state.Space, r *record, s slot) state.Answer {
	clock := space.ClockMS(time.UnixMilli(r.time), m.now)
	delete(m.lots, asking{r.ref, s})
	if rapid.Bool().Draw(t, "alone") {
		return space.Claim(r.ref, "orders", []byte(s.id), ttl, clock)
	}
	asked := []state.Asked{{Owner: r.ref, Topic: "orders", ID: []byte(s.id), NowMS: clock}}
	met := space.ClaimAll(asked, ttl, nil)
	got := state.Answer{Code: asked[0].Code, Fresh: asked[0].Fresh}
	for _, m := range met {
		got.At, got.Wait = m.At, m.Wait
	}
	m.lots[asking{r.ref, s}] = &asked[0]
	return got
}

func (m *machine) Undo(t *rapid.T) {
	r := pick(t, m.live(), "record")
	s := pick(t, r.fresh, "claim")
	r.fresh = slices.DeleteFunc(r.fresh, func(x slot) bool { return x == s })
	m.claims = slices.DeleteFunc(m.claims, func(p pending) bool { return p.slot == s && p.owner == r })
	if a := m.lots[asking{r.ref, s}]; a != nil {
		m.spaces[s.plugin].UndoAsked(a)
		m.spaces[s.plugin].UndoAsked(a) // it does nothing more
		return
	}
	m.spaces[s.plugin].Undo(r.ref, "orders", []byte(s.id))
}

func (m *machine) Cancel(t *rapid.T) {
	w := pick(t, m.oracle.undecided(), "wait")
	w.closed = true
	w.real.Cancel()
}

func (m *machine) Commit(t *rapid.T) {
	w := pick(t, m.oracle.undecided(), "wait")
	if w.of.waitsOn != nil || w.of.fate != nil {
		t.Skip("dropped already")
	}
	w.closed = true
	var want state.Resolution
	settled := true
	by := m.plugins[w.slot.plugin]
	switch {
	case w.fate != nil:
		m.share(w.of, w.fate)
		want = resolution(w.fate, w.of.ref, by)
	case w.void:
		want, settled = m.commitVoid(w, by)
	default:
		m.join(w, w.on, by)
		settled = false
	}
	got, gotSettled := w.real.Commit(w.of.ref, by)
	m.checkTwin(t, got)
	if d := diffs(want, got); d != "" || gotSettled != settled {
		t.Fatalf("commit of %d: settled %v, want %v\n%s", w.of.ref, gotSettled, settled, d)
	}
}

// commitVoid is the commit of a wait on an owner that waits on the record.
func (m *machine) commitVoid(w *tentative, by string) (state.Resolution, bool) {
	a, owner := m.claim(w.of, w.slot, w.asked)
	switch a.Code {
	case state.Pending:
		m.join(w, owner, by)
		return state.Resolution{}, false
	case state.Confirmed:
		fate := &state.Settlement{Outcome: klamm.Written, At: a.At}
		m.share(w.of, fate)
		return resolution(fate, w.of.ref, by), true
	}
	return state.Resolution{Waiter: w.of.ref, Outcome: klamm.Failed, Plugin: by, Err: state.ErrCrossed}, true
}

func (m *machine) Settle(t *rapid.T) {
	r := pick(t, m.live(), "record")
	s := state.Settlement{NowMS: m.now}
	switch outcome := rapid.SampledFrom([]string{"written", "written", "dropped", "dead", "failed", "unknown"}).Draw(t, "outcome"); {
	case r.fate != nil:
		s.Outcome = klamm.Dropped // a duplicate of a settled record
	case outcome == "written":
		s.Outcome, s.At = klamm.Written, state.Position{Topic: "orders", Offset: int64(r.ref)}
		m.written[s.At] = true
	case outcome == "dropped":
		s.Outcome, s.Plugin, s.Reason = klamm.Dropped, "filter", "filtered"
	case outcome == "dead":
		s.Outcome, s.At = klamm.DeadLettered, state.Position{Topic: "dead", Offset: int64(r.ref)}
	case outcome == "failed":
		s.Outcome, s.Err = klamm.Failed, errSend
	default:
		s.Outcome, s.Unknown = klamm.Failed, true
	}
	want := m.settle(r, &s)
	var got []state.Resolution
	if rapid.Bool().Draw(t, "alone") {
		got = m.ledger.Settle(r.ref, s)
	} else {
		same := s
		same.At.Offset = -100 // counts for nothing
		got = m.ledger.SettleSame([]state.Ref{r.ref}, []int64{s.At.Offset}, same, nil)
	}
	for _, r := range got {
		m.checkTwin(t, r)
	}
	byRef := func(a, b state.Resolution) int { return int(a.Waiter) - int(b.Waiter) }
	slices.SortFunc(want, byRef)
	slices.SortFunc(got, byRef)
	if d := diffs(want, got); d != "" {
		t.Fatalf("settle of %d as %v\n%s", r.ref, s, d)
	}
}

// checkTwin checks that what is dropped as a duplicate has a twin in the log.
// Only on_unknown = "hold" accepts that nobody knows.
func (m *machine) checkTwin(t *rapid.T, r state.Resolution) {
	if r.Reason == state.ReasonDuplicate && !m.written[r.At] && (r.At.Offset >= 0 || !m.hold[1]) {
		t.Fatalf("record %d dropped as duplicate of %v, which was never written", r.Waiter, r.At)
	}
}

func diffs(want, got any) string {
	return cmp.Diff(want, got, cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) && errors.Is(b, a) }))
}

// Check is run after every step.
func (m *machine) Check(t *rapid.T) {
	for ref, n := range m.fates {
		if n != 1 {
			t.Fatalf("record %d has %d completions", ref, n)
		}
	}
	for _, r := range m.records {
		if on := r.waitsOn; on != nil && (on == r || on.waitsOn != nil) {
			t.Fatalf("record %d waits on %d, which waits itself", r.ref, on.ref)
		}
	}
	if len(m.fates)+len(m.records) != int(m.serial) {
		t.Fatalf("%d completions and %d in flight of %d records", len(m.fates), len(m.records), m.serial)
	}
	for i, got := range m.ledger.Stats() {
		var entries, claims, waiters int
		for _, c := range m.confirmed {
			entries += count(c.plugin == i)
		}
		for _, p := range m.claims {
			claims += count(p.plugin == i)
		}
		for _, r := range m.records {
			waiters += count(r.waitsOn != nil && r.by == m.plugins[i])
		}
		want := fmt.Sprint(entries, claims, waiters, m.evictions[i], m.expired[i])
		if has := fmt.Sprint(got.Entries, got.Pending, got.Waiters, got.Evictions, got.Expired); has != want {
			t.Fatalf("plugin %s: entries, pending, waiters, evictions, expired: got %s, want %s", got.Plugin, has, want)
		}
	}
}

// end settles what is left: nobody may be left over.
func (m *machine) end(t *rapid.T) {
	for _, w := range m.oracle.undecided() {
		w.closed = true
		w.real.Cancel()
	}
	for len(m.live()) > 0 {
		r := m.live()[0]
		s := state.Settlement{Outcome: klamm.Failed, Err: errSend, NowMS: m.now}
		if d := len(m.settle(r, &s)) - len(m.ledger.Settle(r.ref, s)); d != 0 {
			t.Fatalf("settle of %d at the end: %d resolutions too few", r.ref, d)
		}
	}
	m.Check(t)
	for _, s := range m.ledger.Stats() {
		if s.Pending != 0 || s.Waiters != 0 {
			t.Fatalf("left over: %+v", s)
		}
	}
	if len(m.records) != 0 {
		t.Fatalf("%d records without a completion", len(m.records))
	}
}

// againstOracle compares a ledger over the backend with the oracle.
func againstOracle(t *rapid.T, kit Kit) {
	m := newMachine(t, kit)
	defer m.made.remove()
	t.Repeat(map[string]func(*rapid.T){
		"arrive": m.Arrive, "tick": m.Tick, "claim": m.Claim, "claim again": m.Claim, "undo": m.Undo,
		"cancel": m.Cancel, "commit": m.Commit, "settle": m.Settle, "restart": m.Restart, "": m.Check,
	})
	m.end(t)
	if err := m.ledger.Close(); err != nil {
		t.Fatal(err)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
