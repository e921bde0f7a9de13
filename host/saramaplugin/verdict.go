package saramaplugin

import (
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
)

// DroppedBy tells which plugin dropped a message, and why. ok is false where
// none did. Ask for messages from Successes(), or after SendMessage(s) returned
// no error for them; such a message has Partition and Offset -1.
//
// The answer lasts until the message is sent again or is garbage.
func DroppedBy(msg *sarama.ProducerMessage) (plugin, reason string, ok bool) {
	v := verdicts.of(msg)
	return v.plugin, v.reason, v.outcome == klamm.Dropped
}

// DeadLetteredBy tells which plugin sent a message to its dead-letter topic
// instead, and why. Topic, Partition and Offset of such a message say where it
// is.
func DeadLetteredBy(msg *sarama.ProducerMessage) (plugin, reason string, ok bool) {
	v := verdicts.of(msg)
	return v.plugin, v.reason, v.outcome == klamm.DeadLettered
}

// verdict is what a user may ask of a message that was not written as it is.
type verdict struct {
	outcome        klamm.Outcome
	plugin, reason string
}

// verdictMap keeps verdicts beside the messages: a sarama.ProducerMessage has
// no room for them but Metadata, which is the user's. Keys are addresses, which
// costs nothing for messages without a verdict; the weak pointer tells a new
// message at the address of an old one.
type verdictMap struct {
	mu   sync.RWMutex
	all  map[uintptr]*noted
	size atomic.Int64
}

type noted struct {
	msg weak.Pointer[sarama.ProducerMessage]
	verdict
}

var verdicts = verdictMap{all: map[uintptr]*noted{}}

func addressOf(msg *sarama.ProducerMessage) uintptr { return uintptr(unsafe.Pointer(msg)) }

func (m *verdictMap) of(msg *sarama.ProducerMessage) verdict {
	if msg == nil {
		return verdict{}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if n := m.all[addressOf(msg)]; n != nil && n.msg.Value() == msg {
		return n.verdict
	}
	return verdict{}
}

// note keeps a verdict as long as the message lives.
func (m *verdictMap) note(msg *sarama.ProducerMessage, v verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := addressOf(msg)
	if n := m.all[at]; n != nil && n.msg.Value() == msg {
		n.verdict = v // a message that is used again has its cleanup already
		return
	}
	n := &noted{msg: weak.Make(msg), verdict: v}
	m.all[at] = n
	m.size.Store(int64(len(m.all)))
	goruntime.AddCleanup(msg, func(n *noted) { m.drop(at, n) }, n)
}

// drop forgets a message that is garbage, unless a new one has its address.
func (m *verdictMap) drop(at uintptr, n *noted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all[at] == n {
		delete(m.all, at)
		m.size.Store(int64(len(m.all)))
	}
}

// forget clears the verdict of a message that is sent again.
func (m *verdictMap) forget(msg *sarama.ProducerMessage) {
	if m.size.Load() == 0 || m.of(msg) == (verdict{}) {
		return
	}
	m.note(msg, verdict{})
}
