package plugin

import (
	"slices"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Record is a record that a hook judges. Without a word about it, it passes.
//
// Drop, Fail and DeadLetter end a record: what was edited before is forgotten,
// edits after them are ignored, and the last of them counts.
type Record struct {
	Entry
	b *Batch
}

// Pass takes back what was said about the record. Bytes that SetValue replaced
// in place stay replaced in this hook's view.
func (r Record) Pass() {
	if r.counts() {
		r.write(abi.PackVerdict(abi.Pass, 0, 0, 0))
		if len(r.b.late) > 0 {
			r.b.late = slices.DeleteFunc(r.b.late, func(l lateRoute) bool { return l.i == r.i })
		}
	}
}

// Drop ends the record: it is not sent, or not handed to the consumer, and its
// sender is told why.
func (r Record) Drop(why ReasonCode) {
	if r.counts() {
		r.write(abi.PackVerdict(abi.Drop, 0, uint16(why), 0))
	}
}

// DropText is Drop with a text for people, cut at 1 KiB.
func (r Record) DropText(why ReasonCode, text string) { r.end(abi.Drop, why, text) }

// Fail completes the record with an error that carries text.
func (r Record) Fail(text string) { r.end(abi.Fail, Other, text) }

// FailFor is Fail with a reason, under which it is counted.
func (r Record) FailFor(why ReasonCode, text string) { r.end(abi.Fail, why, text) }

// DeadLetter sends the record, as it was before this plugin, to the configured
// dead-letter topic.
func (r Record) DeadLetter(text string) { r.end(abi.DeadLetter, Other, text) }

// DeadLetterFor is DeadLetter with a reason, under which it is counted.
func (r Record) DeadLetterFor(why ReasonCode, text string) { r.end(abi.DeadLetter, why, text) }

// Route sends the record to a partition. It is for on_send and partitioners.
func (r Record) Route(partition uint32) {
	// Small enough to be part of its callers. What is behind a full area is
	// cleared at the end; with edits, as is rare, the partition becomes one of them then.
	at := r.b.verdicts + uint32(r.i)*abi.VerdictSize
	if uint8(u64(r.b.b, at))&^uint8(abi.Route) == 0 { // Pass or Route
		putU64(r.b.b, at, uint64(partition)<<32|uint64(abi.Route))
	} else {
		r.b.late = append(r.b.late, lateRoute{r.i, partition})
	}
}

// ClearPartition takes away a partition that the sender or a plugin before this
// one demanded.
func (r Record) ClearPartition() { r.Route(1<<32 - 1) }

// SetValue replaces the value; nil makes it null. A value of the same length is
// written in place, which is the cheap way, so Value returns it from then on.
// Otherwise Value goes on returning what came in.
func (r Record) SetValue(v []byte) {
	if !r.open() {
		return
	}
	if c := r.verdict().Code(); (c == abi.Pass || c == abi.ValueInPlace) && r.fitsInPlace(v) {
		copy(r.Value(), v)
		r.write(abi.PackVerdict(abi.ValueInPlace, 0, 0, 0))
		return
	}
	r.edit(abi.OpSetValue, nil, v)
}

func (r Record) fitsInPlace(v []byte) bool {
	return v != nil && len(v) == r.ValueLen() && r.flags()&abi.FlagValueOmitted == 0
}

// SetKey replaces the key; nil makes it null.
func (r Record) SetKey(key []byte) { r.tryEdit(abi.OpSetKey, nil, key) }

// SetTopic sends the record to another topic, one that the plugin's
// configuration allows.
func (r Record) SetTopic(topic string) { r.tryEdit(abi.OpSetTopic, nil, []byte(topic)) }

// SetTimestamp sets the record's time, in milliseconds precision.
func (r Record) SetTimestamp(t time.Time) {
	var v [8]byte
	putU64(v[:], 0, uint64(t.UnixMilli()))
	r.tryEdit(abi.OpSetTimestamp, nil, v[:])
}

// AddHeader adds a header after those that are there. A nil value is null.
func (r Record) AddHeader(key string, value []byte) { r.tryEdit(abi.OpAddHeader, []byte(key), value) }

// RemoveHeaders removes all headers of that key.
func (r Record) RemoveHeaders(key string) { r.tryEdit(abi.OpRemoveHeaders, []byte(key), nil) }

// RemoveHeader removes the i-th header, counted from 0 as the edits before this
// one have left them.
func (r Record) RemoveHeader(i int) {
	var v [4]byte
	putU32(v[:], 0, uint32(i))
	r.tryEdit(abi.OpRemoveHeader, nil, v[:])
}

// counts reports whether a verdict about r counts in this call: not once the
// modification area was full at r or at a record before it.
func (r Record) counts() bool { return r.i < r.b.full }

// open reports whether r can still be edited.
func (r Record) open() bool {
	if !r.counts() {
		return false
	}
	c := r.verdict().Code()
	return c != abi.Drop && c != abi.Fail && c != abi.DeadLetter
}

func (r Record) tryEdit(op abi.Op, key, value []byte) {
	if r.open() {
		r.edit(op, key, value)
	}
}

func (r Record) end(c abi.Code, why ReasonCode, text string) {
	if !r.counts() {
		return
	}
	var arg uint32
	if text != "" {
		var ok bool
		if arg, ok = r.b.text(text); !ok {
			r.b.full = r.i
			return
		}
	}
	r.write(abi.PackVerdict(c, 0, uint16(why), arg))
}

func (r Record) verdict() abi.Verdict {
	return abi.Verdict(u64(r.b.b, r.b.verdicts+uint32(r.i)*abi.VerdictSize))
}

func (r Record) write(v abi.Verdict) {
	putU64(r.b.b, r.b.verdicts+uint32(r.i)*abi.VerdictSize, uint64(v))
}
