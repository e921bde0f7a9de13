package plugin

import "github.com/klamm-io/klamm/sdk/abi"

// Topic is the facts of a record's topic at the time of the call.
type Topic struct {
	b  []byte
	at uint32 // start of the topic's entry
}

// Topic returns the topic of the record. Ask for the field TopicFacts to see
// more of it than its name, and for Load to see Load.
func (e Entry) Topic() Topic {
	i := u32(e.k.b, e.at+abi.RecTopic)
	if int64(i) >= int64(e.k.topics) {
		panic("plugin: " + errBlock.Error())
	}
	return Topic{e.k.b, e.k.topicsOff + i*abi.TopicEntrySize}
}

// topicNames keeps names that were met, so that Name allocates once for each
// topic and what it returns stays valid. A plugin sees few topics; for one that
// sees many, as it consumes all that match a pattern, it is begun anew when full.
var topicNames []string

const topicNamesMax = 256

// Name returns the topic's name. Unlike other bytes of the block it stays valid.
func (t Topic) Name() string {
	b := view(t.b, u32(t.b, t.at+abi.TopNameOff), i32(t.b, t.at+abi.TopNameLen))
	for _, s := range topicNames {
		if s == string(b) {
			return s
		}
	}
	if len(topicNames) >= topicNamesMax {
		clear(topicNames)
		topicNames = topicNames[:0]
	}
	topicNames = append(topicNames, string(b))
	return topicNames[len(topicNames)-1]
}

// Partitions returns how many partitions the topic has: at least 1 in a
// partitioner, 0 when it is not known or was not asked for.
func (t Topic) Partitions() uint32 { return u32(t.b, t.at+abi.TopPartitions) }

// Available reports whether partition p has a leader to send to. All count as
// available when the host does not know.
func (t Topic) Available(p uint32) bool {
	bits := u32(t.b, t.at+abi.TopAvailOff)
	if bits == 0 || p >= t.Partitions() {
		return p < t.Partitions()
	}
	return t.b[bits+p/8]>>(p%8)&1 != 0
}

// Load returns the bytes that wait to be sent to partition p, with what the
// host has routed there already. It is 0 when it was not asked for.
func (t Topic) Load(p uint32) uint32 {
	loads := u32(t.b, t.at+abi.TopLoadOff)
	if loads == 0 || p >= t.Partitions() {
		return 0
	}
	return u32(t.b, loads+4*p)
}

// Epoch rises whenever the host learns that the topic has changed.
func (t Topic) Epoch() uint32 { return u32(t.b, t.at+abi.TopEpoch) }
