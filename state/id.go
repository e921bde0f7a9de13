package state

import (
	"sync"
	"sync/atomic"

	"github.com/dchest/siphash"
)

// ID is the 128-bit keyed hash of an id. A collision would drop a record that
// is no duplicate, so it must be out of reach of chance and of whoever chooses
// the ids; SipHash with a secret key is, and so is multilinear where neither
// key nor hashes outlive the process.
type ID [2]uint64

// Key is the secret key of a state's ids. A backend that outlives the process
// keeps it beside the ids.
type Key [2]uint64

func (k Key) hash(b []byte) ID {
	lo, hi := siphash.Hash128(k[0], k[1], b)
	return ID{lo, hi}
}

// scopes derives one key for each (plugin, topic) from a state's key, so that
// the same id under another plugin or topic is another ID and the hot path
// hashes nothing but the id.
type scopes struct {
	root    func() Key
	plugin  string
	byTopic bool
	brief   bool // ends with the process

	last atomic.Pointer[scope] // most calls name the topic of the call before
	mu   sync.Mutex
	all  map[string]*scope
}

type scope struct {
	topic string
	key   Key
	brief *multilinear // nil where hashes outlive the process
}

func (s *scopes) id(topic string, id []byte) ID { return s.of(topic).hash(id) }

func (s *scope) hash(b []byte) (id ID) {
	if s.brief == nil || !s.brief.hash(b, &id) {
		id = s.key.hash(b)
	}
	return id
}

// of returns the scope of a topic.
func (s *scopes) of(topic string) *scope {
	if !s.byTopic {
		topic = ""
	}
	sc := s.last.Load()
	if sc == nil || sc.topic != topic {
		sc = s.find(topic)
	}
	return sc
}

func (s *scopes) find(topic string) *scope {
	s.mu.Lock()
	defer s.mu.Unlock()
	sc := s.all[topic]
	if sc == nil {
		root := s.root()
		// Neither plugin names nor topics hold a zero byte.
		sc = &scope{topic: topic, key: Key(root.hash([]byte(s.plugin + "\x00" + topic)))}
		if root == (Key{}) {
			return sc // not known yet: the backend refuses all claims
		}
		if s.brief {
			sc.brief = newMultilinear(sc.key)
		}
		if s.all == nil {
			s.all = make(map[string]*scope)
		}
		s.all[topic] = sc
	}
	s.last.Store(sc)
	return sc
}
