package state

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/klamm-io/klamm"
)

// Inspector is a Backend that shows what it remembers, and forgets single ids,
// for people. Its calls come as a Backend's others do; none is on a record's way.
type Inspector interface {
	Backend
	// Plugins returns whose ids it keeps, ordered.
	Plugins() []string
	// Topics returns where a plugin's ids stand, ordered.
	Topics(plugin string) []string
	// Footprint is the bytes of memory that the ids take.
	Footprint() int64
	// Lookup tells what is remembered of an id, expired or not.
	Lookup(plugin string, id ID) (Remembered, bool)
	// Forget takes an id out and reports whether it was there.
	Forget(plugin string, id ID) bool
	// Browse goes from the oldest id to the newest while others come and go.
	Browse() Browser
}

// Browser is one pass over the ids of an Inspector.
type Browser interface {
	// Next appends at most n ids to out; none at the end.
	Next(n int, out []Remembered) []Remembered
	// End is called once, also before the end.
	End()
}

// Remembered is one id that was confirmed.
type Remembered struct {
	Plugin string
	ID     ID
	At     Position
	// ExpiresMS is the clock at which it goes by age, 0 for never.
	ExpiresMS int64
}

// Known is what a state knows of an id that somebody asks for.
type Known struct {
	Remembered
	// Topic is that of the id's scope, "" where the scope is the state.
	Topic string
	// Pending tells that a record in flight has the id; then nothing else but
	// Plugin, Topic and ID is known.
	Pending bool
}

// Query names an id as a plugin claimed it.
type Query struct {
	ID []byte
	// Plugin is whose id it is; "": any one's.
	Plugin string
	// Topic is that of the record, where the scope is the topic; "": any one that
	// the state knows of.
	Topic string
}

// ErrNotShown: the backend does not show what it remembers.
var ErrNotShown = errors.New("the backend does not show the ids that it remembers")

// ErrInFlight: a record in flight has the id, and its outcome decides.
var ErrInFlight = errors.New("a record in flight has the id")

// String returns 32 hexadecimal digits.
func (id ID) String() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], id[0])
	binary.BigEndian.PutUint64(b[8:], id[1])
	return hex.EncodeToString(b[:])
}

// Lookup returns what a state knows of an id now: one answer for each plugin
// and topic that has it, pending or remembered. Ids are kept as keyed hashes, so
// only one that is asked for by name can be found.
func (l *Ledger) Lookup(state string, q Query) ([]Known, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	st, err := l.openStore(state)
	if err != nil {
		return nil, err
	}
	var found []Known
	for _, plugin := range st.plugins(q.Plugin) {
		for _, topic := range st.topics(plugin, q.Topic) {
			k, ok, err := l.lookup(st, plugin, topic, q.ID)
			if err != nil {
				return nil, fmt.Errorf("state %q: %w", state, err)
			}
			if ok {
				found = append(found, k)
			}
		}
	}
	return found, nil
}

// Forget takes an id out of what a state remembers, so that the next record
// with it is new, and returns what it was. An id that a record in flight has is
// ErrInFlight, and nothing is forgotten.
func (l *Ledger) Forget(state string, q Query) ([]Known, error) {
	found, err := l.Lookup(state, q)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	st, err := l.openStore(state)
	if err != nil {
		return nil, err
	}
	in, ok := st.backend.(Inspector)
	if !ok {
		return nil, fmt.Errorf("state %q: %w", state, ErrNotShown)
	}
	for _, k := range found {
		if k.Pending || st.claimed(k.Plugin, &k.ID) {
			return nil, fmt.Errorf("state %q: %w", state, ErrInFlight)
		}
	}
	return slices.DeleteFunc(found, func(k Known) bool { return !in.Forget(k.Plugin, k.ID) }), nil
}

// browseStep is how many ids are copied while the ledger's mutex is held.
const browseStep = 256

// Each calls f with what a state remembers, from the oldest id to the newest.
// Those that are confirmed after the last one are not met. Records go on
// meanwhile: f is called without a lock. An error of f ends it.
func (l *Ledger) Each(state string, f func(r *Remembered) error) error {
	l.mu.Lock()
	st, err := l.openStore(state)
	if err != nil {
		l.mu.Unlock()
		return err
	}
	in, ok := st.backend.(Inspector)
	if !ok {
		l.mu.Unlock()
		return fmt.Errorf("state %q: %w", state, ErrNotShown)
	}
	b := in.Browse()
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		b.End()
		l.mu.Unlock()
	}()
	var step []Remembered
	for {
		l.mu.Lock()
		step = b.Next(browseStep, step[:0])
		l.mu.Unlock()
		if len(step) == 0 {
			return nil
		}
		for i := range step {
			if err := f(&step[i]); err != nil {
				return err
			}
		}
	}
}

// Footprint is the bytes of memory that a state's ids take, -1 where its backend
// does not say.
func (l *Ledger) Footprint(state string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if st, err := l.openStore(state); err == nil {
		if in, ok := st.backend.(Inspector); ok {
			return in.Footprint()
		}
	}
	return -1
}

func (l *Ledger) openStore(name string) (*store, error) {
	if l.closed {
		return nil, errClosed(name)
	}
	st := l.stores[name]
	if st == nil {
		return nil, fmt.Errorf("state %q is not open; there are %q", name, slices.Sorted(maps.Keys(l.stores)))
	}
	return st, nil
}

// plugins are those that have or had ids here.
func (st *store) plugins(only string) []string {
	if only != "" {
		return []string{only}
	}
	names := map[string]bool{}
	for name := range st.spaces {
		names[name] = true
	}
	if in, ok := st.backend.(Inspector); ok {
		for _, name := range in.Plugins() {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// claimed reports whether a record in flight has an id of a plugin's.
func (st *store) claimed(plugin string, id *ID) bool {
	s := st.spaces[plugin]
	return s != nil && s.ids.claimed(id) != 0
}

// topics are the scopes in which an id of a plugin's may be.
func (st *store) topics(plugin, only string) []string {
	if !st.cfg.ScopeTopic {
		return []string{""}
	}
	if only != "" {
		return []string{only}
	}
	names := map[string]bool{}
	if s := st.spaces[plugin]; s != nil {
		for _, topic := range s.scopes.topics() {
			names[topic] = true
		}
	}
	if in, ok := st.backend.(Inspector); ok {
		for _, topic := range in.Topics(plugin) {
			names[topic] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// topics are those that were asked for.
func (s *scopes) topics() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.all))
}

// lookup finds one id of one plugin in one scope.
func (l *Ledger) lookup(st *store, plugin, topic string, id []byte) (Known, bool, error) {
	var sc scopes
	st.scope(plugin, &sc)
	k := Known{Remembered: Remembered{Plugin: plugin, ID: sc.id(topic, id)}, Topic: topic}
	if st.claimed(plugin, &k.ID) {
		k.Pending, k.At = true, Position{Partition: klamm.NoPartition, Offset: klamm.NoOffset}
		return k, true, nil
	}
	if in, ok := st.backend.(Inspector); ok {
		r, ok := in.Lookup(plugin, k.ID)
		if ok {
			k.Remembered = r
		}
		// Where the records' own times count, nobody knows what time it is.
		return k, ok && (st.cfg.RecordClock || !over(r.ExpiresMS, l.NowMS())), nil
	}
	at, ok, err := st.backend.Bucket(plugin).Find(k.ID, l.NowMS())
	k.At = at
	return k, ok, err
}
