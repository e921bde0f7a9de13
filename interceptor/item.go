package interceptor

import (
	"slices"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/state"
)

// Item is one record on its way through a chain.
//
// What every record has comes first: it is three cache lines of the five, and a
// record that passes touches no others.
type Item struct {
	// Record is always the last good version. Edits replace its slices and never
	// write into them; their bytes are valid until the Batch is Reset.
	Record klamm.Record
	// Ref is the record's number, unique in the process: the owner of its claims.
	Ref uint64

	// Outcome is InFlight while the record passes. Dropped, DeadLettered and
	// Failed end its way; DeadLettered is the host's to carry out, see
	// DeadLetter. Items that come with another outcome are left alone.
	Outcome klamm.Outcome
	// Claimed says that the record has, or had, claims: its Ref must be settled
	// in the state's Ledger, whatever becomes of it.
	Claimed bool
	edited  bool     // see Edited
	hook    abi.Hook // that ended the record's way
	// Offered has bit i set when link i of the on_send list was offered the
	// record, or has no on_send and sees the acknowledgements of all.
	Offered uint16
	// Plugin ended the record's way, for Reason. ReasonCode is the number that
	// the plugin declared it under, Link counts from 1 in the hook's list; both
	// are 0 where there is none.
	Link uint16
	// Generations has four bits for each link of the on_send list: the last ones
	// of the number of the generation that judged the record.
	Generations uint64
	// Wait is set with Dropped when the drop is conditional on a record in
	// flight: it must be committed or cancelled.
	Wait *state.Wait

	ReasonCode uint16
	// Faulted is set with DeadLettered where no verdict demands it, but a fault and
	// the link's on_error.
	Faulted bool
	// Handled says that no plugin failed the record but who handles what is read.
	Handled bool
	// Failures is how many judgements have failed the record, where it was tried
	// again; the host's to set, for the headers of a dead letter.
	Failures int32
	Plugin   string
	Reason   string
	// Err is set with Failed, and only then.
	Err error
	// DeadLetterTopic is set with DeadLettered.
	DeadLetterTopic string
	// Duplicate is set with Dropped when the plugin met an id that was confirmed
	// before: the position of the record that has it. Its Topic is "" otherwise.
	Duplicate state.Position

	origin string      // topic before the first edit, "" when there was none
	by     *generation // of the plugin that ended it, nil for native ones
	_      [8]byte     // up to whole cache lines
}

// Edited reports whether Record may be another one than before the chain but for
// its Target. It is false until a plugin has changed it, or was native.
func (it *Item) Edited() bool { return it.edited }

// Drop ends the record's way: it is not sent. For native interceptors.
func (it *Item) Drop(reason string) {
	it.Outcome, it.Reason = klamm.Dropped, reason
}

// DeadLetter ends the record's way: it goes to the dead-letter topic of the
// link or of the chain. For native interceptors.
func (it *Item) DeadLetter(reason string) {
	it.Outcome, it.Reason = klamm.DeadLettered, reason
}

// Fail ends the record's way with an error. For native interceptors.
func (it *Item) Fail(err error) {
	it.Outcome, it.Err = klamm.Failed, err
}

// Origin returns the topic that the record had before plugins edited it.
func (it *Item) Origin() string {
	if it.origin != "" {
		return it.origin
	}
	return it.Record.Topic
}

// TopicFacts tells plugins that ask for them about topics.
type TopicFacts interface {
	// Facts returns what is known of a topic now; known is false while its
	// metadata has not arrived. The slices are read before the next call.
	Facts(topic string) (partitions int32, epoch uint32, available []bool, load []uint32, known bool)
}

// Batch is the records of one judgement and the memory of what plugins wrote.
// The zero value is ready. It is not safe for concurrent use.
type Batch struct {
	Items []Item
	// NowMS is the clock that claims use, in wall-clock milliseconds.
	NowMS int64
	// Topics may be nil: then no facts are known.
	Topics TopicFacts

	arena arena
}

// Next adds an item and returns it, zero but for its Record, of which the caller
// writes every field.
func (b *Batch) Next() *Item {
	n := len(b.Items)
	b.Items = slices.Grow(b.Items, 1)[:n+1]
	it := &b.Items[n]
	// What Reset leaves in items that passed: see there.
	it.Claimed, it.Offered, it.Generations = false, 0, 0
	it.Faulted, it.Handled, it.Failures = false, false, 0
	return it
}

// Reset empties the batch and keeps its memory. Bytes of edits made since the
// last Reset are void.
//
// An item that passed as it was has nothing but zeros behind what Next and its
// caller write, so it is left as it is.
func (b *Batch) Reset() {
	for i := range b.Items {
		it := &b.Items[i]
		if it.Outcome != klamm.InFlight || it.edited || it.Wait != nil {
			*it = Item{}
		}
	}
	b.Items = b.Items[:0]
	b.arena.reset()
}
