package state_test

import (
	"errors"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
	"github.com/klamm-io/klamm/state/backendtest"
)

func TestMemoryBackend(t *testing.T) {
	backendtest.Run(t, backendtest.Kit{Open: func(_ string, maxEntries int, maxBytes int64) (state.Backend, error) {
		return state.NewMemory(maxEntries, maxBytes), nil
	}})
}

// plain is a backend as other packages make them: its index has no ids of records
// in flight, and the ledger has one of its own for those.
type plain struct{ state.Backend }

func (p plain) Bucket(plugin string) state.Bucket {
	return struct{ state.Bucket }{p.Backend.Bucket(plugin)}
}

func TestPlainBackend(t *testing.T) {
	backendtest.Run(t, backendtest.Kit{Open: func(_ string, maxEntries int, maxBytes int64) (state.Backend, error) {
		return plain{state.NewMemory(maxEntries, maxBytes)}, nil
	}})
}

func TestSpaceValues(t *testing.T) {
	l, s := open(t, state.StoreConfig{MaxBytes: 1000}, state.SpaceOptions{})
	if err := s.Put([]byte("k"), []byte("v"), 10*time.Millisecond, 1000); err != nil {
		t.Fatal(err)
	}
	if got, ok := s.Get([]byte("k"), 1009); !ok || string(got) != "v" {
		t.Errorf("inside: got %q, %v", got, ok)
	}
	if got, ok := s.Get([]byte("k"), 1010); ok {
		t.Errorf("after: got %q", got)
	}
	if err := s.Put([]byte("k"), make([]byte, 1000), 0, 1); !errors.Is(err, state.ErrValueTooLarge) {
		t.Errorf("too large: got %v", err)
	}
	if got := l.Stats()[0]; got.Errors != 1 || got.Values != 0 {
		t.Errorf("got %+v, want 1 error and no value", got)
	}
}

var errDown = errors.New("connection refused")

// down is a backend that cannot answer.
type down struct{}

func (down) Key() state.Key               { return state.Key{} }
func (d down) Bucket(string) state.Bucket { return d }
func (down) Close() error                 { return errDown }
func (down) Find(state.ID, int64) (state.Position, bool, error) {
	return state.Position{}, false, errDown
}
func (down) Remember(state.ID, state.Position, int64, int64) error { return errDown }
func (down) Get([]byte, int64) ([]byte, bool, error)               { return nil, false, errDown }
func (down) Put(key, value []byte, expiresMS, nowMS int64) error   { return errDown }
func (down) Usage() state.Usage                                    { return state.Usage{} }

func TestBackendDown(t *testing.T) {
	l := state.NewLedger(state.Options{})
	if err := l.OpenBackend("ids", down{}, state.StoreConfig{}); err != nil {
		t.Fatal(err)
	}
	s := space(t, l, "ids", "dedup", state.SpaceOptions{})
	if a := s.Claim(owner, "orders", []byte("x"), 0, 1); a.Code != state.Refused {
		t.Errorf("claim: got %+v, want it refused", a)
	}
	if _, ok := s.Get([]byte("k"), 1); ok {
		t.Error("get: got a value")
	}
	if err := s.Put([]byte("k"), nil, 0, 1); !errors.Is(err, errDown) {
		t.Errorf("put: got %v", err)
	}
	if got := l.Stats()[0].Errors; got != 3 {
		t.Errorf("got %d errors counted, want 3", got)
	}
	if err := l.OpenBackend("ids", down{}, state.StoreConfig{}); !errors.Is(err, errDown) {
		t.Errorf("opened twice: got %v, want also the close's error", err)
	}
	if err := l.Close(); !errors.Is(err, errDown) {
		t.Errorf("close: got %v", err)
	}
}

// forgetful finds, but cannot remember.
type forgetful struct{ state.Backend }
type forgetfulBucket struct{ state.Bucket }

func (f forgetful) Bucket(p string) state.Bucket { return forgetfulBucket{f.Backend.Bucket(p)} }
func (forgetfulBucket) Remember(state.ID, state.Position, int64, int64) error {
	return errDown
}

// Waiters complete although the id could not be remembered, and it is counted.
func TestBackendForgets(t *testing.T) {
	l := state.NewLedger(state.Options{})
	if err := l.OpenBackend("ids", forgetful{state.NewMemory(10, 10)}, state.StoreConfig{}); err != nil {
		t.Fatal(err)
	}
	s := space(t, l, "ids", "dedup", state.SpaceOptions{})
	claimFresh(t, s, owner, "x")
	commitWaiting(t, claimPending(t, s, duplicate, "x"), duplicate)
	if got := l.Settle(owner, okAt); len(got) != 1 || got[0].Outcome != klamm.Dropped {
		t.Errorf("got %+v, want the waiter dropped", got)
	}
	claimFresh(t, s, later, "x")
	if got := l.Stats()[0].Errors; got != 1 {
		t.Errorf("got %d errors counted, want 1", got)
	}
}
