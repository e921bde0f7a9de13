package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klamm-io/klamm/state"
)

// States looks into what is remembered for plugins, for people. Its methods are
// safe for concurrent use and hold no record up for longer than a few hundred
// ids take.
type States struct {
	cfg    *Config
	ledger *state.Ledger
	stats  func() ([]StateStats, []BackendStats)
}

// States returns those of a running host.
func (h *Host) States() *States {
	return &States{cfg: &h.cfg, ledger: h.ledger, stats: func() ([]StateStats, []BackendStats) { return h.stateStats(), h.backendStats() }}
}

// OpenStateFile opens the file of one state whose host does not run. A file that
// is not there, or that a host has open, is an error. Whoever opens it closes it.
func OpenStateFile(cfg Config, baseDir, name string, opts ...Option) (*States, error) {
	cfg.ApplyDefaults()
	h := prepare(cfg, baseDir, opts)
	if _, ok := h.cfg.State[name]; !ok {
		return nil, &UnknownStateError{name, slices.Sorted(maps.Keys(h.cfg.State))}
	}
	store := h.storeConfig(name)
	if store.Backend != "file" {
		return nil, fmt.Errorf("state %q: its backend is %q: only a file can be opened without its host; name a running one with --admin", name, store.Backend)
	}
	if _, err := os.Stat(store.Path); err != nil {
		return nil, fmt.Errorf("state %q: %w; its host makes the file when it first runs", name, err)
	}
	h.ledger = state.NewLedger(state.Options{Logger: h.log})
	if err := h.ledger.Open(name, store); err != nil {
		return nil, errors.Join(err, h.ledger.Close())
	}
	return h.States(), nil
}

// Close closes what OpenStateFile opened; what was forgotten is on the disk then.
// It is not for the States of a running host.
func (s *States) Close() error { return s.ledger.Close() }

// UnknownStateError: no [state.NAME] has the name.
type UnknownStateError struct {
	Name string
	Have []string
}

func (e *UnknownStateError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("state %q: the configuration has no [state.NAME]", e.Name)
	}
	return fmt.Sprintf("state %q is not in the configuration; there are %s", e.Name, strings.Join(e.Have, ", "))
}

// ErrStateNotShown is in the error of a call for ids that a backend does not
// show, such as those that other hosts have put into Redis.
var ErrStateNotShown = state.ErrNotShown

// ErrIDInFlight is in the error of ForgetID while a record in flight has the id.
var ErrIDInFlight = state.ErrInFlight

// StateInfo is one state, as an operator sees it.
type StateInfo struct {
	Name       string `json:"name"`
	Backend    string `json:"backend"`
	Scope      string `json:"scope"`
	Clock      string `json:"clock"`
	MaxEntries int    `json:"max_entries"`
	// Entries are the ids remembered, Pending those whose record is in flight.
	Entries int64 `json:"entries"`
	Pending int64 `json:"pending"`
	// MemoryBytes is what the ids take; -1: not known.
	MemoryBytes int64         `json:"memory_bytes"`
	File        *BackendStats `json:"store,omitempty"` // of one that outlives the process
	Plugins     []StateShare  `json:"plugins"`
	// Scopes has a row for each plugin and topic that ids stand in. It is empty
	// where the backend does not show them.
	Scopes []StateScope `json:"scopes"`
}

// StateShare is a plugin's share of a state. Counters count from the start of the
// host.
type StateShare struct {
	StateStats
	HitRate float64 `json:"hit_rate"`
}

// StateScope is the ids of one plugin whose records stand in one topic.
type StateScope struct {
	Plugin  string  `json:"plugin"`
	Topic   string  `json:"topic"`
	Entries int64   `json:"entries"`
	Oldest  StateID `json:"oldest"`
	Newest  StateID `json:"newest"`
}

// StateID is one id. It is kept as a keyed hash, from which nobody can tell what
// it was.
type StateID struct {
	Plugin string `json:"plugin"`
	// Status is remembered, or pending while its record is in flight.
	Status string `json:"status"`
	Hash   string `json:"hash"`
	// Scope is the topic that it is an id of, where it was asked for by name.
	Scope string `json:"scope,omitempty"`
	// Topic, Partition and Offset are where its record stands.
	Topic     string `json:"topic,omitempty"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	// Since is when it was confirmed, or with clock = "record" the record's own
	// time. It is reckoned from Until and the plugin's window, and nil where the
	// configuration does not say what that is. Until is nil where ids do not age.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
}

// StateQuery names an id by what a plugin claimed.
type StateQuery struct {
	ID     []byte
	Plugin string // whose; "": any one's
	Topic  string // with scope = "topic", of the record; "": any one that is known
}

// Info tells about all states, or the one that is named. It walks over all ids,
// a few hundred at a time.
func (s *States) Info(ctx context.Context, name string) ([]StateInfo, error) {
	names := slices.Sorted(maps.Keys(s.cfg.State))
	if name != "" {
		if err := s.known(name); err != nil {
			return nil, err
		}
		names = []string{name}
	}
	infos := []StateInfo{}
	shares, backends := s.stats()
	for _, name := range names {
		info := s.info(name, shares, backends)
		if err := s.survey(ctx, &info); err != nil && !errors.Is(err, state.ErrNotShown) {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func (s *States) info(name string, shares []StateStats, backends []BackendStats) StateInfo {
	cfg := s.cfg.State[name]
	info := StateInfo{
		Name: name, Backend: cfg.Backend, Scope: cfg.Scope, Clock: s.cfg.StateClock(name), MaxEntries: cfg.MaxEntries,
		MemoryBytes: s.ledger.Footprint(name), Plugins: []StateShare{}, Scopes: []StateScope{},
	}
	for _, share := range shares {
		if share.State == name {
			info.Entries += share.Entries
			info.Pending += share.Pending
			info.Plugins = append(info.Plugins, StateShare{share, share.HitRate()})
		}
	}
	for _, b := range backends {
		if b.State == name {
			info.File = &b
		}
	}
	return info
}

// survey fills in the scopes, and the number of ids as it counts them: those of
// plugins that do not run are there too.
func (s *States) survey(ctx context.Context, info *StateInfo) error {
	type scope struct {
		entries int64
		first   state.Remembered
		last    state.Remembered
	}
	scopes := map[[2]string]*scope{}
	entries := int64(0)
	err := s.ledger.Each(info.Name, func(r *state.Remembered) error {
		key := [2]string{r.Plugin, r.At.Topic}
		sc := scopes[key]
		if sc == nil {
			sc = &scope{first: *r}
			scopes[key] = sc
		}
		sc.last = *r
		sc.entries++
		if entries++; entries%surveyStep == 0 {
			return ctx.Err()
		}
		return nil
	})
	if err != nil {
		return err
	}
	info.Entries = entries
	for key, sc := range scopes {
		info.Scopes = append(info.Scopes, StateScope{
			Plugin: key[0], Topic: key[1], Entries: sc.entries, Oldest: s.shown(&sc.first), Newest: s.shown(&sc.last),
		})
	}
	slices.SortFunc(info.Scopes, func(a, b StateScope) int {
		return cmp.Or(cmp.Compare(a.Plugin, b.Plugin), cmp.Compare(a.Topic, b.Topic))
	})
	return nil
}

// surveyStep is how many ids pass between two looks at the context.
const surveyStep = 1024

// FindID returns what a state knows of an id, one answer for each plugin and
// scope that has it; none if it is new.
func (s *States) FindID(name string, q StateQuery) ([]StateID, error) {
	if err := s.known(name); err != nil {
		return nil, err
	}
	found, err := s.ledger.Lookup(name, state.Query{ID: q.ID, Plugin: q.Plugin, Topic: q.Topic})
	return s.allShown(found), err
}

// ForgetID takes an id out of what a state remembers and returns what it was:
// the next record with it passes as new, also if it is a duplicate.
func (s *States) ForgetID(name string, q StateQuery) ([]StateID, error) {
	if err := s.known(name); err != nil {
		return nil, err
	}
	gone, err := s.ledger.Forget(name, state.Query{ID: q.ID, Plugin: q.Plugin, Topic: q.Topic})
	return s.allShown(gone), err
}

// EachID calls f with the ids that a state remembers, from the oldest to the
// newest, until f fails. Memory is bounded, and records go on meanwhile.
func (s *States) EachID(name string, f func(id StateID) error) error {
	if err := s.known(name); err != nil {
		return err
	}
	return s.ledger.Each(name, func(r *state.Remembered) error { return f(s.shown(r)) })
}

func (s *States) known(name string) error {
	if _, ok := s.cfg.State[name]; !ok {
		return &UnknownStateError{name, slices.Sorted(maps.Keys(s.cfg.State))}
	}
	return nil
}

func (s *States) allShown(known []state.Known) []StateID {
	ids := []StateID{}
	for i := range known {
		k := &known[i]
		id := s.shown(&k.Remembered)
		if id.Scope = k.Topic; k.Pending {
			id.Status = "pending"
		}
		ids = append(ids, id)
	}
	return ids
}

func (s *States) shown(r *state.Remembered) StateID {
	id := StateID{
		Plugin: r.Plugin, Status: "remembered", Hash: r.ID.String(),
		Topic: r.At.Topic, Partition: r.At.Partition, Offset: r.At.Offset,
	}
	if r.ExpiresMS == 0 {
		return id
	}
	until := time.UnixMilli(r.ExpiresMS).UTC()
	id.Until = &until
	if window := s.window(r.Plugin); window > 0 {
		since := until.Add(-window)
		id.Since = &since
	}
	return id
}

// builtinWindow is the default of builtin:dedup's setting.
const builtinWindow = 10 * time.Minute

// window is the plugin's setting of that name, 0 where it has none.
func (s *States) window(plugin string) time.Duration {
	p := s.cfg.Plugin[plugin]
	text, _ := p.Config["window"].(string)
	if text == "" && p.Module == "builtin:dedup" {
		return builtinWindow
	}
	window, err := time.ParseDuration(cmp.Or(text, "0s"))
	if err != nil {
		return 0
	}
	return window
}
