package state

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm"
)

// Options of a Ledger. The zero value is usable.
type Options struct {
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default: nothing is logged
	// Backends are those that this package has not, by the name that
	// StoreConfig.Backend has for them.
	Backends map[string]Opener
	// Transaction tells which open transaction a record belongs to, 0 for none.
	// Default: none does. It must be quick, and call nothing of the ledger's.
	Transaction func(Ref) uint64
}

// Opener opens the backend of the state called name. It logs nothing but what
// happens later.
type Opener func(name string, cfg StoreConfig, log *slog.Logger) (Backend, error)

// StoreConfig is one [state.NAME].
type StoreConfig struct {
	// Backend is "memory", the default: what it remembers ends with the process;
	// "file", which survives it; or one of Options.Backends.
	Backend string
	// Path and SyncInterval are those of FileOptions.
	Path         string
	SyncInterval time.Duration
	// Address, Timeout and Lease are for backends on a network: where it is, how
	// long one round trip may take, and how long it keeps the claims of a host
	// that is gone.
	Address        string
	Timeout, Lease time.Duration
	// Host names this one among those that share the state.
	Host string
	// Pass lets records pass while the backend is unavailable (on_unavailable =
	// "pass"): none waits, and duplicates may pass; counted. Default: claims are
	// refused.
	Pass bool
	// MaxEntries is how many confirmed ids are remembered, of all plugins
	// together; the oldest go beyond it. Default 1,000,000. Ids of records in
	// flight do not count.
	MaxEntries int
	// MaxBytes bounds the values that plugins put, with keys and 128 bytes of
	// bookkeeping each. Default 64 MiB.
	MaxBytes int64
	// ScopeTopic makes the same id under two topics two ids (scope = "topic").
	ScopeTopic bool
	// RecordClock counts ttls from the records' own times (clock = "record").
	// Default: from the time that they are confirmed.
	RecordClock bool
}

// Defaults of StoreConfig.
const (
	DefaultMaxEntries       = 1_000_000
	DefaultMaxBytes   int64 = 64 << 20
)

// Ledger knows all states of a process, the claims of the records in flight
// and who waits on whom.
type Ledger struct {
	log   *slog.Logger
	now   func() time.Time
	more  map[string]Opener
	txn   func(Ref) uint64
	clock atomic.Int64 // the latest NowMS

	mu     sync.Mutex
	closed bool
	stores map[string]*store
	spaces []*Space
	flight flight
	lot    lot
	late   confirmations

	durables []Durable
}

type store struct {
	backend Backend
	durable Durable // backend, where it is one
	cfg     StoreConfig
	spaces  map[string]*Space
	pending ids // of claims, where the backend's buckets are no holders
}

// NewLedger returns a Ledger without states.
func NewLedger(opts Options) *Ledger {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Transaction == nil {
		opts.Transaction = func(Ref) uint64 { return 0 }
	}
	return &Ledger{log: opts.Logger, now: opts.Now, txn: opts.Transaction, more: opts.Backends, stores: make(map[string]*store), flight: newFlight()}
}

// Open makes the state called name.
func (l *Ledger) Open(name string, cfg StoreConfig) error {
	if cfg.MaxEntries < 0 || cfg.MaxBytes < 0 {
		return fmt.Errorf("state %q: max_entries %d, max_bytes %d: neither may be negative", name, cfg.MaxEntries, cfg.MaxBytes)
	}
	if cfg.MaxEntries == 0 {
		cfg.MaxEntries = DefaultMaxEntries
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	b, err := l.backend(name, cfg)
	if err != nil {
		return fmt.Errorf("state %q: %w", name, err)
	}
	return l.OpenBackend(name, b, cfg)
}

func (l *Ledger) backend(name string, cfg StoreConfig) (Backend, error) {
	switch cfg.Backend {
	case "", "memory":
		return NewMemory(cfg.MaxEntries, cfg.MaxBytes), nil
	case "file":
		return NewFile(FileOptions{
			Path: cfg.Path, Name: name, Scope: scopeName(cfg.ScopeTopic), MaxEntries: cfg.MaxEntries, MaxBytes: cfg.MaxBytes,
			SyncInterval: cfg.SyncInterval, Pass: cfg.Pass, Logger: l.log,
		})
	}
	if open := l.more[cfg.Backend]; open != nil {
		return open(name, cfg, l.log)
	}
	known := slices.Sorted(maps.Keys(l.more))
	return nil, fmt.Errorf("unknown backend %q: this program has %q; host.WithStateBackend adds others", cfg.Backend, append([]string{"memory", "file"}, known...))
}

func scopeName(topic bool) string {
	if topic {
		return "topic"
	}
	return "state"
}

// OpenBackend makes the state called name over a backend of the caller's. Of
// cfg, what a backend knows nothing of counts: scope and clock. The ledger
// closes the backend, also when it returns an error.
func (l *Ledger) OpenBackend(name string, b Backend, cfg StoreConfig) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	switch {
	case l.closed:
		err = errClosed(name)
	case l.stores[name] != nil:
		err = fmt.Errorf("state %q: it is open already", name)
	default:
		st := &store{backend: b, cfg: cfg, spaces: make(map[string]*Space)}
		if st.durable, _ = b.(Durable); st.durable != nil {
			l.durables = append(l.durables, st.durable)
		}
		l.stores[name] = st
		return nil
	}
	return errors.Join(err, b.Close())
}

// Space returns the part of a state that belongs to a plugin. The same pair is
// the same space; the options given last count.
func (l *Ledger) Space(state, plugin string, o SpaceOptions) (*Space, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed(state)
	}
	st := l.stores[state]
	if st == nil {
		return nil, fmt.Errorf("plugin %q: state %q is not open: define [state.%s]", plugin, state, state)
	}
	s := st.spaces[plugin]
	if s == nil {
		s = &Space{l: l, state: state, plugin: plugin, number: uint32(len(l.spaces)), bucket: st.backend.Bucket(plugin)}
		st.scope(plugin, &s.scopes)
		s.remote, _ = st.backend.(Remote)
		s.staging, _ = st.backend.(Transactional)
		s.sourced, _ = s.bucket.(SourcedBucket)
		if s.holder, _ = s.bucket.(holder); s.holder != nil {
			s.ids = s.holder.index()
		} else {
			s.ids = &st.pending
		}
		s.ids.flight = &l.flight
		s.recordClock, s.pass = st.cfg.RecordClock, st.cfg.Pass
		st.spaces[plugin] = s
		l.spaces = append(l.spaces, s)
	}
	s.hold = o.HoldUnknown
	return s, nil
}

// scope sets out how the ids of a plugin are hashed.
func (st *store) scope(plugin string, s *scopes) {
	s.root, s.plugin, s.byTopic = st.backend.Key, plugin, st.cfg.ScopeTopic
	_, s.brief = st.backend.(*memory)
}

// NowMS is the wall clock in milliseconds. In one process it never goes back.
func (l *Ledger) NowMS() int64 {
	now := l.now().UnixMilli()
	for {
		last := l.clock.Load()
		if now <= last {
			return last
		}
		if l.clock.CompareAndSwap(last, now) {
			return now
		}
	}
}

// Stats returns what each plugin keeps at each state, ordered by their names.
func (l *Ledger) Stats() []SpaceStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]SpaceStats, len(l.spaces))
	for i, s := range l.spaces {
		all[i] = s.stats()
	}
	slices.SortFunc(all, func(a, b SpaceStats) int {
		if c := strings.Compare(a.State, b.State); c != 0 {
			return c
		}
		return strings.Compare(a.Plugin, b.Plugin)
	})
	return all
}

// Close closes all states. Claims are refused from then on; records in flight
// can still be settled, so that their waiters complete, but nothing is
// remembered. It may be called twice.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var errs []error
	for name, st := range l.stores {
		if err := st.backend.Close(); err != nil {
			errs = append(errs, fmt.Errorf("state %q: close: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func errClosed(state string) error { return fmt.Errorf("state %q: %w", state, klamm.ErrClosed) }

func errPut(state, plugin string, err error) error {
	return fmt.Errorf("plugin %q: state %q: %w", plugin, state, err)
}
