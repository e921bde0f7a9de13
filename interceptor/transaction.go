package interceptor

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// What one call may do at most, so that a guest cannot make the host remember
// without end within its deadline.
const (
	claimsPerRecord  = 16
	claimsMax        = claimsPerRecord * abi.BatchMax
	observationsMax  = 1 << 14
	putsMax          = 4096
	putBytesMax      = 4 << 20
	transactionBytes = 1 << 20 // more than that is given back at the next begin
)

var (
	errNoState  = errors.New("the plugin has no state")
	errPutsFull = errors.New("too many values put in one call")
)

// transaction is what one call of a guest did: it is applied for the records
// whose verdicts are accepted, and undone for the others.
//
// Claims are made in the space at once, since a later record of the same call
// must meet them, and are given back when they are not accepted. Puts and metric
// changes are kept until the call is accepted; they name no record.
type transaction struct {
	// items are the records of the call, or acks where it has no verdicts: then
	// it may not claim.
	items []*Item
	acks  []*Ack
	space *state.Space
	nowMS int64
	dry   bool // for Explain: nothing is kept
	// refused is why the state could not answer a claim: it is no fault of the
	// plugin's.
	refused error
	// told is what other hosts said of the ids of the batch, by answerKey.
	told map[string]hostAnswer

	claims   []claim
	ids      []byte // of claims
	counts   []int64
	counted  []int32 // metrics whose count is not 0
	observed []observation
	puts     []put
	putAt    map[string]int
	putBytes []byte

	// What claimKeys asked, and which records did. A Fresh one is none of claims.
	asked    []state.Asked
	askers   []int
	askedTTL time.Duration
	met      []state.Met
}

// claim is one answer that has to be undone, cancelled or remembered.
type claim struct {
	index int
	topic string
	id    span
	ttl   time.Duration
	fresh bool        // reserved by this call
	held  bool        // fresh, and not given back
	wait  *state.Wait // not cancelled and not handed to the item
	at    state.Position
}

type span struct{ start, end int }

type observation struct {
	id int32
	v  float64
}

type put struct {
	key, value span
	null       bool
	ttl        time.Duration
}

// begin starts a transaction. What the last one did not apply is forgotten.
func (t *transaction) begin(items []*Item, acks []*Ack, space *state.Space, nowMS int64) {
	t.items, t.acks, t.space, t.nowMS = items, acks, space, nowMS
	t.refused = nil
	clear(t.claims)
	t.claims = t.claims[:0]
	t.asked = t.asked[:0]
	t.ids = t.ids[:0]
	t.discard()
	if cap(t.putBytes) > transactionBytes {
		t.putBytes = nil
	}
}

// discard forgets metric changes and puts.
func (t *transaction) discard() {
	for _, id := range t.counted {
		t.counts[id] = 0
	}
	t.counted = t.counted[:0]
	t.observed = t.observed[:0]
	t.puts = t.puts[:0]
	t.putBytes = t.putBytes[:0]
	clear(t.putAt)
}

// unattributed reports whether the call did what belongs to no record alone.
func (t *transaction) unattributed() bool {
	return len(t.counted)+len(t.observed)+len(t.puts) > 0
}

func (t *transaction) claim(index int, id []byte, ttlMS int64) int32 {
	if t.space == nil || index < 0 || index >= len(t.items) || len(t.claims) >= claimsMax {
		return abi.ClaimRefused
	}
	it := t.items[index]
	ttl := duration(ttlMS)
	if t.meets(index, id, ttl) {
		return state.Confirmed
	}
	a := t.space.Claim(state.Ref(it.Ref), it.Record.Topic, id, ttl, t.space.ClockMS(it.Record.Timestamp, t.nowMS))
	t.note(index, id, ttl, &a)
	return a.Code
}

// claimKeys claims the keys of a block in one go: see runtime.KeyClaimer.
func (t *transaction) claimKeys(b *runtime.Block, ttlMS int64, mask []byte) (fresh int32) {
	n := b.Len()
	if t.space == nil || n > len(t.items) || len(t.claims)+n > claimsMax {
		return abi.ClaimRefused
	}
	t.spill()
	ttl := duration(ttlMS)
	t.askedTTL = ttl
	asked, askers, count := slices.Grow(t.asked, n)[:n], slices.Grow(t.askers[:0], n)[:n], 0
	for i, it := range t.items[:n] {
		if key := b.Key(i); key != nil && !t.meets(i, key, ttl) {
			a := &asked[count] // in place: a literal would be built elsewhere and copied
			a.Owner, a.Topic, a.ID = state.Ref(it.Ref), it.Record.Topic, key
			a.NowMS = t.space.ClockMS(it.Record.Timestamp, t.nowMS)
			askers[count] = i
			count++
		}
	}
	t.asked, t.askers = asked[:count], askers[:count]
	t.met = t.space.ClaimAll(t.asked, ttl, t.met[:0])
	for i := range t.asked {
		a, asker := &t.asked[i], t.askers[i]
		switch {
		case a.Code == state.New:
			mask[asker/8] |= 1 << (asker % 8)
			fresh++
			if a.Fresh {
				t.items[asker].Claimed = true
			}
		case a.Code == state.Refused:
			t.refused = t.space.Refusal()
			fresh = abi.ClaimRefused
		}
	}
	var met state.Answer
	for i := range t.met {
		m := &t.met[i]
		a := &t.asked[m.Index]
		met.Code, met.At, met.Wait = a.Code, m.At, m.Wait
		t.note(t.askers[m.Index], a.ID, ttl, &met)
	}
	clear(t.met)
	if t.space.Shared() {
		t.spill() // other hosts are asked for each
	}
	return fresh
}

// spill makes Fresh ones of asked some of claims.
func (t *transaction) spill() {
	for i := range t.asked {
		if a := &t.asked[i]; a.Fresh {
			t.note(t.askers[i], a.ID, t.askedTTL, &state.Answer{Code: a.Code, Fresh: true})
		}
	}
	t.asked = t.asked[:0]
}

// note remembers what has to be undone, cancelled or told of an answer.
func (t *transaction) note(index int, id []byte, ttl time.Duration, a *state.Answer) {
	if a.Code == state.Refused {
		t.refused = t.space.Refusal()
	}
	if !a.Fresh && a.Wait == nil && a.Code != state.Confirmed {
		return
	}
	it := t.items[index]
	it.Claimed = it.Claimed || a.Fresh
	start := len(t.ids)
	t.ids = append(t.ids, id...)
	n := len(t.claims)
	t.claims = slices.Grow(t.claims, 1)[:n+1]
	c := &t.claims[n] // in place: a literal would be built elsewhere and copied
	c.index, c.topic, c.id.start, c.id.end = index, it.Record.Topic, start, len(t.ids)
	c.ttl, c.fresh, c.held, c.wait, c.at = ttl, a.Fresh, a.Fresh, a.Wait, a.At
}

// undoFrom gives back the claims of the records from index n on.
func (t *transaction) undoFrom(n int) {
	if n < len(t.items) {
		t.undo(func(index int) bool { return index >= n })
	}
}

// undo gives back the claims of the records that match. The waits go first, so
// that none of them is left on a claim that does not exist.
func (t *transaction) undo(match func(index int) bool) {
	for i := range t.claims {
		if c := &t.claims[i]; c.wait != nil && match(c.index) {
			c.wait.Cancel()
			c.wait = nil
		}
	}
	for i := len(t.claims) - 1; i >= 0; i-- {
		if c := &t.claims[i]; c.held && match(c.index) {
			t.giveBack(c)
		}
	}
	for i := range t.asked {
		if a := &t.asked[i]; a.Fresh && match(t.askers[i]) {
			t.space.UndoAsked(a) // a second time it does nothing
		}
	}
}

// giveBack undoes a claim. One that other hosts were told of stays this host's
// among them until disown, for the call may be made again.
func (t *transaction) giveBack(c *claim) {
	id, owner := t.ids[c.id.start:c.id.end], state.Ref(t.items[c.index].Ref)
	if _, told := t.told[answerKey(c.topic, id)]; told {
		t.space.Keep(owner, c.topic, id)
	} else {
		t.space.Undo(owner, c.topic, id)
	}
	c.held = false
}

// waive cancels the waits of all records and keeps their claims: for a record
// that goes on although its call failed.
func (t *transaction) waive() {
	for i := range t.claims {
		if c := &t.claims[i]; c.wait != nil {
			c.wait.Cancel()
			c.wait = nil
		}
	}
}

// hand gives what the claims of the first n records met to their items: the
// first record in flight that has one of the ids, and the position of one that
// was confirmed. The verdict decides what becomes of it.
func (t *transaction) hand(n int) {
	for i := range t.claims {
		c := &t.claims[i]
		if c.index >= n {
			continue
		}
		it := t.items[c.index]
		switch {
		case c.wait != nil && it.Wait == nil:
			it.Wait = c.wait
		case c.wait != nil:
			c.wait.Cancel()
		case !c.fresh && it.Duplicate.Topic == "":
			it.Duplicate = c.at
		}
		c.wait = nil
	}
}

// reservation is an id that a record claimed in a call that was undone.
type reservation struct {
	topic string
	id    []byte
	ttl   time.Duration
}

// reservations returns copies of the ids that record index claimed, whatever it
// was answered: the one that was in its way may be gone by now.
func (t *transaction) reservations(index int) []reservation {
	var out []reservation
	for i := range t.claims {
		if c := &t.claims[i]; c.index == index {
			id := append([]byte(nil), t.ids[c.id.start:c.id.end]...)
			out = append(out, reservation{topic: c.topic, id: id, ttl: c.ttl})
		}
	}
	for i := range t.asked {
		if a := &t.asked[i]; a.Fresh && t.askers[i] == index {
			out = append(out, reservation{topic: a.Topic, id: append([]byte(nil), a.ID...), ttl: t.askedTTL})
		}
	}
	return out
}

func (t *transaction) headers(index int) []klamm.Header {
	switch {
	case index < 0:
		return nil
	case index < len(t.items):
		return t.items[index].Record.Headers
	case index < len(t.acks):
		return t.acks[index].Record.Headers
	}
	return nil
}

func (t *transaction) addMetric(id int32, delta int64) {
	if int(id) >= len(t.counts) {
		t.counts = append(t.counts, make([]int64, int(id)+1-len(t.counts))...)
	}
	if t.counts[id] == 0 {
		t.counted = append(t.counted, id)
	}
	if sum := t.counts[id] + delta; sum >= 0 {
		t.counts[id] = sum
	} else {
		t.counts[id] = math.MaxInt64
	}
}

// observeMetric reports whether there was room.
func (t *transaction) observeMetric(id int32, v float64) bool {
	if len(t.observed) >= observationsMax {
		return false
	}
	t.observed = append(t.observed, observation{id, v})
	return true
}

// get reads what the call itself put, then the space.
func (t *transaction) get(key []byte) ([]byte, bool) {
	if i, ok := t.putAt[string(key)]; ok {
		p := &t.puts[i]
		return t.putBytes[p.value.start:p.value.end], true
	}
	if t.space == nil {
		return nil, false
	}
	return t.space.Get(key, t.nowMS)
}

func (t *transaction) put(key, value []byte, ttlMS int64) error {
	if t.space == nil {
		return errNoState
	}
	if len(t.puts) >= putsMax || len(t.putBytes)+len(key)+len(value) > putBytesMax {
		return errPutsFull
	}
	p := put{ttl: duration(ttlMS), null: value == nil}
	p.key = t.keep(key)
	p.value = t.keep(value)
	if t.putAt == nil {
		t.putAt = map[string]int{}
	}
	t.putAt[string(key)] = len(t.puts)
	t.puts = append(t.puts, p)
	return nil
}

func (t *transaction) keep(b []byte) span {
	start := len(t.putBytes)
	t.putBytes = append(t.putBytes, b...)
	return span{start, len(t.putBytes)}
}

// store applies the puts in order and returns what the space refused.
func (t *transaction) store() error {
	if t.dry {
		return nil
	}
	var errs []error
	for i := range t.puts {
		p := &t.puts[i]
		var value []byte
		if !p.null {
			value = t.putBytes[p.value.start:p.value.end:p.value.end]
		}
		if err := t.space.Put(t.putBytes[p.key.start:p.key.end], value, p.ttl, t.nowMS); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// duration turns a guest's milliseconds into a duration; 0 and less is none.
func duration(ms int64) time.Duration {
	switch {
	case ms <= 0:
		return 0
	case ms > int64(math.MaxInt64/time.Millisecond):
		return math.MaxInt64
	}
	return time.Duration(ms) * time.Millisecond
}
