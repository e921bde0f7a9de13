package interceptor

import (
	"slices"
	"strconv"
	"strings"

	"github.com/klamm-io/klamm"
)

// Headers of a dead letter: which plugin put the record there, why, and where
// it came from or was going to. Those of an earlier dead letter are replaced.
const (
	HeaderPlugin    = "klamm.error.plugin"
	HeaderVersion   = "klamm.error.version"
	HeaderDigest    = "klamm.error.digest" // of the module, SHA-256 in hex
	HeaderHook      = "klamm.error.hook"
	HeaderReason    = "klamm.error.reason"
	HeaderTopic     = "klamm.error.topic"
	HeaderPartition = "klamm.error.partition"
	HeaderOffset    = "klamm.error.offset"
	HeaderAttempts  = "klamm.error.attempts" // judgements that failed, where there were several
	headerPrefix    = "klamm.error."
)

// HookHandler is the hook of a dead letter that no plugin failed, but the handler of
// a consumer.
const HookHandler = "handler"

// reasonMax is the most bytes of a reason in a header.
const reasonMax = 1 << 10

// Origin says where a dead letter came from. The zero Topic stands for the topic
// that the record named; Partition and Offset below zero are left out.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Sent is the origin of a record that came from Send.
var Sent = Origin{Partition: klamm.NoPartition, Offset: klamm.NoOffset}

// DeadLetterRecord returns the record that the host writes for a dead-lettered
// item: its last good version, in the dead-letter topic, with headers that tell
// what happened. It demands no partition. Key and value are the item's own.
func DeadLetterRecord(it *Item, from Origin) klamm.Record {
	rec := it.Record
	if from.Topic == "" {
		from.Topic = it.Origin()
	}
	rec.Topic, rec.Target = it.DeadLetterTopic, 0
	rec.Headers = deadLetterHeaders(it, from)
	return rec
}

func deadLetterHeaders(it *Item, from Origin) []klamm.Header {
	hs := make([]klamm.Header, 0, len(it.Record.Headers)+8)
	for _, h := range it.Record.Headers {
		if !strings.HasPrefix(h.Key, headerPrefix) {
			hs = append(hs, h)
		}
	}
	add := func(key, value string) {
		if value != "" {
			hs = append(hs, klamm.Header{Key: key, Value: []byte(value)})
		}
	}
	add(HeaderPlugin, it.Plugin)
	if it.by != nil {
		add(HeaderVersion, it.by.version)
		add(HeaderDigest, it.by.digest)
	}
	hook := it.hook.String()
	if it.Handled {
		hook = HookHandler
	}
	add(HeaderHook, hook)
	add(HeaderReason, strings.ToValidUTF8(it.Reason[:min(len(it.Reason), reasonMax)], ""))
	add(HeaderTopic, from.Topic)
	if from.Partition >= 0 {
		add(HeaderPartition, strconv.Itoa(int(from.Partition)))
	}
	if from.Offset >= 0 {
		add(HeaderOffset, strconv.FormatInt(from.Offset, 10))
	}
	if it.Failures > 1 {
		add(HeaderAttempts, strconv.Itoa(int(it.Failures)))
	}
	return slices.Clip(hs)
}

// Letter is a dead letter as its headers tell it.
type Letter struct {
	Plugin, Hook, Reason string
	From                 Origin
	// Record is the record as it was, for the topic that it came from or was
	// going to: without the headers, with no partition demanded. It shares key,
	// value and header values with the dead letter.
	Record klamm.Record
}

// ParseDeadLetter is the reverse of DeadLetterRecord. ok is false for a record
// that does not say where it came from, which is no dead letter.
func ParseDeadLetter(rec *klamm.Record) (d Letter, ok bool) {
	d = Letter{Record: *rec, From: Sent}
	d.Record.Headers = nil
	for _, h := range rec.Headers {
		switch h.Key {
		case HeaderPlugin:
			d.Plugin = string(h.Value)
		case HeaderHook:
			d.Hook = string(h.Value)
		case HeaderReason:
			d.Reason = string(h.Value)
		case HeaderTopic:
			d.From.Topic = string(h.Value)
		case HeaderPartition:
			if n, err := strconv.ParseInt(string(h.Value), 10, 32); err == nil {
				d.From.Partition = int32(n)
			}
		case HeaderOffset:
			if n, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil {
				d.From.Offset = n
			}
		}
		if !strings.HasPrefix(h.Key, headerPrefix) {
			d.Record.Headers = append(d.Record.Headers, h)
		}
	}
	d.Record.Topic, d.Record.Target = d.From.Topic, 0
	d.Record.Partition, d.Record.Offset = d.From.Partition, d.From.Offset
	return d, d.From.Topic != ""
}
