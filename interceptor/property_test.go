package interceptor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// failing says how a guest meets the records that it cannot judge.
type failing int

const (
	trapBeforeClaim failing = iota
	trapAfterClaim
	trapAtEnd // after all records were judged
	namedAtEnd
	guestErrorAtEnd
	failingEnd
)

func (f failing) String() string {
	return [...]string{"trap before claim", "trap after claim", "trap at end", "named", "guest error"}[f]
}

func (f failing) error(c *fakeCall, i int, claimed bool, bad func(i int) bool) error {
	atEnd := f >= trapAtEnd
	switch {
	case atEnd && i == -1:
		for j := range c.b.Len() {
			if bad(j) {
				return f.endError(j)
			}
		}
	case !atEnd && i >= 0 && bad(i) && claimed == (f == trapAfterClaim):
		return trap()
	}
	return nil
}

func (f failing) endError(i int) error {
	switch f {
	case namedAtEnd:
		return &runtime.VerdictError{Plugin: "dedup", Export: abi.ExportOnSend, Index: i, Problem: "nonsense"}
	case guestErrorAtEnd:
		return &runtime.GuestError{Plugin: "dedup", Export: abi.ExportOnSend, Code: 1}
	}
	return trap()
}

// scene is one batch and what goes wrong in it.
type scene struct {
	keys   []byte // of the records; few different ones
	bad    []bool
	policy Policy
	how    failing
	lot    bool // the ids of a block are claimed together
	room   int
	limit  int // records of a block
	split  int // records before it are in a batch of their own; 0 is one batch
}

func (s scene) String() string {
	return fmt.Sprintf("keys %s bad %v policy %s, %s, lot %t, room %d, limit %d, split %d", s.keys, s.bad, s.policy, s.how, s.lot, s.room, s.limit, s.split)
}

// reserves says whether a culprit that is judged alone reserves its id.
func (s scene) reserves() bool { return s.lot || s.how != trapBeforeClaim }

// expected judges the records one by one, as if each were alone in its call.
func (s scene) expected() []klamm.Outcome {
	owned := map[byte]bool{}
	out := make([]klamm.Outcome, len(s.keys))
	for i, k := range s.keys {
		switch {
		case s.bad[i]:
			out[i] = map[Policy]klamm.Outcome{Fail: klamm.Failed, Pass: klamm.InFlight, Drop: klamm.Dropped, DeadLetter: klamm.DeadLettered}[s.policy]
			if s.policy == Pass && s.reserves() {
				owned[k] = true
			}
		case owned[k]:
			out[i] = klamm.Dropped
		default:
			owned[k] = true
		}
	}
	return out
}

func (s scene) check(t testing.TB) {
	t.Helper()
	ledger, space := spaceOf(t, "dedup")
	d := newDedup()
	d.room, d.lot = s.room, s.lot
	bad := map[string]bool{}
	d.fault = func(c *fakeCall, i int, claimed bool) error {
		return s.how.error(c, i, claimed, func(j int) bool { return bad[string(c.host.Value(j))] })
	}
	link := d.link(t, "dedup", space)
	link.OnError = s.policy
	var m counts
	l := chainOf(t, ChainConfig{OnSend: []Link{link}, DeadLetterTopic: "dead", Metrics: &m})
	l.places[abi.OnSend][0].limit = s.limit

	b := &Batch{NowMS: nowMS}
	for i, k := range s.keys {
		name := fmt.Sprint("record ", i)
		bad[name] = s.bad[i]
		b.Items = append(b.Items, Item{Ref: uint64(i + 1), Record: klamm.Record{Topic: "orders", Key: []byte{k}, Value: []byte(name)}})
	}
	if s.split > 0 {
		first := &Batch{NowMS: nowMS, Items: b.Items[:s.split]}
		l.OnSend(context.Background(), first)
		rest := &Batch{NowMS: nowMS, Items: b.Items[s.split:]}
		l.OnSend(context.Background(), rest)
	} else {
		l.OnSend(context.Background(), b)
	}
	s.compare(t, b, &m)
	s.ends(t, finish(t, ledger, b), b)
	checkReset(t, b)
}

// checkReset holds what Next says: after Reset an item is zero but for its Record,
// and its Ref, which the caller writes too.
func checkReset(t testing.TB, b *Batch) {
	t.Helper()
	n := len(b.Items)
	b.Reset()
	for i := range n {
		it := *b.Next()
		it.Record, it.Ref = klamm.Record{}, 0
		if !reflect.DeepEqual(it, Item{}) {
			t.Fatalf("item %d after Reset: %+v", i, it)
		}
	}
}

// compare holds the chain's outcomes and counts against the expected ones.
func (s scene) compare(t testing.TB, b *Batch, m *counts) {
	t.Helper()
	duplicates, passed, culprits := 0, 0, 0
	for i, want := range s.expected() {
		it := &b.Items[i]
		if it.Outcome != want {
			t.Errorf("%s:\nrecord %d: got %s, want %s", s, i, it.Outcome, want)
		}
		switch {
		case s.bad[i]:
			culprits++
			if len(it.Record.Headers) != 0 || it.Wait != nil {
				t.Errorf("%s:\nculprit %d: %d headers, waits %t", s, i, len(it.Record.Headers), it.Wait != nil)
			}
		case want == klamm.Dropped:
			duplicates++
			if it.Wait == nil {
				t.Errorf("%s:\nduplicate %d does not wait", s, i)
			}
		default:
			passed++
			if len(it.Record.Headers) != 1 || !it.Claimed {
				t.Errorf("%s:\nrecord %d: %d headers, claimed %t", s, i, len(it.Record.Headers), it.Claimed)
			}
		}
		if it.Offered != 1 {
			t.Errorf("%s:\nrecord %d offered to %b", s, i, it.Offered)
		}
	}
	for key, want := range map[string]int{
		"counter dedup dropped_total": duplicates, "drop dedup duplicate": duplicates,
		"verdict dedup on_send drop": duplicates, "verdict dedup on_send edit": passed,
		"records dedup on_send": duplicates + passed,
	} {
		if got := m.get(key); got != want {
			t.Errorf("%s:\n%s: got %d, want %d", s, key, got, want)
		}
	}
	if got := sum(m, "fault"); got != culprits {
		t.Errorf("%s:\nfaults: got %d, want %d", s, got, culprits)
	}
}

// ends checks that every record is completed, and that each id is written once,
// besides by culprits that are let through without it.
func (s scene) ends(t testing.TB, done map[uint64]klamm.Outcome, b *Batch) {
	t.Helper()
	written := map[byte]int{}
	for i := range b.Items {
		o, ok := done[b.Items[i].Ref]
		if !ok || o == klamm.InFlight {
			t.Errorf("%s:\nrecord %d has no end: %s", s, i, o)
		}
		if o == klamm.Written && !(s.bad[i] && !s.reserves()) {
			written[s.keys[i]]++
		}
	}
	for k, n := range written {
		// A culprit that met its id in flight is let through beside its owner.
		if n > 1 && s.policy != Pass {
			t.Errorf("%s:\nid %c was written %d times", s, k, n)
		}
	}
}

// The culprit may be at every place of every batch, in every way, under every
// policy: it alone meets the policy, and all else is as if it alone had failed.
func TestFaultAtEveryRecord(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := 1; n <= 9; n++ {
		for at := range n {
			for policy := Fail; policy <= DeadLetter; policy++ {
				for how := range failingEnd {
					for _, lot := range []bool{false, true} {
						s := scene{keys: make([]byte, n), bad: make([]bool, n), policy: policy, how: how, lot: lot, limit: abi.BatchMax}
						for i := range s.keys {
							s.keys[i] = 'a' + byte(random.IntN(3))
						}
						s.bad[at] = true
						s.check(t)
						if t.Failed() {
							return
						}
					}
				}
			}
		}
	}
}

// The modification area may be full after every record of every batch.
func TestPartialAtEveryRecord(t *testing.T) {
	for n := 1; n <= 12; n++ {
		for room := 1; room <= n; room++ {
			for _, lot := range []bool{false, true} {
				s := scene{keys: []byte("abacabcadabc")[:n], bad: make([]bool, n), lot: lot, room: room, limit: abi.BatchMax}
				s.check(t)
			}
		}
	}
}

func TestFaultsProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(rt, "records")
		s := scene{
			keys:   rapid.SliceOfN(rapid.ByteRange('a', 'a'+byte(rapid.IntRange(0, 25).Draw(rt, "ids"))), n, n).Draw(rt, "keys"),
			bad:    make([]bool, n),
			policy: Policy(rapid.IntRange(0, 3).Draw(rt, "policy")),
			how:    failing(rapid.IntRange(0, int(failingEnd)-1).Draw(rt, "how")),
			lot:    rapid.Bool().Draw(rt, "lot"),
			room:   rapid.IntRange(0, n).Draw(rt, "room"),
			limit:  rapid.IntRange(1, 64).Draw(rt, "limit"),
			split:  rapid.IntRange(0, n).Draw(rt, "split"),
		}
		for range rapid.IntRange(0, 5).Draw(rt, "culprits") {
			s.bad[rapid.IntRange(0, n-1).Draw(rt, "culprit")] = true
		}
		var failed failures
		s.check(&failed)
		failed.end(rt)
	})
}

// failures is a testing.TB for check inside of rapid.
type failures struct {
	testing.TB
	text    string
	cleanup []func()
}

func (f *failures) Helper()          {}
func (f *failures) Cleanup(c func()) { f.cleanup = append(f.cleanup, c) }
func (f *failures) Errorf(format string, args ...any) {
	f.text += fmt.Sprintf(format, args...) + "\n"
}

// end cleans up and tells rapid what failed.
func (f *failures) end(rt *rapid.T) {
	for i := len(f.cleanup) - 1; i >= 0; i-- {
		f.cleanup[i]()
	}
	if f.text != "" {
		rt.Fatal(f.text)
	}
}

func (f *failures) Error(args ...any) { f.text += fmt.Sprintln(args...) }
func (f *failures) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// A guest that claims in two passes can make two records of one batch wait on
// each other. Both end, and the ids are not lost.
func TestNothingWaitsOnItself(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failed failures
		checkTwoPasses(&failed, rt)
		failed.end(rt)
	})
}

func checkTwoPasses(t testing.TB, rt *rapid.T) {
	ledger, space := spaceOf(t, "p")
	n := rapid.IntRange(2, 12).Draw(rt, "records")
	ids := rapid.SliceOfN(rapid.SliceOfN(rapid.ByteRange('a', 'e'), 2, 2), n, n).Draw(rt, "ids")
	bad := rapid.IntRange(-1, n-1).Draw(rt, "culprit")
	s := &fakeSeat{}
	s.onSend = func(c *fakeCall) error {
		for pass := range 2 {
			for i := range c.b.Len() {
				r := int(c.host.Value(i)[0])
				if r == bad && pass == 1 {
					return trap()
				}
				if c.host.Claim(i, ids[r][pass:pass+1], 0) != abi.ClaimNew {
					c.drop(i, abi.ReasonDuplicate)
				}
			}
		}
		return nil
	}
	link := s.link("p")
	link.Space, link.OnError = space, Policy(rapid.IntRange(0, 2).Draw(rt, "policy"))
	l := chainOf(t, ChainConfig{OnSend: []Link{link}})
	b := &Batch{NowMS: nowMS}
	for i := range n {
		b.Items = append(b.Items, Item{Ref: uint64(i + 1), Record: klamm.Record{Topic: "orders", Value: []byte{byte(i)}}})
	}
	l.OnSend(context.Background(), b)
	done := finish(t, ledger, b)
	told := 0 // whose callers know that they were not written, or were
	for i := range b.Items {
		o, ok := done[b.Items[i].Ref]
		if !ok || o == klamm.InFlight {
			t.Errorf("record %d of %q has no end: %s", i, ids, o)
		}
		if o == klamm.Written || o == klamm.Failed {
			told++
		}
	}
	if told == 0 && bad < 0 {
		t.Errorf("all of %q were dropped as duplicates of each other", ids)
	}
}
